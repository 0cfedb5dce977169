"""Random questions about random rows: as a query, in plain Python, and in SQL where that can say it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from typing import Any

from hypothesis import strategies as st

from modelvault import asc, desc, models
from modelvault.conditions import Condition, Every, Negation, Some, Test
from modelvault.expressions import Expression

Row = dict[str, Any]
Path = tuple[str, ...]


@dataclass
class Inner:
    x: int


@dataclass
class Item:
    id: int
    s: str
    n: int | None
    f: float
    b: bool
    t: list[str]
    o: Inner | None
    p: Inner
    pad: str


def item(cls: type[Item], row: Row) -> Item:
    """A row as an instance."""
    return cls(**(row | {"o": row["o"] and Inner(**row["o"]), "p": Inner(**row["p"])}))


def collection_of(indexes: list[tuple[Path, ...]]) -> type[Item]:
    """A class like Item, with these indexes."""
    specs = [models.index([".".join(path) for path in paths], name=f"by_{n}") for n, paths in enumerate(indexes)]
    namespace = {"__modelvault_primary_key__": "id", "__modelvault_indexes__": specs}
    made: type[Item] = make_dataclass("Items", [], bases=(Item,), namespace=namespace)
    made.__module__ = __name__
    return made


TEXTS = st.sampled_from(["", "a", "aa", "ab", "b", "b\0c", "ba", "é", "z"])
NUMBERS = st.sampled_from([-300, -1, 0, 1, 2, 3, 255, 256, 1 << 40])
FLOATS = st.sampled_from([-1.5, -0.0, 0.0, 0.5, 1.0, 2.5, 1e300])
VALUES: dict[Path, st.SearchStrategy[Any]] = {
    ("id",): st.integers(-3, 40),
    ("s",): TEXTS,
    ("n",): NUMBERS,
    ("f",): FLOATS,
    ("b",): st.booleans(),
    ("t",): TEXTS,
    ("o", "x"): NUMBERS,
    ("p", "x"): NUMBERS,
}
PLAIN = [path for path in VALUES if path != ("t",)]
NULLABLE = [("n",), ("o", "x")]
COLUMNS = {path: "_".join(path) for path in PLAIN}
INDEXABLE = [*((path,) for path in VALUES if path != ("id",)), (("s",), ("n",)), (("n",), ("f",)), (("t",), ("s",))]
INDEXABLE += [(("s",), ("f",), ("p", "x")), (("b",), ("n",), ("s",)), (("f",), ("id",)), (("o", "x"), ("b",))]


def rows() -> st.SearchStrategy[list[Row]]:
    """Rows with unique ids; some are long, so that leaves hold few of them."""
    row = st.fixed_dictionaries(
        {
            "s": TEXTS,
            "n": st.none() | NUMBERS,
            "f": FLOATS,
            "b": st.booleans(),
            "t": st.lists(TEXTS, max_size=3),
            "o": st.none() | st.builds(lambda x: {"x": x}, NUMBERS),
            "p": st.builds(lambda x: {"x": x}, NUMBERS),
            "pad": st.sampled_from(["", "p" * 300, "p" * 3000]),
        }
    )
    return st.dictionaries(st.integers(0, 40), row, max_size=30).map(
        lambda found: [{"id": key, **row} for key, row in found.items()]
    )


def indexes() -> st.SearchStrategy[list[tuple[Path, ...]]]:
    """Some indexes."""
    return st.lists(st.sampled_from(INDEXABLE), max_size=4, unique=True)


# Conditions


def tests() -> st.SearchStrategy[Test]:
    def of(path: Path) -> st.SearchStrategy[Test]:
        value = VALUES[path]
        ops = [
            st.builds(lambda op, v: Test(path, op, (v,)), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), value)
        ]
        ops.append(st.builds(lambda vs: Test(path, "in", tuple(vs)), st.lists(value, max_size=4)))
        ops.append(st.builds(lambda a, b: Test(path, "between", (a, b)), value, value))
        if path in NULLABLE:
            ops.append(st.just(Test(path, "null")))
            ops.append(st.builds(lambda vs: Test(path, "in", (None, *vs)), st.lists(value, max_size=2)))
        if path == ("s",):
            ops.append(
                st.builds(lambda op, v: Test(path, op, (v,)), st.sampled_from(["startswith", "endswith"]), value)
            )
            ops.append(st.sampled_from(["a%", "%a", "_", "a_%", "b"]).map(lambda v: Test(path, "like", (v,))))
            ops.append(st.sampled_from(["^a", "b$", "a|é"]).map(lambda v: Test(path, "regex", (v,))))
        if path == ("t",):
            ops.append(value.map(lambda v: Test(path, "contains", (v,))))
        return st.one_of(ops)

    return st.sampled_from(list(VALUES)).flatmap(of)


def conditions() -> st.SearchStrategy[Condition]:
    return st.recursive(
        tests(),
        lambda inner: (
            st.builds(
                lambda kind, parts: kind(tuple(parts)),
                st.sampled_from([Every, Some]),
                st.lists(inner, min_size=1, max_size=3),
            )
            | inner.map(Negation)
        ),
        max_leaves=5,
    )


def value_at(row: Row, path: Path) -> Any:
    """The value at a path, None below None."""
    value: Any = row
    for name in path:
        value = None if value is None else value[name]
    return value


def like(pattern: str, text: str) -> bool:
    return (
        re.fullmatch("".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None
    )


OPERATORS: dict[str, Callable[..., bool]] = {
    "lt": lambda value, other: value < other,
    "le": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "ge": lambda value, other: value >= other,
    "between": lambda value, low, high: low <= value <= high,
    "startswith": lambda value, other: value.startswith(other),
    "endswith": lambda value, other: value.endswith(other),
    "like": lambda value, pattern: like(pattern, value),
    "regex": lambda value, pattern: re.search(pattern, value) is not None,
    "eq": lambda value, other: value == other,
    "contains": lambda value, other: value == other,
}


def holds(condition: Condition, row: Row) -> bool:
    """Whether a condition holds for a row."""
    if isinstance(condition, Every):
        return all(holds(part, row) for part in condition.parts)
    if isinstance(condition, Some):
        return any(holds(part, row) for part in condition.parts)
    if isinstance(condition, Negation):
        return not holds(condition.part, row)
    value, op = value_at(row, condition.path), condition.op
    if op == "ne":
        return not holds(Test(condition.path, "eq", condition.values), row)
    elements = value if isinstance(value, list) else [value]
    if op == "null":
        return value is None
    if op == "in":
        return any(element in condition.values for element in elements)
    return any(element is not None and OPERATORS[op](element, *condition.values) for element in elements)


# SQL

SIGNS = {"eq": "=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def sql_of(condition: Condition) -> tuple[str, list[Any]] | None:
    """A condition in SQLite's words, never NULL; None where it has none."""
    if isinstance(condition, Negation):
        inner = sql_of(condition.part)
        return None if inner is None else (f"NOT ({inner[0]})", inner[1])
    if isinstance(condition, Every | Some):
        parts = [sql_of(part) for part in condition.parts]
        if any(part is None for part in parts):
            return None
        word = " AND " if isinstance(condition, Every) else " OR "
        return "(" + word.join(part[0] for part in parts if part) + ")", [v for part in parts if part for v in part[1]]
    if condition.path == ("t",):
        return None
    column, op, values = COLUMNS[condition.path], condition.op, list(condition.values)
    if op == "null":
        return f"{column} IS NULL", []
    if op == "ne":
        return f"NOT coalesce({column} = ?, 0)", values
    if op == "in":
        present = [value for value in values if value is not None]
        text = f"coalesce({column} IN ({', '.join('?' * len(present))}), 0)"
        return (f"({text} OR {column} IS NULL)" if None in values else text), present
    if op == "between":
        return f"coalesce({column} BETWEEN ? AND ?, 0)", values
    return (f"coalesce({column} {SIGNS[op]} ?, 0)", values) if op in SIGNS else None


class Reference:
    """The rows in SQLite."""

    def __init__(self, rows: list[Row]) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute(f"CREATE TABLE items ({', '.join(COLUMNS.values())})")
        marks = ", ".join("?" * len(COLUMNS))
        self.connection.executemany(
            f"INSERT INTO items VALUES ({marks})", [[value_at(row, path) for path in COLUMNS] for row in rows]
        )

    def ids(self, asked: Asked) -> list[int] | None:
        """The ids that a query gives, in order; None if SQL cannot say it."""
        found = sql_of(asked.condition)
        if found is None:
            return None
        terms = [f"{COLUMNS[path]} {'DESC NULLS FIRST' if desc else 'ASC NULLS LAST'}" for path, desc in asked.order]
        terms.append("id DESC" if asked.order and asked.order[-1][1] else "id")
        limit = -1 if asked.limit is None else asked.limit
        text = f"SELECT id FROM items WHERE {found[0]} ORDER BY {', '.join(terms)} LIMIT ? OFFSET ?"
        return [number for (number,) in self.connection.execute(text, [*found[1], limit, asked.offset])]

    def close(self) -> None:
        self.connection.close()


# Whole queries


@dataclass(frozen=True)
class Asked:
    """A query in its parts."""

    condition: Condition
    order: tuple[tuple[Path, bool], ...]
    limit: int | None
    offset: int

    def query(self, collection: Any) -> Any:
        """The query itself."""
        query = collection.where(Expression(self.condition, frozenset()))
        if self.order:
            query = query.order_by(*(desc(path) if down else asc(path) for path, down in self.order))
        if self.limit is not None:
            query = query.limit(self.limit)
        return query.offset(self.offset) if self.offset else query

    def matching(self, rows: list[Row]) -> list[Row]:
        """The rows that satisfy the condition, in order."""
        last = (("id",), bool(self.order) and self.order[-1][1])
        found = [row for row in rows if holds(self.condition, row)]
        for path, down in (last, *reversed(self.order)):
            found.sort(key=lambda row: rank(value_at(row, path)), reverse=down)
        return found

    def answer(self, rows: list[Row]) -> list[Row]:
        """The rows that the query gives."""
        found = self.matching(rows)[self.offset :]
        return found if self.limit is None else found[: self.limit]


def rank(value: Any) -> tuple[bool, Any]:
    """None last; text by its bytes."""
    if isinstance(value, str):
        value = value.encode()
    return value is None, 0 if value is None else value


def asked() -> st.SearchStrategy[Asked]:
    return st.builds(
        Asked,
        conditions(),
        st.lists(st.tuples(st.sampled_from(PLAIN), st.booleans()), max_size=2).map(tuple),
        st.none() | st.integers(0, 12),
        st.sampled_from([0, 0, 0, 1, 5]),
    )
