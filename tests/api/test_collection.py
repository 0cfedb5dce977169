"""The verbs of a collection, in every world, in memory and on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from modelvault import (
    Database,
    DuplicateKeyError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    NotFoundError,
    models,
)
from modelvault.specs import FieldRef
from tests.models import Person, User, person, user
from tests.worlds import World, gather


async def users(db: Any) -> Any:
    return await db.collection(User)


async def filled(db: Any, count: int = 300) -> Any:
    collection = await users(db)
    await collection.insert_many(user(number) for number in range(count))
    return collection


async def test_what_goes_in_comes_out(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(1))
    found = await collection.get(1)
    assert found == user(1)
    assert type(found) is User
    assert found is not user(1)
    assert await collection.get(2) is None


async def test_dataclasses_too(db: Any) -> None:
    people = await db.collection(Person)
    await people.insert(person(1))
    assert await people.get(1) == person(1)
    assert await people.get(person(1)) == person(1)
    assert people.name == "persons"


async def test_insert_replaces_the_row_with_the_same_key(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(1))
    assert await collection.insert(user(1, name="Ada")) is None
    assert (await collection.get(1)).name == "Ada"
    assert await collection.count() == 1


async def test_create_refuses_a_taken_key(db: Any) -> None:
    collection = await users(db)
    await collection.create(user(1))
    with pytest.raises(DuplicateKeyError) as caught:
        await collection.create(user(1, email="other@example.com"))
    assert caught.value.collection == "users"
    assert caught.value.index is None
    assert caught.value.key == 1
    assert (await collection.get(1)) == user(1)


async def test_a_unique_value_is_taken_once(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(1))
    with pytest.raises(DuplicateKeyError, match="unique index violation") as caught:
        await collection.insert(user(2, email=user(1).email))
    assert caught.value.index == "email_idx"
    assert caught.value.key == user(1).email
    assert isinstance(caught.value, ValueError)
    assert await collection.get(2) is None
    await collection.insert(user(1, name="again"))
    await collection.delete(1)
    await collection.insert(user(2, email=user(1).email))


async def test_get_takes_an_instance_or_a_key(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(7))
    assert await collection.get(user(7)) == user(7)
    assert await collection.get_or_raise(7) == user(7)
    with pytest.raises(NotFoundError, match="no row of users has the primary key 8") as caught:
        await collection.get_or_raise(8)
    assert caught.value.key == 8
    assert isinstance(caught.value, LookupError)
    with pytest.raises(TypeError):
        await collection.get("7")


async def test_a_bad_key_is_said_to_be_one_of_which_field(db: Any) -> None:
    """In memory and on disk, by the short way and in a transaction: `get_many` did, the others did not."""
    collection = await users(db)
    await collection.insert(user(1))

    async def check(users: Any) -> None:
        for bad, error in (("7", TypeError), (None, TypeError), (1.5, TypeError), (2**70, OverflowError)):
            for verb in (users.get, users.get_or_raise, users.delete, lambda key: users.update(key, {"age": 1})):
                with pytest.raises(error, match=r': field "id" of users$'):
                    await verb(bad)

    await check(collection)
    async with db.transaction() as tx:
        await check(await tx.collection(User))


async def test_get_many_names_the_field_of_a_bad_key(db: Any) -> None:
    collection = await db.collection(User)
    await collection.insert(user(1))
    for keys in ([1, "x"], [*range(200), None]):
        with pytest.raises(TypeError, match=r"cannot be interpreted as an integer: field \"id\" of users"):
            await collection.get_many(keys)
    with pytest.raises(OverflowError, match='field "id" of users'):
        await collection.get_many([2**70])


async def test_get_many_keeps_the_order_of_the_keys(db: Any) -> None:
    collection = await filled(db)
    assert await collection.get_many([5, 1000, user(2)]) == [user(5), None, user(2)]
    assert await collection.get_many([]) == []
    assert await collection.get_many(range(300)) == [user(number) for number in range(300)]


async def test_delete_says_whether_the_row_was_there(db: Any) -> None:
    collection = await filled(db, 3)
    assert await collection.delete(1) is True
    assert await collection.delete(1) is False
    assert await collection.delete(user(2)) is True
    assert await collection.all() == [user(0)]


async def test_update_changes_what_the_patch_names(db: Any) -> None:
    collection = await filled(db, 3)
    fresh = await collection.update(1, {"age": 99, "tags": ["x"]})
    assert fresh == user(1, age=99, tags=["x"])
    assert await collection.get(1) == fresh
    assert await collection.update(user(1), {"age": 5}) == await collection.get(1)
    assert await collection.where("email", user(1).email).count() == 1


async def test_update_is_validated_and_complete_or_nothing(db: Any) -> None:
    collection = await filled(db, 3)
    with pytest.raises(ValueError, match="cannot update missing row"):
        await collection.update(9, {"age": 1})
    with pytest.raises(ValueError, match="age"):
        await collection.update(1, {"age": "old"})
    with pytest.raises(ValueError, match="zz"):
        await collection.update(1, {"zz": 1})
    with pytest.raises(ModelVaultSchemaError, match="primary key"):
        await collection.update(1, {"id": 5})
    with pytest.raises(DuplicateKeyError):
        await collection.update(1, {"email": user(2).email, "age": 1})
    assert await collection.all() == [user(0), user(1), user(2)]


def test_an_update_of_a_row_that_changes_meanwhile_begins_again() -> None:
    """In memory the validators run before the row is exchanged; here one of them stores it anew."""
    meanwhile: list[Any] = []

    class Counter(BaseModel):
        __modelvault_primary_key__ = "id"
        id: int
        n: int
        other: int = 0

        @field_validator("n")
        @classmethod
        def look(cls, value: int) -> int:
            while meanwhile:
                meanwhile.pop()()
            return value

    with Database.open_in_memory() as db:
        counters = db.collection(Counter)
        counters.insert(Counter(id=1, n=1))
        meanwhile.append(lambda: counters.insert(Counter(id=1, n=2, other=7)))
        assert counters.update(1, {"n": 3}) == Counter(id=1, n=3, other=7) == counters.get(1)
        meanwhile.append(lambda: counters.delete(1))
        with pytest.raises(NotFoundError):
            counters.update(1, {"n": 4})


async def test_upsert_goes_by_the_key_or_a_unique_value(db: Any) -> None:
    collection = await filled(db, 2)
    await collection.upsert(user(1, age=3))
    assert (await collection.get(1)).age == 3
    await collection.upsert(user(9, email=user(1).email), on="email")
    assert await collection.get(1) is None
    assert (await collection.get(9)).email == user(1).email
    await collection.upsert(user(10), on="email")
    assert await collection.count() == 3
    with pytest.raises(ModelVaultQueryError, match="unique index"):
        await collection.upsert(user(1), on="name")


async def test_insert_many_is_one_commit(db: Any) -> None:
    collection = await users(db)
    assert await collection.insert_many([]) == 0
    assert await collection.insert_many(user(number) for number in range(2500)) == 2500
    assert await collection.count() == 2500
    with pytest.raises(DuplicateKeyError):
        await collection.insert_many([user(5000), user(5001), user(5002, email=user(1).email)])
    rows = [user(number) for number in range(6000, 8000)]
    with pytest.raises(DuplicateKeyError):
        await collection.insert_many([*rows, user(9000, email=user(1).email)])
    with pytest.raises(TypeError, match="expected an instance of User"):
        await collection.insert_many([user(5000), {"id": 1}])
    assert await collection.count() == 2500


async def test_insert_many_in_chunks_keeps_the_chunks_before_an_error(db: Any) -> None:
    collection = await users(db)
    assert await collection.insert_many((user(number) for number in range(25)), chunk=10) == 25
    assert await collection.insert_many((user(number) for number in range(4000)), chunk=1500) == 4000
    rows = [user(number) for number in range(5000, 5015)]
    with pytest.raises(DuplicateKeyError):
        await collection.insert_many([*rows, user(9000, email=user(1).email)], chunk=10)
    assert await collection.count() == 4010
    with pytest.raises(ValueError, match="chunk"):
        await collection.insert_many([], chunk=0)


async def test_insert_many_of_rows_that_fill_a_batch(disk_world: World) -> None:
    """A batch ends when it takes much memory, too: what the source still has is not forgotten."""
    async with disk_world.open(cache_size=64 * 1024) as db:
        users = await db.collection(User)
        assert await users.insert_many(user(number, name="x" * 300) for number in range(1100)) == 1100
        assert await users.insert_many((user(number) for number in range(2000, 2700)), chunk=300) == 700
        assert await users.count() == 1800


async def test_a_statement_that_fails_in_a_group_is_undone_alone(loop_db: Any) -> None:
    """Of three that are committed together, the second one of which finds a duplicate in its last row."""
    users = await loop_db.collection(User)
    await users.insert(user(1))
    rows = [user(11), user(12), user(13, email=user(1).email)]
    results = await gather(
        lambda: users.insert(user(10)), lambda: users.insert_many(rows), lambda: users.insert(user(14))
    )
    assert results[0] is None and isinstance(results[1], DuplicateKeyError) and results[2] is None
    assert [row.id for row in await users.all()] == [1, 10, 14]
    await loop_db.verify()


async def test_insert_many_reports(db: Any, capsys: pytest.CaptureFixture[str]) -> None:
    collection = await users(db)
    counts: list[int] = []
    await collection.insert_many((user(number) for number in range(100)), progress=counts.append)
    assert counts[-1] == 100
    await collection.insert_many([user(1)], progress=True)
    assert "users: 1 rows" in capsys.readouterr().err


async def test_insert_many_takes_asynchronous_iterables(loop_db: Any) -> None:
    async def rows() -> AsyncIterator[User]:
        for number in range(100):
            yield user(number)

    collection = await users(loop_db)
    assert await collection.insert_many(rows()) == 100
    assert await collection.count() == 100


async def test_insert_many_may_read_while_it_writes(db: Any) -> None:
    collection = await users(db)

    def rows() -> Any:
        yield from (user(number) for number in range(2000))

    async with db.transaction():
        assert await collection.insert_many(rows()) == 2000
        assert await collection.count() == 2000
    assert await collection.count() == 2000


async def test_all_and_iteration_are_in_key_order(db: Any) -> None:
    collection = await users(db)
    await collection.insert_many(user(number) for number in (9, -3, 5, 2**30, 0))
    keys = [-3, 0, 5, 9, 2**30]
    assert [row.id for row in await collection.all()] == keys
    assert [row.id async for row in collection] == keys


async def test_an_iteration_sees_one_commit(db: Any) -> None:
    collection = await filled(db)
    seen = []
    async for row in collection:
        seen.append(row.id)
        if row.id < 3:
            await collection.delete(299 - row.id)
            await collection.insert(user(1000 + row.id))
    assert seen == list(range(300))
    assert await collection.count() == 300


async def test_an_iteration_may_be_left(db: Any) -> None:
    collection = await filled(db)
    rows = collection.__aiter__()
    async for row in rows:
        if row.id == 5:
            break
    assert (await rows.__anext__()).id == 6
    await rows.aclose()
    await rows.aclose()
    with pytest.raises(StopAsyncIteration):
        await rows.__anext__()
    async for row in collection.where("active", True):
        assert row.active
        break
    async with collection.__aiter__() as rows:
        assert (await rows.__anext__()).id == 0


async def test_where_finds_through_every_plan(db: Any) -> None:
    collection = await filled(db)
    expected = [user(number) for number in range(300)]
    assert await collection.where("id", 5).all() == [expected[5]]
    assert await collection.where("email", expected[7].email).all() == [expected[7]]
    assert await collection.where("address.city", "City 3").all() == [expected[3], expected[103], expected[203]]
    assert await collection.where(["address", "city"], "City 3").count() == 3
    assert await collection.where("active", False).all() == expected[::3]
    assert await collection.where("age", 20).and_where("active", True).all() == [
        row for row in expected if row.age == 20 and row.active
    ]
    assert await collection.where("address.city", "City 3").and_where("id", 103).all() == [expected[103]]
    assert (
        await collection.where("address.city", "City 3").and_where("name", "User Number 203").first() == expected[203]
    )
    assert await collection.where("email", "nobody").all() == []
    assert await collection.where("email", "nobody").first() is None
    assert await collection.where("created", expected[9].created).all() == [expected[9]]
    assert await collection.where("tags", "common").count() == 300
    assert await collection.where("tags", "tag6").all() == [row for row in expected if "tag6" in row.tags]
    assert await collection.where(FieldRef(["age"]), 20).count() == await collection.where(" age ", 20).count()


async def test_conditions_are_anded_even_when_they_contradict(db: Any) -> None:
    collection = await filled(db, 20)
    assert await collection.where("id", 1).and_where("id", 2).all() == []
    assert await collection.where("email", user(1).email).and_where("email", user(2).email).all() == []
    assert await collection.where("id", 1).and_where("id", 1).count() == 1


async def test_queries_are_limited_and_iterated(db: Any) -> None:
    collection = await filled(db)
    query = collection.where("active", True)
    assert [row.id for row in await query.limit(3).all()] == [1, 2, 4]
    assert [row.id async for row in query.limit(3)] == [1, 2, 4]
    assert await query.limit(3).count() == 3
    assert await query.limit(0).all() == []
    assert await query.limit(0).first() is None
    assert await query.limit(7).limit(2).count() == 2
    assert len(await query.all()) == await query.count() == 200
    assert [row.id async for row in query] == [row.id for row in await query.all()]
    with pytest.raises(OverflowError):
        query.limit(-1)
    with pytest.raises(TypeError):
        query.limit("1")
    with pytest.raises(ModelVaultQueryError, match="exceeds maximum 1048576"):
        query.limit(2_000_000)


async def test_a_path_that_is_none(db: Any) -> None:
    collection = await users(db)
    for path, message in [
        ("", "path must be non-empty"),
        (".", "invalid path"),
        ("a..b", "invalid path"),
        ((), "path must have at least one segment"),
        (5, "path must be a dotted string"),
        (None, "path must be a dotted string"),
        ("nope", "unknown field path"),
        ("address.nope", "unknown field path"),
        ("address", "compare one of its parts"),
    ]:
        with pytest.raises(ValueError, match=message):
            collection.where(path, 1)


async def test_a_value_of_the_wrong_type_cannot_be_sought(db: Any) -> None:
    collection = await filled(db, 3)
    with pytest.raises(TypeError):
        await collection.where("id", "3").all()
    with pytest.raises(TypeError):
        await collection.where("age", "3").all()


async def test_none_is_a_value(db: Any) -> None:
    await db.register_collection(
        "notes",
        '[{"path": ["id"], "type": "int64"}, {"path": ["tag"], "type": {"optional": "string"}},'
        ' {"path": ["other"], "type": {"optional": "string"}}]',
        "id",
        '[{"name": "by_tag", "path": ["tag"], "kind": "unique"}]',
    )
    notes = db.collection("notes")
    for number in range(4):
        await notes.insert({"id": number, "tag": "x" if number == 2 else None})
    assert [row["id"] for row in await notes.where("tag", None).all()] == [0, 1, 3]
    assert [row["id"] for row in await notes.where("tag", "x").all()] == [2]
    assert await notes.where("other", None).count() == 4
    await notes.upsert({"id": 9, "tag": "x", "other": "y"}, on="tag")
    await notes.upsert({"id": 10, "tag": None, "other": "y"}, on="tag")
    assert [row["id"] for row in await notes.all()] == [0, 1, 3, 9, 10]


async def test_a_failed_insert_changes_nothing(db: Any) -> None:
    collection = await filled(db, 3)
    with pytest.raises(TypeError, match=r"expected an instance of User, not a dict; make one with User\(\*\*row\)"):
        await collection.insert({"id": 1})
    with pytest.raises(TypeError, match="expected an instance of User"):
        await collection.create(person(4))
    assert await collection.count() == 3


async def test_rows_may_be_validated_when_read(db: Any) -> None:
    collection = await users(db)
    await collection.insert(User.model_construct(**{**user(1).__dict__, "age": 10}))
    checked = db.collection(User, validate_on_read=True)
    assert await checked.get(1) == user(1, age=10)
    assert await checked.all() == [user(1, age=10)]
    assert await checked.get_many([1, 2]) == [user(1, age=10), None]
    assert await checked.where("age", 10).first() == user(1, age=10)
    assert await checked.get(2) is None


async def test_a_collection_of_another_shape(world: World) -> None:
    async with world.open() as db:
        await db.register_collection("users", '[{"path": ["id"], "type": "string"}]', "id")
        with pytest.raises(ValueError, match="unknown field"):
            await db.collection(User)
        assert db.collection_names() == ["users"]


async def test_a_model_is_registered_by_its_first_operation(world: World) -> None:
    async with world.open() as db:
        collection = db.collection(User)
        assert db.collection_names() == (["users"] if world.blocking else [])
        assert await collection.get(1) is None
        assert db.collection_names() == ["users"]
        if not world.blocking:
            assert await collection.register() is collection
            assert await collection is collection


async def test_models_module_gives_the_same_collections(world: World) -> None:
    async with world.open() as db:
        if world.blocking:
            models.collection(db.bare, User).insert(user(1))
            with pytest.raises(TypeError, match="'NoneType' object is not an instance of 'Database'"):
                models.collection(None, User)  # type: ignore[arg-type]
        else:
            await models.async_collection(db, User).insert(user(1))
            with pytest.raises(TypeError, match="'NoneType' object is not an instance of 'AsyncDatabase'"):
                models.async_collection(None, User)  # type: ignore[arg-type]
        assert await db.get("users", 1) is not None
        assert User.email.path == ["email"]  # type: ignore[attr-defined]


async def test_many_rows_come_back_after_reopening(disk_world: World) -> None:
    async with disk_world.open() as db:
        await filled(db, 2000)
    async with disk_world.open() as db:
        collection = db.collection(User)
        assert await collection.count() == 2000
        assert await collection.get(1234) == user(1234)
        assert await collection.where("email", user(77).email).all() == [user(77)]
        assert await collection.all() == [user(number) for number in range(2000)]


@pytest.mark.parametrize("chunk", [None, 50, 5000])
async def test_insert_many_of_long_rows_stores_them_all(chunk: int | None, world: World) -> None:
    """Few rows that take much memory are put in several batches."""
    rows = [user(number).model_copy(update={"name": "x" * 20_000}) for number in range(200)]
    async with world.open() if world.place is None else world.open(cache_size=1 << 19) as db:
        users = await db.collection(User)
        assert await users.insert_many(iter(rows), chunk=chunk) == 200
        assert await users.all() == rows


async def test_in_finds_a_key_without_waiting_or_not_at_all(world: World) -> None:
    async with world.open() as db:
        collection = await users(db)
        for asked in (collection, collection.where("id", 1)):
            if world.blocking and asked is collection:
                assert 1 not in asked.bare
                continue
            with pytest.raises(TypeError, match="`in` does not wait, and a query has no keys: ask get"):
                assert 1 in getattr(asked, "bare", asked)
