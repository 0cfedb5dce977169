"""Are two values the same, in every way a user can see? Stricter than ==: types, signs of zero, folds, unset fields."""

import dataclasses
import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel


def assert_same(actual: Any, expected: Any, *, exact: bool = True) -> None:
    """Fail with the place and both values unless they are the same. exact: the order of dicts and fields-set count."""
    found = next(differences(actual, expected, "row", exact), None)
    assert found is None, found


def differences(actual: Any, expected: Any, path: str, exact: bool) -> Iterator[str]:
    """One line for each difference."""
    cls = type(expected)
    if type(actual) is not cls:
        yield f"{path}: {actual!r} is {type(actual).__name__}, not {cls.__name__} like {expected!r}"
    elif isinstance(expected, BaseModel):
        yield from model_differences(actual, expected, path, exact)
    elif dataclasses.is_dataclass(cls):
        yield from dataclass_differences(actual, expected, path, exact)
    elif isinstance(expected, Enum):
        if actual is not expected:
            yield f"{path}: {actual!r} is not {expected!r}"
    elif isinstance(expected, Mapping):
        yield from dict_differences(actual, expected, path, exact)
    elif isinstance(expected, list | tuple):
        yield from list_differences(actual, expected, path, exact)
    elif isinstance(expected, set | frozenset):
        if sorted(map(signature, actual)) != sorted(map(signature, expected)):
            yield f"{path}: {actual!r} is not {expected!r}"
    elif signature(actual) != signature(expected):
        yield f"{path}: {actual!r} is not {expected!r}"


def model_differences(actual: Any, expected: Any, path: str, exact: bool) -> Iterator[str]:
    yield from dict_differences(actual.__dict__, expected.__dict__, path, False)
    for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")[not exact :]:
        yield from differences(getattr(actual, name), getattr(expected, name), f"{path}.{name}", exact)


def dataclass_differences(actual: Any, expected: Any, path: str, exact: bool) -> Iterator[str]:
    names = [field.name for field in dataclasses.fields(expected)] + sorted(getattr(expected, "__dict__", ()))
    for name in dict.fromkeys(names):
        if hasattr(actual, name) != hasattr(expected, name):
            yield f"{path}.{name}: only one of the two has it"
        elif hasattr(expected, name):
            yield from differences(getattr(actual, name), getattr(expected, name), f"{path}.{name}", exact)
    for name in getattr(actual, "__dict__", {}).keys() - set(names):
        yield f"{path}.{name}: nobody asked for it"


def dict_differences(actual: Any, expected: Any, path: str, exact: bool) -> Iterator[str]:
    if isinstance(expected, defaultdict) and actual.default_factory is not expected.default_factory:
        yield f"{path}: makes missing values with {actual.default_factory!r}, not {expected.default_factory!r}"
    keys, others = list(map(signature, expected)), list(map(signature, actual))
    if sorted(keys) != sorted(others) or (exact and keys != others):
        yield f"{path}: has the keys {list(actual)!r}, not {list(expected)!r}"
        return
    items = dict(zip(others, actual.values(), strict=True))
    for key, value in expected.items():
        yield from differences(items[signature(key)], value, f"{path}[{key!r}]", exact)


def list_differences(actual: Any, expected: Any, path: str, exact: bool) -> Iterator[str]:
    if len(actual) != len(expected):
        yield f"{path}: {actual!r} is not {expected!r}"
    for place, (one, other) in enumerate(zip(actual, expected, strict=False)):
        yield from differences(one, other, f"{path}[{place}]", exact)


def signature(value: Any) -> tuple[str, str, Any]:
    """Something that is equal for equal values of one type only, and that can be sorted."""
    cls = type(value)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if isinstance(value, float):
        return name, "nan" if math.isnan(value) else struct.pack("<d", value).hex(), ()
    if isinstance(value, complex):
        return name, "", (signature(value.real), signature(value.imag))
    if isinstance(value, datetime | time):
        return name, f"{value.replace(tzinfo=None, fold=0)!r} {value.utcoffset()!r} {value.fold}", ()
    if isinstance(value, Decimal):
        return name, repr(value.as_tuple()), ()
    if isinstance(value, tuple | frozenset):
        parts = map(signature, value)
        return name, "", tuple(parts if isinstance(value, tuple) else sorted(parts))
    if hasattr(value, "get_secret_value"):
        return name, "", signature(value.get_secret_value())
    return name, repr(value), ()
