"""compact and compact_to: a file as short as its content allows, with the same content."""

# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from modelvault import AsyncDatabase, Database, LockedError, ModelVaultTransactionError
from modelvault._checkpoints import RESERVE
from modelvault._compaction import compacting
from tests.api.content import content
from tests.models import User, user
from tests.worlds import World, bare, gather

SMALL = 4096  # bytes of a page


def rows(numbers: Any, draw: random.Random | None = None) -> Any:
    """Users, some of them with values of several pages if there is somebody to draw them."""
    for number in numbers:
        long = draw is not None and draw.random() < 0.15
        yield (
            user(number).model_copy(update={"name": "x" * draw.randrange(2000, 30_000)})
            if long and draw
            else user(number)
        )


async def sparse(db: Any, draw: random.Random | None, count: int = 1500) -> Any:
    """A collection of which nine in ten rows were deleted, at random."""
    users = await db.collection(User)
    await users.insert_many(rows(range(count), draw))
    dead = random.Random(7).sample(range(count), count * 9 // 10)
    for start in range(0, len(dead), 300):
        async with db.transaction():
            for number in dead[start : start + 300]:
                await users.delete(number)
    return users


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
async def test_a_file_gets_short(long: bool, disk_world: World, tmp_path: Path) -> None:
    path = Path(disk_world.path or "")
    draw = random.Random(3) if long else None
    async with disk_world.open(page_size=SMALL) as db:
        users = await sparse(db, draw)
        path.chmod(0o640)
        before, expected, told = path.stat(), await content(db), []
        await db.compact(progress=told.append)
        await db.verify()
        assert await content(db) == expected
        after = path.stat()
        assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (before.st_ino, 0o640)
        assert after.st_size < before.st_size // 3 and told[-1] > 0
        await db.compact_to(tmp_path / "packed")
        fresh = (tmp_path / "packed").stat().st_size
        assert after.st_size <= 1.2 * fresh + (RESERVE + 16) * SMALL
        await users.insert_many(rows(range(5000, 5100), draw))
        await users.delete(5000)
        expected = await content(db)
    assert os.listdir(tmp_path) in (["test.modelvault", "packed"], ["packed", "test.modelvault"])
    async with disk_world.open() as db:
        assert await content(db) == expected
        await db.verify()


@pytest.mark.parametrize("seed", range(4))
def test_files_of_every_sort(seed: int, tmp_path: Path) -> None:
    """Random sizes, page sizes and histories: the content stays, the pages are sound; the second time helps no more."""
    draw = random.Random(seed)
    path = tmp_path / "db"
    with Database.open(path, page_size=draw.choice([4096, 8192, 65536]), cache_size=2**20) as db:
        users = db.collection(User)
        for _ in range(draw.randrange(1, 6)):
            start = draw.randrange(0, 3000)
            users.insert_many(rows(range(start, start + draw.randrange(1, 600)), draw))
            alive = [row.id for row in users.all()]
            with db.transaction():
                for number in draw.sample(alive, draw.randrange(0, len(alive) + 1)):
                    users.delete(number)
            for number in range(draw.randrange(3)):
                users.insert(user(9000 + number))
        expected = users.all()
        db.compact()
        db.verify()
        assert users.all() == expected
        size = path.stat().st_size
        db.compact()
        assert path.stat().st_size <= size
        db.verify()
    with Database.open(path) as db:
        assert db.collection(User).all() == expected


async def test_a_snapshot_keeps_its_pages(disk_world: World) -> None:
    path = Path(disk_world.path or "")
    async with disk_world.open(page_size=SMALL) as db:
        users = await db.collection(User)
        await users.insert_many(rows(range(800)))
        async with db.snapshot() as then:
            await users.where("id", 5).delete()
            async with db.transaction():
                for number in range(790):
                    await users.delete(number)
            await db.compact()
            await db.verify()
            held = path.stat().st_size
            assert [row.id for row in await then.collection(User).all()] == list(range(800))
            assert await then.collection(User).where("email", user(17).email).count() == 1
        await db.compact()
        await db.verify()
        assert path.stat().st_size < held // 2
        assert [row.id for row in await users.all()] == list(range(790, 800))


READER = """
import sys
from modelvault import Database
from tests.models import User
with Database.open(sys.argv[1], read_only=True) as db:
    users = db.collection(User)
    with db.snapshot() as then:
        old = then.collection(User)
        first = [row.id for row in old.all()]
        print("open", flush=True)
        while sys.stdin.readline():
            assert [row.id for row in old.all()] == first
            now = [row.id for row in users.all()]
            print(len(now), flush=True)
"""


def test_a_reader_process_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Database.open(path, page_size=SMALL) as db:
        users = db.collection(User)
        users.insert_many(rows(range(600)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            assert reader.stdout.readline() == b"open\n"
            with db.transaction():
                for number in range(580):
                    users.delete(number)
            counts = []

            def look(_: int) -> None:
                reader.stdin.write(b"\n")
                reader.stdin.flush()
                counts.append(int(reader.stdout.readline()))

            db.compact(progress=look)
            assert counts and set(counts) == {20}
            reader.stdin.close()
        held = path.stat().st_size
        db.compact()
        assert path.stat().st_size < held
        db.verify()


async def test_others_write_meanwhile(loop_disk_world: World) -> None:
    async with loop_disk_world.open(page_size=SMALL) as db:
        users = await sparse(db, random.Random(1), 900)
        expected = {row.id: row for row in await users.all()}
        done = False

        async def compact() -> None:
            nonlocal done
            try:
                await db.compact()
                await db.compact()
            finally:
                done = True

        async def write(start: int) -> None:
            number = start
            while not done or number < start + 20:
                await users.insert(user(number))
                expected[number] = user(number)
                if number % 5 == 0:
                    async with db.transaction():
                        await users.update(start, {"age": number % 100})
                        await users.delete(number)
                    del expected[number]
                number += 1
                assert await users.get(start) is not None
                await anyio.sleep(0.001)
            expected[start] = await users.get(start)

        starts = (10_001, 20_001)
        assert await gather(compact, *[lambda start=start: write(start) for start in starts]) == [None] * 3
        assert {row.id: row for row in await users.all()} == expected
        await db.verify()
    async with loop_disk_world.open() as db:
        assert {row.id: row for row in await db.collection(User).all()} == expected
        await db.verify()


async def test_a_file_gets_short_while_somebody_writes(disk_world: World) -> None:
    """Between any two of its commits: a log made anew at the end of the file would keep that where it is."""
    async with disk_world.open(page_size=SMALL) as db:
        users = await sparse(db, random.Random(2), 6000)
        await db.checkpoint()
        assert 2 * db.stats()["free_pages"] > db.stats()["page_count"]
        for number, _ in enumerate(compacting(bare(db)._access.engine)):
            await users.insert(user(10_001 + 2 * number))
            await users.insert(user(10_002 + 2 * number))
        assert 4 * db.stats()["free_pages"] < db.stats()["page_count"]
        await db.verify()


async def test_a_cancelled_compaction_leaves_everything_usable(loop_disk_world: World) -> None:
    async with loop_disk_world.open(page_size=SMALL) as db:
        users = await sparse(db, None, 900)
        expected = await users.all()
        for steps in (0, 1, 3, 6, 10):
            with anyio.CancelScope() as scope:
                told = 0

                def tell(_: int, scope: anyio.CancelScope = scope, steps: int = steps) -> None:
                    nonlocal told
                    told += 1
                    if told > steps:
                        scope.cancel()

                if steps == 0:
                    scope.cancel()
                await db.compact(progress=tell)
            assert bare(db)._access.engine.pager.ceiling == 0
            assert await users.all() == expected
            await users.insert(user(50_000))
            await users.delete(50_000)
            await db.verify()


async def test_where_compact_is_refused(disk_world: World, tmp_path: Path) -> None:
    path = Path(disk_world.path or "")
    async with disk_world.open() as db:
        users = await sparse(db, None, 300)
        expected = await content(db)
        async with db.transaction():
            await users.delete(0)
            await users.insert(user(1000))
            for refused in (db.compact(), db.compact_to(tmp_path / "x")):
                with pytest.raises(ModelVaultTransactionError, match="nested"):
                    await refused
            assert await users.get(1000) is not None
            await users.delete(1000)
        assert await content(db) == {"users": [row for row in expected["users"] if row["id"] != 0]}
        with pytest.raises(LockedError):
            await db.compact_to(path)
        await db.verify()
    before = path.read_bytes()
    async with disk_world.open(read_only=True) as db:
        with pytest.raises(OSError, match="read-only") as info:
            await db.compact()
        assert (info.value.errno, info.value.filename) == (errno.EROFS, str(path))
        await db.compact_to(tmp_path / "packed")
    assert path.read_bytes() == before
    async with disk_world.open_in_memory() as db:
        with pytest.raises(ValueError, match="compact_in_place is only supported for file-backed databases"):
            await db.compact()
    assert sorted(os.listdir(tmp_path)) == ["packed", "test.modelvault"]


async def test_compact_to(world: World, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.write_bytes(b"old")
    dest.chmod(0o600)
    async with world.open() as db:
        await sparse(db, random.Random(5), 400)
        expected = await content(db)
        await db.compact_to(dest)
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    async with world.open(dest) as copy:
        assert await content(copy) == expected
        await copy.verify()
        assert copy.stats()["free_pages"] == 0
        await copy.collection(User).insert(user(9999))


def test_two_compactions_take_turns(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncDatabase.open(tmp_path / "db") as db:
            users = await sparse(db, None, 400)
            expected = await users.all()
            assert await gather(db.compact, db.compact, db.compact) == [None] * 3
            assert await users.all() == expected
            await db.verify()

    anyio.run(main)


async def test_compact_does_not_wait_for_ever(loop_disk_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child task of who has the turn and waits for it."""
    monkeypatch.setattr("modelvault._backup.TIMEOUT", 0.05)
    async with loop_disk_world.open() as db:
        users = await sparse(db, None, 200)
        async with db.transaction():
            await users.insert(user(1000))
            (error,) = await gather(db.compact)
            assert isinstance(error, ModelVaultTransactionError)
        assert await users.get(1000) == user(1000)
        await db.compact()
        await db.verify()
