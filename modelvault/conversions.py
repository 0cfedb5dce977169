"""Types that the format does not have, as `custom`: a plain value to store, and how to get the object back.

The only file that imports pydantic, and only when a model has a type that nobody else knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Flag
from typing import Annotated, Any, Final

from modelvault.types import Type

__all__ = ["adapted", "converted", "custom", "plain_pydantic"]

STRING: Final = Type("string")

# Classes that are their text, by module and name: importing them all would cost more than the rest of this package.
TEXTS: Final = {("pathlib", "PurePath"), ("fractions", "Fraction")} | {
    ("ipaddress", f"IPv{version}{what}") for version in "46" for what in ("Address", "Interface", "Network")
}

# Pydantic's annotations whose values are plain ones.
PYDANTIC: Final = {
    "EmailStr": STRING,
    "PastDate": Type("date"),
    "FutureDate": Type("date"),
    "AwareDatetime": Type("timestamp", python="datetime"),
    "NaiveDatetime": Type("timestamp", python="datetime"),
    "PastDatetime": Type("timestamp", python="datetime"),
    "FutureDatetime": Type("timestamp", python="datetime"),
    "Json": Type("any"),
}


def custom(
    cls: type | tuple[type, ...], inner: Type | None, dump: Callable[[Any], Any], load: Callable[[Any], Any]
) -> Type:
    """A `custom` type of the instances of cls; without inner, what it dumps is stored with its tags."""

    def checked(value: Any) -> Any:
        if not isinstance(value, cls):
            names = " or ".join(part.__name__ for part in (cls if isinstance(cls, tuple) else (cls,)))
            raise TypeError(f"expected {names}, not {type(value).__name__}")
        return dump(value)

    return Type("custom", () if inner is None else (inner,), python=(checked, load))


def plain_pydantic(cls: type) -> Type | None:
    """The type behind one of Pydantic's own annotations for plain values, None for all else."""
    return PYDANTIC.get(cls.__name__) if cls.__module__.partition(".")[0] == "pydantic" else None


def converted(cls: Any) -> Type | None:
    """The custom type of a class that needs no library to be taken apart, None for all else."""
    bases = {(base.__module__.partition(".")[0], base.__name__) for base in cls.__mro__}
    if bases & TEXTS:
        return custom(cls, STRING, str, cls)
    if issubclass(cls, Flag):
        return custom(cls, Type("int"), lambda value: value.value, cls)
    if ("zoneinfo", "ZoneInfo") in bases:
        return custom(cls, STRING, lambda zone: zone.key, cls)
    if issubclass(cls, bytearray):
        return custom(cls, Type("bytes"), bytes, cls)
    if issubclass(cls, complex):
        parts = Type("tuple", (Type("float64"), Type("float64")))
        return custom(cls, parts, lambda value: (value.real, value.imag), lambda pair: cls(*pair))
    if ("re", "Pattern") in bases:
        return custom(cls, None, lambda value: (value.pattern, value.flags), lambda pair: re.compile(*pair))
    if ("pydantic", "SecretStr") in bases:
        return custom(cls, STRING, lambda value: value.get_secret_value(), cls)
    if ("pydantic", "SecretBytes") in bases:
        return custom(cls, Type("bytes"), lambda value: value.get_secret_value(), cls)
    return subclassed(cls)


def subclassed(cls: type) -> Type | None:
    """A user's subclass of str, int, float, bytes: stored as its base, made again by calling it."""
    if issubclass(cls, str):
        return custom(cls, STRING, str.__str__, cls)
    if issubclass(cls, int):
        return custom(cls, Type("int"), int.__int__, cls)
    if issubclass(cls, float):
        return custom(cls, Type("float64"), float.__float__, cls)
    if issubclass(cls, bytes):
        return custom(cls, Type("bytes"), lambda value: bytes.__getitem__(value, slice(None)), cls)
    return None


def adapted(annotation: Any, metadata: Sequence[Any] = ()) -> Type | None:
    """The custom type of whatever Pydantic can turn into JSON values and back, None if it cannot or is not there."""
    try:
        from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
    except ImportError:
        return None
    special: Any = Annotated
    parts = (annotation, *metadata)
    whole: Any = special[parts] if metadata else annotation
    try:
        try:
            adapter = TypeAdapter[Any](whole)
        except PydanticSchemaGenerationError:
            adapter = TypeAdapter[Any](whole, config={"arbitrary_types_allowed": True})
            if adapter.core_schema["type"] == "is-instance":
                return None
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None

    def dump(value: Any) -> Any:
        return adapter.dump_python(value, mode="json", round_trip=True, warnings="error")

    if is_text(annotation):
        cls = annotation
        return custom(cls, STRING, str, adapter.validate_python)
    return Type("custom", python=(dump, adapter.validate_python))


def is_text(annotation: Any) -> bool:
    """Pydantic's URLs: their text says everything, and may be a key."""
    return isinstance(annotation, type) and any(
        base.__name__ in ("_BaseUrl", "_BaseMultiHostUrl") and base.__module__.startswith("pydantic")
        for base in annotation.__mro__
    )
