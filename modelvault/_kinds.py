"""What kind of value this is, said to type checkers: of what a container holds nothing is known, which is Any.

`isinstance(value, dict)` says the same to Python; to a strict checker it leaves the contents unknown. Hot code declares
a variable instead, before it asks: it saves the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["is_dict", "is_list", "is_mapping", "is_sequence", "is_series", "is_set", "is_tuple", "kind_of"]

kind_of: Final[Callable[[object], Any]] = type
"""The class of a value; `type(value)` of a value of which nothing is known is one of which nothing is known."""


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """A dict."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """A list."""
    return isinstance(value, list)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """A tuple."""
    return isinstance(value, tuple)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """A mapping."""
    return isinstance(value, Mapping)


def is_series(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """A list or a tuple."""
    return isinstance(value, list | tuple)


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """A sequence."""
    return isinstance(value, Sequence)


def is_set(value: object) -> TypeGuard[set[Any] | frozenset[Any]]:
    """A set or a frozenset."""
    return isinstance(value, set | frozenset)
