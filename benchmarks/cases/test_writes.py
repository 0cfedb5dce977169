"""Writes in memory and on disk, and opening files of different size."""

from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import filled
from benchmarks.data import row, rows
from modelvault import Database, models
from tests.models import User


def test_insert_in_memory(benchmark: BenchmarkFixture) -> None:
    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        fresh = rows(1_000_000)
        benchmark.pedantic(users.insert, setup=lambda: ((next(fresh),), {}), rounds=20_000)
        assert users.get(1) == row(1)


def test_durable_insert(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    with Database.open(str(tmp_path / "users.modelvault")) as db:
        users = models.collection(db, User)
        fresh = rows(1_000_000)
        benchmark.pedantic(users.insert, setup=lambda: ((next(fresh),), {}), rounds=500)
        assert users.get(1) == row(1)


def test_bulk_load_on_disk(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    users, numbers = list(rows(20_000)), count()

    def load() -> None:
        with Database.open(str(tmp_path / f"{next(numbers)}.modelvault")) as db, db.transaction():
            models.collection(db, User).insert_many(users)

    benchmark.pedantic(load, rounds=3)
    with Database.open(str(tmp_path / "0.modelvault")) as db:
        assert models.collection(db, User).get(20_000) == users[-1]


@pytest.mark.parametrize("size", [300, 300_000])
def test_open_and_get(benchmark: BenchmarkFixture, tmp_path: Path, size: int) -> None:
    path = filled(tmp_path / "users.modelvault", size)

    def first() -> User | None:
        with Database.open(path) as db:
            return models.collection(db, User).get(size // 2)

    assert benchmark.pedantic(first, rounds=50) == row(size // 2)
