"""Forks of a database in memory: what they share, and that neither side sees the other's changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault import AsyncDatabase, Database, ModelVaultTransactionError, models
from tests.models import User, user
from tests.worlds import World, bare, gather


async def rows(db: Any) -> dict[int, str]:
    return {row["id"]: row["text"] for row in await db.collection("notes").all()}


async def prepare(db: Any, count: int) -> None:
    indexes = '[{"name": "by_text", "path": ["text"], "kind": "index"}]'
    fields = '[{"path": ["id"], "type": "int64"}, {"path": ["text"], "type": "string"}]'
    await db.register_collection("notes", fields, "id", indexes)
    await db.collection("notes").insert_many({"id": number, "text": f"note {number}"} for number in range(count))


@pytest.fixture
def place() -> None:
    """Forks are of databases in memory."""
    return


async def test_a_fork_begins_as_the_last_commit_and_goes_its_own_way(db: Any) -> None:
    await prepare(db, 1000)
    before = await rows(db)
    one, two = db.fork(), db.fork()
    await db.insert("notes", {"id": 5, "text": "changed"})
    await one.collection("notes").where("text", "note 7").delete()
    async with two.transaction():
        await two.collection("notes").insert_many({"id": number, "text": "long " * 300} for number in range(500, 600))
    after = await rows(db)
    assert after == before | {5: "changed"}
    assert await rows(one) == {key: text for key, text in before.items() if key != 7}
    assert await rows(two) == before | dict.fromkeys(range(500, 600), "long " * 300)
    assert await two.collection("notes").where("text", "note 5").count() == 1
    assert await db.collection("notes").where("text", "changed").count() == 1
    for each in (db, one, two):
        await each.verify()
    await one.close()
    assert await rows(db) == after
    await db.close()
    await two.insert("notes", {"id": 5, "text": "after the others"})
    await two.verify()
    await two.close()


async def test_a_fork_of_a_fork(db: Any) -> None:
    await prepare(db, 10)
    forks = [db]
    for number in range(20):
        forks.append(forks[-1].fork())
        await forks[-1].insert("notes", {"id": number, "text": f"fork {number}"})
    for depth, fork in enumerate(forks[1:]):
        found = await rows(fork)
        assert {key: text for key, text in found.items() if text.startswith("fork")} == {
            key: f"fork {key}" for key in range(depth + 1)
        }
    for fork in forks[1:]:
        await fork.close()
    assert await rows(db) == {key: f"note {key}" for key in range(10)}


async def test_what_is_not_committed_is_not_in_a_fork(loop_db: Any) -> None:
    db = loop_db
    await prepare(db, 300)
    before = await rows(db)
    forks: list[AsyncDatabase] = []

    async def other() -> None:
        forks.append(db.fork())

    async with db.transaction():
        await db.collection("notes").insert_many({"id": number, "text": "new"} for number in range(200, 500))
        with pytest.raises(ModelVaultTransactionError, match="this transaction is none yet"):
            db.fork()
        await gather(other)
        assert await rows(forks[0]) == before
        await forks[0].insert("notes", {"id": 1000, "text": "meanwhile"})
    assert len(await rows(db)) == 500
    assert await rows(forks[0]) == before | {1000: "meanwhile"}
    await forks[0].verify()
    await forks[0].close()


async def test_an_iteration_goes_on_over_a_fork(db: Any) -> None:
    await prepare(db, 500)
    seen = []
    async for row in db.collection("notes"):
        seen.append(row["id"])
        if row["id"] == 100:
            fork = db.fork()
            await fork.collection("notes").where("id", 200).delete()
            await db.insert("notes", {"id": 300, "text": "changed"})
    assert seen == [*range(500)]
    assert await fork.collection("notes").count() == 499
    assert (await fork.get("notes", 300))["text"] == "note 300"
    await fork.close()


async def test_models_and_schemas_go_along(db: Any) -> None:
    users = await models.async_collection(bare(db), User) if isinstance(db, AsyncDatabase) else db.collection(User)
    await users.insert_many([user(number) for number in range(50)])
    fork = db.fork()
    theirs = fork.collection(User)
    assert await theirs.all() == await users.all()
    await fork.register_collection("other", '[{"path": ["id"], "type": "int64"}]', "id")
    assert db.collection_names() == ["users"] and fork.collection_names() == ["other", "users"]
    await fork.close()


async def test_pages_are_shared(db: Any) -> None:
    await prepare(db, 5000)
    engine = bare(db)._access.engine
    drafts = engine.pager.draft_count
    fork = db.fork()
    twin = bare(fork)._access.engine
    assert twin.pager.draft_count == drafts and twin.pager.draft_bytes == engine.pager.draft_bytes
    root = engine.latest.roots[2]
    assert twin.latest.roots[2] == root and twin.pager.read(root[:3]) is engine.pager.read(root[:3])
    await fork.insert("notes", {"id": 1, "text": "x"})
    assert twin.pager.read(twin.latest.roots[2][:3]) is not engine.pager.read(root[:3])
    assert twin.pager.draft_count == drafts, "what it replaced is gone from it"
    await fork.close()


async def test_a_file_is_no_memory(disk_world: World) -> None:
    async with disk_world.open() as db:
        with pytest.raises(ValueError, match=r"only a database in memory can be forked, not .*test\.modelvault"):
            db.fork()


CHANGES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["put", "delete", "fork", "batch"]), st.integers(0, 40)), max_size=40
)


@settings(max_examples=40)
@given(CHANGES)
def test_any_history_of_forks(changes: list[tuple[int, str, int]]) -> None:
    """Up to four databases against dicts, whichever is changed and forked when."""
    first = Database.open_in_memory(page_size=4096)
    first.register_collection(
        "notes", '[{"path": ["id"], "type": "int64"}, {"path": ["text"], "type": "string"}]', "id"
    )
    state: list[tuple[Database, dict[int, str]]] = [(first, {})]
    for turn, (which, what, key) in enumerate(changes):
        db, expected = state[which % len(state)]
        text = f"{turn} " * (2000 if key % 3 == 0 else 150)
        if what == "put":
            db.insert("notes", {"id": key, "text": text})
            expected[key] = text
        elif what == "delete":
            db.delete("notes", key)
            expected.pop(key, None)
        elif what == "batch":
            db.collection("notes").insert_many({"id": key + n, "text": text} for n in range(20))
            expected |= {key + n: text for n in range(20)}
        else:
            state.append((db.fork(), dict(expected)))
            if len(state) > 4:
                state.pop(which)[0].close()
    for db, expected in state:
        assert {row["id"]: row["text"] for row in db.collection("notes").all()} == expected
        db.verify()
        db.close()
