"""PEP 249's exceptions. Each is also what 0.16 raised in its place, so that `except ValueError` goes on to work."""

from __future__ import annotations

import builtins
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from modelvault.errors import (
    ClosedError,
    ModelVaultError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
)

__all__ = [
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "translated",
]


class Warning(builtins.Warning):
    """PEP 249's; never raised."""


class Error(ModelVaultError):
    """Whatever the driver raises."""


class InterfaceError(Error, ClosedError):
    """The driver is used wrongly: a closed connection or cursor, no query to fetch from. A RuntimeError."""


class DatabaseError(Error):
    """Whatever has to do with the database rather than the driver."""


class DataError(DatabaseError, ModelVaultValidationError, TypeError):
    """A value cannot be compared or computed with. A ValueError and a TypeError."""


class OperationalError(DatabaseError, OSError):
    """The file cannot be opened or read; `errno` and `filename` as far as the system told them. An OSError."""


class IntegrityError(DatabaseError, ModelVaultSchemaError):
    """PEP 249's for writes; never raised."""


class InternalError(DatabaseError, ModelVaultFormatError):
    """The file is damaged, or no database that this version can read. A ValueError."""


class ProgrammingError(DatabaseError, ModelVaultQueryError, ModelVaultSchemaError):
    """The SQL is wrong, or names something that does not exist. A ValueError."""


class NotSupportedError(DatabaseError, ModelVaultQueryError):
    """The driver does not do that: it only reads, and it does not know all of SQL. A ValueError."""


@contextmanager
def translated() -> Generator[None, None, None]:
    """Within it, what the layers below raise comes out as PEP 249's exception."""
    try:
        yield
    except Error:
        raise
    except ClosedError as error:
        raise InterfaceError(str(error)) from error
    except ModelVaultFormatError as error:
        raise InternalError(str(error)) from error
    except (ModelVaultQueryError, ModelVaultSchemaError) as error:
        raise ProgrammingError(str(error)) from error
    except (ModelVaultTransactionError, OSError) as error:
        fail_operation(error)
    except RecursionError:
        raise NotSupportedError("query error: the statement nests its terms too deeply") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise DataError(str(error)) from error


def fail_operation(error: Exception) -> NoReturn:
    """Raise an OperationalError with the error's errno and filename, which makes it an OSError of the right kind."""
    if isinstance(error, OSError) and error.errno is not None:
        text = error.strerror or str(error)
        raise OperationalError(error.errno, text, *([] if error.filename is None else [error.filename])) from error
    raise OperationalError(str(error)) from error
