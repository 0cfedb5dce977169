"""The nouns of a schema: types, fields, constraints, indexes. Immutable; they know neither files nor bytes.

A `Type` is a finite tree that compares by what is stored. What its values look like in Python is the *binding*,
`Type.python`: without one, a type speaks the dict interface.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Final, Literal

from modelvault._frozen import frozen, hidden

__all__ = [
    "INTEGERS",
    "KINDS",
    "MISSING",
    "SCALARS",
    "Constraint",
    "Field",
    "Index",
    "Missing",
    "Shape",
    "Type",
    "class_of",
]

SCALARS: Final = frozenset(
    ("bool", "int64", "uint64", "int", "float64", "string", "bytes", "uuid")
    + ("timestamp", "date", "time", "timedelta", "decimal")
)
INTEGERS: Final = frozenset(("int64", "uint64", "int"))
KINDS: Final = SCALARS | frozenset(
    ("enum", "literal", "optional", "list", "set", "frozenset", "tuple", "vartuple", "dict")
    + ("object", "union", "ref", "any", "custom")
)


CLASSES: Final[dict[str, type]] = {
    "bool": bool,
    "int64": int,
    "uint64": int,
    "int": int,
    "float64": float,
    "string": str,
    "bytes": bytes,
    "timestamp": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
}


def class_of(kind: str) -> type:
    """The class of a scalar kind's values. Those that take 2 ms to import are imported with the first who has them."""
    if kind == "uuid":
        from uuid import UUID

        return UUID
    if kind == "decimal":
        from decimal import Decimal

        return Decimal
    return CLASSES[kind]


class Missing(Enum):
    """The class of `MISSING`, so that type checkers can tell it from a value."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


@frozen
class Constraint:
    """One rule for a value. The kinds, by what `value` is:

    * int: min_i64 max_i64 min_u64 max_u64, min_length max_length (0.16's: of a string, its UTF-8 bytes), min_len
      max_len (Python's len)
    * float: min_f64 max_f64
    * number, or the field's own scalar: ge gt le lt multiple_of
    * string: regex (0.16: an unanchored search), pattern (Pydantic's: also a search)
    * True: email url nonempty
    """

    kind: str
    value: Any = True


@frozen
class Type:
    """The type of a value, and how it looks in Python.

    `kind`, and what else it uses:

    * scalars: bool int64 uint64 int float64 string bytes uuid timestamp date time timedelta decimal
    * enum literal: `values` (scalars, never None)
    * optional list set frozenset vartuple: `items` = (inner,)
    * tuple: `items`, one for each place; dict: `items` = (key, value); union: `items` = the members
    * object: `fields`; `group` marks an object made of 0.16's multi-segment paths: a row may leave it out when all
      its leaves are optional, and it always comes back; `extras`: keys besides the fields are kept
    * ref: `values` = (n,): the n-th object around this place, 0 the innermost; how recursive models end
    * any: whatever the format's tagged values hold
    * custom: a type that is dumped to, and loaded from, a value of `items[0]`, or of `any` when there are no items

    `python` by kind, None for the dict interface:

    * timestamp: "datetime" = datetimes come out, else int microseconds
    * enum literal: the members, parallel to `values`, when they are not the values themselves
    * object: a `Shape`
    * custom: (dump, load); dump raises TypeError for a value of another class
    * ref: the class of the object, a hint for choosing a union's member
    * union: one class or predicate for each member. A value belongs to the first member whose class is exactly its
      type, else to the first that takes it by isinstance() or predicate, else to the first that can encode it.
    """

    kind: str
    items: tuple[Type, ...] = ()
    fields: tuple[Field, ...] = ()
    values: tuple[Any, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    group: bool = False
    extras: bool = False
    python: Any = hidden(default=None)


@frozen
class Field:
    """A named part of an object.

    * `default` or `factory`: what a new row has that does not say.
    * `fill`: makes what stands in for it in rows that are older than the field; without one that is None where the
      type allows it, else the default. `stored_fill` is the same as the catalog keeps it: a record of this field alone.
    * `renamed_from`: its names in earlier versions of the model.

    A field without a name is one that a newer version of the schema dropped.
    """

    name: str
    type: Type
    default: Any = hidden(default=MISSING)
    factory: Callable[[], object] | None = hidden(default=None)
    fill: Callable[[], object] | None = hidden(default=None)
    stored_fill: bytes | None = hidden(default=None)
    renamed_from: tuple[str, ...] = hidden(default=())


@frozen
class Shape:
    """How the instances of a class are read and filled without calling its constructor.

    * `attributes`: parallel to the object's fields; None where the class has no such field (a model that knows only a
      part of the collection): it is skipped when reading and missing when writing.
    * `style`: "pydantic" also has `__pydantic_fields_set__`, `__pydantic_extra__`, `__pydantic_private__`;
      "typeddict" values are plain dicts; "whole" ones too, or a `Whole` where more is stored than the fields.
    * `uses_dict`: fields live in the instance's `__dict__`; else use getattr and object.__setattr__.
    * `extras`: carries keys besides its fields: `__pydantic_extra__`, or the rest of a dataclass's `__dict__`.
    * `privates`: has private attributes; `private_defaults()` gives those that a stored row does not have.
    * `tracks`: of a "whole" one: a field that a row is too old for is not set.
    """

    cls: type
    style: Literal["pydantic", "dataclass", "typeddict", "whole"]
    attributes: tuple[str | None, ...]
    uses_dict: bool = True
    extras: bool = False
    privates: bool = False
    private_defaults: Callable[[], dict[str, object]] | None = None
    tracks: bool = False


@frozen
class Index:
    """An index over one path or, composite, several; the last segment may name a list, which is indexed by element."""

    name: str
    paths: tuple[tuple[str, ...], ...]
    unique: bool = False
