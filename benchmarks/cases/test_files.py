"""Whole files: opened, opened after a kill, seen through a snapshot."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import SIZES
from benchmarks.data import User, row
from benchmarks.job import Site
from benchmarks.jobs import JOBS
from modelvault import Database


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["open, get, close", "open and get after kill -9 of a writer"])
def test_open(benchmark: BenchmarkFixture, site: Callable[[int], Site], name: str, size: int) -> None:
    """The time of the opening alone is in extra_info: a killed writer has to write first."""
    batch = JOBS[name].prepare(site(size))
    costs = [benchmark.pedantic(batch, rounds=1)] + [batch() for _ in range(4)]
    benchmark.extra_info["us"] = sorted(costs)[2] * 1e6
    site(size).end()


def test_snapshot(benchmark: BenchmarkFixture, db: Database) -> None:
    """Taken, asked for one row, given up."""

    def look() -> User | None:
        with db.snapshot() as then:
            return then.collection(User).get(1)

    assert benchmark(look) == row(1)
