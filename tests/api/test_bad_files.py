"""What opening, closing, locking and damage raise, in 0.16's words where it had some."""

# ruff: noqa: ASYNC240

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelvault import (
    AsyncDatabase,
    ClosedError,
    CorruptionError,
    Database,
    LockedError,
    ModelVaultError,
    ModelVaultFormatError,
    ModelVaultSchemaError,
)
from modelvault._core.space import free_runs
from modelvault._engine import Engine
from tests.alike import assert_same
from tests.api.content import content
from tests.api.library import BOOKS, book, library, refused
from tests.models import Person, User, user
from tests.worlds import World


async def opened(world: World, path: Any, **options: Any) -> None:
    async with world.open(path, **options):
        pass


async def test_a_directory_is_no_database(disk_world: World, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="Is a directory") as info:
        await opened(disk_world, str(tmp_path))
    assert (info.value.errno, info.value.filename) == (errno.EISDIR, str(tmp_path))


async def test_a_missing_parent(disk_world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "x")
    with pytest.raises(FileNotFoundError, match="No such file or directory") as info:
        await opened(disk_world, path)
    assert (info.value.errno, info.value.filename) == (errno.ENOENT, path)
    assert os.listdir(tmp_path) == []


async def test_a_missing_file_is_not_created_for_reading(disk_world: World, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await opened(disk_world, str(tmp_path / "x"), read_only=True)
    with pytest.raises(FileNotFoundError):
        await opened_by(Database if disk_world.blocking else AsyncDatabase, "")
    assert os.listdir(tmp_path) == []


async def test_paths_of_a_wrong_kind(disk_world: World, tmp_path: Path) -> None:
    kind: Any = Database if disk_world.blocking else AsyncDatabase
    for path, name in [(None, "NoneType"), (b"x", "bytes"), (5, "int")]:
        with pytest.raises(TypeError, match=f"argument 'path': '{name}' object is not an instance of 'str'"):
            await opened_by(kind, path)
    with pytest.raises((OSError, ValueError), match=r"NUL byte|null byte"):
        await opened(disk_world, str(tmp_path / "a\0b"))
    with pytest.raises(IsADirectoryError):
        await opened(disk_world, f"{tmp_path / 'x'}{os.sep}")
    with pytest.raises(TypeError, match="positional argument"):
        kind.open(str(tmp_path / "x"), True)
    assert os.listdir(tmp_path) == []


async def opened_by(kind: Any, path: Any) -> None:
    opening = kind.open(path)
    await (await opening).close()


async def test_options_of_a_wrong_kind(disk_world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    for recovery in ("bogus", "Strict", "auto"):
        with pytest.raises(ValueError, match=f"recovery must be 'strict' or 'auto_truncate', got \"{recovery}\""):
            await opened(disk_world, path, recovery=recovery)
    with pytest.raises(TypeError, match="argument 'read_only': 'str' object is not an instance of 'bool'"):
        await opened(disk_world, path, read_only="yes")
    with pytest.raises(ValueError, match="page_size must be one of"):
        await opened(disk_world, path, page_size=5000)
    with pytest.raises(ValueError, match="durability"):
        await opened(disk_world, path, durability="none")
    for recovery in (None, "strict", "auto_truncate"):
        await opened(disk_world, path, recovery=recovery)


@pytest.mark.parametrize(
    "junk",
    [
        b"hello",
        b"junk" * 10_000,
        bytes(300_000),
        b"SQLite format 3\0" + bytes(8176),
        b"TDB0" + bytes(8270),
        b"\x89MVLT",
    ],
    ids=["short", "text", "zeros", "sqlite", "0.16", "only magic"],
)
@pytest.mark.parametrize("read_only", [False, True])
async def test_what_is_no_database(junk: bytes, read_only: bool, disk_world: World, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(junk)
    with pytest.raises(ModelVaultFormatError) as info:
        await opened(disk_world, str(path), read_only=read_only)
    assert str(path) in str(info.value)
    assert path.read_bytes() == junk and os.listdir(tmp_path) == ["x"]


async def test_an_empty_file_becomes_a_database_but_not_for_reading(disk_world: World, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    with pytest.raises(ModelVaultFormatError, match=r"empty|0 bytes|no database"):
        await opened(disk_world, str(path), read_only=True)
    assert path.read_bytes() == b""
    async with disk_world.open(str(path)) as db:
        await library(db)


async def test_devices_are_no_databases(disk_world: World) -> None:
    for name in ("/dev/null", "/dev/full"):
        with pytest.raises(OSError) as info:
            await opened(disk_world, name)
        assert info.value.errno is not None and info.value.filename == name


# Locks


async def test_a_second_writer_in_this_process(disk_world: World, tmp_path: Path) -> None:
    assert disk_world.path is not None
    async with disk_world.open() as db:
        await library(db)
        (tmp_path / "link").symlink_to(disk_world.path)
        os.link(disk_world.path, tmp_path / "hard")
        for path in (disk_world.path, str(tmp_path / "link"), str(tmp_path / "hard")):
            with pytest.raises(LockedError, match=r"already open .*in this process") as info:
                await opened(disk_world, path)
            assert isinstance(info.value, OSError) and isinstance(info.value, ModelVaultError)
            assert info.value.errno in (errno.EAGAIN, errno.EACCES) and info.value.pid == os.getpid()
        assert len(await db.collection("books").all()) == 2
    await opened(disk_world, disk_world.path)


SECOND = """
import sys
from modelvault import Database, LockedError
try:
    Database.open(sys.argv[1]).close()
except LockedError as error:
    print(error.errno, error.pid, error)
with Database.open(sys.argv[1], read_only=True) as db:
    print(len(db.collection("books").all()))
"""


def python(code: str, *arguments: str) -> str:
    """What another process prints."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_second_writer_in_another_process(disk_world: World) -> None:
    async with disk_world.open() as db:
        await library(db)
        first, second = python(SECOND, str(disk_world.path)).splitlines()
        assert first.split()[:2] == [str(errno.EAGAIN), str(os.getpid())]
        assert "locked by another process" in first and str(disk_world.path) in first
        assert second == "2", "a reader is welcome beside a writer"
        await db.insert("books", book(3))


# Handles


async def test_nothing_is_written_through_a_read_only_handle(disk_world: World) -> None:
    async with disk_world.open() as db:
        await library(db)
    before = Path(str(disk_world.path)).read_bytes()
    async with disk_world.open(read_only=True) as db:
        books, users = db.collection("books"), db.collection(User)
        for action in (
            lambda: db.insert("books", book(3)),
            lambda: db.delete("books", 1),
            lambda: books.create(book(3)),
            lambda: books.insert_many([book(3)]),
            lambda: books.insert_many(book(number) for number in range(3000)),
            lambda: books.update(1, {"year": 2001}),
            lambda: books.upsert(book(3)),
            lambda: users.insert(user(2)),
            lambda: users.delete(1),
            lambda: db.register_collection("c", json.dumps(BOOKS), "id"),
            lambda: db.transaction().__aenter__(),
        ):
            error = await refused(db, action, OSError, "read-only")
            assert error.errno == errno.EROFS and error.filename == disk_world.path
        with pytest.raises(ModelVaultSchemaError, match="unknown collection"):
            await db.collection(Person).all()
        assert await users.get(1) == user(1)
    assert Path(str(disk_world.path)).read_bytes() == before


async def test_a_read_only_handle_beside_the_writer_sees_each_commit(disk_world: World) -> None:
    async with disk_world.open() as db:
        await library(db)
        async with disk_world.open(read_only=True) as reader:
            await db.insert("books", book(3))
            assert len(await reader.collection("books").all()) == 3
            async with db.transaction():
                await db.insert("books", book(4))
                assert await reader.get("books", 4) is None
            assert await reader.get("books", 4) is not None
            with pytest.raises(OSError, match="read-only"):
                await reader.insert("books", book(5))


async def test_a_closed_handle(world: World) -> None:
    async with world.open() as db:
        books = await library(db)
        users = db.collection(User)
        query = books.where("id", 1)
        rows = books.__aiter__()
        await rows.__anext__()
    for action in (
        lambda: db.insert("books", book(3)),
        lambda: db.get("books", 1),
        lambda: db.delete("books", 1),
        lambda: books.all(),
        lambda: books.get(1),
        lambda: books.count(),
        lambda: books.insert(book(3)),
        lambda: books.insert_many([book(3)]),
        lambda: users.get(1),
        lambda: users.insert(user(2)),
        lambda: users.update(1, {"age": 5}),
        lambda: users.delete(1),
        lambda: query.all(),
        lambda: query.count(),
        lambda: db.register_collection("c", json.dumps(BOOKS), "id"),
        lambda: db.transaction().__aenter__(),
        lambda: db.__aenter__(),
    ):
        with pytest.raises(ClosedError, match="closed"):
            await action()
    for look in (db.collection_names, lambda: db.collection("books"), lambda: db.collection(User)):
        with pytest.raises(ClosedError, match="closed"):
            look()
    await db.close()
    assert isinstance(db.path(), str)


# Damage


def leaf_pages(path: str, page_size: int) -> list[int]:
    """Pages of the file that hold rows, not what is left of earlier ones."""
    data = Path(path).read_bytes()
    pages = [data[start : start + page_size] for start in range(0, len(data), page_size)]
    engine = Engine.open(path, read_only=True)
    free = {
        page for _, first, count in free_runs(engine.pager, engine.latest.roots) for page in range(first, first + count)
    }
    engine.close()
    return [number for number, page in enumerate(pages) if number > 3 and number not in free and b"damage-me" in page]


@pytest.mark.damaged
@pytest.mark.parametrize("where", ["checksum", "body", "zeroed", "swapped"])
async def test_damage_is_found_on_reading_and_named(where: str, disk_world: World) -> None:
    path = str(disk_world.path)
    async with disk_world.open(page_size=4096) as db:
        books = await library(db)
        await books.insert_many(book(number, title="damage-me" * 20, isbn=None) for number in range(10, 110))
    pages = leaf_pages(path, 4096)
    page = pages[len(pages) // 2]
    data = bytearray(Path(path).read_bytes())
    start = page * 4096
    if where == "checksum":
        data[start] ^= 1
    elif where == "body":
        data[start + 2048] ^= 1
    elif where == "zeroed":
        data[start : start + 4096] = bytes(4096)
    else:
        data[start : start + 4096] = data[pages[0] * 4096 : pages[0] * 4096 + 4096]
    Path(path).write_bytes(data)
    async with disk_world.open() as db:
        books = db.collection("books")
        assert (await books.get(1))["title"] == "Book 1", "what is whole can be read"
        with pytest.raises(CorruptionError, match=f"page {page}\\b") as info:
            await books.all()
        assert (info.value.page, info.value.path) == (page, path)
        assert isinstance(info.value, ModelVaultFormatError) and isinstance(info.value, ValueError)
    assert Path(path).read_bytes() == data, "reading repairs nothing"


@pytest.mark.damaged
async def test_a_cut_file_is_found(disk_world: World) -> None:
    path = str(disk_world.path)
    async with disk_world.open(page_size=4096) as db:
        books = await library(db)
        await books.insert_many(book(number, title="damage-me" * 20, isbn=None) for number in range(10, 110))
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(CorruptionError) as info:
        async with disk_world.open() as db:
            await db.collection("books").all()
    assert path in str(info.value)


async def test_a_damaged_meta_copy_is_replaced_by_the_other(disk_world: World) -> None:
    path = str(disk_world.path)
    async with disk_world.open(page_size=4096) as db:
        await library(db)
        before = await content(db)
    whole = Path(path).read_bytes()
    for copies, fine in [((0,), True), ((1,), True), ((2,), True), ((3,), True), ((0, 1, 2, 3), False)]:
        data = bytearray(whole)
        for copy in copies:
            data[copy * 4096 + 100] ^= 0xFF
        Path(path).write_bytes(data)
        if fine:
            async with disk_world.open(read_only=True) as db:
                assert_same(await content(db), before)
        else:
            with pytest.raises(CorruptionError):
                await opened(disk_world, path)
