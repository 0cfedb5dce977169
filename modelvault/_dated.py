"""A collection of dicts whose timestamps come as datetimes, as they were put in: with a zone or without."""

from __future__ import annotations

from copy import copy

from modelvault._frozen import replace
from modelvault._handle import Handle
from modelvault._store import Binding
from modelvault.schema import Type

__all__ = ["dated"]


def dated(handle: Handle) -> Handle:
    """The same collection, as long as its schema stays: the integers of the dict interface do not tell about zones."""
    made = copy(handle)
    assert made.binding is not None
    schema = made.binding.schema
    made.show(Binding(made.binding.store, replace(schema, type=with_dates(schema.type))))
    made.shortcut = None
    return made


def with_dates(type: Type) -> Type:
    """The type with datetimes."""
    return replace(
        type,
        items=tuple(with_dates(item) for item in type.items),
        fields=tuple(replace(field, type=with_dates(field.type)) for field in type.fields),
        python="datetime" if type.kind == "timestamp" else type.python,
    )
