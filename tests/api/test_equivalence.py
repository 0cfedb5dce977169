"""Random queries over random rows with random indexes answer what plain Python and SQLite say."""

from __future__ import annotations

import os
from dataclasses import asdict
from itertools import count as numbers
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelvault import avg, count, max_, min_, sum_
from tests.asked import (
    PLAIN,
    Asked,
    Path,
    Reference,
    Row,
    asked,
    collection_of,
    indexes,
    item,
    rank,
    rows,
    value_at,
)
from tests.worlds import World

EXAMPLES = int(os.environ.get("MODELVAULT_QUERIES", "8"))
places = numbers()


async def check_rows(collection: Any, stored: list[Row], question: Asked, reference: Reference) -> None:
    """Every verb that gives rows, or says how many there are."""
    expected = question.answer(stored)
    query = question.query(collection)
    assert [asdict(row) for row in await query.all()] == expected
    ids = [row["id"] for row in expected]
    known = reference.ids(question)
    assert known is None or known == ids
    assert [row.id async for row in query] == ids
    assert await query.count() == len(expected)
    assert await query.exists() == bool(expected)
    first = await query.first()
    assert (first and asdict(first)) == (expected[0] if expected else None)
    assert await query.select("id", "o.x").all() == [(row["id"], value_at(row, ("o", "x"))) for row in expected]
    assert (await query.explain(analyze=True)).startswith("Plan:\n")


async def check_pages(collection: Any, stored: list[Row], question: Asked, size: int) -> None:
    """Pages come to the same rows, one behind the other."""
    expected = [row["id"] for row in question.answer(stored)]
    found: list[int] = []
    cursor = None
    query = question.query(collection)
    while True:
        page = await query.page(size, cursor)
        assert len(page) <= size
        found += [row.id for row in page]
        cursor = page.next
        if cursor is None:
            break
    assert found == expected


async def check_sums(collection: Any, stored: list[Row], question: Asked, path: Path) -> None:
    """Aggregates, over all and by group; distinct values."""
    query = question.query(collection)
    found = question.answer(stored)
    result = await query.agg(n=count(), some=count("n"), low=min_(list(path)), high=max_(list(path)), total=sum_("f"))
    values = [value_at(row, path) for row in found]
    present = sorted((value for value in values if value is not None), key=rank)
    assert (result["n"], result["some"]) == (len(found), sum(row["n"] is not None for row in found))
    assert (result["low"], result["high"]) == ((present[0], present[-1]) if present else (None, None))
    assert result["total"] == pytest.approx(sum(row["f"] for row in found))
    groups: dict[Any, list[Row]] = {}
    for row in found:
        groups.setdefault(rank(value_at(row, path)), []).append(row)
    by_group = await query.group_by(key=list(path)).agg(n=count(), mean=avg("n"))
    assert [entry["n"] for entry in by_group] == [len(groups[key]) for key in sorted(groups)]
    assert [rank(entry["key"]) for entry in by_group] == sorted(groups)
    without = Asked(question.condition, question.order, None, 0)
    fresh: list[Any] = []
    for row in without.answer(stored):
        if value_at(row, path) not in fresh:
            fresh.append(value_at(row, path))
    chosen = without.query(collection).select(list(path)).distinct()
    distinct = await chosen.all()
    assert distinct == fresh
    assert await chosen.count() == len(fresh)


async def check_parts(collection: Any, stored: list[Row], question: Asked, paths: tuple[Path, ...]) -> None:
    """What an index has, perhaps read from it alone: to the sign of a zero, in the question's order and its own."""
    in_order = Asked(question.condition, tuple((path, False) for path in paths), question.limit, question.offset)
    for one in (question, in_order):
        found = one.answer(stored)
        chosen = one.query(collection).select(*map(list, paths))
        expected = [tuple(value_at(row, path) for path in paths) for row in found]
        values = await chosen.all()
        assert repr(values) == repr(expected if len(paths) > 1 else [value for (value,) in expected])
        page = await chosen.page(3)
        assert repr(page.items) == repr(values[:3])
        if page.next is not None:
            assert repr((await chosen.page(40, page.next)).items) == repr(values[3:])
        fields = await one.query(collection).all(fields=[".".join(path) for path in paths])
        assert [tuple(value_of(row, path) for path in paths) for row in fields] == expected
        sums = await one.query(collection).agg(
            n=count(), **{f"low{i}": min_(list(path)) for i, path in enumerate(paths)}
        )
        assert sums["n"] == len(found)
        for i, path in enumerate(paths):
            present = sorted((value_at(row, path) for row in found if value_at(row, path) is not None), key=rank)
            assert sums[f"low{i}"] == (present[0] if present else None)
        if paths[0] == ("f",):
            assert await one.query(collection).sum("f") == pytest.approx(sum(row["f"] for row in found))


def value_of(row: Any, path: Path) -> Any:
    """The value at a path of an instance that may lack what is below None."""
    for name in path:
        row = getattr(row, name, None)
    return row


async def check_changes(collection: Any, stored: list[Row], question: Asked, delete: bool) -> list[Row]:
    """Update or delete the rows; what is stored then."""
    query = question.query(collection)
    chosen = {row["id"] for row in question.answer(stored)}
    if delete:
        assert await query.delete() == len(chosen)
        return [row for row in stored if row["id"] not in chosen]
    changes = {"n": 2, "s": "ab", "f": 0.5}
    assert await query.update(changes) == len(chosen)
    return [row | changes if row["id"] in chosen else row for row in stored]


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    stored=rows(),
    fresh=rows(),
    index=indexes(),
    questions=st.lists(asked(), min_size=1, max_size=6),
    size=st.integers(1, 7),
    path=st.sampled_from(PLAIN),
    inside=st.booleans(),
    delete=st.booleans(),
)
def test_queries(
    world: World,
    stored: list[Row],
    fresh: list[Row],
    index: list[tuple[Path, ...]],
    questions: list[Asked],
    size: int,
    path: Path,
    inside: bool,
    delete: bool,
) -> None:
    """inside: in a transaction that has changed rows, and changes more of them between the questions."""

    async def main() -> None:
        place = None if world.place is None else world.place / f"{next(places)}.modelvault"
        async with world.open(place, page_size=4096) as db:
            cls = collection_of(index)
            items = await db.collection(cls)
            await items.insert_many(item(cls, row) for row in stored)
            if not inside:
                await ask(items, stored)
                return
            async with db.transaction():
                await items.insert_many(item(cls, row) for row in fresh)
                await ask(
                    items, list(({row["id"]: row for row in stored} | {row["id"]: row for row in fresh}).values())
                )

    async def ask(items: Any, now: list[Row]) -> None:
        for question in questions:
            reference = Reference(now)
            await check_rows(items, now, question, reference)
            reference.close()
            await check_pages(items, now, question, size)
            await check_sums(items, now, question, path)
            for paths in index:
                if ("t",) not in paths:
                    await check_parts(items, now, question, paths)
        now = await check_changes(items, now, questions[0], delete)
        assert [asdict(row) for row in await items.all()] == sorted(now, key=lambda row: row["id"])
        for question in questions:
            assert [asdict(row) for row in await question.query(items).all()] == question.answer(now)

    world.run(main)
