"""Every exception of the package. All derive from ModelVaultError and from the builtin that 0.16 raised."""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "CorruptionError",
    "CursorError",
    "DuplicateKeyError",
    "LockedError",
    "ModelVaultError",
    "ModelVaultFormatError",
    "ModelVaultQueryError",
    "ModelVaultSchemaError",
    "ModelVaultTransactionError",
    "ModelVaultValidationError",
    "NotFoundError",
    "StaleSchemaError",
]


class ModelVaultError(Exception):
    """The root: anything this package raises on its own account."""


class ModelVaultFormatError(ModelVaultError, ValueError):
    """The file, or a record in it, is not what this version can read or write."""


class ModelVaultSchemaError(ModelVaultError, ValueError):
    """A schema is wrong or unknown, or a row does not fit the collection."""


class ModelVaultValidationError(ModelVaultError, ValueError):
    """A value breaks a constraint, or a required field is missing."""


class ModelVaultQueryError(ModelVaultError, ValueError):
    """A query cannot be understood or answered."""


class CursorError(ModelVaultQueryError):
    """The cursor of a page is none, was changed, or belongs to another query."""


class ModelVaultTransactionError(ModelVaultError, RuntimeError):
    """A transaction is used where it cannot be, or waited for too long."""


class CorruptionError(ModelVaultFormatError):
    """Stored bytes are damaged. `page`, `tree` and `path` say where, as far as it is known.

    `report` is the Verification if `verify` raised it: all that is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        page: int | None = None,
        tree: int | None = None,
        path: str | None = None,
        report: object = None,
    ) -> None:
        super().__init__(message)
        self.report = report
        self.page = page
        self.tree = tree
        self.path = path


class DuplicateKeyError(ModelVaultSchemaError):
    """A key is taken. `index` is the unique index's name, None for the primary key; `key` is the value in question.

    Where a new unique index was refused, `duplicates` has (value, primary keys of the rows that have it) pairs, at
    least the first of them, and `key` is the first value.
    """

    def __init__(
        self,
        message: str,
        *,
        collection: str | None = None,
        index: str | None = None,
        key: object = None,
        duplicates: tuple[tuple[object, tuple[object, ...]], ...] = (),
    ) -> None:
        super().__init__(message)
        self.collection = collection
        self.index = index
        self.key = key
        self.duplicates = duplicates


class StaleSchemaError(ModelVaultSchemaError):
    """A row was made for a schema that changed before it could be written. It was not; doing it again will do."""


class NotFoundError(ModelVaultError, LookupError, ValueError):
    """A row that had to exist does not. `key` is its primary key.

    It is a ValueError too: that is what 0.16's `update` raised.
    """

    def __init__(self, message: str, *, collection: str | None = None, key: object = None) -> None:
        super().__init__(message)
        self.collection = collection
        self.key = key


class ClosedError(ModelVaultError, RuntimeError):
    """The handle was closed, or belongs to the process before a fork."""


class LockedError(ModelVaultError, OSError):
    """Another handle holds the file. `pid` is the holder's process id if the system tells it."""

    def __init__(self, errno: int, message: str, filename: str | None = None, *, pid: int | None = None) -> None:
        if filename is None:
            super().__init__(errno, message)
        else:
            super().__init__(errno, message, filename)
        self.pid = pid


class ColdPage(Exception):
    """Internal: the page is not in memory and the caller did not want to wait. Never reaches a user."""
