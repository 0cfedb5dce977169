"""SQL through our driver and through Python's sqlite3, over the same rows: a range of an index, a row by its key."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT
from benchmarks.data import shuffled
from modelvault import Database, dbapi

ROWS = COUNT + COUNT // 5  # of which the ranges are COUNT
FIELDS = ("id", "email", "name", "age", "score", "city")
Rows = list[tuple[Any, ...]]
Execute = Callable[[str, tuple[Any, ...]], Rows]

SCHEMA = """[
    {"path": ["id"], "type": "int64"}, {"path": ["email"], "type": "string"}, {"path": ["name"], "type": "string"},
    {"path": ["age"], "type": "int64"}, {"path": ["score"], "type": "float64"}, {"path": ["city"], "type": "string"}
]"""


def values() -> Iterator[tuple[Any, ...]]:
    """The rows, whose ages are in another order than their keys, and all different."""
    ages = cycle(shuffled(ROWS, ROWS))
    for number in range(1, ROWS + 1):
        yield (
            number,
            f"user{number}@example.com",
            f"User Number {number}",
            next(ages),
            number / 10,
            f"City {number % 97}",
        )


@pytest.fixture(scope="module", params=["modelvault", "sqlite3"])
def execute(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Execute]:
    """Executes a statement with a cursor of its own, and fetches all rows."""
    path = tmp_path_factory.mktemp("sql") / "rows"
    connection: Any = ours(path) if request.param == "modelvault" else theirs(path)
    yield lambda sql, params: connection.cursor().execute(sql, params).fetchall()
    connection.close()


def ours(path: Path) -> dbapi.Connection:
    """A connection to a file of ours."""
    with Database.open(path) as db:
        db.register_collection("users", SCHEMA, "id", '[{"name": "age", "path": ["age"], "kind": "index"}]')
        db.collection("users").insert_many(dict(zip(FIELDS, row, strict=True)) for row in values())
    return dbapi.connect(path)


def theirs(path: Path) -> sqlite3.Connection:
    """A connection to a file of SQLite's."""
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT, age INT, score REAL, city TEXT)"
    )
    connection.execute("CREATE INDEX age ON users (age)")
    connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", values())
    connection.commit()
    return connection


@pytest.mark.parametrize("columns", ["age", "id, age", "id, name, age", "*"])
def test_a_range_of_an_index(benchmark: BenchmarkFixture, execute: Execute, columns: str) -> None:
    """100,000 rows of 120,000, fetched."""
    benchmark.group = f"100,000 rows by an index: {columns}"
    sql, params = f"SELECT {columns} FROM users WHERE age >= ? AND age < ?", (ROWS // 10, ROWS // 10 + COUNT)
    assert len(benchmark.pedantic(lambda: execute(sql, params), rounds=9, warmup_rounds=1)) == COUNT


def test_a_row_by_its_key(benchmark: BenchmarkFixture, execute: Execute) -> None:
    benchmark.group = "a row by its key"
    keys = cycle(shuffled(ROWS, 1000))
    assert len(benchmark(lambda: execute("SELECT name, age FROM users WHERE id = ?", (next(keys),)))) == 1
