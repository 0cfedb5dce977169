"""The defects of 0.16 that are about files, processes and handles; see test_defects.py."""

# ruff: noqa: ASYNC220

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
import os, sys
from modelvault import Database
Database.open_in_memory().close()
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
