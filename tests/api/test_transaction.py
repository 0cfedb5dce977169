"""Transactions: all or nothing, one at a time, and nobody else's operation inside."""

# What is inside a transaction belongs inside the block that it fails.
# ruff: noqa: PT012, SIM117

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from modelvault import ClosedError, DuplicateKeyError, ModelVaultTransactionError
from tests.cancelling import NATIVE, Attempt, skip_native
from tests.models import User, user
from tests.worlds import World, bare, gather


async def users(db: Any) -> Any:
    return await db.collection(User)


async def keys(collection: Any) -> list[int]:
    return [row.id for row in await collection.all()]


class Oops(Exception):
    pass


async def test_a_transaction_commits(db: Any) -> None:
    collection = await users(db)
    async with db.transaction():
        await collection.insert(user(1))
        await collection.insert_many([user(2), user(3)])
        await collection.delete(2)
        await collection.update(3, {"age": 7})
    assert await collection.all() == [user(1), user(3, age=7)]


async def test_a_transaction_rolls_back_on_any_exception(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(1))
    for error in (Oops(), KeyboardInterrupt(), SystemExit(), GeneratorExit()):
        with pytest.raises(type(error)):
            async with db.transaction():
                await collection.insert(user(2))
                await collection.update(1, {"age": 1})
                await collection.delete(1)
                raise error
        assert await collection.all() == [user(1)]
    await collection.insert(user(2))


async def test_a_transaction_reads_what_it_wrote(db: Any) -> None:
    collection = await users(db)
    await collection.insert_many(user(number) for number in range(5))
    async with db.transaction() as tx:
        await collection.insert(user(9))
        await collection.delete(0)
        assert await collection.get(9) == user(9)
        assert await collection.get(0) is None
        assert await collection.get_many([0, 9]) == [None, user(9)]
        assert await keys(collection) == [1, 2, 3, 4, 9]
        assert [row.id async for row in collection] == [1, 2, 3, 4, 9]
        assert await collection.count() == 5
        assert await collection.where("email", user(9).email).count() == 1
        assert await collection.where("email", user(0).email).all() == []
        assert await tx.collection(User).get(9) == user(9)
        assert (await db.get("users", 9))["name"] == user(9).name
    assert await keys(collection) == [1, 2, 3, 4, 9]


async def test_a_statement_that_fails_leaves_the_transaction_as_it_was(db: Any) -> None:
    collection = await users(db)
    await collection.insert(user(1))
    async with db.transaction():
        await collection.insert(user(2))
        with pytest.raises(DuplicateKeyError):
            await collection.insert(user(3, email=user(1).email))
        with pytest.raises(DuplicateKeyError):
            await collection.insert_many([user(4), user(5, email=user(1).email)])
        with pytest.raises(DuplicateKeyError):
            await collection.upsert(user(2, email=user(1).email))
        with pytest.raises(TypeError):
            await collection.insert({"id": 1})
        assert await keys(collection) == [1, 2]
        await collection.insert(user(6))
    assert await keys(collection) == [1, 2, 6]


async def test_unique_values_may_be_swapped(db: Any) -> None:
    collection = await users(db)
    await collection.insert_many([user(1, email="a"), user(2, email="b")])
    async with db.transaction():
        await collection.delete(1)
        await collection.insert(user(2, email="a"))
        await collection.insert(user(1, email="b"))
    assert [row.email for row in await collection.all()] == ["b", "a"]


async def test_transactions_do_not_nest(db: Any) -> None:
    collection = await users(db)
    async with db.transaction() as tx:
        await collection.insert(user(1))
        with pytest.raises(
            ModelVaultTransactionError, match="transaction error: nested transactions are not supported"
        ):
            async with db.transaction():
                raise AssertionError
        with pytest.raises(ModelVaultTransactionError, match="nested transactions are not supported"):
            async with tx:
                raise AssertionError
        await collection.insert(user(2))
    assert await keys(collection) == [1, 2]


async def test_a_transaction_object_may_be_used_again(db: Any) -> None:
    collection = await users(db)
    transaction = db.transaction()
    for number in (1, 2):
        async with transaction:
            await collection.insert(user(number))
    assert await keys(collection) == [1, 2]
    with pytest.raises(ModelVaultTransactionError, match="no active transaction"):
        await transaction.__aexit__(None, None, None)
    with pytest.raises(ModelVaultTransactionError, match="no active transaction"):
        transaction.collection(User)


async def test_a_collection_of_a_transaction_ends_with_it(db: Any) -> None:
    async with db.transaction() as tx:
        inside = await tx.collection(User)
        await inside.insert(user(1))
    with pytest.raises(ModelVaultTransactionError, match="has ended"):
        await inside.get(1)
    with pytest.raises(ModelVaultTransactionError, match="has ended"):
        await inside.insert(user(2))
    assert await (await users(db)).count() == 1


async def test_registration_rolls_back(db: Any) -> None:
    with pytest.raises(Oops):
        async with db.transaction():
            collection = await users(db)
            await collection.insert(user(1))
            assert await db.register_collection("more", '[{"path": ["id"], "type": "int64"}]', "id") == (2, 1)
            assert db.collection_names() == ["more", "users"]
            await db.insert("more", {"id": 1})
            raise Oops
    assert db.collection_names() == []
    with pytest.raises(ValueError, match='unknown collection name "more"'):
        await db.get("more", 1)
    await db.register_collection("others", '[{"path": ["id"], "type": "string"}]', "id")
    await db.insert("others", {"id": "x"})
    assert await collection.get(1) is None  # registered again
    await collection.insert(user(2))
    assert await collection.all() == [user(2)]
    assert db.collection_names() == ["others", "users"]


# Savepoints


async def test_a_savepoint_undoes_its_part(db: Any) -> None:
    collection = await users(db)
    async with db.transaction() as tx:
        await collection.insert(user(1))
        with pytest.raises(Oops):
            async with tx.savepoint():
                await collection.insert(user(2))
                await collection.delete(1)
                raise Oops
        assert await keys(collection) == [1]
        async with tx.savepoint():
            await collection.insert(user(3))
            with pytest.raises(Oops):
                async with tx.savepoint():
                    await collection.insert_many([user(4), user(5)])
                    raise Oops
            await collection.insert(user(6))
    assert await keys(collection) == [1, 3, 6]


async def test_savepoints_end_in_their_order(db: Any) -> None:
    collection = await users(db)
    async with db.transaction() as tx:
        outer, inner = tx.savepoint(), tx.savepoint()
        await outer.__aenter__()
        await collection.insert(user(1))
        await inner.__aenter__()
        await collection.insert(user(2))
        with pytest.raises(ModelVaultTransactionError, match="a savepoint inside this one is still open"):
            await outer.__aexit__(None, None, None)
    assert await keys(collection) == [1, 2]


async def test_a_savepoint_may_register(db: Any) -> None:
    async with db.transaction() as tx:
        with pytest.raises(Oops):
            async with tx.savepoint():
                await (await users(db)).insert(user(1))
                raise Oops
        assert db.collection_names() == []
        await (await users(db)).insert(user(2))
    assert await keys(await users(db)) == [2]


# Several tasks


async def test_transactions_queue(loop_db: Any) -> None:
    collection = await users(loop_db)
    await collection.insert(user(0, age=0))

    async def add() -> None:
        async with loop_db.transaction():
            age = (await collection.get(0)).age
            await anyio.lowlevel.checkpoint()
            await collection.update(0, {"age": age + 1})

    assert await gather(*[add] * 20) == [None] * 20
    assert (await collection.get(0)).age == 20


async def test_writers_take_turns_in_the_order_they_came(loop_db: Any) -> None:
    collection = await users(loop_db)
    order: list[int] = []

    async def write(number: int) -> None:
        async with loop_db.transaction():
            order.append(number)
            await collection.insert(user(number))

    async with anyio.create_task_group() as group:
        async with loop_db.transaction():
            for number in range(8):
                group.start_soon(write, number)
                await anyio.wait_all_tasks_blocked()
    assert order == list(range(8))


async def test_other_tasks_are_not_in_the_transaction(loop_db: Any) -> None:
    collection = await users(loop_db)
    await collection.insert(user(1))
    seen: list[Any] = []

    async def other() -> None:
        seen.append(await keys(collection))
        seen.append(await collection.get(2))
        seen.append(await collection.where("email", user(2).email).count())
        await collection.insert(user(3))
        seen.append("inserted")

    async with anyio.create_task_group() as group:
        with pytest.raises(Oops):
            async with loop_db.transaction():
                await collection.insert(user(2))
                group.start_soon(other)
                await anyio.wait_all_tasks_blocked()
                await anyio.sleep(0.01)
                assert seen == [[1], None, 0]
                raise Oops
    assert seen[-1] == "inserted"
    assert await keys(collection) == [1, 3]


async def test_a_child_task_is_another_task_unless_it_is_given_the_transaction(loop_db: Any) -> None:
    collection = await users(loop_db)

    async def child(tx: Any) -> None:
        assert await collection.get(1) is None
        mine = tx.collection(User)
        assert await mine.get(1) == user(1)
        await mine.insert(user(2))
        await mine.insert_many(user(number) for number in range(100, 200))
        assert await mine.where("email", user(2).email).count() == 1

    async with loop_db.transaction() as tx:
        await collection.insert(user(1))
        async with anyio.create_task_group() as group:
            group.start_soon(child, tx)
            group.start_soon(child, tx)
        assert await collection.get(2) == user(2)
    assert await collection.count() == 102


async def test_waiting_has_a_limit(loop_db: Any) -> None:
    collection = await users(loop_db)

    async def impatient() -> None:
        async with loop_db.transaction(timeout=0.02):
            raise AssertionError

    async with loop_db.transaction():
        [error] = await gather(impatient)
        assert isinstance(error, ModelVaultTransactionError)
        assert "transaction is open" in str(error)
        assert "0.02 s" in str(error)
    await collection.insert(user(1))


async def test_iteration_goes_on_beside_a_writer(loop_db: Any) -> None:
    collection = await users(loop_db)
    await collection.insert_many(user(number) for number in range(200))
    seen: list[int] = []

    async def read() -> None:
        async for row in collection:
            seen.append(row.id)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for number in range(300, 330):
            await collection.insert(user(number))
    assert seen[:200] == list(range(200))


async def test_an_iteration_that_begins_during_a_transaction_does_not_see_it(loop_db: Any) -> None:
    collection = await users(loop_db)
    await collection.insert_many(user(number) for number in range(500))
    begun, committed = anyio.Event(), anyio.Event()
    seen: list[int] = []

    async def read() -> None:
        rows = collection.__aiter__()
        seen.append((await rows.__anext__()).id)
        begun.set()
        await committed.wait()
        async for row in rows:
            assert row == user(row.id)
            seen.append(row.id)

    async with anyio.create_task_group() as group:
        async with loop_db.transaction():
            for number in range(0, 500, 2):
                await collection.delete(number)
            group.start_soon(read)
            await begun.wait()
            await collection.insert_many(user(number, age=1) for number in range(1, 500, 2))
        await collection.insert_many(user(number) for number in range(1000, 1500))
        committed.set()
    assert seen == list(range(500))
    assert await collection.count() == 750


async def test_statements_that_come_together_are_committed_together(loop_world: World) -> None:
    async with loop_world.open() as db:
        collection = await users(db)

        async def insert(number: int) -> None:
            await collection.insert(user(number))

        clash = [lambda number=number: insert(number) for number in range(300)]
        clash.append(lambda: collection.insert(user(9999, email=user(5).email)))
        outcomes = await gather(*clash)
        assert [type(error) for error in outcomes if error is not None] == [DuplicateKeyError]
        assert await collection.count() == 300
        writers = db.stats()["writers"]
        if loop_world.place is not None:
            assert writers["statements"] >= 301
            assert writers["groups"] < 30
    if loop_world.place is not None:
        async with loop_world.open() as db:
            assert await (await users(db)).count() == 300


# Cancellation and other ends


async def cancelled_everywhere(
    world: World, native: bool, attempt: Callable[[Any, Any], Awaitable[None]], check: Callable[[Any], Awaitable[None]]
) -> None:
    """Cancel `attempt` at its first await, its second and so on, until it runs through; `check` after each."""
    for at in range(1, 200):
        async with world.open(None if world.path is None else f"{world.path}.{at}") as db:
            collection = await users(db)
            await collection.insert(user(1))
            made = Attempt(attempt(db, collection), at)  # type: ignore[arg-type]
            await made.run(native)
            assert bare(db)._access.unit is None
            with anyio.fail_after(2):
                await check(collection)
                await collection.insert(user(50))
            assert await collection.get(50) == user(50)
            assert bare(db)._access.engine.pins == 0
        if made.suspensions < at:
            return
    raise AssertionError("it never ran through")


@pytest.mark.parametrize("native", NATIVE)
async def test_a_cancelled_insert_is_whole_or_not_there(loop_world: World, native: bool) -> None:
    skip_native(loop_world, native)

    async def attempt(db: Any, collection: Any) -> None:
        await collection.insert(user(2))
        await collection.insert_many([user(3), user(4)])

    async def check(collection: Any) -> None:
        assert await keys(collection) in ([1], [1, 2], [1, 2, 3, 4])

    await cancelled_everywhere(loop_world, native, attempt, check)


@pytest.mark.parametrize("native", NATIVE)
async def test_a_cancelled_transaction_is_whole_or_not_there(loop_world: World, native: bool) -> None:
    skip_native(loop_world, native)

    async def attempt(db: Any, collection: Any) -> None:
        async with db.transaction() as tx:
            await collection.insert(user(2))
            await anyio.lowlevel.checkpoint()
            async with tx.savepoint():
                await collection.insert(user(3))
                await anyio.lowlevel.checkpoint()
            await collection.insert_many(user(number) for number in range(100, 200))
            await collection.delete(1)

    async def check(collection: Any) -> None:
        assert await keys(collection) in ([1], [2, 3, *range(100, 200)])

    await cancelled_everywhere(loop_world, native, attempt, check)


@pytest.mark.parametrize("native", NATIVE)
async def test_a_cancelled_wait_gives_its_place_up(loop_world: World, native: bool) -> None:
    skip_native(loop_world, native)

    async def attempt(db: Any, collection: Any) -> None:
        async with anyio.create_task_group() as group:
            held = anyio.Event()

            async def hold() -> None:
                async with db.transaction():
                    held.set()
                    await anyio.sleep(0.02)

            group.start_soon(hold)
            await held.wait()
            await collection.insert(user(2))

    async def check(collection: Any) -> None:
        assert await keys(collection) in ([1], [1, 2])

    await cancelled_everywhere(loop_world, native, attempt, check)


async def test_a_timeout_around_an_insert_that_waits(loop_db: Any) -> None:
    collection = await users(loop_db)

    async def impatient() -> None:
        with anyio.fail_after(0.02):
            await collection.insert(user(2))

    async with loop_db.transaction():
        [error] = await gather(impatient)
        assert isinstance(error, TimeoutError)
    assert await keys(collection) == []
    await collection.insert(user(1))


async def test_a_dropped_transaction_is_rolled_back(world: World) -> None:
    async with world.open() as db:
        collection = await users(db)
        transaction = db.transaction()
        await transaction.__aenter__()
        await collection.insert(user(1))
        assert await collection.count() == 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transaction
            gc.collect()
        assert [str(warning.message) for warning in caught] == ["a transaction was dropped without an end: rolled back"]
        assert caught[0].category is ResourceWarning
        assert await collection.count() == 0
        await collection.insert(user(2))
        async with db.transaction():
            await collection.insert(user(3))
        assert await keys(collection) == [2, 3]


async def test_closing_rolls_back(world: World) -> None:
    async with world.open() as db:
        collection = await users(db)
        with pytest.raises(ClosedError):
            async with db.transaction():
                await collection.insert(user(1))
                await db.close()
                await collection.insert(user(2))
        with pytest.raises(ClosedError):
            await collection.get(1)
    if world.place is not None:
        async with world.open() as db:
            assert await (await users(db)).count() == 0


async def test_an_empty_transaction_costs_no_commit(disk_world: World) -> None:
    async with disk_world.open() as db:
        collection = await users(db)
        before = db.stats()["generation"]
        async with db.transaction():
            assert await collection.get(1) is None
        assert db.stats()["generation"] == before
