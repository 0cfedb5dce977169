"""An embedded database for Pydantic models and dataclasses: typed collections in one file, async and blocking."""

from typing import TYPE_CHECKING, Any

from modelvault import models
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
from modelvault.snapshot import AsyncSnapshot
from modelvault.sync import Collection, Database, Query, Snapshot, Transaction
from modelvault.transaction import AsyncTransaction

if TYPE_CHECKING:
    from modelvault import dbapi
    from modelvault._salvage import Salvage, Saved
    from modelvault._verify import Problem, Verification
    from modelvault.collection import AsyncCollection

__all__ = [
    "AsyncCollection",
    "AsyncDatabase",
    "AsyncQuery",
    "AsyncSnapshot",
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
    "Problem",
    "Query",
    "Salvage",
    "Saved",
    "Snapshot",
    "StaleSchemaError",
    "Transaction",
    "Verification",
    "__version__",
    "asc",
    "avg",
    "col",
    "count",
    "dbapi",
    "desc",
    "fields",
    "max_",
    "min_",
    "models",
    "sum_",
]

__version__ = "1.0.0.dev0"


# Loaded when it is first asked for, and where it is. A collection comes with everything that reads and writes rows.
LATE = {
    "AsyncCollection": "collection",
    "Problem": "_verify",
    "Salvage": "_salvage",
    "Saved": "_salvage",
    "Verification": "_verify",
    "dbapi": "dbapi",
}


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module 'modelvault' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"modelvault.{LATE[name]}")
    return module if name == "dbapi" else getattr(module, name)
