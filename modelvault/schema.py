"""What a collection holds, and how the catalog keeps that as JSON. Immutable; knows neither files nor bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from math import isfinite
from typing import Any, Final

from modelvault._frozen import frozen
from modelvault._kinds import is_dict
from modelvault.errors import ModelVaultFormatError
from modelvault.fields_json import parse_fields, parse_indexes, text
from modelvault.fits import with_choices
from modelvault.rules import check_indexes, check_name, check_primary, check_type, find
from modelvault.types import KINDS, MISSING, SCALARS, Constraint, Field, Index, Missing, Shape, Type, class_of

__all__ = ["MISSING", "SCALARS", "Constraint", "Field", "Index", "Missing", "Schema", "Shape", "Type"]

JSON_FORM: Final = 1  # changes when from_json could not read what to_json wrote before


@frozen
class Schema:
    """A collection's definition: `type` is the object type of its rows, `primary` the name of its key field."""

    name: str
    primary: str
    type: Type
    indexes: tuple[Index, ...] = ()
    version: int = 1

    @classmethod
    def from_fields_json(
        cls, name: str, fields_json: str, primary: str, indexes_json: str | None = None, version: int = 1
    ) -> Schema:
        """The schema that 0.16's `register_collection` arguments declare, checked."""
        name = check_name(text(name, "name"))
        row = parse_fields(fields_json)
        primary = check_name(text(primary, "primary_field"))
        schema = cls(name, primary, with_choices(row), parse_indexes(indexes_json, row), version)
        schema.check()
        return schema

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a row, in declaration order."""
        return self.type.fields

    def check(self) -> None:
        """Raise ModelVaultSchemaError or ModelVaultValidationError unless rows can satisfy this schema."""
        check_name(self.name)
        check_type(self.type)
        check_primary(self.type, self.primary)
        check_indexes(self.type, self.indexes)

    def find(self, path: Sequence[str]) -> Type | None:
        """The type at a path of field names, None if there is no such field."""
        return find(self.type, path)

    def index(self, name: str) -> Index | None:
        """The index of that name, None if there is none."""
        return next((index for index in self.indexes if index.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The definition as JSON values: the same for equal schemas, without any Python binding."""
        form = {
            "form": JSON_FORM,
            "name": self.name,
            "primary": self.primary,
            "version": self.version,
            "fields": [field_json(field) for field in self.type.fields],
            "indexes": [[index.name, [list(path) for path in index.paths], index.unique] for index in self.indexes],
        }
        return form | {"extras": True} if self.type.extras else form

    @classmethod
    def from_json(cls, source: Any, *, older: bool = False) -> Schema:
        """The schema that `to_json` wrote; ModelVaultFormatError if it is of a later form, or no such thing.

        older: it is not the newest of its collection, and may have fields without a name.
        """
        try:
            if source["form"] > JSON_FORM:
                raise ModelVaultFormatError(
                    f"format error: the catalog's schemas have form {source['form']}, this version reads {JSON_FORM}"
                )
            fields = tuple(field_from(part) for part in source["fields"])
            row = Type("object", fields=fields, extras=bool(source.get("extras", False)))
            indexes = tuple(
                Index(name, tuple(tuple(path) for path in paths), bool(unique))
                for name, paths, unique in source["indexes"]
            )
            check_type(row, older=older)  # before anything relies on its form
            schema = cls(source["name"], source["primary"], with_choices(row), indexes, source["version"])
            if not older:
                schema.check()
        except ModelVaultFormatError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ModelVaultFormatError(f"format error: invalid schema in the catalog: {error!r}") from error
        return schema


def type_json(type: Type) -> Any:
    """A type as JSON values; a plain scalar is its name."""
    form: dict[str, Any] = {"kind": type.kind}
    if type.items:
        form["items"] = [type_json(item) for item in type.items]
    if type.kind == "object":
        form["fields"] = [field_json(field) for field in type.fields]
    if type.values:
        form["values"] = [value_json(value) for value in type.values]
    if type.constraints:
        form["constraints"] = [[constraint.kind, value_json(constraint.value)] for constraint in type.constraints]
    for flag in ("group", "extras"):
        if getattr(type, flag):
            form[flag] = True
    return type.kind if len(form) == 1 else form


def field_json(field: Field) -> list[Any]:
    """A field as JSON values: name, type and, if older rows have something else than None in its place, the fill."""
    form = [field.name, type_json(field.type)]
    return form if field.stored_fill is None else [*form, to_base64(field.stored_fill)]


def field_from(source: Any) -> Field:
    """The inverse of `field_json`."""
    name, inner, *fill = source
    return Field(name, type_from(inner), stored_fill=from_base64(fill[0]) if fill else None)


def type_from(source: Any) -> Type:
    """The inverse of `type_json`."""
    plain = isinstance(source, str)
    kind = source if plain else source["kind"]
    if kind not in KINDS:
        raise ModelVaultFormatError(f"format error: unknown type {kind!r} in the catalog")
    if plain:
        return Type(kind)
    return Type(
        kind,
        items=tuple(type_from(item) for item in source.get("items", ())),
        fields=tuple(field_from(part) for part in source.get("fields", ())),
        values=tuple(value_from(value) for value in source.get("values", ())),
        constraints=tuple(Constraint(name, value_from(value)) for name, value in source.get("constraints", ())),
        group=bool(source.get("group", False)),
        extras=bool(source.get("extras", False)),
    )


def to_base64(data: bytes) -> str:
    """Bytes as JSON can have them."""
    from base64 import b64encode  # only here: few schemas have bytes

    return b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """The reverse of to_base64."""
    from base64 import b64decode

    return b64decode(text)


def value_json(value: object) -> Any:
    """A scalar as JSON: itself where JSON has it, else an object with the name of its kind."""
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else {"float64": repr(value)}
    if isinstance(value, bytes):
        return {"bytes": to_base64(value)}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, datetime):
        return {"timestamp": value.isoformat()}
    if isinstance(value, date | time):
        return {type(value).__name__: value.isoformat()}
    for kind in ("decimal", "uuid"):
        if isinstance(value, class_of(kind)):
            return {kind: str(value)}
    raise TypeError(f"no JSON form for {value!r}")


def value_from(source: Any) -> object:
    """The inverse of `value_json`."""
    if not is_dict(source):
        return source
    ((kind, inner),) = source.items()
    read = READERS.get(kind) or class_of(kind)
    return read(inner)


def timedelta_from(parts: list[int]) -> timedelta:
    """From days, seconds and microseconds."""
    return timedelta(*parts)


READERS: Final[dict[str, Any]] = {
    "float64": float,
    "bytes": from_base64,
    "timedelta": timedelta_from,
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
}
