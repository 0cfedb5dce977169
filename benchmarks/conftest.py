"""Filled databases that the cases share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.compare.ours import FILE, Ours
from benchmarks.data import User, rows
from benchmarks.job import Site
from modelvault import Collection, Database, models

COUNT = 100_000
SIZES = (10_000, 100_000, 1_000_000)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Site]]:
    """Sites by their number of rows; the files are made once."""
    made: dict[int, Site] = {}

    def of(count: int) -> Site:
        if count not in made:
            made[count] = Site(Ours, tmp_path_factory.mktemp(f"rows{count}"), count)
        return made[count]

    yield of
    for one in made.values():
        one.release()


@pytest.fixture
def db(site: Callable[[int], Site]) -> Iterator[Database]:
    """A handle on a file of 100,000 rows, to be read."""
    one = site(COUNT)
    one.release()
    with Database.open(str(one.loaded() / FILE)) as opened:
        yield opened


@pytest.fixture
def users(db: Database) -> Collection[User]:
    """Its rows."""
    return models.collection(db, User)


@pytest.fixture
def private(site: Callable[[int], Site]) -> Iterator[Path]:
    """The path of a copy of that file, to be changed."""
    one = site(COUNT)
    yield one.private() / FILE
    one.end()


@pytest.fixture
def memory() -> Iterator[Collection[User]]:
    """10,000 rows in memory, to be changed."""
    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        users.insert_many(rows(10_000))
        yield users
