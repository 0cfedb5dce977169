"""Copies of a file and compaction, beside copying the bytes of the file."""

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.data import User, rows
from modelvault import Database, models

ROWS = 100_000
ROUNDS = 7


def loaded(path: Path, many: int) -> str:
    """A file with so many rows."""
    with Database.open(path) as db:
        models.collection(db, User).insert_many(rows(many))
    return str(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file to copy."""
    return loaded(tmp_path_factory.mktemp("files") / "source", ROWS)


@pytest.fixture
def store(source: str) -> Iterator[Database]:
    """A handle on that file."""
    with Database.open(source) as opened:
        yield opened


def test_copy_the_bytes(benchmark: BenchmarkFixture, source: str, tmp_path: Path) -> None:
    """What a copy cannot do without: read, write, sync."""
    numbers = count()

    def copy() -> None:
        with open(source, "rb") as old, open(tmp_path / str(next(numbers)), "wb") as target:
            shutil.copyfileobj(old, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())

    benchmark.pedantic(copy, rounds=ROUNDS)
    assert (tmp_path / "0").stat().st_size == os.stat(source).st_size


def test_export_snapshot(benchmark: BenchmarkFixture, store: Database, tmp_path: Path) -> None:
    """Target: at least half the speed of copying the bytes."""
    numbers = count()
    benchmark.pedantic(lambda: store.export_snapshot(tmp_path / str(next(numbers))), rounds=ROUNDS)
    with Database.open(tmp_path / "0") as copy:
        assert models.collection(copy, User).count() == models.collection(store, User).count()


def test_compact_to(benchmark: BenchmarkFixture, store: Database, tmp_path: Path) -> None:
    numbers = count()
    benchmark.pedantic(lambda: store.compact_to(tmp_path / str(next(numbers))), rounds=3)


def test_verify(benchmark: BenchmarkFixture, store: Database) -> None:
    assert benchmark.pedantic(store.verify, rounds=3).ok


def test_compact(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A file of which nine in ten rows were deleted; target: 1.2 times the size of the same rows loaded anew."""
    path = loaded(tmp_path / "full", 50_000)
    with Database.open(path) as db, db.transaction() as tx:
        users = tx.collection(User)
        for user in rows(50_000):
            if user.id % 10:
                users.delete(user.id)
    left = loaded(tmp_path / "fresh", 5_000)

    def compact(copy: str) -> None:
        with Database.open(copy) as db:
            db.compact()

    numbers = count()
    benchmark.pedantic(compact, setup=lambda: ((shutil.copy(path, tmp_path / str(next(numbers))),), {}), rounds=3)
    assert os.stat(tmp_path / "0").st_size <= 1.2 * os.stat(left).st_size
