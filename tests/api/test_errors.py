"""The exception tree: what each derives from, what it carries, and that it survives a pickle."""

import errno
import pickle

import pytest

from modelvault import errors


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("ModelVaultFormatError", (ValueError,)),
        ("ModelVaultSchemaError", (ValueError,)),
        ("ModelVaultValidationError", (ValueError,)),
        ("ModelVaultQueryError", (ValueError,)),
        ("ModelVaultTransactionError", (RuntimeError,)),
        ("CorruptionError", (errors.ModelVaultFormatError,)),
        ("DuplicateKeyError", (errors.ModelVaultSchemaError,)),
        ("CursorError", (errors.ModelVaultQueryError,)),
        ("NotFoundError", (LookupError, ValueError)),
        ("StaleSchemaError", (errors.ModelVaultSchemaError,)),
        ("ClosedError", (RuntimeError,)),
        ("LockedError", (OSError,)),
    ],
)
def test_each_error_has_the_root_and_a_builtin(name: str, bases: tuple[type, ...]) -> None:
    cls = getattr(errors, name)
    assert issubclass(cls, errors.ModelVaultError)
    assert all(issubclass(cls, base) for base in bases)
    assert cls.__doc__
    assert name in errors.__all__


def test_closed_is_no_value_error() -> None:
    assert not issubclass(errors.ClosedError, ValueError)


def test_cold_page_is_internal() -> None:
    assert not issubclass(errors.ColdPage, errors.ModelVaultError)
    assert "ColdPage" not in errors.__all__


def test_locked_error_is_a_whole_os_error() -> None:
    error = errors.LockedError(errno.EAGAIN, "held by another process", "/x/app.modelvault", pid=42)
    assert (error.errno, error.filename, error.pid) == (errno.EAGAIN, "/x/app.modelvault", 42)
    assert "held by another process" in str(error)
    assert errors.LockedError(errno.EAGAIN, "held").filename is None


def test_errors_keep_their_attributes_in_a_pickle() -> None:
    damaged = pickle.loads(pickle.dumps(errors.CorruptionError("page 7 is damaged", page=7, tree=2, path="db")))
    assert (str(damaged), damaged.page, damaged.tree, damaged.path) == ("page 7 is damaged", 7, 2, "db")
    taken = pickle.loads(
        pickle.dumps(errors.DuplicateKeyError("taken", collection="users", index="email_idx", key="a"))
    )
    assert (taken.collection, taken.index, taken.key) == ("users", "email_idx", "a")
    missing = pickle.loads(pickle.dumps(errors.NotFoundError("no row", collection="users", key=1)))
    assert (missing.collection, missing.key) == ("users", 1)
    locked = pickle.loads(pickle.dumps(errors.LockedError(11, "held", "f", pid=3)))
    assert (locked.errno, locked.filename, locked.pid) == (11, "f", 3)
