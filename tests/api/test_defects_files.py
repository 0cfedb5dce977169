"""The defects of 0.16 that are about files, processes and handles; see test_defects.py."""

# ruff: noqa: ASYNC220, ASYNC240

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from modelvault import (
    ClosedError,
    Database,
    LockedError,
    ModelVaultFormatError,
    ModelVaultTransactionError,
)
from tests.faults import FaultyDisk
from tests.models import User, user
from tests.worlds import World

FIELDS = json.dumps([{"path": ["id"], "type": "int64"}, {"path": ["s"], "type": {"optional": "string"}}])


def python(code: str, *arguments: str, **variables: str) -> str:
    """What another process prints."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    environment = os.environ | variables
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def numbers(db: Any) -> list[int]:
    return [row.id for row in await db.collection(User).all()]


async def test_d1_compact_on_a_read_only_handle_touches_nothing(disk_world: World) -> None:
    path = Path(str(disk_world.path))
    async with disk_world.open() as db:
        await db.collection(User).insert_many(user(number) for number in range(50))
    inode, before = path.stat().st_ino, path.read_bytes()
    async with disk_world.open(read_only=True) as db:
        with pytest.raises(OSError, match="read-only") as info:
            await db.compact()
        assert (info.value.errno, info.value.filename) == (errno.EROFS, str(path))
    assert (path.stat().st_ino, path.read_bytes()) == (inode, before)
    async with disk_world.open() as db:
        async with disk_world.open(read_only=True) as reader:
            with pytest.raises(OSError, match="read-only"):
                await reader.compact()
        await db.collection(User).insert(user(50))
    async with disk_world.open() as db:
        assert await numbers(db) == list(range(51)), "and a writer that was open goes on in the same file"


def test_d2_a_large_database_survives_its_checkpoint_and_its_export(tmp_path: Path) -> None:
    """0.16: more than 64 MiB of rows in one checkpoint, and neither the file nor the copy could be opened again."""
    with Database.open(tmp_path / "db", durability="off") as db:
        db.register_collection("c", FIELDS, "id")
        text = "x" * 900_000
        db.collection("c").insert_many({"id": number, "s": text} for number in range(75))
        db.checkpoint()
        db.export_snapshot(tmp_path / "copy")
        db.insert("c", {"id": 100})
    for path, count in ((tmp_path / "db", 76), (tmp_path / "copy", 75)):
        assert path.stat().st_size > 64 << 20
        with Database.open(path) as db:
            assert db.collection("c").count() == count
            assert db.get("c", 74) == {"id": 74, "s": text}


async def test_d4_the_file_is_there_all_the_time(disk_world: World) -> None:
    """0.16 renamed the database away before it renamed the new one to its place."""
    path = Path(str(disk_world.path))
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(300))
        await users.where("active", True).delete()
        inode = path.stat().st_ino
        seen = []
        await db.compact(progress=lambda _: seen.append((path.stat().st_ino, os.listdir(path.parent))))
        assert seen and all(one == (inode, [path.name]) for one in seen)
        copy = path.with_name("copy")
        await db.export_snapshot(copy)
        places = []
        await db.export_snapshot(copy, progress=lambda _: places.append(copy.exists()))
        assert places and all(places)


async def test_d11_compact_is_no_way_out_of_a_transaction(disk_world: World, tmp_path: Path) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(1))
        async with db.snapshot() as then, db.transaction():
            await users.insert(user(2))
            for refused in (db.compact(), db.compact_to(tmp_path / "copy"), db.export_snapshot(tmp_path / "copy")):
                with pytest.raises(ModelVaultTransactionError, match="nested"):
                    await refused
            await then.export_snapshot(tmp_path / "copy")
        assert await numbers(db) == [1, 2], "the transaction went on"
    async with disk_world.open(tmp_path / "copy") as copy:
        assert await numbers(copy) == [1], "a copy has no row that is not committed"


async def test_d14_restore_replaces_nothing_that_is_good_or_open(disk_world: World, tmp_path: Path) -> None:
    good, junk, folder = tmp_path / "good", tmp_path / "junk", tmp_path / "folder"
    junk.write_bytes(b"no database at all" * 1000)
    folder.mkdir()
    (folder / "precious").write_text("precious")
    async with disk_world.open() as db:
        await db.collection(User).insert(user(1))
        await db.export_snapshot(good)
        before = good.read_bytes()
        with pytest.raises(ModelVaultFormatError):
            await db.restore_snapshot(junk, good)
        with pytest.raises(LockedError):
            await db.restore_snapshot(good, disk_world.path)
        with pytest.raises(IsADirectoryError):
            await db.restore_snapshot(good, folder)
        await db.collection(User).insert(user(2))
    assert good.read_bytes() == before
    assert os.listdir(folder) == ["precious"]
    async with disk_world.open() as db:
        assert await numbers(db) == [1, 2], "what was written after the refusal is there"


async def test_d15_copies_and_compaction_keep_mode_and_link(disk_world: World, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to("real")
    async with disk_world.open(link) as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(200))
        await users.where("active", True).delete()
        real.chmod(0o600)
        await db.compact()
        assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o600
        copy = tmp_path / "copy"
        await db.export_snapshot(copy)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    async with disk_world.open_in_memory() as other:
        await other.restore_snapshot(copy, link)
    assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["copy", "link", "real"]


async def test_d21_checkpoints_do_not_make_the_file_grow(disk_world: World) -> None:
    """0.16 appended a copy of the whole database at each checkpoint."""
    path = Path(str(disk_world.path))
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(500))
        sizes = []
        for number in range(80):
            await users.insert(user(number % 20))
            await db.checkpoint()
            sizes.append(path.stat().st_size)
        assert sizes[-1] < 1.25 * sizes[39], "it finds a size, and stays there"


FORK = """
import os, sys
from modelvault import ClosedError, Database, models
from tests.models import User, user
with Database.open(sys.argv[1]) as db:
    users = models.collection(db, User)
    users.insert(user(1))
    child = os.fork()
    if child == 0:
        for action in (lambda: users.insert(user(2)), lambda: users.get(1), lambda: db.transaction().__enter__(),
                       lambda: db.get("users", 1), lambda: db.collection_names()):
            try:
                action()
                os._exit(1)
            except ClosedError as error:
                if "fork" not in str(error):
                    os._exit(2)
        try:
            Database.open(sys.argv[1])
            os._exit(3)
        except OSError:
            pass
        db.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    users.insert(user(3))
with Database.open(sys.argv[1]) as db:
    print([row.id for row in models.collection(db, User).all()])
"""

ASYNC_FORK = """
import asyncio, os, sys
from modelvault import AsyncDatabase, ClosedError, models
from tests.models import User, user
async def main():
    async with AsyncDatabase.open(sys.argv[1]) as db:
        users = models.async_collection(db, User)
        await users.insert(user(1))
        child = os.fork()
        if child == 0:
            try:
                await users.insert(user(2))
            except ClosedError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await users.insert(user(3))
        print([row.id for row in await users.all()])
asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("code", [FORK, ASYNC_FORK], ids=["blocking", "async"])
def test_d13_a_fork_harms_nothing(code: str, tmp_path: Path) -> None:
    code = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + code
    assert python(code, str(tmp_path / "x"), PYTHONPATH=os.pathsep.join(sys.path)) == "[1, 3]\n"


async def test_d15_mode_and_symbolic_link_stay(disk_world: World, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    for start in (0, 10):
        async with disk_world.open(link) as db:
            users = await db.collection(User)
            await users.insert_many(user(number) for number in range(start, start + 10))
            await users.delete(start)
        assert link.is_symlink() and real.is_file()
        real.chmod(0o600)
    async with disk_world.open(real) as db:
        assert await db.collection(User).count() == 18
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["link", "real"], "there is one file, and no other beside it"


async def outcome(call: Any) -> Exception | None:
    """What an awaitable raises."""
    try:
        await call
    except Exception as error:
        return error
    return None


def break_at(disk: FaultyDisk, at: int, kind: str, on: str, lasting: bool = False) -> None:
    faults = disk.faults
    faults.at, faults.kind, faults.on, faults.lasting = at, kind, frozenset(on.split()), lasting
    faults.count, faults.hit = 0, False


@pytest.mark.parametrize(("kind", "on"), [("EIO", "write"), ("short", "write"), ("EIO", "resize reserve")])
async def test_d17_after_a_failed_write_nothing_is_acknowledged_in_vain(
    kind: str, on: str, disk_world: World, disks: list[FaultyDisk]
) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(1))
        break_at(disks[-1], 1, kind, on)
        acknowledged = [1]
        for number in range(2, 6):
            error = await outcome(users.insert(user(number)))
            if error is None:
                acknowledged.append(number)
            else:
                assert isinstance(error, OSError)
                assert (error.errno, error.filename) == (errno.EIO, disk_world.path)
            assert await numbers(db) == acknowledged, "what is there can be read all the time"
        assert disks[-1].faults.hit and 2 not in acknowledged
    async with disk_world.open() as db:
        assert await numbers(db) == acknowledged
        await db.collection(User).insert(user(9))


async def test_d17_a_full_disk_fails_one_statement_and_no_more(disk_world: World, disks: list[FaultyDisk]) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert_many(user(number) for number in range(100))
        break_at(disks[-1], 1, "ENOSPC", "resize reserve", lasting=True)
        with pytest.raises(OSError, match="No space left on device") as info:
            await users.insert_many(user(number) for number in range(100, 3000))
        assert (info.value.errno, info.value.filename) == (errno.ENOSPC, disk_world.path)
        assert await numbers(db) == list(range(100))
        for number in range(20):
            await users.delete(number)
        disks[-1].faults.at = 0
        await users.insert(user(100))
    async with disk_world.open() as db:
        assert await numbers(db) == list(range(20, 101))


@pytest.mark.parametrize("at", [1, 2])
async def test_d18_a_failed_fsync_is_never_tried_again(at: int, disk_world: World, disks: list[FaultyDisk]) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(1))
        break_at(disks[-1], at, "EIO", "sync")
        with pytest.raises(OSError) as info:
            await users.insert(user(2))
        assert info.value.errno == errno.EIO
        assert await numbers(db) == [1]
        for action in (lambda: users.insert(user(3)), lambda: users.delete(1), lambda: db.transaction().__aenter__()):
            with pytest.raises(OSError, match="reopen"):
                await action()
        assert await numbers(db) == [1], "reads of the last durable state go on"
    async with disk_world.open() as db:
        found = await numbers(db)
        assert found == [1] or (at == 2 and found == [1, 2])
        await db.collection(User).insert(user(3))


READER = """
import sys
from modelvault import Database
with Database.open(sys.argv[1], read_only=True) as db:
    print("open", flush=True)
    while sys.stdin.readline():
        print([row["id"] for row in db.collection("c").all()], flush=True)
"""


async def test_d24_a_reader_process_lives_beside_the_writer(disk_world: World) -> None:
    async with disk_world.open() as db:
        await db.register_collection("c", FIELDS, "id")
        await db.insert("c", {"id": 1})
        command = [sys.executable, "-c", READER, str(disk_world.path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdin is not None and reader.stdout is not None
            assert reader.stdout.readline() == "open\n"
            for last in range(2, 30):
                await db.insert("c", {"id": last})
                if last % 9 == 0:
                    reader.stdin.write("\n")
                    reader.stdin.flush()
                    assert json.loads(reader.stdout.readline()) == list(range(1, last + 1))
            reader.stdin.close()
    with Database.open(str(disk_world.path), read_only=True), Database.open(str(disk_world.path)) as db:
        db.insert("c", {"id": 100})


async def test_d25_a_read_only_handle_shows_no_row_that_is_not_stored(disk_world: World) -> None:
    async with disk_world.open() as db:
        await db.register_collection("c", FIELDS, "id")
    async with disk_world.open(read_only=True) as db:
        with pytest.raises(OSError, match="read-only") as info:
            await db.transaction().__aenter__()
        assert (info.value.errno, info.value.filename) == (errno.EROFS, disk_world.path)
        with pytest.raises(OSError, match="read-only"):
            await db.insert("c", {"id": 1})
        assert await db.get("c", 1) is None


SHUFFLE = """
import sys
from modelvault import Database
with Database.open(sys.argv[1], read_only=True) as db:
    print([row["id"] for row in db.collection("c").all()])
"""


def test_d33_rows_have_one_order_in_every_process(tmp_path: Path) -> None:
    keys = [f"key {number * 37 % 101}" for number in range(101)]
    with Database.open(tmp_path / "x") as db:
        db.register_collection("c", json.dumps([{"path": ["id"], "type": "string"}]), "id")
        db.collection("c").insert_many({"id": key} for key in keys)
    orders = {python(SHUFFLE, str(tmp_path / "x"), PYTHONHASHSEED=seed) for seed in ("1", "2")}
    assert orders == {f"{sorted(keys)}\n"}


async def test_d36_a_handle_can_be_closed(disk_world: World) -> None:
    async with disk_world.open() as db:
        await db.register_collection("c", FIELDS, "id")
        held = db.collection("c")
        await held.insert({"id": 1})
    async with disk_world.open() as again:
        assert await again.get("c", 1) == {"id": 1, "s": None}, "what was made from the first handle does not keep it"
        with pytest.raises(ClosedError):
            await held.get(1)
        await again.close()
        await again.close()


ALONE = """
import json, os, sys
from modelvault import Database
with Database.open_in_memory() as db:  # some modules are imported late, when nobody may read root's any more
    db.register_collection("c", json.dumps([{"path": ["id"], "type": "int64"}]), "id")
    db.insert("c", {"id": 1})
    db.get("c", 1)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    Database.open(sys.argv[1])
    print("writable")
except PermissionError as error:
    print(error.errno, error.filename)
with Database.open(sys.argv[1], read_only=True) as db:
    print(db.get("c", 1))
"""


def test_d37_what_cannot_be_written_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        path = place / "x"
        with Database.open(path) as db:
            db.register_collection("c", FIELDS, "id")
            db.insert("c", {"id": 1})
        path.chmod(0o444)
        place.chmod(0o555)
        try:
            first, second = python(ALONE, str(path)).splitlines()
        finally:
            place.chmod(0o700)
        assert first == f"{errno.EACCES} {path}"
        assert second == "{'id': 1, 's': None}"
        assert os.listdir(place) == ["x"]


async def test_d38_os_errors_have_errno_and_filename(disk_world: World, tmp_path: Path) -> None:
    async def attempt(path: Path, **options: Any) -> None:
        async with disk_world.open(path, **options):
            pass

    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, options, code in [
        (tmp_path, {}, errno.EISDIR),
        (tmp_path / "no" / "x", {}, errno.ENOENT),
        (tmp_path / "x", {"read_only": True}, errno.ENOENT),
        (tmp_path / "loop", {}, errno.ELOOP),
        (tmp_path / ("x" * 300), {}, errno.ENAMETOOLONG),
    ]:
        with pytest.raises(OSError) as info:
            await attempt(path, **options)
        assert (info.value.errno, info.value.filename) == (code, str(path))
    async with disk_world.open():
        with pytest.raises(LockedError) as locked:
            await attempt(Path(str(disk_world.path)))
        assert (locked.value.errno, locked.value.filename) == (errno.EAGAIN, disk_world.path)
        assert locked.value.pid == os.getpid()
