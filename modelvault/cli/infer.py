"""A schema made of rows: what types their fields have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelvault._kinds import is_dict
from modelvault.errors import ModelVaultSchemaError

__all__ = ["Inferred", "fields_of", "infer_cells", "infer_rows"]

MOST: Final = (1 << 63) - 1
INTEGER: Final = re.compile(r"-?(0|[1-9]\d{0,18})")
NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass(slots=True)
class Inferred:
    """What is known of a field: the kinds of its values, and of what they hold."""

    kinds: set[str] = field(default_factory=set[str])
    rows: int = 0  # that had it
    objects: int = 0  # of them, with an object in it
    optional: bool = False
    parts: dict[str, Inferred] = field(default_factory=lambda: dict[str, Inferred]())
    item: Inferred | None = None

    def add(self, value: Any, place: str) -> None:
        """Take a JSON value in."""
        self.rows += 1
        if value is None:
            self.optional = True
        elif isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            if not -MOST - 1 <= value <= MOST:
                raise ModelVaultSchemaError(f"{place}: {value} is no 64-bit integer: give a --model")
            self.kinds.add("int64")
        elif isinstance(value, float):
            self.kinds.add("float64")
        elif isinstance(value, str):
            self.kinds.add("string")
        elif is_dict(value):
            self.kinds.add("object")
            self.objects += 1
            for name, inner in value.items():
                self.parts.setdefault(name, Inferred()).add(inner, f"{place}.{name}")
        else:
            self.kinds.add("list")
            self.item = self.item or Inferred()
            for inner in value:
                self.item.add(inner, f"{place}[]")

    def type(self, place: str, rows: int) -> Any:
        """The type as `fields_json` has it. rows: how many could have had the field."""
        inner = self._inner(place)
        return {"optional": inner} if self.optional or self.rows < rows else inner

    def _inner(self, place: str) -> Any:
        """The type of all values seen at a place, as fields_json has it; ModelVaultSchemaError for a mixture."""
        if self.kinds <= {"int64", "float64"} and len(self.kinds) == 2:
            return "float64"
        if len(self.kinds) > 1:
            raise ModelVaultSchemaError(
                f'"{place}" is {" in one row and ".join(sorted(self.kinds))} in another: give a --model'
            )
        kind = next(iter(self.kinds), "string")
        if kind == "object":
            return {"object": fields_of(self.parts, self.objects, f"{place}.")}
        if kind == "list":
            item = self.item
            return {"list": "string" if item is None or not item.rows else item.type(f"{place}[]", item.rows)}
        return kind


def fields_of(parts: Mapping[str, Inferred], rows: int, above: str = "") -> list[dict[str, Any]]:
    """The fields as `fields_json` has them."""
    return [{"path": [name], "type": part.type(f"{above}{name}", rows)} for name, part in parts.items()]


def infer_rows(rows: Iterable[Mapping[str, Any]], key: str | None) -> tuple[list[dict[str, Any]], str]:
    """The fields of JSON objects, and the primary key."""
    parts: dict[str, Inferred] = {}
    count = 0
    for row in rows:
        count += 1
        for name, value in row.items():
            parts.setdefault(name, Inferred()).add(value, name)
    return with_key(parts, count, key)


def infer_cells(rows: Iterable[Mapping[str, str]], key: str | None) -> tuple[list[dict[str, Any]], str]:
    """The fields of CSV rows, and the primary key: a column is a number or a truth value if all its cells are."""
    parts: dict[str, Inferred] = {}
    count = 0
    for row in rows:
        count += 1
        for name, cell in row.items():
            part = inside(parts, name.split("."))
            part.rows += 1
            if cell == "":
                part.optional = True
            else:
                part.kinds.add(kind_of(cell))
    settle(parts)
    return with_key(parts, count, key)


def inside(parts: dict[str, Inferred], path: list[str]) -> Inferred:
    """The field of a column with dots."""
    part = parts.setdefault(path[0], Inferred())
    for name in path[1:]:
        part.kinds.add("object")
        part = part.parts.setdefault(name, Inferred())
    return part


def settle(parts: Mapping[str, Inferred]) -> None:
    """Cells of several kinds are text."""
    for part in parts.values():
        if part.parts:
            settle(part.parts)
            part.rows = part.objects = max(inner.rows for inner in part.parts.values())
        elif len(part.kinds) > 1 and not part.kinds <= {"int64", "float64"}:
            part.kinds = {"string"}


def kind_of(cell: str) -> str:
    """The kind of a cell; numbers with leading zeros are text."""
    if INTEGER.fullmatch(cell) and abs(int(cell)) <= MOST:
        return "int64"
    if NUMBER.fullmatch(cell):
        return "float64"
    return "bool" if cell.lower() in ("true", "false") else "string"


def with_key(parts: dict[str, Inferred], count: int, key: str | None) -> tuple[list[dict[str, Any]], str]:
    """The fields and the primary key: the one that is asked for, else `id`."""
    if not count:
        raise ModelVaultSchemaError("there are no rows to infer a schema from: give a --model")
    names = ", ".join(parts)
    if key is None:
        key = "id"
        if key not in parts:
            raise ModelVaultSchemaError(f'there is no field "id": say which is the primary key with --key: {names}')
    if key not in parts:
        raise ModelVaultSchemaError(f'there is no field "{key}" to be the primary key: {names}')
    if parts[key].optional or parts[key].rows < count:
        raise ModelVaultSchemaError(f'"{key}" cannot be the primary key: a row lacks it')
    return fields_of(parts, count), key
