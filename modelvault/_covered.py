"""What a query can take from an index alone: which values its keys hold exactly, and the records made of them.

`_core.cover` makes those records. Their fields are said here: those that no query could tell from the row's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from modelvault._frozen import replace
from modelvault.conditions import Condition, Negation, Test
from modelvault.rules import bare
from modelvault.schema import Index, Schema, Type

__all__ = ["Covered", "Paths", "covered", "part_of", "paths_of"]

Path = tuple[str, ...]
Paths = tuple[Path, ...]

EXACT: Final = frozenset(
    ("bool", "int", "int64", "uint64", "float64", "string", "bytes", "uuid", "date", "timedelta", "enum", "literal")
)
COMPARED: Final = EXACT | {"timestamp", "time"}
"""Kinds whose keys say how a value compares, if not what it is: of a moment the zone is left out."""


class Covered(NamedTuple):
    """The paths that an index has, by what can be done with them.

    exact: to be shown or summed. compared: to be tested and sorted by, too. whole: each row has exactly one entry.
    """

    exact: frozenset[Path]
    compared: frozenset[Path]
    whole: bool


def covered(schema: Schema, older: Iterable[Schema], index: Index) -> Covered:
    """What an index covers, with rows of older schema versions among the others."""
    primary = (schema.primary,)
    older = tuple(older)
    sound = [path for path in index.paths if is_sound(schema, older, path)]
    key = kind_of(schema, primary)
    exact = {path for path in sound if kind_of(schema, path) in EXACT}
    compared = {path for path in sound if kind_of(schema, path) in COMPARED}
    if key in COMPARED:
        compared.add(primary)
    # A float's key has no sign of a zero. The core asks the row for it, which it cannot for the primary key.
    exact.discard(primary)
    if key in EXACT and key != "float64":
        exact.add(primary)
    many = any(kind_of(schema, path) in ("list", "set", "frozenset", "vartuple") for path in index.paths)
    return Covered(frozenset(exact), frozenset(compared), not many)


def kind_of(schema: Schema, path: Path) -> str:
    """The kind of the values at a path."""
    type = schema.find(path)
    assert type is not None
    return bare(type).kind


def is_sound(schema: Schema, older: Iterable[Schema], path: Path) -> bool:
    """Does what an entry has at a path say all that a row has there?

    Not below an object that may be None, nor where rows of an older version store another type, or nothing.
    """
    if not all(type.kind == "object" for type in types_above(schema, path)):
        return False
    here = schema.find(path)
    assert here is not None
    for one in older:
        there = one.find(path)
        if there is None:
            name, *below = path
            field = next(field for field in schema.fields if field.name == name)
            if below or (field.stored_fill is None and not is_optional(here)):
                return False
        elif stored(there) != stored(here) or is_optional(there) != is_optional(here):
            return False
    return True


def types_above(schema: Schema, path: Path) -> Iterator[Type]:
    """The types of the objects that a path goes through."""
    for length in range(1, len(path)):
        type = schema.find(path[:length])
        assert type is not None
        yield type


def is_optional(type: Type) -> bool:
    """May the value be None?"""
    while type.kind == "custom" and type.items:
        type = type.items[0]
    return type.kind == "optional"


def stored(type: Type) -> tuple[str, tuple[Any, ...]]:
    """What decides how values are stored and compared."""
    type = bare(type)
    return type.kind, type.values


def part_of(type: Type, paths: Iterable[Path]) -> Type:
    """An object type with what is at these paths only, as it is stored and loaded; its objects are dicts."""
    below: dict[str, list[Path]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    fields = tuple(
        replace(field, type=field.type if below[field.name] == [()] else part_of(field.type, below[field.name]))
        for field in type.fields
        if field.name in below
    )
    return Type("object", fields=fields)


def paths_of(condition: Condition) -> Iterator[Path]:
    """The paths that a condition tests."""
    if isinstance(condition, Test):
        yield condition.path
        return
    for part in (condition.part,) if isinstance(condition, Negation) else condition.parts:
        yield from paths_of(part)
