"""Warm reads of a file with 100,000 rows."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any

import pytest
import trio
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT
from benchmarks.data import city, shuffled
from modelvault import AsyncDatabase, Database, models
from tests.models import User

GETS = 1000
LOOPS: dict[str, Callable[[Callable[[], Awaitable[Any]]], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),  # type: ignore[arg-type]
    "uvloop": lambda main: uvloop.run(main()),  # type: ignore[arg-type]
    "trio": trio.run,
}


def test_get(benchmark: BenchmarkFixture, db: Database) -> None:
    users = models.collection(db, User)
    keys = cycle(shuffled(COUNT, 5000))
    assert benchmark(lambda: users.get(next(keys))) is not None


@pytest.mark.parametrize("loop", LOOPS)
def test_a_thousand_awaited_gets(benchmark: BenchmarkFixture, path: str, loop: str) -> None:
    """One round is an event loop's whole life; the numbers beside `test_get` are in benchmarks/README.md's table."""
    keys = shuffled(COUNT, GETS)

    async def gets() -> int:
        async with AsyncDatabase.open(path) as db:
            users = models.async_collection(db, User)
            return sum([await users.get(key) is not None for key in keys])

    assert benchmark(LOOPS[loop], gets) == GETS


def test_get_as_dict(benchmark: BenchmarkFixture, db: Database) -> None:
    keys = cycle(shuffled(COUNT, 5000))
    assert benchmark(lambda: db.get("users", next(keys))) is not None


def test_equality_on_a_unique_index(benchmark: BenchmarkFixture, db: Database) -> None:
    users = models.collection(db, User)
    keys = cycle(shuffled(COUNT, 5000))
    assert len(benchmark(lambda: users.where("email", f"user{next(keys)}@example.com").all())) == 1


def test_equality_on_a_nested_field(benchmark: BenchmarkFixture, db: Database) -> None:
    users = models.collection(db, User)
    cities = cycle([city(key) for key in shuffled(COUNT, 1000)])
    assert len(benchmark(lambda: users.where("address.city", next(cities)).all())) == 10


def test_every_row(benchmark: BenchmarkFixture, db: Database) -> None:
    users = models.collection(db, User)
    assert len(benchmark.pedantic(users.all, rounds=3)) == COUNT
