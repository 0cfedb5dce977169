"""Snapshots: a view that does not move, copies in files and in memory, and putting one back."""

# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from modelvault import (
    ClosedError,
    CorruptionError,
    Database,
    LockedError,
    ModelVaultFormatError,
    ModelVaultTransactionError,
)
from modelvault.errors import ModelVaultSchemaError
from tests.api.content import content
from tests.models import User, user
from tests.worlds import World, gather

FIELDS = json.dumps([{"path": ["id"], "type": "int64"}, {"path": ["s"], "type": {"optional": "string"}}])


async def filled(db: Any, rows: int = 300) -> Any:
    """A collection with bulk rows, and some that only the log has."""
    users = await db.collection(User)
    await users.insert_many(user(number) for number in range(rows))
    for number in range(rows, rows + 5):
        await users.insert(user(number))
    await users.delete(0)
    await users.update(1, {"name": "changed"})
    return users


async def sound_copy(world: World, path: Path, expected: dict[str, list[Any]]) -> None:
    """The file has exactly this content, and takes more."""
    async with world.open(path) as copy:
        assert await content(copy) == expected
        await copy.verify()
        assert copy.recovery_info["truncated_bytes"] == 0
        await copy.collection(User).insert(user(99_999))
        await copy.verify()


# A view that does not move


async def test_a_snapshot_does_not_move(db: Any) -> None:
    users = await filled(db)
    before = await content(db)
    async with db.snapshot() as then:
        for number in range(0, 300, 2):
            await users.delete(number)
        await users.insert(user(1000))
        await db.register_collection("later", FIELDS, "id")
        old = then.collection(User)
        assert await content(then) == before
        assert await old.count() == 304 and await users.count() == 156
        assert await old.get(2) == user(2) and await users.get(2) is None
        assert [row.id for row in await old.where("id", 1000).all()] == []
        assert [row.id async for row in old.order_by("id", desc=True).limit(2)] == [304, 303]
        assert (await old.get_many([2, 1000])) == [user(2), None]
        assert await then.get("users", 4) == before["users"][3]
        assert then.collection_names() == ["users"]
        assert db.stats()["snapshots"] == 1
        assert then.sequence < db.stats()["sequence"]
    assert db.stats()["snapshots"] == 0
    assert db.stats()["pins"] == 0


async def test_two_snapshots_show_two_states(db: Any) -> None:
    users = await db.collection(User)
    async with db.snapshot() as empty:
        await users.insert(user(1))
        async with db.snapshot() as one:
            await users.insert(user(2))
            assert [await s.collection(User).count() for s in (empty, one, db)] == [0, 1, 2]


async def test_a_snapshot_shows_no_transaction(db: Any) -> None:
    users = await filled(db)
    async with db.transaction():
        await users.insert(user(1000))
        async with db.snapshot() as then:
            assert await then.collection(User).get(1000) is None
            assert await users.get(1000) is not None


async def test_a_snapshot_refuses_to_write(db: Any) -> None:
    users = await filled(db)
    before = await content(db)
    async with db.snapshot() as then:
        old = then.collection(User)
        for write in (
            lambda: old.insert(user(1)),
            lambda: old.create(user(1000)),
            lambda: old.insert_many([user(1)]),
            lambda: old.update(1, {"name": "x"}),
            lambda: old.delete(1),
            lambda: old.where("id", 1).delete(),
            lambda: old.where("id", 1).update({"name": "x"}),
        ):
            with pytest.raises(ModelVaultTransactionError, match="snapshot is read-only"):
                await write()
        await users.insert(user(1000))
        with pytest.raises(ModelVaultSchemaError, match="unknown collection"):
            await (await then.collection("nothing")).get(1)
    await users.delete(1000)
    assert await content(db) == before


async def test_a_snapshot_ends(db: Any) -> None:
    await filled(db)
    then = db.snapshot()
    with pytest.raises(ClosedError, match="not open"):
        then.collection_names()
    async with then as opened:
        old = await opened.collection(User)
    for look in (lambda: old.get(1), lambda: old.count(), lambda: old.all()):
        with pytest.raises(ClosedError):
            await look()
    then.close()
    with pytest.raises(ClosedError, match="again"):
        await then.__aenter__()


async def test_a_forgotten_snapshot_warns_and_is_given_up(db: Any) -> None:
    users = await filled(db)
    then = await db.snapshot().__aenter__()
    assert db.stats()["pins"] == 1
    forget = [then]
    del then
    with pytest.warns(ResourceWarning, match="snapshot"):
        forget.clear()
    await users.insert(user(1000))
    assert db.stats()["pins"] == db.stats()["snapshots"] == 0


async def test_a_snapshot_ends_with_its_database(world: World) -> None:
    async with world.open() as db:
        await filled(db)
        then = await db.snapshot().__aenter__()
        old = await then.collection(User)
    with pytest.raises(ClosedError):
        await old.count()
    then.close()


# Copies


async def test_an_export_is_the_last_commit(world: World, tmp_path: Path) -> None:
    async with world.open() as db:
        await filled(db)
        expected = await content(db)
        told: list[int] = []
        await db.export_snapshot(tmp_path / "copy", progress=told.append)
        assert told and told[-1] > 30_000
        assert await content(db) == expected
    await sound_copy(world, tmp_path / "copy", expected)
    assert not [name for name in os.listdir(tmp_path) if name not in ("copy", "test.modelvault")]


async def test_a_snapshot_can_be_exported_later(world: World, tmp_path: Path) -> None:
    async with world.open() as db:
        users = await filled(db)
        expected = await content(db)
        async with db.snapshot() as then:
            for _ in range(3):
                await users.insert_many(user(number) for number in range(400, 700))
                await db.checkpoint()
                await users.where("id", 500).delete()
            await then.export_snapshot(tmp_path / "copy")
    await sound_copy(world, tmp_path / "copy", expected)


async def test_an_export_while_others_write(loop_world: World, tmp_path: Path) -> None:
    """Each copy is the state of one commit: a row and its twin are changed together."""
    async with loop_world.open() as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(400))

        async def write() -> None:
            for round in range(12):
                async with db.transaction():
                    await users.update(1, {"age": round})
                    await users.update(361, {"age": round})
                await users.delete(100 + round)
                await anyio.lowlevel.checkpoint()

        async def copy() -> None:
            for number in range(4):
                await db.export_snapshot(tmp_path / str(number))

        results = await gather(write, copy)
        assert results == [None, None]
    for number in range(4):
        async with loop_world.open(tmp_path / str(number)) as db:
            await db.verify()
            one, other = await db.collection(User).get_many([1, 361])
            assert one.age == other.age


async def test_an_export_of_an_empty_database(world: World, tmp_path: Path) -> None:
    async with world.open() as db:
        await db.export_snapshot(tmp_path / "copy")
    async with world.open(tmp_path / "copy") as copy:
        assert copy.collection_names() == []
        await copy.collection(User).insert(user(1))


async def test_a_reader_exports(disk_world: World, tmp_path: Path) -> None:
    async with disk_world.open() as db:
        await filled(db)
        expected = await content(db)
        async with disk_world.open(read_only=True) as reader:
            await reader.export_snapshot(tmp_path / "shared")
    async with disk_world.open(read_only=True) as reader:
        await reader.export_snapshot(tmp_path / "alone")
    for name in ("shared", "alone"):
        await sound_copy(disk_world, tmp_path / name, expected)


async def test_an_export_replaces_a_file_and_keeps_its_mode_and_link(world: World, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"something else")
    real.chmod(0o640)
    link.symlink_to("real")
    async with world.open() as db:
        await filled(db)
        expected = await content(db)
        await db.export_snapshot(link)
    assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o640
    await sound_copy(world, real, expected)


async def test_a_new_copy_can_be_read_by_nobody_who_could_not_read_the_source(
    disk_world: World, tmp_path: Path
) -> None:
    async with disk_world.open() as db:
        Path(disk_world.path or "").chmod(0o600)
        await db.export_snapshot(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


async def test_where_an_export_cannot_go(world: World, tmp_path: Path) -> None:
    async with world.open() as db, world.open(tmp_path / "other") as other:
        await filled(db)
        await filled(other)
        for path, error, code in [
            (tmp_path, IsADirectoryError, errno.EISDIR),
            (f"{tmp_path / 'x'}{os.sep}", IsADirectoryError, errno.EISDIR),
            (tmp_path / "no" / "x", FileNotFoundError, errno.ENOENT),
            (tmp_path / "other", LockedError, errno.EAGAIN),
            *([(Path(world.path), LockedError, errno.EAGAIN)] if world.path else []),
        ]:
            with pytest.raises(error) as info:
                await db.export_snapshot(path)
            assert (info.value.errno, info.value.filename) == (code, str(path))
        with pytest.raises(TypeError, match="argument 'dest_path': 'NoneType' object"):
            await db.export_snapshot(None)
        async with db.transaction():
            with pytest.raises(ModelVaultTransactionError, match="nested"):
                await db.export_snapshot(tmp_path / "x")
        for one in (db, other):
            await one.verify()
    assert not (tmp_path / "x").exists()


async def test_a_copy_in_memory(world: World, tmp_path: Path) -> None:
    async with world.open() as db:
        await filled(db)
        expected = await content(db)
        await db.export_snapshot(tmp_path / "copy")
    async with world.open_snapshot(tmp_path / "copy") as copy:
        assert copy.path() == ":memory:"
        assert await content(copy) == expected
        await copy.verify()
        await copy.collection(User).delete(1)
        data = await copy.snapshot_bytes()
        changed = await content(copy)
    async with world.open_snapshot_bytes(data) as again:
        assert await content(again) == changed
        await again.verify()
    async with world.open_snapshot_bytes((tmp_path / "copy").read_bytes()) as raw:
        assert await content(raw) == expected
    async with world.open_snapshot_bytes(b"") as empty:
        assert empty.collection_names() == []
        await empty.collection(User).insert(user(1))
    with pytest.raises(ModelVaultFormatError, match="bad magic"):
        await world.open_snapshot_bytes(b"x" * 10_000)
    with pytest.raises(TypeError, match="argument 'data': 'str' object"):
        await world.open_snapshot_bytes("x")
    with pytest.raises(FileNotFoundError):
        await world.open_snapshot(tmp_path / "missing")


async def test_bytes_are_of_a_database_in_memory(disk_world: World) -> None:
    async with disk_world.open() as db:
        with pytest.raises(ValueError, match="snapshot_bytes is only supported for in-memory databases"):
            await db.snapshot_bytes()


# Putting one back


async def test_restore(disk_world: World, tmp_path: Path) -> None:
    path, copy, link = Path(disk_world.path or ""), tmp_path / "copy", tmp_path / "link"
    async with disk_world.open() as db:
        await filled(db)
        expected = await content(db)
        await db.export_snapshot(copy)
        await db.collection(User).where("id", 5).delete()
    path.chmod(0o600)
    link.symlink_to(path)
    async with disk_world.open_in_memory() as any_database:
        await any_database.restore_snapshot(copy, link)
        await any_database.restore_snapshot(str(copy), tmp_path / "new")
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    for place in (path, tmp_path / "new"):
        await sound_copy(disk_world, place, expected)


async def test_an_open_database_is_restored_elsewhere_and_loaded_and_goes_on(disk_world: World, tmp_path: Path) -> None:
    async with disk_world.open() as db:
        users = await filled(db)
        expected = await content(db)
        await db.restore_snapshot(disk_world.path, tmp_path / "copy")
        async with disk_world.open_snapshot(disk_world.path) as copy:
            assert await content(copy) == expected
        await users.insert(user(1000))
        await db.checkpoint()
    await sound_copy(disk_world, tmp_path / "copy", expected)


async def test_restore_refuses(disk_world: World, tmp_path: Path) -> None:
    copy, junk, folder = tmp_path / "copy", tmp_path / "junk", tmp_path / "folder"
    junk.write_bytes(b"junk" * 5000)
    folder.mkdir()
    (folder / "kept").write_text("kept")
    async with disk_world.open() as db:
        await filled(db)
        await db.export_snapshot(copy)
        restore = db.restore_snapshot
        with pytest.raises(LockedError):
            await restore(copy, disk_world.path)
        with pytest.raises(IsADirectoryError):
            await restore(copy, folder)
        with pytest.raises(ModelVaultFormatError, match="bad magic"):
            await restore(junk, tmp_path / "new")
        with pytest.raises(FileNotFoundError):
            await restore(tmp_path / "missing", tmp_path / "new")
        with pytest.raises(OSError, match="the same file"):
            await restore(copy, copy)
        async with disk_world.open(copy, read_only=True):
            with pytest.raises(LockedError, match="open for reading"):
                await restore(disk_world.path, copy)
        with pytest.raises(TypeError, match="argument 'snapshot_path'"):
            await restore(5, copy)
    assert (folder / "kept").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["copy", "folder", "junk", "test.modelvault"]


HOLDER = """
import sys
from modelvault import Database
with Database.open(sys.argv[1], read_only=sys.argv[2] == "reader"):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_restore_refuses_what_another_process_uses(role: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Database.open(tmp_path / "db") as db:
        db.collection(User).insert(user(1))
        db.export_snapshot(copy)
        before = copy.read_bytes()
        command = [sys.executable, "-c", HOLDER, str(copy), role]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin is not None and holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            for attempt in (lambda: db.export_snapshot(copy), lambda: Database.restore_snapshot(tmp_path / "db", copy)):
                with pytest.raises(LockedError):
                    attempt()
            holder.stdin.close()
        assert copy.read_bytes() == before
        db.export_snapshot(copy)


@pytest.mark.damaged
async def test_a_damaged_file_is_not_copied(disk_world: World, tmp_path: Path) -> None:
    """Whichever page is damaged: what is at the destination stays."""
    path, good = Path(disk_world.path or ""), tmp_path / "good"
    async with disk_world.open(page_size=4096) as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(100))
        await users.insert(user(1000).model_copy(update={"name": "long" * 5000}))
    data = path.read_bytes()
    good.write_bytes(b"good")
    refused = 0
    step = 1 if disk_world.blocking else 5
    async with disk_world.open_in_memory() as any_database:
        for page in range(4, len(data) // 4096, step):
            damaged = bytearray(data)
            damaged[page * 4096 + 1500] ^= 4
            path.write_bytes(damaged)
            try:
                await any_database.restore_snapshot(path, good)
            except CorruptionError:
                refused += 1
                assert good.read_bytes() == b"good"
                continue
            async with disk_world.open(good, read_only=True) as db:  # that page was free
                assert await db.collection(User).count() == 101
            good.write_bytes(b"good")
    assert refused


@pytest.mark.damaged
async def test_a_stale_page_is_not_copied(disk_world: World, tmp_path: Path) -> None:
    """A page that is sound in itself, but older than the one which should stand there."""
    path = Path(disk_world.path or "")
    async with disk_world.open() as db:
        await db.collection(User).insert_many(user(number) for number in range(50))
        await db.checkpoint()
    before = path.read_bytes()
    async with disk_world.open() as db:
        for age in range(8):
            await db.collection(User).where("id", 7).update({"age": age})
            await db.checkpoint()
    after = path.read_bytes()
    stale = 0
    async with disk_world.open_in_memory() as any_database:
        for page in range(4, min(len(before), len(after)) // 8192):
            part = slice(page * 8192, (page + 1) * 8192)
            if before[part] == after[part] or not any(before[part]):
                continue
            path.write_bytes(after[: part.start] + before[part] + after[part.stop :])
            try:
                await any_database.restore_snapshot(path, tmp_path / "copy")
            except CorruptionError:
                stale += 1
    assert stale


# Numbers


async def test_stats(world: World) -> None:
    async with world.open() as db:
        users = await filled(db, 3000)
        async with db.snapshot():
            await users.insert(user(9000))
            stats = db.stats()
            assert (stats["snapshots"], stats["pins"]) == (1, 1)
            assert stats["oldest_reader"] <= stats["generation"]
        stats = db.stats()
        assert stats["rows"] == stats["collections"]["users"]["rows"] == 3005
        one = stats["collections"]["users"]
        assert set(one["indexes"]) == {"email_idx", "address.city_idx"}
        assert all(index["entries"] == 3005 for index in one["indexes"].values())
        report = await db.verify()
        sizes = [one["bytes"], *(index["bytes"] for index in one["indexes"].values())]
        assert all(size > 0 for size in sizes)
        assert 0.6 < sum(sizes) / (report.pages * stats["page_size"]) < 1.4
        if world.place is not None:
            assert stats["file_bytes"] >= stats["live_bytes"] + stats["free_bytes"]
            assert stats["free_bytes"] == stats["free_pages"] * stats["page_size"]
            assert stats["log_used"] <= stats["log_size"]
