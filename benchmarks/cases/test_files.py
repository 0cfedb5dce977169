"""Whole files: opened, opened after a kill, copied, made short."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT, SIZES
from benchmarks.data import User, row
from benchmarks.job import Site
from benchmarks.jobs import JOBS
from modelvault import Database, models


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["open, get, close", "open and get after kill -9 of a writer"])
def test_open(benchmark: BenchmarkFixture, site: Callable[[int], Site], name: str, size: int) -> None:
    """The time of the opening alone is in extra_info: a killed writer has to write first."""
    batch = JOBS[name].prepare(site(size))
    costs = [benchmark.pedantic(batch, rounds=1)] + [batch() for _ in range(4)]
    benchmark.extra_info["us"] = sorted(costs)[2] * 1e6
    site(size).end()


def test_export(benchmark: BenchmarkFixture, db: Database, tmp_path: Path) -> None:
    numbers = count()
    benchmark.pedantic(lambda: db.export_snapshot(tmp_path / f"{next(numbers)}.modelvault"), rounds=3)
    with Database.open(str(tmp_path / "0.modelvault"), read_only=True) as copy:
        assert models.collection(copy, User).get(COUNT) == row(COUNT)


def test_snapshot(benchmark: BenchmarkFixture, db: Database) -> None:
    """Taken, asked for one row, given up."""

    def look() -> User | None:
        with db.snapshot() as then:
            return then.collection(User).get(1)

    assert benchmark(look) == row(1)


def test_compact(benchmark: BenchmarkFixture, site: Callable[[int], Site]) -> None:
    """A file from which every other row was deleted."""

    def holes() -> tuple[tuple[Database], dict[str, object]]:
        store = site(COUNT).copy()
        with store.db.transaction():
            for key in range(1, COUNT + 1, 2):
                store.users.delete(key)
        return (store.db,), {}

    benchmark.pedantic(Database.compact, setup=holes, rounds=2)
    site(COUNT).end()
