"""What `SELECT` gives: conditions, orders, groups, and what is computed."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from modelvault import Database, dbapi
from tests.api.users import cursor, db

__all__ = ["cursor", "db"]


def ids(cursor: dbapi.Cursor, where: str, *params: Any) -> list[int]:
    return [row[0] for row in cursor.execute(f"SELECT id FROM users WHERE {where} ORDER BY id", *params)]


# Conditions


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("age = 36", [1, 4]),
        ("36 = age", [1, 4]),
        ("age == 36", [1, 4]),
        ("age <> 36", [3]),
        ("age != 36", [3]),
        ("NOT age = 36", [3]),
        ("NOT age <> 36", [1, 4]),
        ("age > 17 OR age IS NULL", [1, 2, 4]),
        ("20 > age", [3]),
        ("NOT (age > 17 AND score > 0)", [3, 4]),
        ("age BETWEEN 17 AND 20", [3]),
        ("age NOT BETWEEN 17 AND 20", [1, 4]),
        ("age IN (17, 36, NULL)", [1, 3, 4]),
        ("age NOT IN (17)", [1, 4]),
        ("age NOT IN (17, NULL)", []),
        ("age IS NULL", [2]),
        ("age IS NOT NULL", [1, 3, 4]),
        ("age = NULL", []),
        ("NOT age = NULL", []),
        ("age IS 36", [1, 4]),
        ("age IS NOT 36", [2, 3]),
        ("age > 16.5 AND age < 17.5", [3]),
        ("name LIKE '_o%'", [2]),
        ("name NOT LIKE '_o%'", [1, 3, 4]),
        ("name LIKE 'd!%n' ESCAPE '!'", [4]),
        ("name LIKE 'd\\%n'", [4]),
        ("name LIKE 'A%'", []),
        ("name ILIKE 'A%'", [1]),
        ("name REGEXP '^[ab]'", [1, 2]),
        ("name > 'bob'", [3, 4]),
        ("address.city = 'London'", [1, 3]),
        ("users.address.city = 'London'", [1, 3]),
        ('"address"."city" = \'London\'', [1, 3]),
        ("\"address.city\" = 'London'", [1, 3]),
        ("address.zip IS NULL", [1, 3, 4]),
        ("tags = 'admin'", [1, 4]),
        ("NOT tags = 'admin'", [2, 3]),
        ("level = 'high'", [1]),
        ("active", [1, 3, 4]),
        ("NOT active", [2]),
        ("active = 0", [2]),
        ("active IS FALSE", [2]),
        ("active IS NOT TRUE", [2]),
        ("born < '2000-01-01'", [2]),
        ("born = DATE '2000-01-01'", [1, 3, 4]),
        ("seen >= '2024-06-01'", [3]),
        ("seen > '2024-06-01T14:00:00+02:00'", []),
        ("seen >= '2024-06-01T14:00:00+02:00'", [3]),
        ("key = '00000000-0000-0000-0000-000000000009'", [4]),
        ("price > 1.5", [4]),
        ("raw = x'00ff'", [1, 2, 3, 4]),
        ("id = score + 0.5", []),
        ("score = id + 0.5", [1, 2]),
        ("lower(name) || '!' = 'ada!'", [1]),
        ("length(name) = 3 AND upper(substr(name, 1, 1)) IN ('A', 'B')", [1, 2]),
        ("coalesce(age, 0) = 0", [2]),
        ("CASE WHEN age > 20 THEN 1 ELSE 0 END", [1, 4]),
        ("true", [1, 2, 3, 4]),
        ("false OR id = 1", [1]),
        ("NULL", []),
        ("1 = 1 AND id = 2", [2]),
        ("id = 99999999999999999999999", []),
    ],
)
def test_conditions(cursor: dbapi.Cursor, where: str, expected: list[int]) -> None:
    assert ids(cursor, where) == expected


def test_a_value_of_another_kind_is_a_data_error(cursor: dbapi.Cursor) -> None:
    for where in ("id = 'x'", "name = 1", "born > 'yesterday'", "score + name > 1", "name > 1 + id", "key = 'x'"):
        with pytest.raises(dbapi.DataError) as raised:
            ids(cursor, where)
        assert isinstance(raised.value, TypeError)
        assert isinstance(raised.value, ValueError)
    with pytest.raises(dbapi.DataError, match="division by zero"):
        cursor.execute("SELECT 1 / 0")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("CAST('x' AS int)", "'x' is no decimal"),
        ("CAST('1e999999999' AS int)", "'1e999999999' is no int"),
        ("CAST('nan' AS int)", "'nan' is no int"),
        ("CAST('x' AS decimal)", "'x' is no decimal"),
        ("round(1.5, 1000000000)", "1.5 cannot be rounded to 1000000000 digits"),
        ("round(1.5, 'x')", "'x' is not a number"),
    ],
)
def test_what_cannot_be_computed_says_why(cursor: dbapi.Cursor, value: str, message: str) -> None:
    with pytest.raises(dbapi.DataError, match=message):
        cursor.execute(f"SELECT {value}")


def test_an_index_answers_what_it_can(db: Database, cursor: dbapi.Cursor) -> None:
    lines = [row[0] for row in cursor.execute("EXPLAIN SELECT id FROM users WHERE age > 20 ORDER BY age LIMIT 2")]
    assert cursor.description is not None
    assert cursor.description[0][0] == "plan"
    expected = db.collection("users").gt_where("age", 20).order_by("age").limit(2).select("id").explain()
    assert "\n".join(lines) + "\n" == expected
    text = "\n".join(line for (line,) in cursor.execute("EXPLAIN ANALYZE SELECT id FROM users WHERE age > 20"))
    assert "returned 2" in text
    text = "\n".join(line for (line,) in cursor.execute("EXPLAIN SELECT upper(name) FROM users WHERE id + 1 = 2"))
    assert "Filter id + 1 = 2" in text
    assert "Compute [upper(name)]" in text
    text = "\n".join(
        line for (line,) in cursor.execute("explain query plan select age, count(*) from users group by 1")
    )
    assert "Aggregate [count(*)] by [age]" in text


# Results


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id FROM users ORDER BY age, id DESC", [(3,), (4,), (1,), (2,)]),
        ("SELECT id FROM users ORDER BY age DESC, id", [(2,), (1,), (4,), (3,)]),
        ("SELECT id FROM users ORDER BY age NULLS FIRST, id", [(2,), (3,), (1,), (4,)]),
        ("SELECT id FROM users ORDER BY age DESC NULLS LAST, id", [(1,), (4,), (3,), (2,)]),
        ("SELECT name AS n FROM users ORDER BY n DESC LIMIT 1", [("d%n",)]),
        ("SELECT id, score FROM users ORDER BY 2 LIMIT 1", [(3, -1.0)]),
        ("SELECT id FROM users ORDER BY -id LIMIT 2 OFFSET 1", [(3,), (2,)]),
        ("SELECT id FROM users LIMIT 2 OFFSET 3", [(4,)]),
        ("SELECT id FROM users LIMIT 0", []),
        ("SELECT id FROM users OFFSET 3", [(4,)]),
        ("SELECT id FROM users ORDER BY id FETCH FIRST 2 ROWS ONLY", [(1,), (2,)]),
        ("SELECT DISTINCT address.city FROM users ORDER BY address.city", [("London",), ("Paris",), ("Rome",)]),
        ("SELECT DISTINCT age > 20 FROM users WHERE age IS NOT NULL", [(True,), (False,)]),
        ("SELECT DISTINCT lower(address.city) c FROM users LIMIT 1 OFFSET 1", [("paris",)]),
        ("SELECT 1, 'it''s', NULL, x'00', TRUE, -2.5, 7 / 2, -7 / 2, 7.0 / 2, 7 % 3, 2 + 3 * 4", None),
        ("SELECT id, id FROM users WHERE id = 1", [(1, 1)]),
        ("SELECT 7 FROM users", [(7,)] * 4),
        ("SELECT users.name FROM users WHERE users.id = 1", [("ada",)]),
        ("SELECT u.name FROM users AS u WHERE u.id = 1", [("ada",)]),
        ("SELECT count(*) FROM users", [(4,)]),
        ("SELECT count(*), count(1), count(age), count(DISTINCT age) FROM users", [(4, 4, 3, 2)]),
        ("SELECT sum(age), min(age), max(name), avg(age) FROM users", [(89, 17, "d%n", 89 / 3)]),
        ("SELECT sum(age), min(age), avg(age), count(age) FROM users WHERE id > 9", [(None, None, None, 0)]),
        ("SELECT sum(age * 2), sum(DISTINCT age), avg(DISTINCT age) FROM users", [(178, 53, 26.5)]),
        ("SELECT sum(age) / count(*) + 1 FROM users", [(23,)]),
        ("SELECT count(*) FROM users WHERE score + 0 > 1", [(2,)]),
        (
            "SELECT address.city AS c, count(*) n, sum(score) FROM users GROUP BY c ORDER BY n DESC, c DESC",
            [("London", 2, 0.5), ("Rome", 1, 0.0), ("Paris", 1, 2.5)],
        ),
        ("SELECT address.city FROM users GROUP BY address.city HAVING count(*) > 1", [("London",)]),
        ("SELECT age FROM users GROUP BY 1 ORDER BY age NULLS FIRST", [(None,), (17,), (36,)]),
        ("SELECT age % 2 odd, count(*) FROM users GROUP BY odd ORDER BY odd", [(0, 2), (1, 1), (None, 1)]),
        ("SELECT max(age) FROM users HAVING count(*) > 10", []),
        ("SELECT upper(name), length(name), abs(score), round(score) FROM users WHERE id = 3", [("CID", 3, 1.0, -1.0)]),
        ("SELECT round(2.5), round(2.345, 2), round(-2.5), abs(-3)", [(3.0, 2.35, -3.0, 3)]),
        ("SELECT coalesce(age, -1), nullif(name, 'bob') FROM users WHERE id = 2", [(-1, None)]),
        ("SELECT substr('hello', 2, 3), substr('hello', -3), replace('aXbX', 'X', '-'), trim('  x ')", None),
        ("SELECT CAST('7' AS int), CAST(7 AS text), CAST('1.5' AS real), CAST('2024-02-29' AS date)", None),
        ("SELECT CASE age WHEN 36 THEN 'x' WHEN 17 THEN 'y' END FROM users ORDER BY id", None),
        ("SELECT iif(age > 20, 'old', 'young'), concat(name, NULL, id) FROM users WHERE id = 1", [("old", "ada1")]),
    ],
)
def test_results(cursor: dbapi.Cursor, sql: str, expected: list[tuple[Any, ...]] | None) -> None:
    others = {
        "SELECT 1": [(1, "it's", None, b"\x00", True, -2.5, 3, -3, 3.5, 1, 14)],
        "SELECT substr": [("ell", "llo", "a-b-", "x")],
        "SELECT CAST": [(7, "7", 1.5, date(2024, 2, 29))],
        "SELECT CASE": [("x",), (None,), ("y",), ("x",)],
    }
    expected = next(rows for start, rows in others.items() if sql.startswith(start)) if expected is None else expected
    assert cursor.execute(sql).fetchall() == expected


def test_comments_are_no_part_of_anything(cursor: dbapi.Cursor) -> None:
    cursor.execute("/* one */ SELECT id + 1 /* two */, name -- three\nFROM users -- four\nWHERE id = 1 /* five */")
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == ["id + 1", "name"]
    assert cursor.fetchall() == [(2, "ada")]


def test_groups_need_their_columns(cursor: dbapi.Cursor) -> None:
    for sql in (
        "SELECT id, count(*) FROM users",
        "SELECT id FROM users GROUP BY age",
        "SELECT count(*) FROM users ORDER BY id",
        "SELECT id FROM users HAVING id > 1",
        "SELECT id FROM users WHERE count(*) > 1",
        "SELECT id FROM users GROUP BY count(*)",
        "SELECT sum(*) FROM users",
        "SELECT id FROM users GROUP BY 2",
        "SELECT sum(name) FROM users",
        "SELECT min(tags) FROM users",
        "SELECT sum(DISTINCT name) FROM users",
        "SELECT max(address) FROM users WHERE id + 1 = 2",
    ):
        with pytest.raises((dbapi.ProgrammingError, dbapi.DataError)):
            cursor.execute(sql).fetchall()


def test_dotted_fields_of_0_16_are_columns() -> None:
    fields = (
        '[{"path": ["id"], "type": "int64"}, {"path": ["p", "q"], "type": "string"},'
        ' {"path": ["p", "r"], "type": "int64"}]'
    )
    with Database.open_in_memory() as db:
        db.register_collection("things", fields, "id")
        db.insert("things", {"id": 1, "p": {"q": "x", "r": 2}})
        cursor = dbapi.connect(db).execute("SELECT * FROM things WHERE p.q = ?", ("x",))
        assert cursor.description is not None
        assert [column[0] for column in cursor.description] == ["id", "p.q", "p.r"]
        assert cursor.fetchall() == [(1, "x", 2)]


def test_words_of_sql_may_be_names() -> None:
    paths = ", ".join(f'{{"path": ["{name}"], "type": "int64"}}' for name in ("order", "from", "key"))
    with Database.open_in_memory() as db:
        db.register_collection("select", f"[{paths}]", "order")
        db.insert("select", {"order": 1, "from": 2, "key": 3})
        cursor = dbapi.connect(db).execute('SELECT order, "from", key FROM "select" WHERE order = 1')
        assert cursor.fetchall() == [(1, 2, 3)]
