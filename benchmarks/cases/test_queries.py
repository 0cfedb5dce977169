"""Questions about many rows: ranges, scans, order, counts, groups."""

from itertools import cycle

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT
from benchmarks.data import User, shuffled
from modelvault import Collection, Database, avg, fields

u = fields(User)


def test_range_in_order_of_an_index(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    starts = cycle([f"City {number % 9000:04}" for number in shuffled(COUNT, 100)])
    query = lambda: users.where(u.address.city >= next(starts)).order_by(u.address.city).limit(20)  # noqa: E731
    assert len(benchmark(lambda: query().all())) == 20


def test_range_of_primary_keys(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    starts = cycle([number % (COUNT - 100) + 1 for number in shuffled(COUNT, 100)])
    assert len(benchmark(lambda: users.where(u.id >= next(starts)).order_by(u.id).limit(20).all())) == 20


def test_the_best_twenty_without_an_index(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    best = benchmark.pedantic(lambda: users.order_by(u.score.desc(), u.id).limit(20).all(), rounds=5)
    assert best[0].score == 999.9


def test_scan_for_one_percent(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert len(benchmark.pedantic(lambda: users.where(u.score < 10).all(), rounds=10)) == COUNT // 100


def test_count_of_a_filter(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert benchmark.pedantic(lambda: users.where(u.score < 10).count(), rounds=10) == COUNT // 100


def test_count_of_all(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert benchmark(users.count) == COUNT


def test_average_by_group(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert len(benchmark.pedantic(lambda: users.group_by(u.age).agg(score=avg(u.score)), rounds=5)) == 60


def test_every_row(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert len(benchmark.pedantic(users.all, rounds=3)) == COUNT


def test_every_row_one_by_one(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert benchmark.pedantic(lambda: sum(1 for _ in users), rounds=3) == COUNT


def test_every_row_as_a_table(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert benchmark.pedantic(users.to_arrow, rounds=10).num_rows == COUNT


def test_every_row_as_a_polars_frame(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    assert len(benchmark.pedantic(users.to_polars, rounds=5)) == COUNT


def test_three_fields_as_a_table(benchmark: BenchmarkFixture, users: Collection[User]) -> None:
    query = users.select(u.id, u.age, u.address.city)
    assert benchmark.pedantic(query.to_arrow, rounds=10).num_rows == COUNT


def test_every_row_of_a_snapshot(benchmark: BenchmarkFixture, db: Database) -> None:
    with db.snapshot() as then:
        users = then.collection(User)
        assert len(benchmark.pedantic(users.all, rounds=3)) == COUNT
