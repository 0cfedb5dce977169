"""Rows in groups, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from modelvault._arguments import check_owners, parse_path
from modelvault.conditions import Selection
from modelvault.errors import ModelVaultQueryError
from modelvault.expressions import Aggregate

if TYPE_CHECKING:
    from modelvault.sources import Source

__all__ = ["Groups", "explain", "summarise"]

M = TypeVar("M")

Keys = dict[str, tuple[str, ...]]
"""The paths that groups are by, and how each is called in the result."""


class Groups(Generic[M]):
    """The rows of a query in groups; see `Questions.group_by`."""

    __slots__ = ("_keys", "_selection", "_source")

    def __init__(self, source: Source, selection: Selection, keys: Keys) -> None:
        self._source = source
        self._selection = selection
        self._keys = keys

    async def agg(self, **functions: Aggregate[M, Any]) -> list[dict[str, Any]]:
        """A dict for each group, with its values and those of the functions, in the order of the group's values.

        `users.group_by(u.address.city).agg(n=count())` is [{"address.city": "London", "n": 3}, ...].
        """
        return await summarise(self._source, self._selection, self._keys, functions)

    async def count(self) -> list[dict[str, Any]]:
        """How many rows each group has, as "count"."""
        return await self.agg(count=Aggregate("count"))

    async def explain(self, analyze: bool = False, **functions: Aggregate[M, Any]) -> str:
        """How the rows are found, and why; `functions` as of `agg`: they decide what of the rows is needed.

        analyze: also find them, and say how many were looked at, how many groups there are, and the time.
        """
        return await explain(self._source, self._selection, analyze, self._keys, functions)

    def __repr__(self) -> str:
        return f"<Groups of {self._source.name} by {', '.join(self._keys)}>"


async def summarise(
    source: Source, selection: Selection, keys: Keys, functions: dict[str, Aggregate[Any, Any]]
) -> list[dict[str, Any]]:
    """Aggregates of a selection by group, as dicts."""
    if not functions:
        raise TypeError("agg() needs a function, as in agg(n=count())")
    calls = calls_of(source, "agg", keys, functions)
    names = (*keys, *functions)
    found = await source.aggregate(selection, calls, tuple(keys.values()))
    return [dict(zip(names, values, strict=True)) for values in found]


async def explain(
    source: Source, selection: Selection, analyze: bool, keys: Keys, functions: dict[str, Aggregate[Any, Any]]
) -> str:
    """How the rows of a selection are found, or what is needed of them for aggregates by group."""
    if not isinstance(analyze, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"explain() takes functions by name, as in explain(n=count()), not {analyze!r}")
    calls = calls_of(source, "explain", keys, functions)
    return await source.explain(selection, analyze, calls, tuple(keys.values()))


def calls_of(
    source: Source, verb: str, keys: Keys, functions: dict[str, Aggregate[Any, Any]]
) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """The functions as a source takes them, checked."""
    for name, function in functions.items():
        check_aggregate(source, verb, name, function, keys)
    return tuple((function.function, function.path) for function in functions.values())


def check_aggregate(source: Source, verb: str, name: str, function: Any, keys: Keys) -> None:
    """Refuse what cannot be summed up."""
    if not isinstance(function, Aggregate):
        raise TypeError(f"{verb}() takes count(), sum_(), min_(), max_() and avg(), not {name}={function!r}")
    if name in keys:
        raise ModelVaultQueryError(f"query error: {name!r} is a group already: give the function another name")
    if function.path is None:
        return
    check_owners(source, (function.owner,))
    target = source.field(parse_path(function.path))
    if function.function in ("sum", "avg"):
        target.check_number(f"{function.function}()")
    else:
        target.check_order(f"{function.function}()")
