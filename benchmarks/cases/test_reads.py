"""Lookups in warm files, and how their cost grows."""

from collections.abc import Callable
from itertools import cycle

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT, SIZES
from benchmarks.data import User, city, email, shuffled
from benchmarks.job import Site
from modelvault import Collection, Database


@pytest.mark.parametrize("size", SIZES)
def test_get(benchmark: BenchmarkFixture, site: Callable[[int], Site], size: int) -> None:
    get = site(size).shared().get
    keys = cycle(shuffled(size, 5000))
    assert benchmark(lambda: get(next(keys))) is not None
    site(size).release()


def test_get_what_is_not_there(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert benchmark(users.get, COUNT + 1) is None


def test_get_as_dict(benchmark: BenchmarkFixture, db: Database) -> None:
    keys = cycle(shuffled(COUNT, 5000))
    assert benchmark(lambda: db.get("users", next(keys))) is not None


def test_get_many(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    keys = shuffled(COUNT, 1000)
    assert all(benchmark(users.get_many, keys))


def test_equality_on_a_unique_index(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    emails = cycle([email(key) for key in shuffled(COUNT, 5000)])
    assert len(benchmark(lambda: users.where("email", next(emails)).all())) == 1


def test_equality_on_a_nested_field(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    cities = cycle([city(key) for key in shuffled(COUNT, 1000)])
    assert len(benchmark(lambda: users.where("address.city", next(cities)).all())) == 10
