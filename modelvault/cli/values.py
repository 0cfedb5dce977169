"""Values as JSON and as text, and back: by the types of a schema."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from modelvault._sql.values import fitted
from modelvault.schema import Schema, Type

__all__ = ["as_json", "as_text", "flat", "from_json", "from_text", "nested", "row_as_json"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
INTEGERS: Final = frozenset(("int", "int64", "uint64"))
LISTS: Final = frozenset(("list", "set", "frozenset", "vartuple"))


def as_json(value: Any, kind: str | None = None) -> Any:
    """A value as JSON has it. A timestamp, known by its kind, is ISO text in UTC; bytes are base64."""
    if kind == "timestamp" and isinstance(value, int):
        return moment(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(inner) for inner in value]
    return value


def moment(micros: int) -> str | int:
    """A timestamp as ISO text in UTC; the number where Python's calendar ends."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return micros


def as_text(value: Any, kind: str | None = None) -> str:
    """A value in a table."""
    if value is None:
        return "NULL"
    value = as_json(value, kind)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def row_as_json(schema: Schema, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the dict interface as JSON, by its schema: `from_json` makes the same row of it."""
    converted = typed(schema.type, row)
    assert isinstance(converted, dict)
    return converted


def typed(type: Type, value: Any) -> Any:
    """A value as JSON, by its type."""
    if value is None:
        return None
    kind = type.kind
    if kind in ("optional", "custom"):
        return typed(type.items[0], value) if type.items else as_json(value)
    if kind == "object":
        known = {field.name: typed(field.type, value[field.name]) for field in type.fields if field.name in value}
        return known | {name: as_json(inner) for name, inner in value.items() if name not in known}
    if kind in LISTS:
        return [typed(type.items[0], inner) for inner in value]
    if kind == "tuple":
        return [typed(item, inner) for item, inner in zip(type.items, value, strict=True)]
    return as_json(value, kind)


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
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no object")
        types = {field.name: field.type for field in type.fields}
        return {name: from_json(types[name], inner) if name in types else inner for name, inner in value.items()}
    if kind in LISTS and isinstance(value, list):
        return SEQUENCES[kind](from_json(type.items[0], inner) for inner in value)
    if kind == "tuple" and isinstance(value, list):
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


def flat(type: Type, value: Mapping[str, Any] | None, above: str = "") -> dict[str, Any]:
    """The fields of an object as columns, those of nested objects with their path."""
    found: dict[str, Any] = {}
    for field in type.fields:
        inner = field.type.items[0] if field.type.kind == "optional" else field.type
        cell = None if value is None else value.get(field.name)
        if inner.kind == "object" and not inner.extras:
            found |= flat(inner, cell, f"{above}{field.name}.")
        else:
            found[f"{above}{field.name}"] = cell
    return found


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
    try:
        return from_text(type, text)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{error}: column "{name}"') from None
