"""Values of fields from what pyarrow makes of a column: what Arrow has no type for, and JSON, in the field's own type.

Models and dataclasses inside a Pydantic model are left to its validators, as dicts; anywhere else they are made here.
"""

from __future__ import annotations

import builtins
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from modelvault._kinds import is_list, is_mapping
from modelvault._plain import as_json
from modelvault.types import INTEGERS, Shape, Type

__all__ = ["FAILURES", "converters", "instance_maker"]

Convert = Callable[[Any], Any]

LISTS: Final[dict[str, Any]] = {"list": list, "set": set, "frozenset": frozenset, "vartuple": tuple}
FAILURES: Final = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError)
"""What making a value may raise."""

FLOATS: Final = ("double", "float", "halffloat")
JSON: Final = object()
"""In place of a type of Arrow: the value is what JSON has for it."""


def converters(row: Type, kinds: Mapping[str, Any]) -> list[Convert | None]:
    """What makes the values of each column those of its field; None if there is nothing to do. kinds: Arrow's types."""
    build = isinstance(row.python, Shape) and row.python.style != "pydantic"
    whole = Later(lambda: Converter([]).of_object(row, JSON, build=True) if build else None)
    types = {field.name: field.type for field in row.fields}
    return [
        Converter([whole]).make(types[name], kind, build=build) if name in types else None
        for name, kind in kinds.items()
    ]


class Later:
    """What converts an object, for those inside it, which are made first."""

    def __init__(self, make: Callable[[], Convert | None]) -> None:
        self._make = make

    def __call__(self, value: Any) -> Any:
        convert = self._make()
        return value if convert is None else convert(value)


class Converter:
    """One walk over a type and its type in Arrow. around: of the objects on the way. build: make instances."""

    def __init__(self, around: list[Later]) -> None:
        self.around = around

    def make(self, type: Type, kind: Any, *, build: bool) -> Convert | None:
        """What makes a value of the type, of one that is not None; None if there is nothing to do."""
        while type.kind == "optional":
            type = type.items[0]
        if is_json(kind):
            return parsed(self.make(type, JSON, build=build))
        if type.kind == "custom":
            return loaded(self.make(type.items[0], kind, build=build) if type.items else None, type.python)
        if type.kind == "object":
            return self.of_object(type, kind, build=build)
        if type.kind in LISTS:
            inner = self.make(type.items[0], part(kind, "value_type"), build=build or type.kind in ("set", "frozenset"))
            return of_list(LISTS[type.kind], inner)
        if type.kind == "tuple":
            shared = part(kind, "value_type")
            places = [shared or field(kind, str(number)) for number in range(len(type.items))]
            return of_tuple([self.make(*pair, build=build) for pair in zip(type.items, places, strict=True)])
        if type.kind == "dict":
            key = self.make(type.items[0], part(kind, "key_type"), build=True)
            return of_dict(key, self.make(type.items[1], part(kind, "item_type"), build=build), pairs=kind is not JSON)
        if type.kind == "ref":
            outwards: int = type.values[0]
            return self.around[len(self.around) - 1 - outwards]
        if type.kind == "union":
            return self.of_union(type) if kind is JSON else None
        return of_scalar(type, kind)

    def of_object(self, type: Type, kind: Any, *, build: bool) -> Convert | None:
        """The fields of a struct or of a JSON object."""
        shape = type.python if isinstance(type.python, Shape) else None
        finish = instance_maker(shape) if shape is not None and build else None
        rooted = shape is not None and getattr(shape.cls, "__pydantic_root_model__", False)
        changes: dict[str, Convert] = {}

        def convert(value: Any) -> Any:
            if rooted and kind is JSON:
                value = {"root": value}
            given: Mapping[str, Any] = value
            if not isinstance(value, Mapping):
                return value
            found: dict[str, Any] = dict(given)
            for name, change in changes.items():
                if found.get(name) is not None:
                    found[name] = change(found[name])
            if finish is not None:
                return finish(found)
            return found["root"] if rooted else found

        self.around.append(Later(lambda: convert))
        for inner in type.fields:
            change = self.make(inner.type, field(kind, inner.name), build=build)
            if change is not None:
                changes[inner.name] = change
        self.around.pop()
        return convert if changes or finish is not None or rooted else None

    def of_union(self, type: Type) -> Convert:
        """The first member that the value can be: by its very class, else by what the union asks."""
        changes = [self.make(item, JSON, build=True) for item in type.items]
        choosers: tuple[Any, ...] = type.python or (object,) * len(changes)

        def convert(value: Any) -> Any:
            found: list[tuple[Any, Any]] = []
            for change, chooser in zip(changes, choosers, strict=True):
                try:
                    found.append((value if change is None else change(value), chooser))
                except FAILURES:
                    continue
            for made, chooser in found:
                if chooser is made.__class__:
                    return made
            for made, chooser in found:
                if takes(chooser, made):
                    return made
            return value

        return convert


def takes(chooser: Any, value: Any) -> bool:
    """Does a member of a union take the value?"""
    if isinstance(chooser, builtins.type):
        return isinstance(value, chooser)
    return chooser is not None and bool(chooser(value))


# Types of Arrow


def is_json(kind: Any) -> bool:
    """Whether a column's type is Arrow's JSON."""
    return getattr(kind, "extension_name", None) == "arrow.json"


def part(kind: Any, name: str) -> Any:
    """The type of what is inside a list or map, None if it is neither."""
    return JSON if kind is JSON else getattr(kind, name, None)


def field(kind: Any, name: str) -> Any:
    """The type of a field of a struct, None if it has none."""
    if kind is JSON:
        return JSON
    number = kind.get_field_index(name) if hasattr(kind, "get_field_index") else -1
    return kind.field(number).type if number >= 0 else None


# What converts


def instance_maker(shape: Shape) -> Convert:
    """What makes an instance of the values of its fields by name, through the class's own validation."""
    cls: Any = shape.cls
    if shape.style == "typeddict":
        return dict
    if shape.style == "pydantic":
        validate = cls.__pydantic_validator__.validate_python
        if getattr(cls, "__pydantic_root_model__", False):
            return lambda values: validate(dict(values)["root"])
        return lambda values: validate(dict(values), by_alias=False, by_name=True)
    late = [name for name, field in cls.__dataclass_fields__.items() if not field.init]
    return lambda values: made_dataclass(cls, dict(values), late)


def made_dataclass(cls: Any, values: dict[str, Any], late: Iterable[str]) -> Any:
    """An instance of a dataclass; `late`: fields that its constructor does not take."""
    after = {name: values.pop(name) for name in late if name in values}
    instance = cls(**values)
    for name, value in after.items():
        object.__setattr__(instance, name, value)
    return instance


def parsed(inner: Convert | None) -> Convert:
    """What reads JSON."""
    return json.loads if inner is None else lambda text: inner(json.loads(text))


def loaded(inner: Convert | None, python: Any) -> Convert | None:
    """What loads a custom type from what it is stored as."""
    if python is None:
        return inner
    load: Convert = python[1]
    return load if inner is None else lambda value: load(inner(value))


def each(inner: Convert | None, values: Any) -> Any:
    """The values inside, each converted."""
    return values if inner is None else [None if value is None else inner(value) for value in values]


def of_list(make: Callable[[Any], Any], inner: Convert | None) -> Convert | None:
    """A list, or what else holds values of one type."""
    if make is list and inner is None:
        return None
    return lambda value: make(each(inner, value)) if is_list(value) else value


def of_tuple(inner: list[Convert | None]) -> Convert:
    """A tuple, from a list or from a struct."""

    def convert(value: Any) -> Any:
        values: list[Any] = list(value.values()) if is_mapping(value) else value
        if values.__class__ is not list or len(values) != len(inner):
            return value
        pairs = zip(values, inner, strict=True)
        return tuple(part if part is None or change is None else change(part) for part, change in pairs)

    return convert


def of_dict(key: Convert | None, item: Convert | None, *, pairs: bool) -> Convert:
    """A dict, from one or from `pairs`; polars has structs of a key and a value."""

    def convert(value: Any) -> Any:
        if is_mapping(value):
            found: list[Any] = list(value.items())
        elif pairs and is_list(value):
            found = [tuple(pair.values()) if is_mapping(pair) else pair for pair in value]
        else:
            return value
        keys, items = [pair[0] for pair in found], [pair[1] for pair in found]
        return dict(zip(each(key, keys), each(item, items), strict=True))

    return convert


def of_scalar(type: Type, kind: Any) -> Convert | None:
    """A scalar or a choice."""
    if type.kind in ("enum", "literal"):
        return of_choice(type)
    if kind is JSON and type.kind in FROM_JSON:
        read = FROM_JSON[type.kind]
        return lambda value: read(value) if isinstance(value, str) else value
    if kind is JSON and type.kind == "timedelta":
        return lambda value: timedelta(seconds=value) if isinstance(value, int | float) else value
    if type.kind == "uuid":
        return to_uuid
    return to_integer if type.kind in INTEGERS and str(kind) in FLOATS else None


def of_choice(type: Type) -> Convert | None:
    """The member that has a value, which may be as JSON has it."""
    members = type.python or type.values
    if members is type.values and all(isinstance(value, str | int) for value in type.values):
        return None
    known = {(value.__class__, value): member for value, member in zip(type.values, members, strict=True)}
    for value, member in zip(type.values, members, strict=True):
        shown = as_json(value)
        known.setdefault((shown.__class__, shown), member)
    return lambda value: known.get((value.__class__, value), value)


def to_uuid(value: Any) -> Any:
    """A UUID, also from its bytes or its text."""
    if isinstance(value, bytes):
        return UUID(bytes=value)
    return UUID(value) if isinstance(value, str) else value


def to_integer(value: Any) -> Any:
    """An integer, also from a float that is one: so pandas has columns with gaps."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def to_datetime(text: str) -> datetime:
    """A point in time from ISO text, which is more than a date."""
    if len(text) <= len("2024-12-31"):
        raise ValueError(f"{text!r} has no time")
    return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))


FROM_JSON: Final[dict[str, Callable[[str], Any]]] = {
    "bytes": lambda text: b64decode(text, validate=True),
    "date": date.fromisoformat,
    "decimal": Decimal,
    "float64": float,
    "time": time.fromisoformat,
    "timestamp": to_datetime,
    "uuid": UUID,
}
