"""Copies of a file and compaction, beside copying the bytes of the file."""

import os
import shutil
from itertools import count
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import filled
from modelvault import Database, models
from tests.models import User

ROUNDS = 7


def test_copy_the_bytes(benchmark: BenchmarkFixture, path: str, tmp_path: Path) -> None:
    """What a copy cannot do without: read, write, sync."""
    numbers = count()

    def copy() -> None:
        with open(path, "rb") as source, open(tmp_path / str(next(numbers)), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())

    benchmark.pedantic(copy, rounds=ROUNDS)
    assert (tmp_path / "0").stat().st_size == os.stat(path).st_size


def test_export_snapshot(benchmark: BenchmarkFixture, db: Database, tmp_path: Path) -> None:
    """Target: at least half the speed of copying the bytes."""
    numbers = count()
    benchmark.pedantic(lambda: db.export_snapshot(tmp_path / str(next(numbers))), rounds=ROUNDS)
    with Database.open(tmp_path / "0") as copy:
        assert models.collection(copy, User).count() == models.collection(db, User).count()


def test_compact_to(benchmark: BenchmarkFixture, db: Database, tmp_path: Path) -> None:
    numbers = count()
    benchmark.pedantic(lambda: db.compact_to(tmp_path / str(next(numbers))), rounds=3)


def test_verify(benchmark: BenchmarkFixture, db: Database) -> None:
    assert benchmark.pedantic(db.verify, rounds=3).ok


def test_compact(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A file of which nine in ten rows were deleted; target: 1.2 times the size of the same rows loaded anew."""
    path = filled(tmp_path / "full", 50_000)
    with Database.open(path) as db, db.transaction() as tx:
        users = tx.collection(User)
        for number in range(1, 50_001):
            if number % 10:
                users.delete(number)
    left = filled(tmp_path / "fresh", 5_000)

    def compact(copy: str) -> None:
        with Database.open(copy) as db:
            db.compact()

    numbers = count()
    benchmark.pedantic(compact, setup=lambda: ((shutil.copy(path, tmp_path / str(next(numbers))),), {}), rounds=3)
    assert os.stat(tmp_path / "0").st_size <= 1.2 * os.stat(left).st_size
