"""Filled databases that the cases share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.data import rows
from modelvault import Database, models
from tests.models import User

COUNT = 100_000


def filled(path: Path, count: int) -> str:
    """A file with `count` benchmark rows."""
    with Database.open(str(path)) as db, db.transaction():
        models.collection(db, User).insert_many(rows(count))
    return str(path)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 100,000 rows."""
    return filled(tmp_path_factory.mktemp("bench") / "users.modelvault", COUNT)


@pytest.fixture
def db(path: str) -> Iterator[Database]:
    """A handle on that file."""
    with Database.open(path) as opened:
        yield opened
