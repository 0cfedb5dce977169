"""Which member of a union a value belongs to: predicates over Python values, built once for each type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from operator import ge, gt, le, lt
from typing import Any, Final

from modelvault._frozen import replace
from modelvault._kinds import is_dict, is_tuple, kind_of
from modelvault.types import SCALARS, Field, Shape, Type, class_of

__all__ = ["choice", "fits", "with_choices"]

Predicate = Callable[[Any], bool]

CONTAINERS: Final[dict[str, type]] = {
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "vartuple": tuple,
    "tuple": tuple,
    "dict": dict,
}
TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": gt,
    "lt": lt,
    **dict.fromkeys(("ge", "min_i64", "min_u64", "min_f64"), ge),
    **dict.fromkeys(("le", "max_i64", "max_u64", "max_f64"), le),
    "min_len": lambda value, bound: len(value) >= bound,
    "max_len": lambda value, bound: len(value) <= bound,
}


def with_choices(type: Type) -> Type:
    """The type with a `python` rule on every union inside that has none, so that values find their member."""
    if not (type.items or type.fields):
        return type
    items = tuple(with_choices(item) for item in type.items)
    fields = tuple(replace(field, type=with_choices(field.type)) for field in type.fields)
    python = type.python
    if type.kind == "union" and python is None:
        python = choices(items)
    return replace(type, items=items, fields=fields, python=python)


def choices(items: tuple[Type, ...]) -> tuple[object, ...]:
    """The rule of a union: one class or predicate for each member."""
    found = [choice(item) for item in items]
    classes = [entry for entry in found if isinstance(entry, type)]
    # Two members of one class (int with and without bounds, say) need a closer look than their class.
    return tuple(
        fits(item) if isinstance(entry, type) and classes.count(entry) > 1 else entry
        for item, entry in zip(items, found, strict=True)
    )


def choice(item: Type) -> type | Predicate:
    """A class if that alone decides, else a predicate."""
    if item.kind in SCALARS and item.kind != "date":
        return class_of(item.kind)
    if item.kind == "object" and isinstance(item.python, Shape) and item.python.style != "typeddict":
        return item.python.cls
    if item.kind == "ref" and isinstance(item.python, type):
        return item.python
    if item.kind == "enum" and is_tuple(item.python):
        member: type = kind_of(item.python[0])
        return member
    return fits(item)


def fits(type: Type) -> Predicate:
    """A predicate: is this value one of the type's own, without conversion? Bounds count, patterns do not."""
    build = BUILDERS.get(type.kind, fits_anything)
    return build(type)


def fits_scalar(type: Type) -> Predicate:
    """What tells whether a plain value is one of this scalar type."""
    cls = class_of(type.kind)
    if cls is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool) and bounded(type, value)
    if cls is date:
        return lambda value: isinstance(value, date) and not isinstance(value, datetime)
    return lambda value: isinstance(value, cls) and bounded(type, value)


def bounded(type: Type, value: Any) -> bool:
    """Do the ordering constraints hold? Only these tell members of a union apart in practice."""
    return all(test(value, constraint.value) for constraint in type.constraints if (test := TESTS.get(constraint.kind)))


def fits_value(of: Type) -> Predicate:
    """Of an enum or a Literal: is it one of its values?"""
    if of.python is not None:
        members: tuple[Any, ...] = of.python
        return lambda value: any(
            value is member or (type(value), value) == (type(member), member) for member in members
        )
    values: frozenset[tuple[type[Any], Any]] = frozenset((kind_of(value), value) for value in of.values)
    return lambda value: (type(value), value) in values if value.__hash__ is not None else False


def fits_optional(type: Type) -> Predicate:
    """None, or what fits inside."""
    inner = fits(type.items[0])
    return lambda value: value is None or inner(value)


def fits_each(type: Type) -> Predicate:
    """Of a list, set and so on: does each item fit?"""
    cls: Any = CONTAINERS[type.kind]
    inner = fits(type.items[0])
    return lambda value: isinstance(value, cls) and bounded(type, value) and all(inner(item) for item in value)


def fits_tuple(type: Type) -> Predicate:
    """Of a tuple of fixed length."""
    inner = [fits(item) for item in type.items]
    return lambda value: (
        is_tuple(value)
        and len(value) == len(inner)
        and all(test(item) for test, item in zip(inner, value, strict=True))
    )


def fits_dict(type: Type) -> Predicate:
    """Of a dict: do keys and values fit?"""
    key, inner = fits(type.items[0]), fits(type.items[1])
    return lambda value: is_dict(value) and all(key(k) and inner(v) for k, v in value.items())


def fits_object(type: Type) -> Predicate:
    """Of a model: is it an instance? Of a dict with fields: do they fit?"""
    shape = type.python
    if isinstance(shape, Shape) and shape.style != "typeddict":
        cls = shape.cls
        return lambda value: isinstance(value, cls)
    tests = {field.name: fits(field.type) for field in type.fields}
    needed = {field.name for field in type.fields if required(field)}
    return lambda value: (
        is_dict(value)
        and needed <= value.keys()
        and all(tests[name](part) if name in tests else type.extras for name, part in value.items())
    )


def required(field: Field) -> bool:
    """Must a dict have this key? Optional fields may be absent, and groups of nothing but such fields."""
    if field.type.kind == "object" and field.type.group:
        return any(required(part) for part in field.type.fields)
    return field.type.kind != "optional"


def fits_union(type: Type) -> Predicate:
    """Does it fit a member?"""
    tests = [fits(item) for item in type.items]
    return lambda value: any(test(value) for test in tests)


def fits_custom(type: Type) -> Predicate:
    """Of a type that is stored as another one: is what becomes of it such?"""
    inner = fits(type.items[0]) if type.items else fits_anything(type)
    if type.python is None:
        return inner
    dump: Callable[[Any], Any] = type.python[0]

    def test(value: Any) -> bool:
        try:
            return inner(dump(value))
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            return False

    return test


def fits_ref(of: Type) -> Predicate:
    """Of a model within itself: is it an instance?"""
    cls = of.python if isinstance(of.python, type) else dict
    return lambda value: isinstance(value, cls)


def fits_anything(type: Type) -> Predicate:
    """Everything fits."""
    return lambda value: True


BUILDERS: Final[dict[str, Callable[[Type], Predicate]]] = (
    dict.fromkeys(SCALARS, fits_scalar)
    | dict.fromkeys(("list", "set", "frozenset", "vartuple"), fits_each)
    | {
        "enum": fits_value,
        "literal": fits_value,
        "optional": fits_optional,
        "tuple": fits_tuple,
        "dict": fits_dict,
        "object": fits_object,
        "union": fits_union,
        "custom": fits_custom,
        "ref": fits_ref,
    }
)
