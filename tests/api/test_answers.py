"""How queries are carried out: what they look at, where, and what they leave behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from modelvault import ClosedError, Database, ModelVaultQueryError, count, fields, min_, models, sum_
from modelvault import _reading as reading
from modelvault._unit import View
from tests.cancelling import NATIVE, everywhere, skip_native
from tests.faults import FaultyDisk
from tests.models import User, user
from tests.worlds import World, bare

u = fields(User)


class Label(str):
    """A type of the user's that counts how often a row is made."""

    made = 0

    def __new__(cls, text: str) -> Label:
        Label.made += 1
        return super().__new__(cls, text)


@dataclass
class Thing:
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.index("size"), models.index(("kind", "size")))

    id: int
    kind: str
    size: int
    label: Label
    tags: list[str] = field(default_factory=list)


def thing(number: int) -> Thing:
    return Thing(number, f"kind {number % 3}", number % 50, Label(f"label {number}"), [f"tag {number % 7}"])


t = fields(Thing)


async def things(db: Any, number: int = 300) -> Any:
    collection = await db.collection(Thing)
    await collection.insert_many(thing(n) for n in range(number))
    return collection


async def analyzed(query: Any) -> dict[str, int]:
    """The numbers of `explain(analyze=True)`."""
    lines = (await query.explain(analyze=True)).partition("Analyze:\n")[2].splitlines()
    return {name: int(value) for name, value in (line.split()[:2] for line in lines if "time" not in line)}


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer takes many slices."""
    for name, value in {"MOST": 8, "LOOK": 16, "FEW_AWAY": 8, "LOOK_AWAY": 16}.items():
        monkeypatch.setattr(reading, name, value)
    monkeypatch.setattr(reading, "BLOCKING", 8)
    monkeypatch.setattr(reading, "BLOCKING_LOOK", 16)


# What is looked at


async def test_what_only_counts_makes_no_row(db: Any) -> None:
    rows = await things(db)
    made = Label.made
    assert await rows.where(t.kind == "kind 1", t.id > 10).count() == 96
    assert await rows.where(t.tags.contains("tag 3")).count() == 43
    assert await rows.where(t.size < 10).limit(7).count() == 7
    assert await rows.where(t.size < 10).exists()
    assert await rows.count() == 300
    total = sum(n % 50 for n in range(3, 300, 7))
    assert await rows.where(t.tags.contains("tag 3")).agg(n=count(), total=sum_(t.size)) == {"n": 43, "total": total}
    assert await rows.where(t.size == 3).select(t.id).all() == [3, 53, 103, 153, 203, 253]
    assert await rows.where(t.size == 4).delete() == 6
    assert Label.made == made
    assert len(await rows.where(t.size == 3).all()) == 6
    assert Label.made == made + 6


async def test_no_more_is_looked_at_than_needed(db: Any) -> None:
    rows = await things(db)
    assert (await analyzed(rows.where(t.size == 3)))["examined"] == 6
    assert (await rows.min_(t.size), await rows.max_(t.size), await rows.max_(t.label)) == (0, 49, "label 99")
    assert await rows.where(t.size < 20, t.kind == "kind 1").max_(t.size) == 19
    assert await rows.where(t.size < 0).min_(t.size) is None
    assert await analyzed(rows.where(t.kind == "kind 1", t.size.between(3, 4))) | {"pages": 0} == {
        "examined": 8,  # entries, and rows in another order
        "returned": 4,
        "pages": 0,
    }
    assert (await analyzed(rows.order_by(t.size.desc()).limit(5)))["examined"] == 5
    assert (await analyzed(rows.where(t.id >= 100).limit(5)))["examined"] == 5
    assert (await analyzed(rows.where(t.id.in_([5, 7, 1000]))))["returned"] == 2
    assert await analyzed(rows.where(t.label == Label("label 7"))) | {"pages": 0} == {
        "examined": 300,
        "returned": 1,
        "pages": 0,
    }
    assert (await analyzed(rows.where((t.size == 3) | (t.id == 7))))["examined"] < 20
    assert [await rows.offset(n).count() for n in (0, 290, 400)] == [300, 10, 0]
    assert [await rows.offset(n).limit(5).count() for n in (0, 298, 400)] == [5, 2, 0]


async def test_an_answer_is_made_once_however_long_it_is(db: Any) -> None:
    """Some number of rows is too many for each of the ways that answer at once: nobody makes a part of them first."""
    rows = await db.collection(Thing)
    sizes = (1, 40, 64, 65, 66, 200, 256, 257, 300)
    await rows.insert_many(Thing(1000 * size + n, "kind", size, Label("label")) for size in sizes for n in range(size))
    for size in sizes:
        same = rows.where(t.size == size)
        for query in (same, same.order_by(t.id), rows.where(t.size >= size, t.size < size + 1), same.limit(300)):
            for _ in range(2):  # with a plan that is at hand, too
                Label.made = 0
                found = await query.all()
                assert [row.id for row in found] == [1000 * size + n for n in range(size)]
                assert Label.made == len(found)


def test_rows_of_an_index_may_be_very_long() -> None:
    """No more than some megabytes of them are held at a time."""
    with Database.open_in_memory() as db:
        rows = models.collection(db, Thing)
        rows.insert_many(Thing(n, "kind", 1, Label(f"{n}" * (3 << 20))) for n in range(7))
        for query in (rows.where(t.size == 1), rows.where(t.size == 1, t.label.contains("0") | (t.id > 0))):
            assert [(row.id, row.label[0], len(row.label)) for row in query.all()] == [
                (n, f"{n}", 3 << 20) for n in range(7)
            ]
            assert query.count() == 7
            assert [row.id for row in query.order_by(t.id.desc()).limit(5)] == [6, 5, 4, 3, 2]


async def test_what_an_index_has_is_not_read_from_rows(db: Any) -> None:
    """Rows that hardly fit in a page; a range of an index lies in one or two."""
    rows = await db.collection(Thing)
    await rows.insert_many(Thing(n, f"kind {n % 3}", n % 50, Label("x" * 3000)) for n in range(300))
    sizes = [n % 50 for n in range(1, 300, 3)]
    covered = rows.where(t.kind == "kind 1").select(t.size)
    assert "  IndexOnly\n" in await covered.explain()
    assert await covered.all() == sizes
    assert await analyzed(covered) == {"examined": 100, "returned": 100, "pages": 1}
    assert await analyzed(covered.distinct()) == {"examined": 100, "returned": len(set(sizes)), "pages": 1}
    assert await analyzed(rows.order_by(t.size).select(t.size, t.id)) == {"examined": 300, "returned": 300, "pages": 1}
    tested = rows.where(t.kind == "kind 1", t.size != 3, t.id != 10).order_by(t.size.desc()).select(t.id)
    assert (await analyzed(tested))["pages"] <= 3
    assert len(await tested.all()) == 97
    assert "IndexOnly" not in await rows.where(t.kind == "kind 1").select(t.size, t.label).explain()
    assert (await analyzed(rows.where(t.kind == "kind 1").select(t.label)))["pages"] > 50
    assert await rows.where(t.kind == "kind 1").sum(t.size) == sum(sizes)
    assert await rows.where(t.kind == "kind 1", t.size > 3).avg(t.size) == sum(s for s in sizes if s > 3) / 92
    async with db.transaction():
        await rows.update(1, {"size": 7})
        assert await rows.where(t.kind == "kind 1").select(t.size).all() == [7, *sizes[1:]]


async def test_explain_says_what_and_why(db: Any) -> None:
    rows = await things(db)
    text = await rows.where(t.size >= 40, t.label == Label("label 41")).order_by(t.size).limit(3).explain()
    plan, why = text.split("Why:\n")
    assert plan.splitlines() == [
        "Plan:",
        '  IndexRangeLookup index="size_idx" kind=NonUnique',
        "  KeyRange lo >= Int64(40)",
        '  ResidualFilter Eq { path: FieldPath(["label"]), value: String("label 41") }',
        "  Limit 3",
        '  OrderBy FieldPath(["size"]) Asc',
    ]
    assert "instead of CollectionScan" in why and "order of the index size_idx" in why
    assert (await rows.explain()).startswith("Plan:\n  CollectionScan\nWhy:\n")


async def test_explain_says_how_numbers_are_found(db: Any) -> None:
    rows = await things(db)
    some = rows.where(t.size >= 40, t.id > 10)
    lines = (await some.explain(n=count(), total=sum_(t.size))).splitlines()
    assert lines[1:4] == [
        '  IndexRangeLookup index="size_idx" kind=NonUnique',
        "  KeyRange lo >= Int64(40)",
        "  IndexOnly",
    ]
    assert '  Aggregate [Count, Sum FieldPath(["size"])]' in lines
    assert lines[-1] == "  the order of the rows does not matter: nothing is sorted"
    whole = await rows.explain(n=count())
    assert "  Aggregate [Count]\nWhy:\n  the number of rows of a collection is kept: none is looked at\n" in whole
    assert "examined 0\n  returned 1\n" in await rows.explain(analyze=True, n=count())
    least = await rows.explain(analyze=True, least=min_(t.size))
    assert 'IndexRangeLookup index="size_idx"' in least or 'IndexScan index="size_idx"' in least
    assert "Aggregate [Min " in least and "examined 1\n  returned 1\n" in least
    groups = rows.where(t.size < 20).group_by(t.kind, t.size)
    lines = (await groups.explain(True, n=count())).splitlines()
    assert '  GroupBy [FieldPath(["kind"]), FieldPath(["size"])]' in lines
    assert f"  returned {len(await groups.count())}" in lines
    assert (
        "  GroupBy" in await rows.group_by(t.kind).explain()
        and "Aggregate" not in await rows.group_by(t.kind).explain()
    )
    limited = await rows.order_by(t.label).limit(7).explain(analyze=True, total=sum_(t.size))
    assert "Limit 7" in limited and "returned 1\n" in limited


async def test_explain_refuses_what_agg_refuses(db: Any) -> None:
    rows = await things(db, 3)
    for ask in (rows.explain, rows.group_by(t.kind).explain):
        with pytest.raises(TypeError, match=r"explain\(\) takes count\(\), sum_\(\), .*not n=3"):
            await ask(n=3)
        with pytest.raises(TypeError, match=r"by name, as in explain\(n=count\(\)\)"):
            await ask(count())
        with pytest.raises(ModelVaultQueryError, match="label"):
            await ask(n=sum_(t.label))


async def test_who_waits_for_a_time_waits_for_one_slice(
    loop_db: Any, small_slices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer is noticed in one turn of the loop, who waits for it runs in the next: a slice in each would be three."""
    rows = await things(loop_db)
    turns, between = 0, []
    go = reading.Reading.go

    async def counted(self: Any, step: Any, **options: Any) -> Any:
        result = await go(self, step, **options)
        between.append(turns)
        return result

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(reading.Reading, "go", counted)
    async with anyio.create_task_group() as group:
        group.start_soon(others)
        assert len(await rows.where(t.id >= 0).all()) == 300
        group.cancel_scope.cancel()
    gaps = [after - before for before, after in pairwise(between[:-1])]
    assert len(gaps) > 20 and min(gaps) >= reading.TURNS - 1


async def test_statistics_decide(db: Any) -> None:
    """A value that few rows have is looked up; for one that most rows have all rows are read in their order."""
    rows = await things(db, 900)
    await rows.where(t.id >= 20).update({t.size: 7})
    assert "IndexLookup" in await rows.where(t.size == 3).explain()
    assert "CollectionScan" in await rows.where(t.size != 3).explain()


async def test_get_by(db: Any) -> None:
    users = await db.collection(User)
    await users.insert_many(user(n) for n in range(20))
    assert await users.get_by(u.email, "user3@example.com") == user(3)
    assert await users.get_by("email", "nobody") is None
    assert await users.get_by(u.id, 4) == user(4)
    assert await users.get_by("name", "User Number 7") == user(7)
    async with db.transaction():
        await users.insert(user(30))
        assert await users.get_by(u.email, "user30@example.com") == user(30)
    with pytest.raises(ModelVaultQueryError, match="more than one row of users fits"):
        await users.get_by(u.active, True)
    with pytest.raises(TypeError, match='field "email" of users'):
        await users.get_by(u.email, 3)
    with pytest.raises(ModelVaultQueryError, match="unknown field path"):
        await users.get_by("nope", 3)


async def test_get_by_meets_what_is_not_as_usual(db: Any) -> None:
    """None, which a unique index may have twice; lists; entries at the ends of leaves; what was just written."""

    @dataclass
    class Card:
        __modelvault_primary_key__ = "id"
        __modelvault_indexes__ = (models.unique("code"), models.index("tags"), models.index("group"))

        id: int
        code: str | None
        tags: list[str]
        group: int

    c = fields(Card)
    cards = await db.collection(Card)
    await cards.insert_many(Card(n, f"{n:06}" * 9, [f"t{n}", "all"], n // 2) for n in range(1000))
    for n in range(1000):
        assert (await cards.get_by(c.code, f"{n:06}" * 9)).id == n
        assert (await cards.get_by(c.tags, f"t{n}")).id == n
    assert await cards.get_by(c.code, "000001") is None
    assert await cards.get_by(c.code, None) is None
    await cards.insert(Card(1001, None, [], 501))
    assert (await cards.get_by(c.code, None)).id == 1001
    assert (await cards.get_by(c.group, 501)).id == 1001
    await cards.insert(Card(1002, None, [], 502))
    for field_, value in ((c.code, None), (c.group, 3), (c.tags, "all")):
        with pytest.raises(ModelVaultQueryError, match="more than one row"):
            await cards.get_by(field_, value)
    assert [card.id for card in await cards.where(c.group == 3).all()] == [6, 7]
    assert (await cards.where(c.tags == ["t5", "all"]).first()).id == 5
    await cards.delete(5)
    assert await cards.get_by(c.tags, "t5") is None and await cards.get(5) is None


# Slices


async def test_answers_in_many_slices(small_slices: None, db: Any) -> None:
    rows = await things(db)
    everything = [thing(n) for n in range(300)]
    odd = [row for row in everything if row.tags == ["tag 3"]]
    assert await rows.all() == everything
    assert [row async for row in rows] == everything
    assert await rows.where(t.tags.contains("tag 3")).all() == odd
    assert await rows.where(t.label == Label("label 290")).all() == [everything[290]]
    assert await rows.where(t.label == Label("label 290")).count() == 1
    assert (
        await rows.order_by(t.label.desc()).offset(3).limit(90).all()
        == sorted(everything, key=lambda row: row.label, reverse=True)[3:93]
    )
    assert await rows.where(t.size > 10).select(t.kind).distinct().all() == ["kind 2", "kind 0", "kind 1"]
    assert await rows.where((t.size == 3) | (t.kind == "kind 1")).count() == 104
    assert await rows.where(t.size > 10).offset(100).all() == [row for row in everything if row.size > 10][100:]
    assert await rows.sum(t.size) == sum(row.size for row in everything)
    assert await rows.where(t.tags.contains("tag 3")).update({t.size: t.size + 1000}) == len(odd)


@asynccontextmanager
async def others() -> AsyncIterator[list[int]]:
    """Another task runs, which counts its turns: in the only element."""
    turns = [0]

    async def run() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turns[0] += 1

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.lowlevel.checkpoint()
        yield turns
        group.cancel_scope.cancel()


async def test_others_run_between_slices(small_slices: None, loop_db: Any) -> None:
    rows = await things(loop_db)
    async with others() as turns:
        for ask in (rows.all, rows.order_by(t.label).all, lambda: rows.sum(t.size), rows.where(t.size > 1).all):
            turns[0] = 0
            await ask()
            assert turns[0] >= 300 // 16 - 1


async def test_many_rows_count_as_many_operations(loop_db: Any) -> None:
    """Who asks again and again for some rows that are at hand lets others run as often as who asks for single ones."""
    rows = await things(loop_db, 3000)
    async with others() as turns:
        for query in (lambda n: rows.where(t.size == n), lambda n: rows.where(t.size == n).order_by(t.id)):
            turns[0] = 0
            for size in range(50):
                assert len(await query(size).all()) == 60
            assert turns[0] >= 3000 // (128 + 60) - 1


async def test_cold_pages(world: World, disks: list[FaultyDisk], tmp_path: Path) -> None:
    """A query waits for the disk wherever it has to, and goes on where it was."""
    path = tmp_path / "cold"
    async with world.open(path) as db:
        await things(db, 800)
    async with world.open(path, cache_size=64 * 1024) as db:
        disks[-1].cold = True
        rows = await db.collection(Thing)
        assert await rows.where(t.size == 3).select(t.id).all() == [*range(3, 800, 50)]
        assert await rows.where(t.label == Label("label 790")).count() == 1
        assert [row.id for row in await rows.order_by(t.size.desc(), t.id).limit(3).all()] == [49, 99, 149]
        assert [row.id async for row in rows] == [*range(800)]
        assert await rows.where(t.size < 2).update({t.size: t.size + 100}) == 32
        async with db.transaction():
            assert await rows.where(t.size >= 100).delete() == 32
            some = [n for n in range(800) if n % 50 > 1 and (n % 50 == 3 or n % 3 == 1)]
            assert await rows.where((t.size == 3) | (t.kind == "kind 1")).count() == len(some)
        page = await rows.where(t.size > 40).order_by(t.size).page(5)
        assert [row.id for row in (await rows.where(t.size > 40).order_by(t.size).page(2, page.next))] == [291, 341]


# Changes meanwhile


async def test_an_update_meets_no_row_twice(small_slices: None, db: Any) -> None:
    """Rows move forward in the index that finds them."""
    rows = await things(db)
    assert await rows.where(t.size >= 25).update({t.size: t.size + 1}) == 150
    assert await rows.where(t.size >= 25).count() == 150
    assert await rows.sum(t.size) == sum(n % 50 for n in range(300)) + 150


async def test_an_iteration_sees_its_transaction_go_on(small_slices: None, db: Any) -> None:
    rows = await things(db, 30)
    async with db.transaction():
        seen = []
        async for row in rows.where(t.size < 1000):
            seen.append(row.id)
            if row.id == 0:
                await rows.insert_many(thing(n) for n in range(30, 40))
                await rows.where(t.id.between(20, 24)).delete()
        assert seen == [*range(20), *range(25, 40)]
        assert await rows.where((t.size == 1) | (t.size == 22)).count() == 1


async def test_an_iteration_is_one_snapshot(small_slices: None, db: Any) -> None:
    rows = await things(db, 60)
    seen = []
    async for row in rows.order_by(t.size.desc()).where(t.id >= 0):
        seen.append(row.id)
        await rows.delete(60 - len(seen))
    assert sorted(seen) == [*range(60)]
    assert await rows.count() == 0


def test_threads_read_while_one_writes(tmp_path: Path) -> None:
    """Each answer is one commit's: all rows have the same size."""
    for db in (Database.open_in_memory(), Database.open(tmp_path / "db")):
        rows = db.collection(Thing)
        rows.insert_many(thing(n) for n in range(200))
        rows.where().update({t.size: 0})
        wrong: list[Any] = []
        ended = threading.Event()

        def read(rows: Any = rows, wrong: list[Any] = wrong, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                found = {row.size for row in rows.where(t.tags.contains("tag 3")).all()}
                number = rows.where(t.label.startswith("label")).count()
                few = rows.where(t.size >= 0).order_by(t.size).limit(20).all()
                if len(found) != 1 or number != 200 or len({row.size for row in few}) != 1:
                    wrong.append((found, number, few))

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(10):
            rows.where().update({t.size: number})
        ended.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert db._twin._access.engine.pins == 0
        db.close()


# Leaving


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_cancelled_anywhere(
    cold: bool, native: bool, loop_world: World, disks: list[FaultyDisk], small_slices: None, tmp_path: Path
) -> None:
    """Nothing stays pinned, and the next question is answered."""
    skip_native(loop_world, native)
    async with loop_world.open(tmp_path / "db") as db:
        await things(db, 120)
    async with loop_world.open(tmp_path / "db", cache_size=64 * 1024) as db:
        rows = await db.collection(Thing)

        async def ask() -> None:
            await rows.where(t.tags.contains("tag 3")).all()
            await rows.order_by(t.label).limit(20).page(3)
            await rows.group_by(t.kind).agg(n=count())
            await rows.where(t.label == Label("label 3")).count()
            async for row in rows.where((t.size == 3) | (t.kind == "kind 1")):
                if row.id > 50:
                    break

        async for _ in everywhere(ask, native):
            disks[-1].cold = False
            with anyio.fail_after(20):
                while db.stats()["pins"]:
                    gc.collect()
                    await anyio.sleep(0.001)  # a thread that nobody waits for any more may still be at work
                assert await rows.where(t.size == 3).count() == 3
            disks[-1].cold = cold


def test_a_state_is_kept_while_another_thread_reads_it() -> None:
    """The task that waited was cancelled, and has closed the view; the thread goes on."""
    with Database.open_in_memory() as db:
        access = bare(db)._access
        view = View(access, None)
        begun, go_on = threading.Event(), threading.Event()

        def look(roots: Any, wait: bool) -> None:
            begun.set()
            go_on.wait()

        thread = threading.Thread(target=view._read_away, args=(look,))
        thread.start()
        begun.wait()
        view.close()
        assert access.engine.pins == 1
        go_on.set()
        thread.join()
        assert access.engine.pins == 0
        with pytest.raises(ClosedError):
            view._read_away(look)
