"""The defects of 0.16 that are beaten here. They are numbered D1 to D40; each test is named after one.

Those of files, processes and handles are in test_defects_files.py; D3 and D12, changes of a schema that are forced, in
test_schema_versions.py. D8, D16, D19, D20, D23, D32, D34 and D39 are about speed, memory and crashes, which
tests/reliability and the benchmarks look after.
"""

import asyncio
import gc
import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel

import modelvault
from modelvault import (
    Database,
    DuplicateKeyError,
    ModelVaultError,
    ModelVaultSchemaError,
    ModelVaultTransactionError,
    ModelVaultValidationError,
    models,
)
from tests.alike import assert_same
from tests.models import Color, Level, Person, User, person, user
from tests.worlds import World, gather

FIELDS = json.dumps([{"path": ["id"], "type": "int64"}, {"path": ["s"], "type": {"optional": "string"}}])


async def numbers(db: Any) -> list[int]:
    return [row.id for row in await db.collection(User).all()]


# Transactions


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_d05_a_cancelled_transaction_leaves_nothing_and_harms_nobody(steps: int, loop_world: World) -> None:
    async with loop_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(0))

        async def both() -> None:
            async with db.transaction():
                await users.insert(user(1))
                await anyio.lowlevel.checkpoint()
                await users.insert(user(2))

        async with anyio.create_task_group() as group:
            group.start_soon(both)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        found = await numbers(db)
        assert found in ([0], [0, 1, 2])
        await users.insert(user(3))
        assert db.stats()["in_transaction"] is False
    if loop_world.place is not None:
        async with loop_world.open() as db:
            assert await numbers(db) == [*found, 3], "what was acknowledged after the cancellation is there"


async def test_d05_a_dropped_transaction_does_not_stay_open(world: World) -> None:
    async with world.open() as db:
        users = await db.collection(User)
        tx = db.transaction()
        await tx.__aenter__()
        await users.insert(user(1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del tx
            gc.collect()
        assert [warning.category for warning in caught] == [ResourceWarning]
        await users.insert(user(2))
        assert await numbers(db) == [2]


def test_d05_a_timeout_around_an_insert(tmp_path: Path) -> None:
    async def main() -> None:
        async with modelvault.AsyncDatabase.open(tmp_path / "x") as db:
            users = models.async_collection(db, User)
            await users
            done = set()
            for number in range(60):
                try:
                    await asyncio.wait_for(users.insert(user(number)), number * 0.00002)
                    done.add(number)
                except asyncio.TimeoutError:
                    pass
            await users.insert(user(100))
        async with modelvault.AsyncDatabase.open(tmp_path / "x") as db:
            assert done | {100} <= {row.id for row in await models.async_collection(db, User).all()}

    asyncio.run(main())


async def test_d06_concurrent_transactions_queue(loop_db: Any) -> None:
    users = await loop_db.collection(User)

    async def one(number: int) -> int:
        async with loop_db.transaction():
            before = await users.count()
            await anyio.lowlevel.checkpoint()
            await users.insert(user(number))
            return int(before)

    before = await gather(*(lambda number=number: one(number) for number in range(20)))  # type: ignore[misc]
    assert sorted(before) == list(range(20))


def test_d06_threads_queue_too(tmp_path: Path) -> None:
    with Database.open(tmp_path / "x") as db:
        users = models.collection(db, User)
        errors: list[BaseException] = []

        def work(start: int) -> None:
            try:
                for number in range(start, start + 20):
                    with db.transaction():
                        before = users.count()
                        users.insert(user(number))
                        assert users.count() == before + 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert users.count() == 60


async def test_d07_no_task_sees_or_joins_another_ones_transaction(loop_db: Any) -> None:
    users = await loop_db.collection(User)
    inside, seen, written = anyio.Event(), anyio.Event(), anyio.Event()

    async def first() -> None:
        async with loop_db.transaction() as tx, tx.savepoint():
            await users.insert(user(1))
            inside.set()
            await seen.wait()
            raise KeyError

    async def guarded() -> None:
        with pytest.raises(KeyError):
            await first()

    async def second() -> None:
        await inside.wait()
        assert await numbers(loop_db) == [] and await users.get(1) is None
        seen.set()
        await users.insert(user(2))
        written.set()

    async with anyio.create_task_group() as group:
        group.start_soon(guarded)
        group.start_soon(second)
    assert written.is_set()
    assert await numbers(loop_db) == [2]


async def test_d09_equality_on_a_key_or_an_index_reads_a_few_pages(disk_world: World) -> None:
    async with disk_world.open(page_size=4096) as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(2000))
        pages = db.stats()["page_count"]
        for path, value, most in [("id", 1500, 6), ("email", user(77).email, 9), ("address.city", "City 7", 60)]:
            before = db.stats()
            found = await users.where(path, value).all()
            after = db.stats()
            assert user(int(found[0].id)) == found[0] and len(found) in (1, 20)
            assert after["hits"] + after["misses"] - before["hits"] - before["misses"] <= most < pages
        assert await users.where("id", 1500).and_where("age", 0).all() == []


# Models


async def test_d10_a_subclass_does_not_inherit_references_as_defaults(db: Any) -> None:
    class Book(BaseModel):
        __modelvault_primary_key__ = "id"
        id: int
        title: str

    books = await db.collection(Book)
    assert Book.title.path == ["title"]  # type: ignore[attr-defined]

    class Novel(Book):
        pages: int = 1

    with pytest.raises(ValueError, match="id"):
        Novel()
    with pytest.raises(ValueError, match="title"):
        Novel(id=1)
    novels = await db.collection(Novel)
    await novels.insert(Novel(id=1, title="x"))
    await books.insert(Book(id=1, title="x"))
    assert_same(await novels.get(1), Novel(id=1, title="x"))
    assert Book(id=2, title="y").model_dump() == {"id": 2, "title": "y"}


async def test_d22_every_event_loop_will_do(loop_world: World) -> None:
    async with loop_world.open() as db:
        users = await db.collection(User)
        await gather(*(lambda number=number: users.insert(user(number)) for number in range(10)))  # type: ignore[misc]
        assert await numbers(db) == list(range(10))


# Schemas and constraints


@pytest.mark.parametrize(
    "type",
    [{"enum": []}, {"object": []}, {"optional": {"optional": "int64"}}]
    + [{"object": [{"path": ["a"], "type": "bool"}, {"path": ["a"], "type": "bool"}]}],
    ids=str,
)
async def test_d26_a_schema_that_no_row_can_satisfy_is_refused(type: Any, db: Any) -> None:
    with pytest.raises(ModelVaultSchemaError):
        await db.register_collection("c", json.dumps([*json.loads(FIELDS), {"path": ["v"], "type": type}]), "id")
    assert db.collection_names() == []


@pytest.mark.parametrize("type", [{"optional": "int64"}, {"list": "int64"}, {"enum": ["a"]}], ids=str)
async def test_d26_a_primary_key_that_no_row_can_have_is_refused(type: Any, db: Any) -> None:
    with pytest.raises(ModelVaultSchemaError, match="must use a primitive type"):
        await db.register_collection("c", json.dumps([{"path": ["id"], "type": type}]), "id")


async def test_d26_paths_of_several_segments_beside_objects(db: Any) -> None:
    fields = [
        {"path": ["id"], "type": "int64"},
        {"path": ["p", "a"], "type": {"optional": "int64"}},
        {"path": ["p", "b", "c"], "type": {"optional": "int64"}},
        {"path": ["o"], "type": {"object": [{"path": ["x"], "type": "int64"}]}},
        {"path": ["m"], "type": {"object": [{"path": ["y", "z"], "type": "int64"}]}},
    ]
    await db.register_collection("c", json.dumps(fields), "id")
    rest = {"o": {"x": 1}, "m": {"y": {"z": 2}}}
    for number, row in enumerate([{}, {"p": {}}, {"p": {"b": {"c": 5}}}]):
        await db.insert("c", {"id": number, **row, **rest})
    assert [row["p"] for row in await db.collection("c").all()] == [
        {"a": None, "b": {"c": None}},
        {"a": None, "b": {"c": None}},
        {"a": None, "b": {"c": 5}},
    ]


async def test_d26_an_impossible_regex_is_refused(db: Any) -> None:
    for regex in ("[", "(", "a{2,1}"):
        fields = [{"path": ["id"], "type": "string", "constraints": [{"regex": regex}]}]
        with pytest.raises(ModelVaultValidationError, match="regex"):
            await db.register_collection("c", json.dumps(fields), "id")


async def test_d27_a_limit_of_nothing(db: Any) -> None:
    users = await db.collection(User)
    await users.insert_many(user(number) for number in range(8))
    for query in (users.where("active", True), users.where("id", 1), users.where("email", user(1).email)):
        assert await query.limit(0).all() == []
        assert await query.limit(0).first() is None
        assert await query.limit(0).count() == 0
        assert [row async for row in query.limit(0)] == []
        assert len(await query.limit(0).limit(1).all()) == 1


async def test_d28_both_of_two_constraints_in_one_object_hold(db: Any) -> None:
    fields = [{"path": ["id"], "type": "int64", "constraints": [{"min_i64": 1, "max_i64": 5}]}]
    await db.register_collection("c", json.dumps(fields), "id")
    for number in (0, 6):
        with pytest.raises(ModelVaultValidationError, match=f"value {number} is"):
            await db.insert("c", {"id": number})
    await db.insert("c", {"id": 5})


class Sender(BaseModel):
    __modelvault_primary_key__ = "mail"

    mail: Annotated[str, models.constrained(email=False, min_length=2)]


async def test_d28_a_constraint_that_is_false_does_not_hold(db: Any) -> None:
    senders = await db.collection(Sender)
    await senders.insert(Sender(mail="no mail"))
    with pytest.raises(ModelVaultValidationError, match="string length 1 is below minimum 2"):
        await senders.insert(Sender(mail="x"))


async def test_d29_nan_is_within_no_bounds(db: Any) -> None:
    for kind in ("min_f64", "max_f64"):
        fields = [{"path": ["id"], "type": "int64"}, {"path": ["v"], "type": "float64", "constraints": [{kind: 0.5}]}]
        await db.register_collection(kind, json.dumps(fields), "id")
        with pytest.raises(ModelVaultValidationError, match="value NaN is"):
            await db.insert(kind, {"id": 1, "v": float("nan")})
        assert await db.get(kind, 1) is None


async def test_d30_a_unique_error_has_names(db: Any) -> None:
    users = await db.collection(User)
    await users.insert(user(1))
    with pytest.raises(DuplicateKeyError) as info:
        await users.insert(user(2, email=user(1).email))
    error = info.value
    assert (error.collection, error.index, error.key) == ("users", "email_idx", "user1@example.com")
    assert all(text in str(error) for text in ("unique index violation", "users", "email_idx", "user1@example.com"))


class Task(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.index("level"), models.index("due"), models.index("tags")]

    id: int
    color: Color
    level: Level
    done: date | None = None
    due: date | None = None
    tags: list[str] = []
    labels: list[Color] = []


async def test_d31_enums_and_none_and_lists_can_be_asked_for(db: Any) -> None:
    tasks = await db.collection(Task)
    today = date(2024, 2, 29)
    await tasks.insert_many(
        [
            Task(id=1, color=Color.RED, level=Level.LOW, tags=["a", "b"], labels=[Color.RED]),
            Task(id=2, color=Color.GREEN, level=Level.HIGH, done=today, due=today, tags=["b"]),
            Task(id=3, color=Color.RED, level=Level.HIGH, due=today),
        ]
    )
    for path, value, expected in [
        ("color", Color.RED, [1, 3]),
        ("level", Level.HIGH, [2, 3]),
        ("done", None, [1, 3]),
        ("done", today, [2]),
        ("due", None, [1]),
        ("due", today, [2, 3]),
        ("tags", "b", [1, 2]),
        ("labels", Color.RED, [1]),
    ]:
        assert [row.id for row in await tasks.where(path, value).all()] == expected, path
        assert await tasks.where(path, value).count() == len(expected)
    assert [row.id for row in await tasks.where("color", Color.RED).and_where("due", None).all()] == [1]
    plain = db.collection("tasks")
    assert [row["id"] for row in await plain.where("color", "red").all()] == [1, 3]
    assert [row["id"] for row in await plain.where("level", 10).all()] == [2, 3]


async def test_d31_a_declared_enum_can_be_asked_for(db: Any) -> None:
    fields = [
        {"path": ["id"], "type": "int64"},
        {"path": ["e"], "type": {"enum": ["p", "q"]}},
        {"path": ["n"], "type": {"optional": "int64"}},
    ]
    for name, indexes in [
        ("bare", None),
        ("indexed", [{"name": f"{path}_i", "path": [path], "kind": "index"} for path in "en"]),
    ]:
        await db.register_collection(name, json.dumps(fields), "id", indexes and json.dumps(indexes))
        rows = db.collection(name)
        await rows.insert_many([{"id": 1, "e": "p"}, {"id": 2, "e": "q", "n": 5}, {"id": 3, "e": "p", "n": 5}])
        assert [row["id"] for row in await rows.where("e", "p").all()] == [1, 3]
        assert [row["id"] for row in await rows.where("n", None).all()] == [1]
        assert [row["id"] for row in await rows.where("n", 5).and_where("e", "q").all()] == [2]


# The handle


@dataclass
class Visit:
    place: str
    at: datetime


@dataclass
class Trip:
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.unique("first.place"), models.index("first.at"))

    id: int
    first: Visit
    others: list[Visit]


async def test_d35_nested_indexes_datetimes_and_dataclasses(db: Any) -> None:
    trips = await db.collection(Trip)
    stamp = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
    trip = Trip(1, Visit("Rome", stamp), [Visit("Oslo", stamp.replace(tzinfo=None))])
    await trips.insert(trip)
    assert_same(await trips.get(1), trip)
    assert_same(await trips.where("first.place", "Rome").all(), [trip])
    assert_same(await trips.where("first.at", stamp).all(), [trip])
    with pytest.raises(DuplicateKeyError, match=r"first\.place_idx"):
        await trips.insert(Trip(2, Visit("Rome", stamp), []))
    users = await db.collection(User)
    await users.insert(user(1))
    assert type(await users.get(1)) is User
    assert [row.id for row in await users.where("address.city", "City 1").all()] == [1]


async def test_d40_awaits_return_none_where_there_is_nothing_to_return(db: Any) -> None:
    users = await db.collection(User)
    assert await users.insert(user(1)) is None
    assert await users.create(user(2)) is None
    assert await users.upsert(user(2)) is None
    assert await db.insert("users", await db.get("users", 1)) is None
    assert await db.delete("users", 1) is None
    async with db.transaction() as tx:
        assert tx != ()


def test_d40_the_types_come_with_the_package() -> None:
    root = Path(modelvault.__file__).parent
    assert (root / "py.typed").is_file()
    for source in (root / "_core").glob("*.pyx"):
        assert source.with_suffix(".pyi").is_file(), source


async def test_d40_errors_say_nothing_of_internals(db: Any) -> None:
    people = await db.collection(Person)
    await people.insert(person(1))
    actions: list[Callable[[], Any]] = [
        lambda: people.get([1]),
        lambda: people.get(person),
        lambda: people.where("age", []).all(),
        lambda: people.update(1, {"address": 5}),
        lambda: db.insert("persons", {"id": 1}),
    ]
    for action in actions:
        with pytest.raises((ModelVaultError, TypeError, ValueError)) as info:
            await action()
        assert not isinstance(info.value, ModelVaultTransactionError)
        assert "internal" not in str(info.value) and "scalar_from_py" not in str(info.value)
