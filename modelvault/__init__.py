"""An embedded database for Pydantic models and dataclasses: typed collections in one file, async and blocking."""

from modelvault import models
from modelvault.collection import AsyncCollection
from modelvault.database import AsyncDatabase
from modelvault.errors import (
    ClosedError,
    CorruptionError,
    DuplicateKeyError,
    LockedError,
    ModelVaultError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
    NotFoundError,
)
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
    "Query",
    "Transaction",
    "__version__",
    "models",
]

__version__ = "1.0.0.dev0"
