"""Timestamps in SQL: datetimes as they were put in, compared by their instants, whoever compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pandas
import pytest

from modelvault import Database, dbapi, models

EAST = timezone(timedelta(hours=2))
NAIVE = datetime(2024, 1, 2, 12)
AWARE = datetime(2024, 1, 2, 13, tzinfo=EAST)  # an hour earlier
LATER = datetime(2025, 6, 1, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class Visit:
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "visits"
    __modelvault_indexes__ = (models.index("came"),)

    id: int
    came: datetime
    left: datetime | None = None


@dataclass
class Noted(Visit):
    note: str | None = None


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with Database.open_in_memory() as db:
        rows = [Visit(1, NAIVE, LATER), Visit(2, AWARE), Visit(3, LATER, AWARE)]
        models.collection(db, Visit).insert_many(rows)
        yield db


@pytest.fixture
def cursor(db: Database) -> dbapi.Cursor:
    return dbapi.connect(db).cursor()


def zones(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows that are equal only if their datetimes have the same zones."""
    return [tuple(cell.isoformat() if isinstance(cell, datetime) else cell for cell in row) for row in rows]


def test_they_come_as_they_were_put_in(cursor: dbapi.Cursor) -> None:
    found = cursor.execute("SELECT came, left FROM visits ORDER BY id").fetchall()
    assert zones(found) == zones([(NAIVE, LATER), (AWARE, None), (LATER, AWARE)])
    assert cursor.description is not None and cursor.description[0][1] == dbapi.DATETIME


def test_or_as_the_integers_of_0_16(db: Database) -> None:
    cursor = dbapi.connect(db, timestamps="int").cursor()
    micros = (AWARE - EPOCH) // timedelta(microseconds=1)
    assert cursor.execute("SELECT came FROM visits WHERE id = 2").fetchall() == [(micros,)]
    assert cursor.execute("SELECT came + 1 FROM visits WHERE came = ?", (micros,)).fetchall() == [(micros + 1,)]
    with pytest.raises(dbapi.ProgrammingError, match="timestamps must be 'datetime' or 'int', not 'us'"):
        dbapi.connect(db, timestamps="us")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "params", "expected"),
    [
        ("came < ?", (LATER,), [1, 2]),
        ("came = ?", (AWARE,), [2]),
        ("came = '2024-01-02T11:00:00Z'", (), [2]),
        ("came BETWEEN '2024-01-02' AND '2024-01-03'", (), [1, 2]),
        ("came < left", (), [1]),
        ("coalesce(left, came) > '2025-01-01'", (), [1]),
        ("max(came, coalesce(left, came)) = ?", (LATER,), [1, 3]),
        ("came IN (?, left)", (AWARE,), [2]),
        ("came >= CAST('2025-06-01' AS TIMESTAMP)", (), [3]),
        ("CAST('2025-06-01' AS TIMESTAMP) = iif(id > 0, came, left)", (), [3]),
        ("came > ?", (date(2025, 1, 1),), [3]),
        ("(left - came) / 1000000 > 0", (), [1]),
    ],
)
def test_they_are_compared_by_their_instants(
    cursor: dbapi.Cursor, condition: str, params: tuple[Any, ...], expected: list[int]
) -> None:
    found = cursor.execute(f"SELECT id FROM visits WHERE {condition}", params).fetchall()
    assert sorted(number for (number,) in found) == expected


def test_orders_and_totals(cursor: dbapi.Cursor) -> None:
    def ids(sql: str) -> list[int]:
        return [row[0] for row in cursor.execute(sql)]

    assert ids("SELECT id FROM visits ORDER BY came") == [2, 1, 3]
    assert ids("SELECT id, coalesce(came, left) AS c FROM visits ORDER BY c DESC") == [3, 1, 2]
    assert zones(cursor.execute("SELECT min(came), max(came) FROM visits").fetchall()) == zones([(AWARE, LATER)])
    computed = "SELECT min(coalesce(came, left)), max(coalesce(came, left)), count(DISTINCT came) FROM visits"
    assert zones(cursor.execute(computed).fetchall()) == zones([(AWARE, LATER, 3)])
    assert ids("SELECT count(*) FROM visits GROUP BY came HAVING max(came) > '2025-01-01'") == [1]
    assert cursor.execute("SELECT came - left FROM visits WHERE id = 2").fetchall() == [(None,)]
    assert cursor.description is not None and cursor.description[0][1] == dbapi.NUMBER


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy")
def test_pandas_has_them_as_its_own(db: Database) -> None:
    frame = pandas.read_sql("SELECT came FROM visits WHERE id >= 2", dbapi.connect(db))
    assert list(pandas.to_datetime(frame["came"], utc=True)) == [AWARE, LATER]
    same = pandas.read_sql("SELECT came FROM visits WHERE id = ?", dbapi.connect(db), params=(3,))
    assert str(same["came"].dtype).startswith("datetime64[")


def test_a_change_of_the_schema_keeps_them(db: Database) -> None:
    with db.fork() as copy:
        cursor = dbapi.connect(copy).cursor()
        sql = "SELECT came FROM visits WHERE id = ?"
        assert zones(cursor.execute(sql, (1,)).fetchall()) == zones([(NAIVE,)])
        models.apply(copy, Noted)
        assert zones(cursor.execute(sql, (2,)).fetchall()) == zones([(AWARE,)])
