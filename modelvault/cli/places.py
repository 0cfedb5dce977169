"""The databases and the models that a command is about."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from modelvault import Collection, Database
from modelvault._dated import dated
from modelvault.cli.parts import UsageError
from modelvault.collection import AsyncCollection
from modelvault.errors import ModelVaultSchemaError
from modelvault.schema import Schema

__all__ = ["exact", "model", "reading", "schema_of", "writing"]


@contextmanager
def reading(path: Path) -> Generator[Database, None, None]:
    """The database at a path, opened for reading only."""
    with Database.open(path, read_only=True) as db:
        yield db


@contextmanager
def writing(path: Path, *, create: bool = False) -> Generator[Database, None, None]:
    """The database at a path, opened for writing; made only if the command makes one."""
    if not create and not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    with Database.open(path) as db:
        yield db


def schema_of(db: Database, collection: str) -> Schema:
    """The schema of a stored collection."""
    return db.collection(collection).__handle__.schema


def exact(collection: Collection[dict[str, Any]]) -> Collection[dict[str, Any]]:
    """The collection with timestamps as datetimes: as dicts have them, it is lost whether they had a zone."""
    return Collection(AsyncCollection(dated(collection.__handle__)))


def model(place: str) -> type[Any]:
    """The class that `module:Class` names; modules of the current directory count too."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise UsageError(f"a model is given as module:Class, not {place!r}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise ModelVaultSchemaError(
            f"there is no module {module!r} (looked in {Path.cwd()} and where Python looks)"
        ) from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise ModelVaultSchemaError(f"{module} has no class {name!r}")
    return found
