"""An embedded database for Pydantic models and dataclasses: typed collections in one file, async and blocking."""

from modelvault import models
from modelvault.collection import AsyncCollection
from modelvault.database import AsyncDatabase
from modelvault.errors import (
    ClosedError,
    CorruptionError,
    CursorError,
    DuplicateKeyError,
    LockedError,
    ModelVaultError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
    NotFoundError,
    StaleSchemaError,
)
from modelvault.expressions import asc, avg, col, count, desc, max_, min_, sum_
from modelvault.mapping import fields
from modelvault.pages import Page
from modelvault.query import AsyncQuery
from modelvault.sync import Collection, Database, Query, Transaction
from modelvault.transaction import AsyncTransaction

__all__ = [
    "AsyncCollection",
    "AsyncDatabase",
    "AsyncQuery",
    "AsyncTransaction",
    "ClosedError",
    "Collection",
    "CorruptionError",
    "CursorError",
    "Database",
    "DuplicateKeyError",
    "LockedError",
    "ModelVaultError",
    "ModelVaultFormatError",
    "ModelVaultQueryError",
    "ModelVaultSchemaError",
    "ModelVaultTransactionError",
    "ModelVaultValidationError",
    "NotFoundError",
    "Page",
    "Query",
    "StaleSchemaError",
    "Transaction",
    "__version__",
    "asc",
    "avg",
    "col",
    "count",
    "desc",
    "fields",
    "max_",
    "min_",
    "models",
    "sum_",
]

__version__ = "1.0.0.dev0"
