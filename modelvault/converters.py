"""What makes a value of a newer type out of one of an older type, both as plain values, those of unions as Members."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from modelvault.lineage import CONTAINERS, Maker, former_names, is_optional, partners, sources, without_constraints
from modelvault.members import Member, Whole, strip
from modelvault.rules import bare
from modelvault.types import INTEGERS, Field, Shape, Type

__all__ = ["Convert", "converter"]

Convert = Callable[[Any], Any]
Around = tuple[list[Convert | None], ...]
"""The converters of the objects around a place, the innermost first; each in a list, where it comes when it is made."""


def converter(old: Type, new: Type, dumped: Callable[[Field], Maker | None], around: Around = ()) -> Convert | None:
    """What makes a value of the new type out of one of the old; None if it is the same.

    dumped(field): what makes a field's default. A value that is of the new type already stays. What it is given may
    change in place.
    """
    old, new = bare(old), bare(new)
    if old.kind == "union" or new.kind == "union":
        return union_converter(old, new, dumped, around)
    if old.kind == new.kind == "object":
        return object_converter(old, new, dumped, around)
    if old.kind == new.kind == "ref" and old.values == new.values and new.values[0] < len(around):
        outwards: int = new.values[0]
        holder = around[outwards]
        return lambda value: value if holder[0] is None else holder[0](value)
    if old.kind == new.kind and old.kind in CONTAINERS and len(old.items) == len(new.items):
        parts = zip(old.items, new.items, strict=True)
        return container_converter(old, [converter(*part, dumped, around) for part in parts])
    if old.kind in INTEGERS and new.kind == "float64":
        return to_float
    if old.kind in INTEGERS and new.kind == "decimal":
        return lambda value: Decimal(value) if isinstance(value, int) else value
    return None


def to_float(value: Any) -> Any:
    """An integer as the float that is equal to it."""
    if not isinstance(value, int):
        return value
    found = float(value)
    if found != value:
        raise ValueError(f"{value} has no equal float")
    return found


def object_converter(old: Type, new: Type, dumped: Callable[[Field], Maker | None], around: Around) -> Convert | None:
    """For an object, changed in place: names, fields that are gone, defaults, then the values."""
    origin = sources(old, new)
    moved = former_names({field.name for field in old.fields if field.name}, new)
    names = {field.name for field in new.fields}
    gone = [field.name for field in old.fields if field.name and field.name not in names]
    defaults = [(field.name, default) for field in new.fields if (default := default_for(field, origin, dumped))]
    closed = old.extras and not new.extras
    holder: list[Convert | None] = [None]
    within = (holder, *around)
    converts: list[tuple[str, Convert]] = []
    for field in new.fields:
        source = origin.get(field.name)
        convert = None if source is None else converter(source.type, field.type, dumped, within)
        if convert is not None:
            converts.append((field.name, convert))
    if not (moved or gone or closed or defaults or converts):
        return None

    tracks = isinstance(new.python, Shape) and new.python.style == "pydantic"

    def convert_row(given: Any) -> Any:
        row: dict[str, Any] = given
        if not isinstance(given, dict):
            return given
        renamed: dict[str, str] = {}
        for name, former in moved.items():
            if name not in row and former in row:
                row[name] = row.pop(former)
                renamed[former] = name
        dropped = gone if not closed else row.keys() - names
        for name in dropped:
            row.pop(name, None)
        filled = [(name, default) for name, default in defaults if row.get(name) is None]
        row = settled(row, renamed, dropped, [name for name, _ in filled], tracks)
        for name, default in filled:
            row[name] = default()
        for name, convert in converts:
            value = row.get(name)
            if value is not None:
                row[name] = convert(value)
        return row

    holder[0] = convert_row
    return convert_row


def settled(
    row: dict[str, Any], renamed: dict[str, str], dropped: Iterable[str], filled: list[str], tracks: bool
) -> dict[str, Any]:
    """The row, and which of its fields are set: not those that get their defaults, if anybody wants to know."""
    if isinstance(row, Whole):
        if row.set is not None:
            row.set = {renamed.get(name, name) for name in row.set}.difference(dropped, filled)
    elif tracks and filled:
        row = Whole(row)
        row.set = set(row).difference(filled)
    return row


def default_for(field: Field, origin: dict[str, Field], dumped: Callable[[Field], Maker | None]) -> Maker | None:
    """What a row gets that has nothing, or a None that may no longer be there."""
    return None if is_optional(field.type) and field.name in origin else dumped(field)


def container_converter(type: Type, parts: list[Convert | None]) -> Convert | None:
    """What converts the parts of a container; None if they all stay as they are."""
    if not any(parts):
        return None
    converts = [part or same for part in parts]

    def each(part: int, value: Any) -> Any:
        return None if value is None else converts[part](value)

    if type.kind == "dict":
        return lambda value: pairs_converter(value, each)
    if type.kind == "tuple":
        return lambda value: tuple(each(number, item) for number, item in enumerate(value))
    return lambda value: value.__class__(each(0, item) for item in value)


def pairs_converter(value: Any, each: Callable[[int, Any], Any]) -> Any:
    """A dict, or the pairs of one whose keys are dicts themselves."""
    pairs: dict[Any, Any] = value
    if isinstance(value, dict):
        return {each(0, key): each(1, item) for key, item in pairs.items()}
    return [(each(0, key), each(1, item)) for key, item in value]


def union_converter(old: Type, new: Type, dumped: Callable[[Field], Maker | None], around: Around) -> Convert | None:
    """Into, between and out of unions. A value without a partner loses its tag: what it is then, its new type says."""
    members = old.items if old.kind == "union" else (old,)
    if new.kind == "union":
        places = partners(Type("union", members), new)
    else:
        places = [0 if same_kind(member, new) else None for member in members]
    targets = new.items if new.kind == "union" else (new,)
    parts = [
        None if place is None else converter(member, targets[place], dumped, around)
        for member, place in zip(members, places, strict=True)
    ]
    if old.kind == new.kind and places == list(range(len(places))) and not any(parts):
        return None

    def convert(value: Any) -> Any:
        if value.__class__ is Member:
            number, value = value.number, value.value
        elif old.kind == "union":
            return value
        else:
            number = 0
        place, part = places[number], parts[number]
        if place is None:
            return strip(value)
        value = value if part is None or value is None else part(value)
        return Member(place, value) if new.kind == "union" else value

    return convert


def same_kind(old: Type, new: Type) -> bool:
    """Whether a value of one type may be one of the other, but for its parts."""
    return without_constraints(bare(old)) == without_constraints(new) or bare(old).kind == new.kind


def same(value: Any) -> Any:
    """The value."""
    return value
