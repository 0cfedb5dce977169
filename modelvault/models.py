"""Typed collections of Pydantic models and dataclasses, by the names that 0.16 gave them."""

from __future__ import annotations

from typing import TypeVar

from modelvault.collection import AsyncCollection
from modelvault.database import AsyncDatabase
from modelvault.expressions import FieldRef
from modelvault.mapping import fields
from modelvault.query import AsyncQuery
from modelvault.specs import ConstraintSpec, IndexSpec, constrained, index, unique
from modelvault.sync import Collection, Database, Query

__all__ = [
    "AsyncModelCollection",
    "AsyncModelQuery",
    "ConstraintSpec",
    "FieldRef",
    "IndexSpec",
    "ModelCollection",
    "ModelQuery",
    "async_collection",
    "collection",
    "constrained",
    "fields",
    "index",
    "unique",
]

M = TypeVar("M")

ModelCollection = Collection
ModelQuery = Query
AsyncModelCollection = AsyncCollection
AsyncModelQuery = AsyncQuery


def collection(db: Database, cls: type[M], *, validate_on_read: bool = False) -> Collection[M]:
    """The collection of a model class, registered if the database does not have it.

    The class names its primary key in `__modelvault_primary_key__` and may have `__modelvault_collection__` and
    `__modelvault_indexes__`. ModelVaultSchemaError (a ValueError) if it cannot be stored, or does not fit what is
    stored.
    """
    if not isinstance(db, Database):
        raise TypeError(f"argument 'db': {type(db).__name__!r} object is not an instance of 'Database'")
    return db.collection(cls, validate_on_read=validate_on_read)


def async_collection(db: AsyncDatabase, cls: type[M], *, validate_on_read: bool = False) -> AsyncCollection[M]:
    """The collection of a model class, registered by the first operation if the database does not have it.

    The class names its primary key in `__modelvault_primary_key__` and may have `__modelvault_collection__` and
    `__modelvault_indexes__`. ModelVaultSchemaError (a ValueError) if it cannot be stored, or does not fit what is
    stored.
    """
    if not isinstance(db, AsyncDatabase):
        raise TypeError(f"argument 'db': {type(db).__name__!r} object is not an instance of 'AsyncDatabase'")
    return db.collection(cls, validate_on_read=validate_on_read)
