"""Aggregates: against plain Python over groups, in slices; numbers that do not fit in 64 bits; what has no sum."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault._core.aggregate import Aggregate
from modelvault._core.program import Program
from modelvault._core.record import Face, RecordCodec
from modelvault._core.scan import Scan
from modelvault._core.table import Table
from modelvault.conditions import Test
from modelvault.errors import ModelVaultQueryError
from modelvault.schema import Field, Type
from tests.core.tables import CODEC, INT, KEY, STRING, Row, Store, random_rows

ALL = ("rows", None, None)
NUMBERS = ("n", "x", "level", "price")
FUNCTIONS: list[tuple[str, tuple[str, ...] | None]] = [
    ("count", None),
    *((name, (field,)) for field in NUMBERS for name in ("count", "sum", "min", "max", "avg", "distinct")),
    *((name, ("s",)) for name in ("count", "min", "max", "distinct")),
    ("count", ("blob",)),
]


def plain(rows: list[Row], name: str, path: tuple[str, ...] | None) -> Any:
    """What a function gives for these rows."""
    if path is None:
        return len(rows)
    values = [row[path[0]] for row in rows if row[path[0]] is not None]
    if name == "count":
        return len(values)
    if name == "distinct":
        return len(set(values))
    if name == "sum":
        return (math.fsum(values) if path == ("x",) else sum(values)) if values else 0
    if not values:
        return None
    if name == "avg":
        return (math.fsum(values) if path == ("x",) else sum(values)) / len(values)
    return min(values) if name == "min" else max(values)


def group_order(values: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    """None last."""
    return [(value is None, 0 if value is None else value) for value in values]


def whole(aggregate: Aggregate, budget: int) -> list[tuple[Any, ...]]:
    while not aggregate.step(budget):
        pass
    return aggregate.result()


def alike(found: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> bool:
    """Equal, floats nearly so."""
    return len(found) == len(right) and all(
        len(a) == len(b)
        and all(
            math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-12) if isinstance(y, float) else x == y
            for x, y in zip(a, b, strict=True)
        )
        for a, b in zip(found, right, strict=True)
    )


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0, 1, 40, 400]),
    st.sampled_from([(), ("s",), ("n",), ("level", "n"), ("x",)]),
    st.sampled_from([3, 100, 10_000]),
)
def test_against_plain_python(seed: int, count: int, groups: tuple[str, ...], budget: int) -> None:
    chance = random.Random(seed)
    store = Store(random_rows(chance, count))
    program = None if chance.random() < 0.5 else Program([CODEC], Test(("level",), "ge", (3,)))
    rows = [row for row in store.rows.values() if program is None or row["level"] >= 3]
    functions = chance.sample(FUNCTIONS, chance.randint(0, 8))
    scan = Scan(store.table, store.version.roots, ALL, program)
    found = whole(Aggregate(scan, [CODEC], functions, [(name,) for name in groups]), budget)
    kinds: dict[tuple[Any, ...], list[Row]] = {} if groups else {(): rows}
    if groups:
        for row in rows:
            kinds.setdefault(tuple(row[name] for name in groups), []).append(row)
    right = [
        (*values, *(plain(kinds[values], name, path) for name, path in functions))
        for values in sorted(kinds, key=group_order)
    ]
    assert alike(found, right), (functions, groups)
    store.close()


def totals(values: list[Any], field: str, *names: str) -> tuple[Any, ...]:
    """The functions of a field over rows with these values."""
    row = random_rows(random.Random(1), 1)[0]
    store = Store([row | {"id": str(number), field: value} for number, value in enumerate(values)])
    scan = Scan(store.table, store.version.roots, ALL)
    (found,) = whole(Aggregate(scan, [CODEC], [(name, (field,)) for name in names]), 100)
    store.close()
    return found


@pytest.mark.parametrize(
    "values",
    [
        [2**64 - 1] * 5,
        [-(2**63)] * 7,
        [2**63, -(2**63), -1],
        [2**64 - 1, -(2**63), None],
        [-1],
        [2**63 - 1, 1],
        [-(2**63), -1],
    ],
)
def test_large_integers_are_added_exactly(values: list[int | None]) -> None:
    there = [value for value in values if value is not None]
    right = (sum(there), min(there), max(there), sum(there) / len(there))
    assert totals(values, "n", "sum", "min", "max", "avg") == right


def test_floats_lose_nothing_by_their_order() -> None:
    values = [1e16, 1.0, -1e16, 1e-8, 3.0, -1.0]
    for seed in range(5):
        random.Random(seed).shuffle(values)
        assert totals(values, "x", "sum")[0] == math.fsum(values)


def test_infinities_and_nan() -> None:
    inf, nan = math.inf, math.nan
    assert totals([1.0, inf], "x", "sum", "avg", "min", "max") == (inf, inf, 1.0, inf)
    assert totals([1e308, 1e308], "x", "sum") == (inf,)
    (sum_of_both,) = totals([inf, -inf], "x", "sum")
    assert math.isnan(sum_of_both)
    least, most = totals([nan, 1.0, inf], "x", "min", "max")
    assert least == 1.0 and math.isnan(most)
    assert totals([0.0, -0.0, nan, nan], "x", "distinct") == (2,)


def test_of_nothing() -> None:
    store = Store()
    scan = Scan(store.table, store.version.roots, ALL)
    names = ("count", "sum", "min", "max", "avg", "distinct")
    assert whole(Aggregate(scan, [CODEC], [(name, ("n",)) for name in names]), 10) == [(0, 0, None, None, None, 0)]
    scan = Scan(store.table, store.version.roots, ALL)
    assert whole(Aggregate(scan, [CODEC], [("count", None)], [("n",)]), 10) == []
    store.close()


def test_records_of_several_schema_versions() -> None:
    """A field that old records lack has its default; a type that has become wider adds up with the older one."""
    int64 = Type("int64")
    old = RecordCodec(Type("object", fields=(Field("id", STRING), Field("n", int64))), 1, "id")
    fields = (
        Field("id", STRING),
        Field("n", INT),
        Field("k", int64, default=5),
        Field("s", Type("optional", (STRING,))),
    )
    new = RecordCodec(Type("object", fields=fields), 2, "id")
    store = Store()
    write = store.engine.begin()
    table = Table(store.engine.pager, "versions", write.new_tree(), KEY)
    face = Face([old, new], "id")
    for n in range(6):
        table.put(write, b"%d" % n, old.encode({"id": str(n), "n": -n}))
        row = {"id": str(n + 6), "n": 2**63 + n, "k": n, "s": "x"}
        table.put(write, b"%d" % (n + 6), new.encode(row))
    functions = [
        *((name, ("n",)) for name in ("sum", "min", "max", "count")),
        *((name, ("k",)) for name in ("sum", "avg", "min", "max", "distinct")),
        ("count", ("s",)),
    ]
    scan = Scan(table, write.roots, ("rows", None, None))
    (found,) = whole(Aggregate(scan, face.codecs, functions), 5)
    assert found == (6 * 2**63, -5, 2**63 + 5, 12, 45, 45 / 12, 0, 5, 6, 6)
    scan = Scan(table, write.roots, ("rows", None, None))
    groups = whole(Aggregate(scan, face.codecs, [("count", None)], [("s",), ("k",)]), 5)
    assert groups == [("x", n, 1) for n in range(6)] + [(None, 5, 6)]
    store.engine.rollback(write)
    store.close()


def test_decimals_are_added_as_decimals() -> None:
    assert totals([Decimal("0.1"), Decimal("0.2")], "price", "sum", "avg") == (Decimal("0.3"), Decimal("0.15"))


@pytest.mark.parametrize(
    ("functions", "groups", "words"),
    [
        ([("median", ("n",))], (), "unknown function"),
        ([("sum", None)], (), "needs the path"),
        ([("sum", ("s",))], (), "has no sum"),
        ([("avg", ("blob",))], (), "has no avg"),
        ([("min", ("tags",))], (), "several values"),
        ([("sum", ("nope",))], (), "unknown field path"),
        ([("count", None)], (("tags",),), "name a scalar field"),
        ([("count", None)], (("nope",),), "unknown field path"),
    ],
)
def test_what_cannot_be_asked(functions: list[Any], groups: tuple[Any, ...], words: str) -> None:
    store = Store()
    with pytest.raises(ModelVaultQueryError, match=words):
        Aggregate(Scan(store.table, store.version.roots, ALL), [CODEC], functions, groups)
    store.close()
