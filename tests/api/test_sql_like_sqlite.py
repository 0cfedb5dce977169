"""Random SELECTs give what sqlite3 gives for the same rows: conditions with NULL, computed columns, groups, orders."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault import Database, dbapi

ROWS: list[tuple[Any, ...]] = [
    (number, a, b, c)
    for number, (a, b, c) in enumerate(
        [
            (1, "ab", 0.5),
            (2, None, -1.0),
            (None, "b", None),
            (3, "ab", 2.0),
            (None, None, 0.5),
            (1, "", 0.0),
            (-2, "ba%", None),
            (2, "a_b", 4.25),
            (0, "AB", -0.5),
            (None, "ab", 2.0),
        ]
    )
]
FIELDS = (
    '[{"path": ["id"], "type": "int64"}, {"path": ["a"], "type": {"optional": "int64"}},'
    ' {"path": ["b"], "type": {"optional": "string"}}, {"path": ["c"], "type": {"optional": "float64"}}]'
)
INDEXES = '[{"name": "by_a", "path": ["a"], "kind": "index"}, {"name": "by_b", "path": ["b"], "kind": "index"}]'


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[dbapi.Cursor, sqlite3.Cursor]]:
    lite = sqlite3.connect(":memory:")
    lite.execute("PRAGMA case_sensitive_like = ON")
    lite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL)")
    lite.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", ROWS)
    with Database.open_in_memory() as db:
        db.register_collection("t", FIELDS, "id", INDEXES)
        db.collection("t").insert_many(dict(zip(["id", "a", "b", "c"], row, strict=True)) for row in ROWS)
        yield dbapi.connect(db).cursor(), lite.cursor()
    lite.close()


numbers = st.recursive(
    st.sampled_from(["id", "a", "c", "t.a", "NULL", "0.5", *map(str, range(-2, 4))]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, inner).map("coalesce({0[0]}, {0[1]})".format),
        st.tuples(inner, st.sampled_from([2, 3, -2])).map("(CAST({0[0]} AS INT) % {0[1]})".format),
        st.tuples(inner, st.sampled_from([2, 3, -2])).map("(CAST({0[0]} AS INT) / {0[1]})".format),
        inner.map("abs({})".format),
        inner.map("-({})".format),
    ),
    max_leaves=3,
)
texts = st.one_of(
    st.sampled_from(["b", "'ab'", "''", "'B'", "NULL"]),
    st.sampled_from(["lower(b)", "upper(b)", "b || 'x'", "substr(b, 2)", "replace(b, 'a', 'z')", "trim(b)"]),
)
signs = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
patterns = st.sampled_from(["'a%'", "'%b'", "'a_b'", "'ab'", "'%'", "'a!_b' ESCAPE '!'", "'%!%' ESCAPE '!'"])


def alike(terms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Conditions on terms of one kind."""
    return st.one_of(
        st.tuples(terms, signs, terms).map(" ".join),
        st.tuples(terms, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(" ".join),
        st.tuples(terms, st.sampled_from(["IN", "NOT IN"]), st.lists(terms, min_size=1, max_size=3)).map(
            lambda parts: f"{parts[0]} {parts[1]} ({', '.join(parts[2])})"
        ),
        st.tuples(terms, st.sampled_from(["BETWEEN", "NOT BETWEEN"]), terms, terms).map(
            "{0[0]} {0[1]} {0[2]} AND {0[3]}".format
        ),
        st.tuples(terms, st.sampled_from(["IS", "IS NOT"]), terms).map(" ".join),
    )


def plain(column: str, values: list[str]) -> st.SearchStrategy[str]:
    """Conditions that the engine tests: a column and values of its kind."""
    value = st.sampled_from([*values, "NULL"])
    return st.one_of(
        st.tuples(st.just(column), signs, value).map(" ".join),
        st.tuples(value, signs, st.just(column)).map(" ".join),
        st.tuples(st.sampled_from(["IN", "NOT IN"]), st.lists(value, min_size=1, max_size=3)).map(
            lambda parts: f"{column} {parts[0]} ({', '.join(parts[1])})"
        ),
        st.tuples(st.sampled_from(["BETWEEN", "NOT BETWEEN"]), value, value).map(
            f"{column} {{0[0]}} {{0[1]}} AND {{0[2]}}".format
        ),
        st.tuples(st.sampled_from(["IS", "IS NOT"]), value).map(f"{column} {{0[0]}} {{0[1]}}".format),
    )


conditions = st.recursive(
    st.one_of(
        plain("a", ["0", "1", "2", "1.5"]),
        plain("b", ["''", "'ab'", "'b'"]),
        plain("c", ["0", "0.5", "2"]),
        plain("id", ["0", "3", "8"]),
        alike(numbers),
        alike(texts),
        st.tuples(st.sampled_from(["b", "b", "lower(b)"]), st.sampled_from(["LIKE", "NOT LIKE"]), patterns).map(
            " ".join
        ),
        st.sampled_from(["TRUE", "FALSE", "NULL", "a", "c"]),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map("NOT ({})".format),
        inner.map("({}) IS TRUE".format),
        inner.map("({}) IS NOT FALSE".format),
        inner.map("CASE WHEN {} THEN a > 1 ELSE b = 'ab' END".format),
    ),
    max_leaves=4,
)
terms = st.one_of(numbers, texts, conditions.map("({})".format))
orders = st.tuples(
    st.sampled_from(["a", "b", "c", "a + c", "lower(b)", "-id"]),
    st.sampled_from(["ASC", "DESC"]),
    st.sampled_from(["NULLS FIRST", "NULLS LAST"]),
).map(" ".join)
totals = st.one_of(
    st.sampled_from(["count(*)", "count(1)"]),
    st.tuples(st.sampled_from(["count", "sum", "min", "max", "avg"]), st.sampled_from(["", "DISTINCT "]), numbers).map(
        "{0[0]}({0[1]}{0[2]})".format
    ),
    st.tuples(st.sampled_from(["count", "min", "max"]), texts).map("{0[0]}({0[1]})".format),
)


def compare(both: tuple[dbapi.Cursor, sqlite3.Cursor], sql: str) -> None:
    ours, lite = both
    expected = lite.execute(sql).fetchall()
    assert ours.execute(sql).fetchall() == expected, sql


@settings(max_examples=150)
@given(where=conditions)
def test_conditions(both: Any, where: str) -> None:
    compare(both, f"SELECT id FROM t WHERE {where} ORDER BY id")
    compare(both, f"SELECT id FROM t WHERE NOT ({where}) ORDER BY id")


@settings(max_examples=75)
@given(
    items=st.lists(terms, min_size=1, max_size=3),
    where=conditions,
    order=st.lists(orders, max_size=2),
    distinct=st.booleans(),
    limit=st.sampled_from(["", " LIMIT 3", " LIMIT 4 OFFSET 2", " LIMIT 0"]),
)
def test_rows(both: Any, items: list[str], where: str, order: list[str], distinct: bool, limit: str) -> None:
    listed = ", ".join(f"{item} AS x{number}" for number, item in enumerate(items))
    if distinct:
        numbered = ", ".join(f"{number + 1} NULLS LAST" for number in range(len(items)))
        compare(both, f"SELECT DISTINCT {listed} FROM t WHERE {where} ORDER BY {numbered}{limit}")
    else:
        compare(both, f"SELECT {listed}, id FROM t WHERE {where} ORDER BY {', '.join([*order, 'id'])}{limit}")


@settings(max_examples=75)
@given(
    group=st.sampled_from(["a", "b", "c", "a % 2", "lower(b)", "coalesce(a, 0)"]),
    found=st.lists(totals, min_size=1, max_size=3),
    where=st.one_of(st.just("TRUE"), conditions),
    having=st.sampled_from(["", " HAVING count(*) > 1", " HAVING sum(a) IS NULL OR max(c) > 1"]),
)
def test_groups(both: Any, group: str, found: list[str], where: str, having: str) -> None:
    compare(
        both,
        f"SELECT {group} AS g, {', '.join(found)} FROM t WHERE {where} GROUP BY g{having} ORDER BY g NULLS LAST",
    )
    compare(both, f"SELECT {', '.join(found)} FROM t WHERE {where}")


PREPARED = [  # statement, and what goes into its parameters: numbers, texts, counts
    ("SELECT id, b FROM t WHERE id = ?", "n"),
    ("SELECT id FROM t WHERE ? < a", "n"),
    ("SELECT b, id FROM t WHERE a = ? AND c IS NOT NULL AND b = ?", "nt"),
    ("SELECT id, a + ? FROM t WHERE a >= ?", "nn"),
    ("SELECT count(*) FROM t WHERE a = ?", "n"),
    ("SELECT a, count(*) FROM t WHERE id > ? GROUP BY a ORDER BY a IS NULL, a", "n"),
    ("SELECT id FROM t WHERE a BETWEEN ? AND ? ORDER BY id DESC LIMIT ?", "nnc"),
    ("SELECT id FROM t WHERE b LIKE ? ORDER BY id LIMIT ? OFFSET ?", "tcc"),
    ("SELECT id FROM t WHERE a IN (?, ?, 3)", "nn"),
    ("SELECT id FROM t WHERE a = ? OR b = ?", "nt"),
    ("SELECT DISTINCT b FROM t WHERE a <= ? ORDER BY b IS NULL, b LIMIT ?", "nc"),
    ("SELECT upper(b) FROM t WHERE c > ? AND id <> a ORDER BY id LIMIT 2 OFFSET ?", "nc"),
    ("SELECT id FROM t WHERE NOT a = ?", "n"),
]
VALUES = {
    "n": st.sampled_from([None, 0.5, 2.0, *range(-3, 5)]),
    "t": st.sampled_from([None, "ab", "a%", "_b", "", "b"]),
    "c": st.integers(0, 5),
}


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_statement_executed_again_with_other_parameters(
    both: tuple[dbapi.Cursor, sqlite3.Cursor], data: st.DataObject
) -> None:
    ours, theirs = both
    sql, kinds = data.draw(st.sampled_from(PREPARED))
    for _ in range(3):
        params = tuple(data.draw(VALUES[kind]) for kind in kinds)
        found, expected = ours.execute(sql, params).fetchall(), theirs.execute(sql, params).fetchall()
        key = None if "ORDER" in sql else repr
        assert (found if key is None else sorted(found, key=key)) == (
            expected if key is None else sorted(expected, key=key)
        )
