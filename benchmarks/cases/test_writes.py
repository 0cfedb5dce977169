"""Writes: in memory, in bulk, durable alone, in a transaction and in groups of threads."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT, SIZES
from benchmarks.data import User, row, rows, shuffled
from modelvault import Collection, Database, models


def test_insert_in_memory(benchmark: BenchmarkFixture) -> None:
    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        fresh = rows(1_000_000)
        benchmark.pedantic(users.insert, setup=lambda: ((next(fresh),), {}), rounds=20_000)
        assert users.get(1) == row(1)


def test_insert_again(benchmark: BenchmarkFixture, memory: Collection[User]) -> None:
    """The row is there already and does not change."""
    some = cycle([row(key) for key in shuffled(10_000, 500)])
    benchmark(lambda: memory.insert(next(some)))
    assert memory.count() == 10_000


def test_update(benchmark: BenchmarkFixture, memory: Collection[User]) -> None:
    keys, ages = cycle(shuffled(10_000, 500)), count()
    assert benchmark(lambda: memory.update(next(keys), {"age": next(ages) % 100})).age < 100


def test_update_of_an_indexed_field(benchmark: BenchmarkFixture, memory: Collection[User]) -> None:
    keys, emails = cycle(shuffled(10_000, 500)), count()
    benchmark(lambda: memory.update(next(keys), {"email": f"{next(emails)}@example.org"}))


def test_delete(benchmark: BenchmarkFixture, memory: Collection[User]) -> None:
    keys = iter(shuffled(10_000, 10_000))
    benchmark.pedantic(memory.delete, setup=lambda: ((next(keys),), {}), rounds=9_000)
    assert memory.count() < 10_000


def test_bulk_load_on_disk(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    users, numbers = list(rows(20_000)), count()

    def load() -> None:
        with Database.open(str(tmp_path / f"{next(numbers)}.modelvault")) as db, db.transaction():
            models.collection(db, User).insert_many(users)

    benchmark.pedantic(load, rounds=5)
    with Database.open(str(tmp_path / "0.modelvault")) as db:
        assert models.collection(db, User).get(20_000) == users[-1]


def test_bulk_load_of_a_table(benchmark: BenchmarkFixture, memory: Collection[User]) -> None:
    """Of an Arrow table: each of its 10,000 rows goes through the model."""
    table = memory.to_arrow()

    def load() -> None:
        with Database.open_in_memory() as db:
            assert models.collection(db, User).insert_arrow(table) == table.num_rows

    benchmark.pedantic(load, rounds=5)


@pytest.mark.parametrize("size", SIZES)
def test_durable_insert(benchmark: BenchmarkFixture, site, size: int) -> None:  # type: ignore[no-untyped-def]
    store = site(size).copy()
    fresh = rows(10**9, size + 1)
    benchmark.pedantic(store.insert, setup=lambda: ((next(fresh),), {}), rounds=200)
    assert store.get(size + 1) == row(size + 1)
    site(size).end()


def test_durable_transaction_of_a_hundred(benchmark: BenchmarkFixture, private: Path) -> None:
    fresh = rows(10**9, COUNT + 1)
    with Database.open(str(private)) as db:
        users = models.collection(db, User)

        def transaction(some: list[User]) -> None:
            with db.transaction():
                for user in some:
                    users.insert(user)

        benchmark.pedantic(transaction, setup=lambda: (([next(fresh) for _ in range(100)],), {}), rounds=30)
        assert users.get(COUNT + 100) is not None


def test_durable_inserts_of_eight_threads(benchmark: BenchmarkFixture, private: Path) -> None:
    """400 of them: what waits for the disk together is committed together."""
    fresh = rows(10**9, COUNT + 1)
    with Database.open(str(private)) as db, ThreadPoolExecutor(8) as threads:
        users = models.collection(db, User)

        def inserts(some: list[User]) -> None:
            list(threads.map(users.insert, some))

        benchmark.pedantic(inserts, setup=lambda: (([next(fresh) for _ in range(400)],), {}), rounds=5)
        assert users.count() >= COUNT + 400
