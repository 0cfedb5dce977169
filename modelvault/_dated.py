"""A collection of dicts whose timestamps come as datetimes, as they were put in: with a zone or without."""

from __future__ import annotations

from copy import copy
from typing import Any

from modelvault._frozen import replace
from modelvault._reading import Opened
from modelvault._store import Binding
from modelvault.collection import AsyncCollection, Selections
from modelvault.schema import Type

__all__ = ["dated"]


def dated(collection: AsyncCollection[dict[str, Any]]) -> AsyncCollection[dict[str, Any]]:
    """The same collection, as long as its schema stays: the integers of the dict interface do not tell about zones."""
    made = copy(collection)
    assert made._binding is not None
    schema = made._binding.schema
    made._binding = Binding(made._binding.store, replace(schema, type=with_dates(schema.type)))
    made._opened = None if made._opened is None else Opened(made._binding, made._binding, None)
    made._shortcut = None
    made._source = Selections(made)
    return made


def with_dates(type: Type) -> Type:
    """The type with datetimes."""
    return replace(
        type,
        items=tuple(with_dates(item) for item in type.items),
        fields=tuple(replace(field, type=with_dates(field.type)) for field in type.fields),
        python="datetime" if type.kind == "timestamp" else type.python,
    )
