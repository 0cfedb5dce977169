"""A model class as a collection: its schema, its markers, its class attributes, and its fit with what is stored."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from modelvault._frozen import replace
from modelvault._kinds import is_series, kind_of
from modelvault.annotations import is_pydantic, row_type
from modelvault.errors import ModelVaultFormatError, ModelVaultQueryError, ModelVaultSchemaError
from modelvault.expressions import Fields, reference
from modelvault.schema import Index, Schema, Shape, Type
from modelvault.specs import ClassRef, IndexSpec
from modelvault.types import Field

__all__ = [
    "attach_refs",
    "bind",
    "bind_older",
    "check_instance",
    "collection_name",
    "describe",
    "fields",
    "part_of",
    "schema_of",
]

M = TypeVar("M")

INTEGERS: Final = frozenset(("int", "int64", "uint64"))


def schema_of(cls: type) -> Schema:
    """The schema that a model class declares, with its Python bindings.

    ModelVaultSchemaError (a ValueError) if the markers are missing or wrong, a field's type cannot be stored, or no row
    could satisfy the schema.
    """
    check_model(cls)
    primary = getattr(cls, "__modelvault_primary_key__", None)
    if primary is None:
        raise ModelVaultSchemaError(f'model must define __modelvault_primary_key__ = "field": {cls.__name__} does not')
    if not isinstance(primary, str):
        raise ModelVaultSchemaError("__modelvault_primary_key__ must be a string field name")
    schema = Schema(collection_name(cls).strip(), primary.strip(), row_type(cls), declared_indexes(cls))
    schema.check()
    return schema


def check_model(cls: object) -> None:
    """ModelVaultSchemaError for what is no model class."""
    if not isinstance(cls, type) or not (hasattr(cls, "__dataclass_fields__") or is_pydantic(cls)):
        raise ModelVaultSchemaError(f"model must be a dataclass or a pydantic.BaseModel subclass, not {cls!r}")


def collection_name(cls: type) -> str:
    """A model's collection: `__modelvault_collection__`, or its name in the plural (OrderLine: order_lines)."""
    given = getattr(cls, "__modelvault_collection__", None)
    if given is None:
        first, rest = cls.__name__[:1], cls.__name__[1:]
        name = first + "".join(f"_{letter}" if "A" <= letter <= "Z" else letter for letter in rest)
        name = name.lower()
        return name + ("es" if name.endswith("s") else "s")
    if not isinstance(given, str):
        raise ModelVaultSchemaError("__modelvault_collection__ must be a string")
    return given


def declared_indexes(cls: type) -> tuple[Index, ...]:
    """The indexes that a class declares. ModelVaultSchemaError for what is none."""
    specs = getattr(cls, "__modelvault_indexes__", [])
    if not is_series(specs):
        raise ModelVaultSchemaError("__modelvault_indexes__ must be a list of modelvault.models.index/unique specs")
    if not all(isinstance(spec, IndexSpec) for spec in specs):
        raise ModelVaultSchemaError(
            "__modelvault_indexes__ must contain IndexSpec values from modelvault.models.index/unique"
        )
    return tuple(Index(spec.name.strip(), spec.paths, spec.unique) for spec in specs)


def attach_refs(cls: type, row: Schema | Type) -> None:
    """Put a FieldRef on the class for each field (`Book.title`), unless the class has an attribute of that name."""
    for field in row.fields:
        if not hasattr(cls, field.name):
            setattr(cls, field.name, ClassRef(cls, reference((field.name,), cls, field.type)))


def fields(cls: type[M]) -> Fields[M]:
    """The fields of a model, for queries: `u = fields(User)`, `users.where(u.age >= 18)`.

    An attribute is a FieldRef; AttributeError if the model has no such field. From then on `User.age` is one, too.
    """
    check_model(cls)
    return Fields(cls, field_types)


def field_types(cls: type) -> dict[str, Type]:
    """The types of a model's fields by name; from then on they are its attributes, too."""
    type = row_type(cls)
    attach_refs(cls, type)
    return {field.name: field.type for field in type.fields}


def part_of(stored: Schema, cls: type) -> Schema:
    """The schema of a collection for a model that knows some of its fields, and is only read."""
    check_model(cls)
    row = row_type(cls)
    known = {field.name for field in stored.fields}
    for field in row.fields:
        if field.name not in known:
            raise ModelVaultQueryError(
                f'query error: unknown field path "{field.name}" in {stored.name}: {cls.__name__} has it'
            )
    part = replace(stored, type=with_constraints(stored.type, row))
    bind(stored, part)
    return part


def with_constraints(stored: Type, mapped: Type) -> Type:
    """The mapped type with the constraints of the stored one, as far as they agree: who only reads needs none."""
    known = {field.name: field.type for field in stored.fields}
    fields = tuple(
        replace(field, type=with_constraints(known[field.name], field.type)) if field.name in known else field
        for field in mapped.fields
    )
    items = mapped.items
    if len(items) == len(stored.items):
        items = tuple(map(with_constraints, stored.items, items))
    return replace(mapped, constraints=stored.constraints, fields=fields, items=items)


def check_instance(cls: type, row: object) -> None:
    """Raise TypeError unless the row is an instance of the collection's model."""
    if not isinstance(row, cls):
        given = "a dict" if isinstance(row, dict) else f"an instance of {type(row).__name__}"
        hint = f"; make one with {cls.__name__}(**row)" if isinstance(row, dict) else ""
        raise TypeError(f"expected an instance of {cls.__name__}, not {given}{hint}")


def bind(stored: Schema, mapped: Schema) -> Schema:
    """The stored layout with a model's bindings, for a model that opens an existing collection.

    The model may know fewer fields than are stored; what it knows must agree. Raises ModelVaultSchemaError for another
    primary key, a field that is not stored, other indexes or constraints, ModelVaultFormatError for another type.
    """
    if stored.primary != mapped.primary:
        raise ModelVaultSchemaError(
            f'schema error: primary field "{mapped.primary}" is not the collection\'s, which is "{stored.primary}"'
        )
    row = bind_object(stored.type, mapped.type, "", whole=False)
    subset = len(mapped.fields) < len(stored.fields) and not mapped.indexes
    if not subset and set(stored.indexes) != set(mapped.indexes):
        raise ModelVaultSchemaError(
            "schema error: incompatible schema change: model index definitions do not match collection catalog: "
            f"{names(mapped)} in {mapped.name}, {names(stored)} in the catalog"
        )
    return replace(stored, type=row)


def names(schema: Schema) -> str:
    """The names of a schema's indexes."""
    return ", ".join(sorted(index.name for index in schema.indexes)) or "none"


def bind_object(stored: Type, mapped: Type, path: str, *, whole: bool) -> Type:
    """The stored fields in their order, each with the model's binding; `whole` refuses a model that lacks some."""
    known = {field.name: field for field in mapped.fields}
    for name in known.keys() - {field.name for field in stored.fields}:
        raise ModelVaultSchemaError(f'schema error: insert row has unknown field "{path}{name}"')
    fields: list[Field] = []
    for field in stored.fields:
        model = known.get(field.name)
        if model is None and whole:
            raise mismatch(f"{path}{field.name}", field.type, None)
        if model is None:
            fields.append(field)
        else:
            bound = bind_type(field.type, model.type, f"{path}{field.name}")
            fields.append(replace(model, name=field.name, type=bound, stored_fill=field.stored_fill))
    shape = mapped.python
    if isinstance(shape, Shape):
        attributes = dict(zip(known, shape.attributes, strict=True))
        shape = replace(shape, attributes=tuple(attributes.get(field.name) for field in stored.fields))
    return replace(stored, fields=tuple(fields), python=shape)


def bind_type(stored: Type, mapped: Type, path: str) -> Type:
    """One type bound; `custom` counts as what it is stored as, and the model's `int` fits 0.16's integers."""
    if mapped.kind == "custom" and mapped.items:
        inner = bind_type(bare_custom(stored), mapped.items[0], path)
        return replace(mapped, items=(inner,))
    stored = bare_custom(stored)
    same = stored.kind == mapped.kind or (stored.kind in INTEGERS and mapped.kind in INTEGERS)
    if not same or len(stored.items) != len(mapped.items):
        raise mismatch(path, stored, mapped)
    if set(stored.constraints) != set(mapped.constraints):
        raise ModelVaultSchemaError(
            "schema error: incompatible schema change: model constraints do not match collection catalog: "
            f'field "{path}" has {texts(mapped)} in the model, {texts(stored)} in the catalog'
        )
    if stored.kind == "object":
        return bind_object(stored, mapped, f"{path}.", whole=True)
    if stored.kind in ("enum", "literal"):
        return bind_values(stored, mapped, path)
    if stored.kind == "ref" and stored.values != mapped.values:
        raise mismatch(path, stored, mapped)
    items = tuple(bind_type(old, new, path) for old, new in zip(stored.items, mapped.items, strict=True))
    return replace(stored, items=items, python=mapped.python)


def bind_older(older: Type, newest: Type) -> Type:
    """A layout of an older schema version with the bindings of the newest one; a field that is gone has none."""
    if newest.kind == "custom" and newest.items:
        return replace(newest, items=(bind_older(bare_custom(older), newest.items[0]),))
    older = bare_custom(older)
    if newest.kind == "optional":
        if older.kind != "optional":
            return bind_older(older, newest.items[0])
    elif older.kind == "object" == newest.kind:
        return bind_older_object(older, newest)
    elif older.kind in ("enum", "literal") and newest.python is not None:
        members = {(value.__class__, value): member for value, member in zip(newest.values, newest.python, strict=True)}
        python = tuple(members[value.__class__, value] for value in older.values)
        return replace(older, python=python)
    # A union may have grown at its end.
    items = tuple(bind_older(old, new) for old, new in zip(older.items, newest.items, strict=False))
    python = newest.python
    if older.kind == "union" and python is not None:
        python = python[: len(items)]
    return replace(older, items=items, python=python)


def bind_older_object(older: Type, newest: Type) -> Type:
    """An older object with the bindings of the newest one's fields."""
    known = {field.name: field for field in newest.fields}
    fields: list[Field] = []
    for field in older.fields:
        model = known.get(field.name)
        bound = field.type if model is None else bind_older(field.type, model.type)
        fields.append(replace(model or field, name=field.name, type=bound))
    shape = newest.python
    if isinstance(shape, Shape):
        attributes = dict(zip(known, shape.attributes, strict=True))
        shape = replace(shape, attributes=tuple(attributes.get(field.name) for field in older.fields))
    return replace(older, fields=tuple(fields), python=shape)


def bare_custom(type: Type) -> Type:
    """What a custom type is stored as; any other type itself."""
    return type.items[0] if type.kind == "custom" and type.items else type


def texts(type: Type) -> str:
    """A type's constraints in words."""
    return ", ".join(f"{constraint.kind}={constraint.value}" for constraint in type.constraints) or "none"


def bind_values(stored: Type, mapped: Type, path: str) -> Type:
    """An enum in the stored order of its values; the model's may have another."""
    old = [(kind_of(value), value) for value in stored.values]
    new = [(kind_of(value), value) for value in mapped.values]
    if set(old) != set(new):
        raise mismatch(path, stored, mapped)
    if mapped.python is None:
        return stored
    members: dict[Any, Any] = dict(zip(new, mapped.python, strict=True))
    return replace(stored, python=tuple(members[key] for key in old))


def mismatch(path: str, stored: Type, mapped: Type | None) -> ModelVaultFormatError:
    """The error for a field that the model has otherwise."""
    model = "does not have it" if mapped is None else f"says {describe(mapped)}"
    return ModelVaultFormatError(
        f'format error: record payload type does not match schema: field "{path}" is stored as {describe(stored)}, '
        f"the model {model}"
    )


def describe(type: Type) -> str:
    """A type in a few words, for messages."""
    inside = ", ".join(describe(item) for item in type.items) or ", ".join(map(repr, type.values[:8]))
    inside = inside or ", ".join(field.name for field in type.fields[:8])
    return f"{type.kind}[{inside}]" if inside else type.kind
