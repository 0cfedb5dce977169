"""Hypothesis strategies: values for any Type, with or without a binding, instances of any model, and types."""

import string
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from modelvault import fits
from modelvault.annotations import row_type
from modelvault.rules import constrain
from modelvault.types import SCALARS, Constraint, Field, Shape, Type

Values = st.SearchStrategy[Any]

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
U64 = st.integers(0, (1 << 64) - 1)
INTS = st.integers(-(1 << 63), (1 << 64) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ZONES = st.none() | st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
DATETIMES = st.datetimes(timezones=ZONES, allow_imaginary=True)

SCALAR_VALUES: dict[str, Values] = {
    "bool": st.booleans(),
    "int64": I64,
    "uint64": U64,
    "int": INTS,
    "float64": st.floats(allow_nan=False),
    "string": TEXT,
    "bytes": st.binary(max_size=40),
    "uuid": st.uuids(),
    "timestamp": I64,
    "date": st.dates(),
    "time": st.times(timezones=ZONES),
    "timedelta": st.timedeltas(),
    "decimal": st.decimals(allow_nan=False),
}

ANYTHING: Values = st.recursive(
    st.none() | st.one_of(*(SCALAR_VALUES[kind] for kind in sorted(SCALARS - {"timestamp"}))) | DATETIMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


def values(type: Type, around: tuple[Type, ...] = (), depth: int = 0) -> Values:
    """Values of a type as its binding has them; `around` are the objects that a `ref` may mean."""
    plain = bounded(type, BUILDERS[type.kind](type, around, depth))
    if type.kind == "custom" and type.python is not None:
        return plain.map(type.python[1])
    return plain


def bounded(type: Type, plain: Values) -> Values:
    """Only values that the type's bounds admit; for patterns, write a strategy of your own."""
    return plain.filter(lambda value: fits.bounded(type, value)) if type.constraints else plain


def scalar_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return DATETIMES if type.python == "datetime" else SCALAR_VALUES[type.kind]


def chosen_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return st.sampled_from(type.values if type.python is None else type.python)


def optional_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return st.none() if depth > 3 else st.none() | values(type.items[0], around, depth + 1)


def list_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    build = {"list": list, "vartuple": tuple, "set": set, "frozenset": frozenset}[type.kind]
    if depth > 3:
        return st.builds(build)
    return st.lists(values(type.items[0], around, depth + 1), max_size=4).map(build)


def tuple_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return st.tuples(*(values(item, around, depth) for item in type.items))


def dict_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    key, inner = (values(item, around, depth + 1) for item in type.items)
    return st.dictionaries(key, inner, max_size=0 if depth > 3 else 3)


def union_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return st.one_of(*(values(item, around, depth) for item in type.items))


def object_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    parts = {field.name: values(field.type, (type, *around), depth + 1) for field in type.fields}
    shape = type.python
    if not isinstance(shape, Shape) or shape.style == "typeddict":
        return st.fixed_dictionaries(parts)
    return st.fixed_dictionaries(parts).map(lambda given: make(shape, given))


def make(shape: Shape, given: dict[str, Any]) -> Any:
    """An instance with these fields, made without validation: exactly these values are in it."""
    if shape.style == "pydantic":
        instance = shape.cls.model_construct()  # type: ignore[attr-defined]
        instance.__dict__.clear()
        instance.__dict__.update(given)
        object.__setattr__(instance, "__pydantic_fields_set__", set(given))
        return instance
    instance = object.__new__(shape.cls)
    for name, value in given.items():
        object.__setattr__(instance, name, value)
    return instance


def ref_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    count = type.values[0]
    return st.deferred(lambda: values(around[count], around[count + 1 :], depth + 1))


def any_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return ANYTHING


def custom_values(type: Type, around: tuple[Type, ...], depth: int) -> Values:
    return values(type.items[0], around, depth) if type.items else ANYTHING


BUILDERS: dict[str, Any] = (
    dict.fromkeys(SCALARS, scalar_values)
    | dict.fromkeys(("enum", "literal"), chosen_values)
    | dict.fromkeys(("list", "vartuple", "set", "frozenset"), list_values)
    | {
        "optional": optional_values,
        "tuple": tuple_values,
        "dict": dict_values,
        "union": union_values,
        "object": object_values,
        "ref": ref_values,
        "any": any_values,
        "custom": custom_values,
    }
)


def instances(cls: type, **fields: Values) -> Values:
    """Instances of a class. Fields of custom types that do not take just any stored value are given strategies."""
    row = row_type(cls)
    parts = {f.name: fields[f.name] if f.name in fields else values(f.type, (row,), 1) for f in row.fields}
    return st.fixed_dictionaries(parts).map(lambda given: make(row.python, given))


# Types of the dict interface

SCALAR_TYPES = st.sampled_from(sorted(SCALARS)).map(Type)
ENUMS = st.lists(TEXT, min_size=1, max_size=5, unique=True).map(lambda names: Type("enum", values=tuple(names)))
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=6)


def objects(inner: st.SearchStrategy[Type], min_size: int = 1) -> st.SearchStrategy[Type]:
    """Object types with fields of the given types."""
    fields = st.dictionaries(NAMES, inner, min_size=min_size, max_size=5)
    return fields.map(lambda named: Type("object", fields=tuple(Field(n, t) for n, t in named.items())))


def containers(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    single = st.sampled_from(["list", "vartuple"])
    return st.one_of(
        inner.filter(lambda type: type.kind != "optional").map(lambda item: Type("optional", (item,))),
        st.builds(lambda kind, item: Type(kind, (item,)), single, inner),
        st.builds(lambda kind, item: Type(kind, (item,)), st.sampled_from(["set", "frozenset"]), SCALAR_TYPES),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: Type("tuple", tuple(items))),
        st.builds(lambda key, item: Type("dict", (key, item)), SCALAR_TYPES, inner),
        objects(inner),
    )


TYPES: st.SearchStrategy[Type] = st.recursive(SCALAR_TYPES | ENUMS, containers, max_leaves=8)


@st.composite
def rows(draw: st.DrawFn) -> Type:
    """Row types with an `id` and a few fields of any type."""
    row = draw(objects(TYPES))
    fields = tuple(field for field in row.fields if field.name != "id")
    return replace(row, fields=(Field("id", draw(SCALAR_TYPES)), *fields))


LENGTHS = st.integers(0, 8).map(lambda size: [Constraint("min_len", size), Constraint("max_len", size + 20)])
CONSTRAINED = st.builds(constrain, st.just(Type("string")), LENGTHS)
