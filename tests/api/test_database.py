"""Opening, closing, paths, locks, and the dict interface, in every world."""

# Small files of a test may be read where they are needed.
# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import anyio
import pytest

import modelvault
from modelvault import (
    AsyncDatabase,
    ClosedError,
    Database,
    DuplicateKeyError,
    LockedError,
    ModelVaultFormatError,
    ModelVaultSchemaError,
    ModelVaultValidationError,
)
from tests.models import User, user
from tests.worlds import World, bare

FIELDS = """[
    {"path": ["id"], "type": "int64"},
    {"path": ["name"], "type": "string"},
    {"path": ["n"], "type": {"optional": "int64"}}
]"""
UNIQUE = '[{"name": "by_name", "path": ["name"], "kind": "unique"}]'


async def register(db: Any) -> None:
    await db.register_collection("books", FIELDS, "id", UNIQUE)


# Opening and closing


async def test_open_is_awaited_or_entered(disk_world: World) -> None:
    opening = disk_world.open()
    assert not os.path.exists(str(disk_world.path))
    db = await opening
    assert db.path() == disk_world.path
    await db.close()
    async with disk_world.open() as db:
        await register(db)
    async with await disk_world.open() as db:
        assert db.collection_names() == ["books"]
        async with db as same:
            assert same is db


async def test_a_path_may_be_a_path(disk_world: World) -> None:
    assert disk_world.path is not None
    async with disk_world.open(Path(disk_world.path)) as db:
        assert db.path() == disk_world.path
    assert sorted(os.listdir(os.path.dirname(disk_world.path))) == ["test.modelvault"]


async def test_in_memory(world: World) -> None:
    async with world.open() as db:
        if world.place is None:
            assert db.path() == ":memory:"
            assert db.recovery_info == {"truncated_bytes": 0, "truncate_reason": None}
        assert db.collection_names() == []
        assert isinstance(db.stats(), dict)
        assert repr(getattr(db, "bare", db)).endswith(f"Database {db.path()!r}>")


async def test_close_may_be_repeated_and_ends_everything(db: Any) -> None:
    await register(db)
    books = db.collection("books")
    await books.insert({"id": 1, "name": "a"})
    rows = books.__aiter__()
    await rows.__anext__()
    await db.close()
    await db.close()
    for call in (
        lambda: books.get(1),
        lambda: books.insert({"id": 2, "name": "b"}),
        lambda: books.all(),
        lambda: books.where("id", 1).first(),
        lambda: db.get("books", 1),
        lambda: db.insert("books", {"id": 2, "name": "b"}),
        lambda: db.register_collection("more", FIELDS, "id"),
        lambda: db.transaction().__aenter__(),
    ):
        with pytest.raises(ClosedError, match="is closed"):
            await call()
    with pytest.raises(ClosedError):
        db.collection("books")
    with pytest.raises(ClosedError):
        db.stats()
    await rows.aclose()


async def test_a_forgotten_database_warns(world: World) -> None:
    db = await world.open()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del db
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "unclosed database" in str(caught[0].message)
    async with world.open() as db:
        await register(db)


async def test_a_collection_keeps_its_database(world: World) -> None:
    db = await world.open()
    await register(db)
    books = db.collection("books")
    closing = bare(db)
    del db
    gc.collect()
    assert await books.get(1) is None
    await closing.close()


@pytest.mark.parametrize(
    ("path", "options", "error", "message"),
    [
        (None, {}, TypeError, "argument 'path': 'NoneType' object is not an instance of 'str'"),
        (b"x", {}, TypeError, "argument 'path': 'bytes' object is not an instance of 'str'"),
        (7, {}, TypeError, "argument 'path'"),
        ("", {}, FileNotFoundError, "No such file or directory"),
        ("{place}", {}, IsADirectoryError, "Is a directory"),
        ("{place}/missing/x", {}, FileNotFoundError, "No such file or directory"),
        ("{place}/x\0y", {}, OSError, "NUL byte"),
        ("{place}/x", {"read_only": True}, FileNotFoundError, "No such file or directory"),
        (
            "{place}/x",
            {"read_only": "yes"},
            TypeError,
            "argument 'read_only': 'str' object is not an instance of 'bool'",
        ),
        ("{place}/x", {"recovery": "bogus"}, ValueError, "recovery must be 'strict' or 'auto_truncate', got \"bogus\""),
        ("{place}/x", {"recovery": "Strict"}, ValueError, "recovery must be"),
        ("{place}/x", {"durability": "some"}, ValueError, "durability must be 'full'"),
        ("{place}/x", {"page_size": 1000}, ValueError, "page_size"),
        ("{place}/junk", {}, ModelVaultFormatError, "format error"),
        ("{place}/junk", {"read_only": True}, ModelVaultFormatError, "format error"),
    ],
)
async def test_what_cannot_be_opened(
    disk_world: World, path: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    assert disk_world.place is not None
    junk = disk_world.place / "junk"
    junk.write_bytes(b"hello" * 10_000)
    if isinstance(path, str):
        path = path.format(place=disk_world.place)
    opener = Database if disk_world.blocking else AsyncDatabase
    with pytest.raises(error, match=message) as caught:
        await opener.open(path, **options)  # type: ignore[misc]
    if isinstance(caught.value, OSError):
        assert caught.value.errno is not None
        assert caught.value.filename == path
    assert os.listdir(disk_world.place) == ["junk"]
    assert junk.read_bytes() == b"hello" * 10_000


@pytest.mark.parametrize("recovery", [None, "strict", "auto_truncate"])
async def test_recovery_is_accepted(disk_world: World, recovery: Any) -> None:
    async with disk_world.open(recovery=recovery) as db:
        assert db.recovery_info == {"truncated_bytes": 0, "truncate_reason": None}


async def test_one_writer_for_a_path(disk_world: World) -> None:
    assert disk_world.path is not None
    async with disk_world.open() as db:
        await register(db)
        with pytest.raises(LockedError, match="writable storage already open for this path in this process") as caught:
            await disk_world.open()
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EAGAIN
        assert caught.value.pid == os.getpid()
        link = disk_world.path + ".link"
        os.symlink(disk_world.path, link)
        with pytest.raises(OSError, match="already open"):
            await disk_world.open(link)
        await db.insert("books", {"id": 1, "name": "still works"})
    async with disk_world.open() as db:
        assert (await db.get("books", 1))["name"] == "still works"


async def test_a_reader_shares_the_writers_state(disk_world: World) -> None:
    async with disk_world.open() as db:
        await register(db)
        async with disk_world.open(read_only=True) as reader:
            assert await reader.get("books", 1) is None
            await db.insert("books", {"id": 1, "name": "a"})
            assert await reader.get("books", 1) == {"id": 1, "n": None, "name": "a"}
            for call in (
                lambda: reader.insert("books", {"id": 2, "name": "b"}),
                lambda: reader.delete("books", 1),
                lambda: reader.register_collection("more", FIELDS, "id"),
                lambda: reader.transaction().__aenter__(),
            ):
                with pytest.raises(OSError, match="database opened read-only") as caught:
                    await call()
                assert caught.value.errno == errno.EROFS
        await db.insert("books", {"id": 2, "name": "b"})


async def test_a_read_only_handle_alone(disk_world: World) -> None:
    async with disk_world.open() as db:
        await register(db)
        await db.insert("books", {"id": 1, "name": "a"})
    assert disk_world.path is not None
    before = Path(disk_world.path).read_bytes()
    async with disk_world.open(read_only=True) as db:
        assert await db.collection("books").count() == 1
        assert [row["id"] async for row in db.collection("books")] == [1]
        with pytest.raises(OSError, match="read-only"):
            await db.insert("books", {"id": 2, "name": "b"})
        with pytest.raises(ModelVaultSchemaError, match="unknown collection"):
            await db.collection(User).get(1)
    assert Path(disk_world.path).read_bytes() == before


async def test_readers_stay_when_the_writer_goes_and_another_comes(disk_world: World) -> None:
    first = await disk_world.open()
    await register(first)
    for number in range(300):
        await first.insert("books", {"id": number, "name": str(number)})
    reader = await disk_world.open(read_only=True)
    rows = aiter(reader.collection("books"))
    assert (await anext(rows))["id"] == 0
    await first.insert("books", {"id": 300, "name": "the last one"})
    await first.close()
    assert await reader.collection("books").count() == 301
    for number in range(3):
        async with disk_world.open() as second:
            await second.insert("books", {"id": 0, "name": f"changed {number}"})
            assert (await reader.get("books", 0))["name"] == f"changed {number}"
            with pytest.raises(LockedError, match="already open for this path in this process"):
                await disk_world.open()
            async with disk_world.open(read_only=True) as another:
                await second.insert("books", {"id": 1000 + number, "name": f"new {number}"})
                for look in (another, reader):
                    assert await look.get("books", 1000 + number) is not None
        assert await reader.collection("books").count() == 302 + number
    assert [row["id"] async for row in rows] == list(range(1, 300)), "the snapshot from before all that"
    with pytest.raises(OSError, match="read-only"):
        await reader.insert("books", {"id": 1, "name": "b"})
    await reader.close()


async def test_a_writer_in_another_process_may_come_when_the_one_here_has_gone(disk_world: World) -> None:
    first = await disk_world.open()
    await register(first)
    reader = await disk_world.open(read_only=True)
    await first.close()
    command = [sys.executable, "-c", WRITER, str(disk_world.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:  # noqa: ASYNC220
        assert writer.stdin is not None
        assert writer.stdout is not None
        for number in range(1, 5):
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "done\n"
            assert (await reader.get("books", number))["name"] == str(number)
        writer.stdin.close()
    await reader.close()


WRITER = """
import sys
from modelvault import Database
with Database.open(sys.argv[1]) as db:
    for line in sys.stdin:
        db.insert("books", {"id": int(line), "name": line.strip()})
        print("done", flush=True)
"""


async def test_a_reader_follows_the_writer_of_another_process(disk_world: World) -> None:
    async with disk_world.open() as db:
        await register(db)
    command = [sys.executable, "-c", WRITER, str(disk_world.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:  # noqa: ASYNC220
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write(number: int) -> None:
            writer.stdin.write(f"{number}\n")  # type: ignore[union-attr]
            writer.stdin.flush()  # type: ignore[union-attr]
            assert writer.stdout.readline() == "done\n"  # type: ignore[union-attr]

        write(1)
        async with disk_world.open(read_only=True) as db:
            assert await db.get("books", 1) is not None
            for number in range(2, 30):
                write(number)
                assert (await db.get("books", number))["name"] == str(number)
            assert await db.collection("books").count() == 29
            with pytest.raises(LockedError, match="locked by") as caught:
                await disk_world.open()
            assert caught.value.pid in (writer.pid, None)
        writer.stdin.close()


# The dict interface


async def test_register_collection(db: Any) -> None:
    assert await db.register_collection("b", FIELDS, "id") == (1, 1)
    assert await db.register_collection(" a ", FIELDS, "name", UNIQUE) == (2, 1)
    assert db.collection_names() == ["a", "b"]
    with pytest.raises(ModelVaultSchemaError, match='duplicate collection name: "a"'):
        await db.register_collection("a", FIELDS, "id")
    with pytest.raises(ModelVaultSchemaError, match="invalid collection name"):
        await db.register_collection(" ", FIELDS, "id")
    with pytest.raises(TypeError, match="fields_json"):
        await db.register_collection("c", [], "id")
    with pytest.raises(ValueError, match="unknown primitive type"):
        await db.register_collection("c", '[{"path": ["id"], "type": "integer"}]', "id")
    with pytest.raises(ModelVaultSchemaError, match='primary field "zz" not found as a top-level field'):
        await db.register_collection("c", FIELDS, "zz")
    assert await db.register_collection("c", FIELDS, "id") == (3, 1)


async def test_rows_are_dicts(db: Any) -> None:
    await register(db)
    assert await db.insert("books", {"name": "a", "id": 1}) is None
    found = await db.get("books", 1)
    assert found == {"id": 1, "name": "a", "n": None}
    assert list(found) == ["id", "n", "name"]
    found["name"] = "changed"
    assert (await db.get("books", 1))["name"] == "a"
    await db.insert("books", {"id": 1, "name": "b", "n": True})
    assert await db.get("books", 1) == {"id": 1, "name": "b", "n": 1}
    assert await db.delete("books", 1) is None
    assert await db.delete("books", 1) is None
    assert await db.get("books", 1) is None


async def test_what_the_dict_interface_refuses(db: Any) -> None:
    await register(db)
    await db.insert("books", {"id": 1, "name": "a"})
    for call, error, message in [
        (lambda: db.insert("nope", {}), ModelVaultSchemaError, 'unknown collection name "nope"'),
        (lambda: db.get("nope", 1), ModelVaultSchemaError, 'unknown collection name "nope"'),
        (lambda: db.delete("nope", 1), ModelVaultSchemaError, 'unknown collection name "nope"'),
        (lambda: db.insert(5, {}), TypeError, "argument 'collection'"),
        (lambda: db.insert("books", [1]), TypeError, "argument 'row': 'list' object is not an instance of 'dict'"),
        (lambda: db.insert("books", {"name": "x"}), ModelVaultSchemaError, 'missing primary key field "id"'),
        (lambda: db.insert("books", {"id": 2}), ModelVaultValidationError, "validation error at name: missing field"),
        (lambda: db.insert("books", {"id": 2, "name": "x", "zz": 1}), ValueError, 'unknown field "zz"'),
        (lambda: db.insert("books", {"id": "2", "name": "x"}), TypeError, "interpreted as an integer"),
        (lambda: db.insert("books", {"id": 2, "name": 5}), TypeError, "not an instance of 'str'"),
        (lambda: db.insert("books", {"id": 2**63, "name": "x"}), OverflowError, "too large"),
        (lambda: db.insert("books", {"id": 2, "name": "a"}), DuplicateKeyError, "unique index violation"),
        (lambda: db.get("books", "1"), TypeError, "interpreted as an integer"),
        (lambda: db.delete("books", None), TypeError, "interpreted as an integer"),
    ]:
        with pytest.raises(error, match=message):
            await call()
    with pytest.raises(ModelVaultSchemaError, match='unknown collection name "nope"'):
        db.collection("nope")
    assert await db.collection("books").all() == [{"id": 1, "n": None, "name": "a"}]


async def test_dicts_and_models_see_the_same_rows(db: Any) -> None:
    users = await db.collection(User)
    await users.insert(user(1))
    row = await db.get("users", 1)
    assert row["address"] == user(1).address.model_dump()
    assert row["tags"] == user(1).tags
    await db.insert("users", {**row, "id": 2, "email": "x"})
    assert (await users.get(2)).created == user(1).created
    assert await db.collection("users").update(2, {"age": 50}) == {**row, "id": 2, "email": "x", "age": 50}


# Threads, loops, processes


def test_one_handle_in_several_loops_and_threads(tmp_path: Path) -> None:
    db = anyio.run(lambda: opened(str(tmp_path / "db")))
    users = db.collection(User)
    problems: list[BaseException] = []

    async def work(start: int) -> None:
        for number in range(start, start + 20):
            await users.insert(user(number))
            assert await users.get(number) == user(number)
            async with db.transaction():
                await users.update(number, {"age": 1})

    def run(start: int, backend: str) -> None:
        try:
            anyio.run(work, start, backend=backend)
        except BaseException as error:
            problems.append(error)

    threads = [
        threading.Thread(target=run, args=(1000 * number, ("asyncio", "trio")[number % 2])) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert anyio.run(users.count, backend="trio") == 80
    anyio.run(db.close)


async def opened(path: str) -> AsyncDatabase:
    return await AsyncDatabase.open(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_handle_does_not_survive_a_fork(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    with Database.open(path) as db:
        users = db.collection(User)
        users.insert(user(1))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                users.get(1)
            except ClosedError as error:
                if "before a fork" in str(error):
                    try:
                        users.insert(user(2))
                    except ClosedError:
                        db.close()
                        code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        users.insert(user(3))
    with Database.open(path) as db:
        assert [row.id for row in db.collection(User)] == [1, 3]


def test_the_import_is_light() -> None:
    script = "import sys, modelvault; print(sorted({'pydantic', 'anyio', 'asyncio', 'trio'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
    assert modelvault.__version__
