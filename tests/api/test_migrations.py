"""Models that change: plans, safe changes, rewrites, upgrade functions, in every world."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import anyio
import anyio.lowlevel
import pytest
from annotated_types import Ge
from pydantic import BaseModel, create_model
from pydantic import Field as PydanticField

from modelvault import Database, DuplicateKeyError, ModelVaultSchemaError, models
from tests.worlds import World, bare, gather

ZONE = timezone(timedelta(hours=3))


class Address(BaseModel):
    city: str


class Place(BaseModel):
    city: str
    zip: str | None = None
    tags: list[str] = []


def model(indexes: list[Any] | None = None, **fields: Any) -> Any:
    """A version of the model of `users`: keyword arguments are annotations, or (annotation, default)."""
    declared: dict[str, Any] = {name: f if isinstance(f, tuple) else (f, ...) for name, f in fields.items()}
    cls: Any = create_model("User", **({"id": (int, ...)} | declared))
    cls.__modelvault_primary_key__ = "id"
    cls.__modelvault_indexes__ = indexes or []
    cls.__modelvault_collection__ = "users"
    return cls


async def collection(db: Any, cls: Any, **options: Any) -> Any:
    return await models.async_collection(bare(db), cls, **options)


async def plan(db: Any, cls: Any, **options: Any) -> models.Plan:
    return await models.async_plan(bare(db), cls, **options)


async def apply(db: Any, cls: Any, **options: Any) -> int:
    return await models.async_apply(bare(db), cls, **options)


async def filled(db: Any, cls: Any, *rows: dict[str, Any]) -> Any:
    users = await collection(db, cls)
    for row in rows:
        await users.insert(cls(**row))
    return users


async def test_a_plan_says_what_indexes_are_called(loop_db: Any, loop_world: World) -> None:
    """One that has another name because its field has; a second one on the same field is built."""
    db = loop_db
    await filled(db, model([models.index("name"), models.unique("n")], name=str, n=int), {"id": 1, "name": "a", "n": 1})
    title = Annotated[str, models.RenamedFrom("name")]
    new = model([models.index("title"), models.index("title", name="again"), models.index("n")], title=title, n=int)
    lines = str(await plan(db, new)).splitlines()
    assert lines[0].endswith("every row is read")
    assert "  ~ index name_idx is called title_idx" in lines and "  + index again on title" in lines
    assert not any(line.startswith("  - index") for line in lines)
    renamed = model([models.index("title"), models.index("n")], title=title, n=int)
    assert str(await plan(db, renamed)).splitlines()[0].endswith("no row is touched")
    await apply(db, new)
    assert await (await collection(db, new)).where("title", "a").count() == 1
    await bare(db).verify()


async def test_new_fields_are_there_at_once(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model(name=str, home=Address, homes=(list[Address], []))
    await filled(
        db, old, *({"id": n, "name": f"n{n}", "home": {"city": "x"}, "homes": [{"city": "y"}]} for n in range(9))
    )
    new = model(
        [models.index("rank"), models.index("nick"), models.index("home.tags")],
        name=str,
        nick=(str | None, None),
        rank=(int, 3),
        mood=(str | None, "calm"),
        home=Place,
        homes=(list[Place], []),
        seen=(list[str], []),
    )
    found = await plan(db, new)
    assert found["change"] == "needs_migration" and found.automatic and not found.rewrite
    assert "backfill_top_level_field:rank" in found.steps and "backfill_top_level_field:nick" not in found.steps
    assert "+ rank: int = 3 in older rows" in str(found) and "+ nick: optional[string]" in str(found)
    users = await collection(db, new, migrate="safe")
    expected = new(id=4, name="n4", home=Place(city="x"), homes=[Place(city="y")], rank=3, mood="calm", seen=[])
    assert await users.get(4) == expected
    await users.insert(new(id=50, name="new", rank=5, nick="nn", mood=None, home=Place(city="q", tags=["t"])))
    assert await users.where("rank", 3).count() == 9
    assert [row.id for row in await users.where("rank", 5).all()] == [50]
    assert [row.id for row in await users.where("home.tags", "t").all()] == [50]
    row = await users.get(1)
    row.seen.append("changed")
    assert (await users.get(2)).seen == []
    assert dict(await plan(db, new)) == {"change": "safe", "steps": []}
    assert str(await plan(db, new)) == "users: nothing changed"
    await db.verify()


async def test_a_field_is_renamed(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model([models.unique("name", "by_name")], name=str, home=Address)
    await filled(db, old, {"id": 1, "name": "ada", "home": {"city": "x"}})

    class Home(BaseModel):
        town: Annotated[str, models.RenamedFrom("city")]

    new = model([models.unique("title", "by_title")], title=Annotated[str, models.RenamedFrom("name")], home=Home)
    found = await plan(db, new)
    assert found["change"] == "safe"
    assert found.steps == ["rename_field:name->title", "rename_field:home.city->town"]
    users = await collection(db, new, migrate="safe")
    assert await users.get(1) == new(id=1, title="ada", home=Home(town="x"))
    assert [row.id for row in await users.where("title", "ada").all()] == [1]
    with pytest.raises(DuplicateKeyError):
        await users.insert(new(id=2, title="ada", home=Home(town="y")))
    again = model([models.unique("title", "by_title")], title=Annotated[str, models.RenamedFrom("name")], home=Home)
    assert (await plan(db, again))["steps"] == []


async def test_types_take_more(loop_db: Any, loop_world: World) -> None:
    db = loop_db

    class Old(Enum):
        RED = "red"
        BLUE = "blue"

    class New(Enum):
        GREEN = "green"
        BLUE = "blue"
        RED = "red"

    await filled(db, model([models.index("color")], color=Old, n=int), {"id": 1, "color": Old.BLUE, "n": 5})
    new = model([models.index("color")], color=New, n=int | None)
    assert (await plan(db, new))["change"] == "safe"
    users = await collection(db, new, migrate="safe")
    assert await users.get(1) == new(id=1, color=New.BLUE, n=5)
    await users.insert(new(id=2, color=New.GREEN, n=None))
    assert [row.id for row in await users.where("color", New.BLUE).all()] == [1]
    wider = model([models.index("color"), models.index("n")], color=New, n=float | None)
    found = await plan(db, wider)
    assert (found["change"], found.steps, found.rewrite) == ("needs_migration", ["convert_field:n"], True)
    with pytest.raises(ModelVaultSchemaError, match="migration required"):
        await collection(db, wider, migrate="safe")
    assert await apply(db, wider) == 3
    users = await collection(db, wider)
    row = await users.get(1)
    assert row == wider(id=1, color=New.BLUE, n=5.0) and type(row.n) is float
    assert [row.id for row in await users.where("n", 5.0).all()] == [1]
    assert (await users.get(2)).n is None


async def test_what_needs_a_decision_is_refused(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model(name=str, n=(int | None, None))
    await filled(db, old, {"id": 1, "name": "x"}, {"id": 2, "name": "x", "n": 3})
    refused = [
        (model(name=str, n=(int | None, None), z=int), r'migration required: new required field \["z"\]'),
        (model(name=int, n=(int | None, None)), r'incompatible schema change: type changed for field \["name"\]'),
        (model(name=str, n=int), r'incompatible schema change: type changed for field \["n"\]'),
    ]
    for cls, message in refused:
        with pytest.raises(ModelVaultSchemaError, match=message):
            await apply(db, cls)
        with pytest.raises(ModelVaultSchemaError, match=message.partition(":")[0]):
            await collection(db, cls, migrate="safe")
    with pytest.raises(ModelVaultSchemaError, match=r"cannot be read under it \(1, 2: name:"):
        await apply(db, model(name=int, n=(int | None, None)), force=True)
    with pytest.raises(DuplicateKeyError, match="in the rows 1, 2"):
        await apply(db, model([models.unique("name")], name=str, n=(int | None, None)))
    with pytest.raises(ModelVaultSchemaError, match="must retain"):
        await apply(db, model(id=str, name=str), force=True)
    with pytest.raises(ModelVaultSchemaError, match="unknown collection"):
        await plan(db, model_named("nope"))
    with pytest.raises(TypeError, match="argument 'db'"):
        models.plan(None, old)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="migrate must be"):
        models.async_collection(bare(db), old, migrate="all")  # type: ignore[arg-type]
    users = await collection(db, old)
    assert await users.all() == [old(id=1, name="x"), old(id=2, name="x", n=3)]
    assert await apply(db, old) == 2
    await db.verify()


def model_named(name: str) -> Any:
    cls = model(name=str)
    cls.__modelvault_collection__ = name
    return cls


async def test_none_becomes_the_default(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model(n=(int | None, None))
    await filled(db, old, {"id": 1}, {"id": 2, "n": 3})
    new = model(n=(int, 7), key=(UUID, PydanticField(default_factory=uuid4)))
    assert await apply(db, new) == 2
    users = await collection(db, new)
    assert [row.n for row in await users.all()] == [7, 3]
    first, second = [row.key for row in await users.all()]
    assert isinstance(first, UUID) and first != second and (await users.get(1)).key == first


async def test_tighter_constraints_are_checked(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    await filled(db, model(n=int), {"id": 1, "n": -5}, {"id": 2, "n": 3})
    tight, loose = model(n=Annotated[int, Ge(0)]), model(n=Annotated[int, Ge(-9)])
    with pytest.raises(ModelVaultSchemaError, match=r"constraints changed.*1: .*nothing has changed"):
        await apply(db, tight)
    assert await apply(db, loose) == 2
    assert dict(await plan(db, model(n=int))) == {"change": "safe", "steps": []}


async def test_upgrade_functions(loop_db: Any, loop_world: World) -> None:
    """Those of the versions that are not reached yet, in their order; rows as dicts, values plain or the model's."""
    db = loop_db
    old = model([models.index("name")], name=str, when=datetime)
    when = datetime(2020, 1, 2, tzinfo=ZONE)
    await filled(db, old, *({"id": n, "name": f"a{n} b{n}", "when": when} for n in range(300)))
    new = model([models.index("last")], first=str, last=str, when=datetime, home=(Address | None, None))

    def split(row: dict[str, Any]) -> None:
        row["first"], row["last"] = row.pop("name").split()

    def house(row: dict[str, Any]) -> dict[str, Any]:
        assert row["when"].utcoffset() == timedelta(hours=3)
        return row | {"home": Address(city=row["last"]) if row["id"] % 2 else {"city": "even"}}

    steps = {2: split, 3: house}
    found = await plan(db, new, upgrade=steps)
    assert found.steps[-2:] == ["upgrade:2", "upgrade:3"] and "upgrade function for version 3" in str(found)
    assert await apply(db, new, upgrade=steps, dry_run=True) == 3
    assert await (await collection(db, old)).count() == 300
    told: list[int] = []
    assert await apply(db, new, upgrade=steps, chunk=70, progress=told.append) == 3
    assert told[-1] == 300
    users = await collection(db, new)
    assert await users.get(7) == new(id=7, first="a7", last="b7", when=when, home=Address(city="b7"))
    assert (await users.get(8)).home == Address(city="even")
    assert [row.id for row in await users.where("last", "b9").all()] == [9]
    assert await apply(db, new, upgrade=steps) == 3
    await db.verify()


async def test_an_upgrade_for_a_version_that_the_rows_have_is_told(loop_db: Any) -> None:
    await filled(loop_db, model(n=int), {"id": 1, "n": 1})
    words = "its rows are at version 2: an upgrade function has to be for a later one"
    assert await apply(loop_db, model(n=int), upgrade={2: lambda row: None}) == 2
    with pytest.raises(ModelVaultSchemaError, match=words):
        await apply(loop_db, model(n=int, more=int), upgrade={2: lambda row: row | {"more": 1}})


async def test_an_upgrade_that_fails_leaves_everything(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model([models.index("n")], n=int)
    users = await filled(db, old, *({"id": n, "n": n % 4} for n in range(300)))

    def bad(row: dict[str, Any]) -> None:
        if row["id"] in (5, 250):
            raise LookupError(f"no {row['id']}")

    with pytest.raises(ModelVaultSchemaError, match=r"5: LookupError: no 5; 250: LookupError: no 250") as caught:
        await apply(db, old, upgrade={2: bad}, chunk=100)
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(DuplicateKeyError, match="unique index violation"):
        await apply(db, model([models.unique("n")], n=float), chunk=100)
    with pytest.raises(ModelVaultSchemaError, match="cannot change a primary key"):
        await apply(db, old, upgrade={2: lambda row: row | {"id": row["id"] + 1}}, chunk=100)
    assert await users.count() == 300 and await users.where("n", 3).count() == 75
    await db.verify()
    assert await apply(db, old, upgrade={2: lambda row: row | {"n": 9}}, chunk=100) == 2
    assert await users.where("n", 9).count() == 300


async def moved(
    users: Any, cls: Any, known: dict[int, int], *, unique: bool = True, plans: list[str] | None = None
) -> None:
    """Rows go, others get their values of n, and new ones come; `known` follows. plans: gets one after each turn."""
    for number in range(0, 60, 2):
        fresh = -number - 1 if unique else -1
        await users.delete(number + 1)
        del known[number + 1]
        await users.update(number, {"n": number + 1})
        known[number] = number + 1
        await users.insert(cls(id=5000 + number, n=fresh))
        known[5000 + number] = fresh
        if plans is not None:
            plans.append(str(await users.where("n", 7).explain()))


async def test_others_write_during_a_rewrite(loop_db: Any, loop_world: World) -> None:
    """What they change, also a unique value that moves from row to row, is in the collection in the end."""
    db = loop_db
    old = model([models.unique("n")], n=int)
    users = await filled(db, old, *({"id": n, "n": n} for n in range(1200)))
    new = model([models.unique("n")], n=float)

    known = {n: n for n in range(1200)}
    results = await gather(lambda: apply(db, new, chunk=20), lambda: moved(users, old, known))
    assert results[0] == 2
    if results[1] is not None:  # the change was complete before the writer was
        assert isinstance(results[1], ValueError) and ("float" in str(results[1]) or "changed" in str(results[1]))
    rows = {row.id: row.n for row in await (await collection(db, new)).all()}
    assert rows == known and 1 not in known
    await db.verify()


@pytest.mark.parametrize("unique", [True, False], ids=["unique", "twice"])
async def test_an_index_is_built_while_others_write(unique: bool, loop_db: Any, loop_world: World) -> None:
    """In chunks, by an upgrade function that changes nothing; values that several rows have leave nothing behind."""
    db = loop_db
    old = model(n=int)
    users = await filled(db, old, *({"id": n, "n": n} for n in range(300)))
    new = model([models.unique("n")], n=int)
    known = {n: n for n in range(300)}
    plans: list[str] = []

    async def write() -> None:
        await moved(users, old, known, unique=unique, plans=plans)

    results = await gather(lambda: apply(db, new, chunk=10, upgrade={2: lambda row: None}), write)
    assert results[1] is None or isinstance(results[1], ModelVaultSchemaError)  # it was complete before the writer was
    if unique:
        assert results[0] == 2
    else:
        assert isinstance(results[0], DuplicateKeyError) and "nothing has changed" in str(results[0])
    found = await collection(db, new if unique else old)
    assert {row.id: row.n for row in await found.all()} == known
    assert [row.id for row in await found.where("n", 7).all()] == [key for key, n in known.items() if n == 7]
    assert ("index" in str(await found.where("n", 7).explain()).lower()) == unique
    assert plans and "index" not in plans[0].lower()
    await db.verify()


async def test_many_rows_change_during_a_rewrite(loop_db: Any, loop_world: World) -> None:
    """More than a chunk of them, in a collection where values move from row to row."""
    db = loop_db
    old, new = model([models.unique("n")], n=int), model([models.unique("n")], n=float)
    users = await filled(db, old, *({"id": n, "n": n} for n in range(300)))
    known = {n: n for n in range(300)}

    def rotate(row: dict[str, Any]) -> None:
        row["n"] += 0.5

    async def write() -> None:
        for turn in range(1, 4):
            async with db.transaction():
                await users.where("id", 0).delete()
                known.pop(0, None)
                for number in range(1, 150):
                    await users.insert(old(id=number, n=-1000 * turn - number))
                    known[number] = -1000 * turn - number

    results = await gather(lambda: apply(db, new, chunk=10, upgrade={2: rotate}), write)
    assert results[0] == 2
    rows = {row.id: row.n for row in await (await collection(db, new)).all()}
    if results[1] is None:  # else the change was complete before the writer was, whose last transaction rolled back
        assert rows == {key: value + 0.5 for key, value in known.items()}
    assert len(set(rows.values())) == len(rows)
    await db.verify()


async def test_the_same_change_twice_at_once(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old, new = model(n=int), model(n=float)
    await filled(db, old, *({"id": n, "n": n} for n in range(300)))
    assert await gather(*[lambda: apply(db, new, chunk=40)] * 2) in ([2, 2], [2, 3])
    assert (await (await collection(db, new)).get(299)).n == 299.0
    await db.verify()


async def test_two_handles_migrate_safely_at_once(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    await filled(db, model(n=int), {"id": 1, "n": 2})
    new = model([models.index("m")], n=int, m=(int, 5))

    async def first_use() -> Any:
        return await (await collection(db, new, migrate="safe")).where("m", 5).all()

    assert await gather(*[first_use] * 3) == [[new(id=1, n=2, m=5)]] * 3
    assert (await plan(db, new)).version == 2


async def test_a_cancelled_rewrite_goes_on_later(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old, new = model([models.index("n")], n=int), model([models.index("n")], n=float)
    users = await filled(db, old, *({"id": n, "n": n} for n in range(400)))
    done: list[int] = []
    scope = anyio.CancelScope()

    def count(row: dict[str, Any]) -> None:
        done.append(row["id"])

    async def stop() -> None:
        while len(done) < 100:
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    with scope:
        await gather(stop, lambda: apply(db, new, chunk=20, upgrade={2: count}))
    assert await users.count() == 400 and (await users.get(3)).n == 3
    before = len(done)
    assert await apply(db, new, chunk=20, upgrade={2: count}) == 2
    if scope.cancelled_caught:
        assert len(done) - before < 400
    assert [row.id for row in await (await collection(db, new)).where("n", 7.0).all()] == [7]
    await db.verify()


async def test_in_a_transaction_it_rolls_back(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model(n=int)
    users = await filled(db, old, *({"id": n, "n": n} for n in range(300)))
    new = model([models.index("n")], n=float)

    async def stopped() -> None:
        async with db.transaction():
            assert await apply(db, new) == 2
            assert (await (await collection(db, new)).get(3)).n == 3.0
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await stopped()
    assert await users.get(3) == old(id=3, n=3)
    async with db.transaction():
        await apply(db, new)
    assert await (await collection(db, new)).where("n", 7.0).count() == 1
    with pytest.raises(ValueError, match="stored as float64"):
        await users.get(3)
    await db.verify()


async def test_a_dropped_field(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old = model([models.index("name")], name=str, n=int)
    await filled(db, old, {"id": 1, "name": "x", "n": 2})
    new = model([models.index("n")], n=int)
    found = await plan(db, new)
    assert (found["change"], found["reason"]) == ("breaking", 'field removed: ["name"]')
    with pytest.raises(ModelVaultSchemaError, match="incompatible schema change: field removed"):
        await apply(db, new)
    await apply(db, new, force=True)
    assert await (await collection(db, new)).all() == [new(id=1, n=2)]
    back = model([models.index("n")], n=int, name=(int, 4))
    assert await (await collection(db, back, migrate="safe")).get(1) == back(id=1, n=2, name=4)
    await db.verify()


@dataclasses.dataclass
class Before:
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "things"
    id: int
    size: int


@dataclasses.dataclass(slots=True)
class After:
    id: int
    width: Annotated[float, models.RenamedFrom("size")]
    extra: list[int] = dataclasses.field(default_factory=list)


After.__modelvault_primary_key__ = "id"  # type: ignore[attr-defined]
After.__modelvault_collection__ = "things"  # type: ignore[attr-defined]


def test_dataclasses_and_the_blocking_interface(tmp_path: Path) -> None:
    path = tmp_path / "x.modelvault"
    with Database.open(path) as db:
        models.collection(db, Before).insert(Before(1, 5))
        assert models.plan(db, After).steps[0] == "rename_field:size->width"
    with Database.open(path) as db:
        assert models.apply(db, After, dry_run=True) == 2
        assert models.apply(db, After) == 2
    with Database.open(path) as db:
        assert models.collection(db, After, migrate="safe").all() == [After(1, 5.0, [])]
        db.verify()


def test_an_interrupted_rewrite_is_resumed_by_another_process(tmp_path: Path) -> None:
    """Stopped between two chunks; what was written meanwhile counts, and rows that were done are not done again."""
    path = tmp_path / "x.modelvault"
    old = model([models.index("n")], n=int)
    calls = itertools.count()

    class Stop(BaseException):
        pass

    def stopping(row: dict[str, Any]) -> None:
        if next(calls) == 700:
            raise Stop
        row["n"] += 1000

    def going_on(row: dict[str, Any]) -> None:
        next(calls)
        row["n"] += 1000

    with Database.open(path) as db:
        users = models.collection(db, old)
        users.insert_many(old(id=n, n=n) for n in range(1000))
        with pytest.raises(Stop):
            models.apply(db, old, upgrade={2: stopping}, chunk=256)
    with Database.open(path) as db:
        users = models.collection(db, old)
        assert [row.n for row in users.all()] == list(range(1000))
        users.update(3, {"n": 7})
        users.delete(999)
        db.verify()
    with Database.open(path) as db:
        done = next(calls)
        assert models.apply(db, old, upgrade={2: going_on}, chunk=256) == 2
        assert next(calls) - done < 600
        users = models.collection(db, old)
        assert users.count() == 999 and users.get(3) == old(id=3, n=1007)
        assert [row.id for row in users.where("n", 1500).all()] == [500]
        db.verify()
    with Database.open(path) as db:
        assert models.collection(db, old).get(700) == old(id=700, n=1700)


async def test_a_rewrite_that_is_given_up_for_another(loop_db: Any, loop_world: World) -> None:
    db = loop_db
    old, new = model(n=int), model(n=float)

    class Stop(BaseException):
        pass

    def stopping(row: dict[str, Any]) -> None:
        if row["id"] == 600:
            raise Stop

    users = await collection(db, old)
    await users.insert_many(old(id=n, n=n) for n in range(1000))
    with pytest.raises(Stop):
        await apply(db, old, upgrade={2: stopping}, chunk=256)
    assert await apply(db, new, chunk=256) == 2
    assert (await (await collection(db, new)).get(999)).n == 999.0
    await db.verify()
