"""Values as JSON and as text, and back: by the types of a schema."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from modelvault._kinds import is_dict, is_list
from modelvault._plain import EPOCH, as_json
from modelvault._sql.functions import fitted
from modelvault.schema import Type

__all__ = ["as_text", "columns", "dumper", "from_json", "from_text", "nested"]

PLAIN: Final = frozenset(("bool", "int", "int64", "uint64", "float64", "string", "enum"))
INTEGERS: Final = frozenset(("int", "int64", "uint64"))
LISTS: Final = frozenset(("list", "set", "frozenset", "vartuple"))


def as_text(value: Any, kind: str | None = None) -> str:
    """A value in a table."""
    if value is None:
        return "NULL"
    value = as_json(value, kind)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def dumper(type: Type) -> Callable[[Any], Any] | None:
    """What makes JSON of the values of a type, so that `from_json` gives them again; None if they are JSON already."""
    kind = type.kind
    if kind in ("optional", "custom"):
        return dumper(type.items[0]) if type.items else as_json
    if kind in PLAIN:
        return None
    if kind == "object":
        return object_dumper([(field.name, dumper(field.type)) for field in type.fields], type.extras)
    if kind in LISTS:
        inner = dumper(type.items[0])
        return list if inner is None else lambda value: [None if item is None else inner(item) for item in value]
    if kind == "tuple":
        parts = [dumper(item) or as_json for item in type.items]
        return lambda value: [part(item) for part, item in zip(parts, value, strict=True)]
    return as_json


def object_dumper(fields: list[tuple[str, Callable[[Any], Any] | None]], extras: bool) -> Callable[[Any], Any]:
    """The same for an object, its fields in their order."""
    names = frozenset(name for name, _ in fields)

    def dump(value: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, convert in fields:
            if name in value:
                inner = value[name]
                found[name] = inner if convert is None or inner is None else convert(inner)
        if extras:
            found.update({name: as_json(inner) for name, inner in value.items() if name not in names})
        return found

    return dump


def from_json(type: Type, value: Any) -> Any:
    """The value of a type that JSON stands for. ValueError or TypeError if it cannot be one."""
    if value is None:
        return None
    kind = type.kind
    if kind == "optional":
        return from_json(type.items[0], value)
    if kind == "custom":
        inner = from_json(type.items[0], value) if type.items else value
        return inner if type.python is None else type.python[1](inner)
    if kind == "object":
        if not is_dict(value):
            raise TypeError(f"{value!r} is no object")
        types = {field.name: field.type for field in type.fields}
        return {name: from_json(types[name], inner) if name in types else inner for name, inner in value.items()}
    if kind in LISTS and is_list(value):
        return SEQUENCES[kind](from_json(type.items[0], inner) for inner in value)
    if kind == "tuple" and is_list(value):
        return tuple(from_json(item, inner) for item, inner in zip(type.items, value, strict=True))
    return scalar(type, value)


def scalar(type: Type, value: Any) -> Any:
    """The same of a type without parts."""
    kind = type.kind
    if kind == "bytes" and isinstance(value, str):
        return b64decode(value, validate=True)
    if kind == "timedelta" and isinstance(value, int | float):
        return timedelta(seconds=value)
    if kind == "timestamp" and type.python == "datetime":
        if isinstance(value, str):
            return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value.strip()))
        return EPOCH + timedelta(microseconds=value)
    if kind == "enum" and type.python is not None:
        return dict(zip(type.values, type.python, strict=True)).get(value, value)
    return value if kind == "bool" else fitted(kind, value)


SEQUENCES: Final[dict[str, Any]] = {"list": list, "set": set, "frozenset": frozenset, "vartuple": tuple}


def from_text(type: Type, text: str) -> Any:
    """What a word of the command line or a cell of a CSV file means as a value of this type."""
    kind = type.kind
    if kind == "optional":
        return from_text(type.items[0], text)
    if kind == "custom":
        return from_text(type.items[0], text) if type.items else text
    if kind in INTEGERS or kind == "float64":
        try:
            return int(text) if kind in INTEGERS else float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no {kind}") from None
    if kind == "bool":
        return flag(text)
    if kind in ("timestamp", "timedelta") and re.fullmatch(r"-?\d+(\.\d+)?", text.strip()):
        return from_json(type, float(text) if kind == "timedelta" else int(text))
    if kind in ("string", "enum", "literal"):
        return literal(type, text) if kind == "literal" else text
    if kind in LISTS or kind in ("object", "tuple", "dict", "union", "any"):
        return from_json(type, json.loads(text))
    return from_json(type, text)


def literal(type: Type, text: str) -> Any:
    """The member of a Literal that is written so."""
    return next((value for value in type.values if str(value) == text), text)


def flag(text: str) -> bool:
    """A truth value as text has it."""
    word = text.strip().lower()
    if word in ("true", "t", "yes", "1"):
        return True
    if word in ("false", "f", "no", "0"):
        return False
    raise ValueError(f"{text!r} is no truth value: true or false")


# CSV has no objects: their fields are columns with dots


def columns(type: Type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the fields of an object, of nested ones those of their fields."""
    for field in type.fields:
        inner = field.type.items[0] if field.type.kind == "optional" else field.type
        if inner.kind == "object" and not inner.extras:
            yield from columns(inner, (*above, field.name))
        else:
            yield (*above, field.name)


def nested(type: Type, cells: Mapping[str, str], above: str = "") -> dict[str, Any] | None:
    """The object of CSV cells; None if all cells of it are empty.

    An empty cell is None where that is allowed, "" where text is; else the field is missing, and has its default.
    """
    found: dict[str, Any] = {}
    empty = True
    for field in type.fields:
        name = f"{above}{field.name}"
        optional = field.type.kind == "optional"
        inner = field.type.items[0] if optional else field.type
        if inner.kind == "object" and not inner.extras and name not in cells:
            value = nested(inner, cells, f"{name}.")
            if value is not None or optional:
                found[field.name] = value
            elif all(part.type.kind == "optional" for part in inner.fields):
                found[field.name] = {}
            empty = empty and value is None
        elif name in cells:
            text = cells[name]
            empty = empty and not text
            if text or (inner.kind == "string" and not optional):
                found[field.name] = cell_value(field.type, text, name)
            elif optional:
                found[field.name] = None
    return None if empty else found


def cell_value(type: Type, text: str, name: str) -> Any:
    """The value of a CSV cell; the error names its column."""
    try:
        return from_text(type, text)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{error}: column "{name}"') from None
