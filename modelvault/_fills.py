"""Fills: what stands in a field's place in rows that are older than the field, as the catalog keeps it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from modelvault._core.record import RecordCodec
from modelvault._frozen import replace
from modelvault.converters import converter
from modelvault.errors import ModelVaultSchemaError
from modelvault.fits import with_choices
from modelvault.lineage import default_of, is_constant, is_optional, sources
from modelvault.members import Whole, tagged
from modelvault.rules import bare
from modelvault.schema import SCALARS, Field, Type
from modelvault.types import MISSING, Shape

__all__ = [
    "alone",
    "fill_type",
    "first_fill",
    "groups_moved",
    "next_fill",
    "plain_default",
    "sorted_out",
    "unbound",
    "whole",
]


def alone(field: Field, version: int = 0) -> RecordCodec:
    """The codec of records that have this field only."""
    return RecordCodec(Type("object", fields=(Field(field.name, field.type),)), version)


def plain(type: Type) -> Type:
    """The type as the dict interface sees it, with datetimes for timestamps, which keep their zones."""
    items = tuple(plain(item) for item in type.items)
    fields = tuple(replace(field, type=plain(field.type), default=MISSING, factory=None) for field in type.fields)
    python = "datetime" if type.kind == "timestamp" else None
    return replace(type, items=items, fields=fields, python=python)


def unbound(type: Type) -> Type:
    """`plain`, and unions know their members."""
    return with_choices(plain(type))


def sorted_out(type: Type, tracks: bool = False) -> Type:
    """`plain`, and values of unions are Members, objects Wholes where there is more to them.

    tracks: what a row is too old for is not set.
    """
    return whole(tagged(plain(type)), tracks)


def whole(type: Type, tracks: bool) -> Type:
    """A plain type whose objects keep all that is stored of them."""
    items = tuple(whole(item, tracks) for item in type.items)
    fields = tuple(replace(field, type=whole(field.type, tracks)) for field in type.fields)
    python = type.python
    if type.kind == "object" and not type.group:
        names = tuple(field.name for field in fields)
        python = Shape(Whole, "whole", names, extras=type.extras, tracks=tracks)
    return replace(type, items=items, fields=fields, python=python)


def first_fill(strict: bool, field: Field) -> bytes | None:
    """What older rows have in place of a new field, as a record of it; None for None, or nothing."""
    if strict:
        return group_fill(field, {}) if field.type.group else None
    default = default_of(field)
    if default is None or not is_constant(field):
        return None
    value = default()
    return None if value is None and is_optional(field.type) else alone(field).encode({field.name: value})


def next_fill(strict: bool, source: Field, field: Field) -> bytes | None:
    """The fill of a field whose type may have changed; the fields in it have theirs. ModelVaultSchemaError."""
    value: Any = None
    if source.stored_fill is not None:
        value = filled(source, source.stored_fill)
        convert = converter(source.type, field.type, partial(plain_default, strict))
        value = value if convert is None or value is None else convert(value)
    if field.type.group:
        given = value is not None or any(part.stored_fill is not None for part in field.type.fields)
        return group_fill(field, value or {}) if given else None
    if source.stored_fill is None:
        return None
    try:
        return sorted_codec(field).encode({field.name: value})
    except ValueError as error:
        raise ModelVaultSchemaError(
            f'schema error: incompatible schema change: what rows have that are older than the field "{source.name}" '
            f"does not fit it ({error}); nothing has changed"
        ) from error


def group_fill(field: Field, row: dict[str, Any]) -> bytes | None:
    """What rows without a group have in its place: these values, and the fills of its fields.

    None as long as a field that is required has neither: until then such rows do without the group.
    """
    try:
        return sorted_codec(field).encode({field.name: gathered(field.type, row)})
    except ValueError:
        return None


def gathered(type: Type, row: dict[str, Any]) -> dict[str, Any]:
    """The values of a group, with the fills of its fields where there is none."""
    found = dict(row)
    for field in type.fields:
        if field.type.group:
            found[field.name] = gathered(field.type, found.get(field.name) or {})
        elif found.get(field.name) is None and field.stored_fill is not None:
            found[field.name] = filled(field, field.stored_fill)
    return found


def groups_moved(old: Type, new: Type) -> set[str]:
    """The groups of the new type that rows may have now and had not before, or the other way, they or some within."""
    moved: set[str] = set()
    for name, source in sources(old, new).items():
        field = next(field for field in new.fields if field.name == name)
        if not (source.type.group and field.type.group):
            continue
        appeared = (source.stored_fill is None) != (field.stored_fill is None)
        if appeared or groups_moved(source.type, field.type):
            moved.add(name)
    return moved


def sorted_codec(field: Field) -> RecordCodec:
    """The codec of a field alone that a rewrite would have."""
    return alone(replace(field, type=sorted_out(field.type)))


def filled(field: Field, fill: bytes) -> Any:
    """The value of a fill."""
    return sorted_codec(field).decode(fill)[field.name]


def plain_default(strict: bool, field: Field) -> Callable[[], Any] | None:
    """What makes a field's default as a rewrite sees it."""
    default = None if strict else default_of(field)
    if default is None:
        return None
    bound, plain = alone(field), alone(replace(field, type=sorted_out(field.type)))

    def make() -> Any:
        return plain.decode(bound.encode({field.name: default()}))[field.name]

    if field.factory is None and bare(field.type).kind in SCALARS:
        value = make()
        return lambda: value
    return make


def fill_type(type: Type, path: tuple[str, ...], value: Any) -> Type:
    """The type with the value as the fill of the field at the path, where older rows have none."""
    if type.kind == "optional" or (type.kind == "custom" and type.items):
        return replace(type, items=(fill_type(type.items[0], path, value),))
    fields = [fill_here(field, path, value) if field.name == path[0] else field for field in type.fields]
    return replace(type, fields=tuple(fields))


def fill_here(field: Field, path: tuple[str, ...], value: Any) -> Field:
    """The field that the path begins with, and the fill set."""
    if len(path) > 1:
        field = replace(field, type=fill_type(field.type, path[1:], value))
        if field.stored_fill is not None and not field.type.group:
            return replace(field, stored_fill=refill(field, path[1:], value))
    else:
        data = alone(replace(field, type=unbound(field.type))).encode({field.name: value})
        if not field.type.group:
            return field if field.stored_fill is not None else replace(field, stored_fill=data)
        for name, part in value.items():
            if part is not None:
                field = replace(field, type=fill_type(field.type, (name,), part))
    if field.type.group:
        row: dict[str, Any] = {} if field.stored_fill is None else filled(field, field.stored_fill)
        return replace(field, stored_fill=group_fill(field, row))
    return field


def refill(field: Field, path: tuple[str, ...], value: Any) -> bytes:
    """The fill of an object with one of its own fields set, unless that has a value already."""
    codec = alone(replace(field, type=unbound(field.type)))
    assert field.stored_fill is not None
    row: dict[str, Any] = codec.decode(field.stored_fill)
    place: dict[str, Any] = row.setdefault(field.name, {})
    for name in path[:-1]:
        place = place.setdefault(name, {})
    if place.get(path[-1]) is None:
        place[path[-1]] = value
    return codec.encode(row)
