"""What makes a value of a newer type out of one of an older type, both as plain values."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from modelvault.lineage import CONTAINERS, Maker, is_optional, sources
from modelvault.rules import bare
from modelvault.types import INTEGERS, Field, Type

__all__ = ["Convert", "converter"]

Convert = Callable[[Any], Any]


def converter(old: Type, new: Type, dumped: Callable[[Field], Maker | None]) -> Convert | None:
    """What makes a value of the new type out of one of the old, both as plain values; None if it is the same.

    dumped(field): what makes a field's default as a plain value. A value that is of the new type already stays.
    """
    old, new = bare(old), bare(new)
    if old.kind == new.kind == "object":
        return object_converter(old, new, dumped)
    if old.kind == new.kind and old.kind in CONTAINERS and len(old.items) == len(new.items):
        return container_converter(old, [converter(*part, dumped) for part in zip(old.items, new.items, strict=True)])
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


def object_converter(old: Type, new: Type, dumped: Callable[[Field], Maker | None]) -> Convert:
    origin = sources(old, new)
    parts = []
    for field in new.fields:
        source = origin.get(field.name)
        convert = None if source is None else converter(source.type, field.type, dumped)
        default = None if is_optional(field.type) and source is not None else dumped(field)
        parts.append((field.name, field.name if source is None else source.name, convert, default))
    names = {field.name for field in old.fields} | {field.name for field in new.fields}

    def convert_row(row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        found = {key: value for key, value in row.items() if key not in names} if new.extras else {}
        for name, source, convert, default in parts:
            key = name if name in row else source
            value = row.get(key)
            if value is None and default is not None:
                value = default()
            elif key not in row:
                continue
            found[name] = value if convert is None or value is None else convert(value)
        return found

    return convert_row


def container_converter(type: Type, parts: list[Convert | None]) -> Convert | None:
    if not any(parts):
        return None
    converts = [part or (lambda value: value) for part in parts]

    def each(part: int, value: Any) -> Any:
        return None if value is None else converts[part](value)

    if type.kind == "dict":
        return lambda value: {each(0, key): each(1, item) for key, item in value.items()}
    if type.kind == "tuple":
        return lambda value: tuple(each(number, item) for number, item in enumerate(value))
    return lambda value: value.__class__(each(0, item) for item in value)
