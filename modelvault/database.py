"""An open database: the engine, the way to wait, and the collections."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from modelvault._options import CACHE_SIZE, CHUNK, DURABILITY, PAGE_SIZE, TIMEOUT, file_name
from modelvault._runner import LoopRunner, Runner
from modelvault.schema import Schema
from modelvault.snapshot import AsyncSnapshot
from modelvault.transaction import AsyncTransaction
from modelvault.upkeep import AsyncUpkeep

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._job import Job
    from modelvault._unit import Unit
    from modelvault.collection import AsyncCollection
    from modelvault.migrations import Plan

__all__ = ["AsyncDatabase", "Durability", "Opening"]

# What few programs use is imported by the methods that use it: see `models`.

M = TypeVar("M")

Durability = Literal["full", "relaxed", "off"]

RECOVERY: Final = (None, "strict", "auto_truncate")


class Opening:
    """What `AsyncDatabase.open` gives: `await` it, or `async with` it, once. Nothing happens before."""

    __slots__ = ("_database", "_start")

    def __init__(self, start: Callable[[], Coroutine[Any, Any, AsyncDatabase]]) -> None:
        self._start = start
        self._database: AsyncDatabase | None = None

    def __await__(self) -> Generator[Any, None, AsyncDatabase]:
        return self._start().__await__()

    async def __aenter__(self) -> AsyncDatabase:
        self._database = await self._start()
        return self._database

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            await self._database.close()


class AsyncDatabase(AsyncUpkeep):
    """One open database, for asyncio, uvloop and Trio. Made by `open` or `open_in_memory`.

    It belongs to no event loop and may be used by any task and thread. Reads see the last commit and wait for no
    writer. A write outside a transaction is a transaction of its own; those that come while another is being
    committed are committed together.
    """

    # Opening and closing

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        recovery: Literal["strict", "auto_truncate"] | None = None,
        cache_size: int = CACHE_SIZE,
        page_size: int = PAGE_SIZE,
        durability: Durability = "full",
    ) -> Opening:
        """Open the file at `path`, or create it: `async with AsyncDatabase.open(path) as db`, or `await` it.

        * read_only: never changes the file; several processes may read while one writes.
        * recovery: what to do with a commit that a crash has cut off in the middle, and that nobody was told of:
          "auto_truncate" (the default) leaves it out, "strict" raises ModelVaultFormatError. Neither leaves out what
          was committed: damage raises CorruptionError.
        * cache_size: bytes of pages kept in memory.
        * page_size: bytes, a power of two from 4096 to 65536; used for a new file.
        * durability: "full": what was acknowledged survives a power failure. "relaxed": a power failure may take the
          commits of the last 50 ms, in their order. "off": the system decides when to write; a power failure may
          damage the file. A crash of the process loses nothing in any of them.

        OSError with errno: missing directory, no permission, a directory, a file that another process writes
        (LockedError). ModelVaultFormatError: no database. CorruptionError: a damaged one.
        """
        return Opening(
            lambda: open_file(
                LoopRunner(),
                path,
                read_only,
                recovery,
                cache_size=cache_size,
                page_size=page_size,
                durability=durability,
            )
        )

    @staticmethod
    def open_snapshot(path: str | os.PathLike[str]) -> Opening:
        """Load a database file into memory: what is written there does not go back. Every page of it is checked.

        OSError, ModelVaultFormatError, CorruptionError as `open`.
        """
        return Opening(lambda: open_copy(LoopRunner(), file_name(path, "path")))

    @staticmethod
    def open_snapshot_bytes(data: bytes) -> Opening:
        """A database in memory with what `snapshot_bytes` gave, or with the content of a file; b"" is an empty one.

        ModelVaultFormatError, CorruptionError.
        """
        return Opening(lambda: open_copy(LoopRunner(), content(data)))

    @staticmethod
    def open_in_memory(*, page_size: int = PAGE_SIZE) -> Opening:
        """A new database in memory, gone when it is closed."""
        return Opening(lambda: open_memory(LoopRunner(), page_size))

    def fork(self) -> AsyncDatabase:
        """A second database in memory, which begins as the last commit of this one: for a test that changes things.

        They share pages until one of them changes them, so it takes microseconds whatever the number of rows. Each is
        closed by itself. ValueError for a database on disk, ModelVaultTransactionError in a transaction.
        """
        return AsyncDatabase(self._access.fork(LoopRunner()))

    async def close(self) -> None:
        """Close the database: a commit under way is finished, an open transaction rolled back. May be called again."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        self._access.attend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def path(self) -> str:
        """The path as it was given; ':memory:' for a database in memory."""
        return self._access.path

    @property
    def recovery_info(self) -> dict[str, int | str | None]:
        """What `open` left out: `truncated_bytes` of a commit that a crash had cut off, and `truncate_reason`.

        The reason is "torn_tail", or None if there was nothing to leave out.
        """
        torn = self._access.engine.truncated
        return {"truncated_bytes": torn, "truncate_reason": "torn_tail" if torn else None}

    # Snapshots

    def snapshot(self) -> AsyncSnapshot:
        """`async with db.snapshot() as then`: the database as it is now, for reading; see AsyncSnapshot."""
        return AsyncSnapshot(self.__catalog__)

    def __repr__(self) -> str:
        return f"<AsyncDatabase {self._access.path!r}>"

    # Collections

    async def register_collection(
        self, name: str, fields_json: str, primary_field: str, indexes_json: str | None = None
    ) -> tuple[int, int]:
        """Add a collection of dicts; its id and schema version.

        fields_json: `[{"path": ["id"], "type": "int64", "constraints": [...]}, ...]`.
        indexes_json: `[{"name": "by_id", "path": ["id"], "kind": "unique" or "index"}, ...]`.
        """
        schema = Schema.from_fields_json(name, fields_json, primary_field, indexes_json)
        store = await self.__catalog__.register(schema, None, new=True)
        return store.definition["id"], store.version

    def collection_names(self) -> list[str]:
        """The names of all collections, sorted by code point."""
        return self.__catalog__.names(self._access.attend())

    @overload
    def collection(self, name: str) -> AsyncCollection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> AsyncCollection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> AsyncCollection[Any]:
        """The collection of that name, as dicts, or of that model class. ModelVaultSchemaError for an unknown name.

        validate_on_read: put each row that is read through the model's validators.
        """
        from modelvault.collection import collection_of  # with a fifth of the package

        return collection_of(self.__catalog__, name, validate_on_read=validate_on_read)

    # Versions of a schema

    async def register_schema_version(
        self, name: str, fields_json: str, indexes_json: str | None = None, force: bool = False
    ) -> int:
        """Give a collection of dicts a new schema; its version. Rows of older versions stay readable as they are.

        Without `force` ModelVaultSchemaError for whatever `plan_schema_version` does not call safe. With it:

        * old rows come back without a required field that is new, until `backfill_top_level_field` gives it a value;
        * a new unique index is built, or DuplicateKeyError says which rows have the same value;
        * a field that changed its type or its constraints is written anew in every row, or ModelVaultSchemaError says
          which rows cannot be read under the new schema.

        When it raises, nothing has changed.
        """
        from modelvault._change import run

        if not isinstance(force, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"argument 'force': {type(force).__name__!r} object is not an instance of 'bool'")
        unit = self._access.attend()
        job = await self._planned(unit, name, fields_json, indexes_json)
        return await run(self.__catalog__, job, unit, force=force, chunk=CHUNK)

    async def plan_schema_version(self, name: str, fields_json: str, indexes_json: str | None = None) -> Plan:
        """What a new schema would mean: `change` ("safe", "needs_migration", "breaking"), `reason`, `steps`."""
        return (await self._planned(self._access.attend(), name, fields_json, indexes_json)).plan

    async def backfill_top_level_field(self, name: str, field: str, value: Any) -> None:
        """Give the rows that are older than a field a value for it. Rows that have one keep it, None too."""
        await self._backfill(name, (field,), value)

    async def backfill_field_at_path(self, name: str, path: list[str], value: Any) -> None:
        """Give the rows that are older than a field inside others a value for it, by its path.

        A row that lacks what it lies in has it as soon as all fields that are required there have values.
        """
        await self._backfill(name, tuple(path), value)

    async def rebuild_indexes(self, name: str) -> None:
        """Build all indexes of a collection anew from its rows."""
        from modelvault._repairs import rebuild

        await self._access.catch_up()
        await rebuild(self.__catalog__, self._access.attend(), name)

    async def _planned(self, unit: Unit | None, name: str, fields_json: str, indexes_json: str | None) -> Job:
        """What a new schema would mean, and how it would come to be."""
        from modelvault._job import fields_job

        await self._access.catch_up()
        return fields_job(self.__catalog__, unit, name, fields_json, indexes_json)

    async def _backfill(self, name: str, path: tuple[str, ...], value: Any) -> None:
        """Give older rows a value at a path."""
        from modelvault._repairs import backfill

        await self._access.catch_up()
        await backfill(self.__catalog__, self._access.attend(), name, path, value)

    # The dict interface

    async def insert(self, collection: str, row: dict[str, Any]) -> None:
        """Store a row; one with the same primary key is replaced as a whole."""
        await self._plain(collection).insert(row)

    async def get(self, collection: str, pk: Any) -> dict[str, Any] | None:
        """The row with this primary key, None if there is none."""
        return await self._plain(collection).get(pk)

    async def delete(self, collection: str, pk: Any) -> None:
        """Delete the row with this primary key, if there is one."""
        await self._plain(collection).delete(pk)

    def _plain(self, name: str) -> AsyncCollection[dict[str, Any]]:
        """The collection of that name as dicts. TypeError for what is no name."""
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"argument 'collection': {type(name).__name__!r} object is not an instance of 'str'")
        from modelvault.collection import collection_of

        return collection_of(self.__catalog__, name)

    # Transactions

    def transaction(self, *, timeout: float | None = TIMEOUT) -> AsyncTransaction:
        """`async with db.transaction() as tx`: see AsyncTransaction.

        timeout: seconds to wait for the writer's turn, then ModelVaultTransactionError; None waits for ever.
        """
        return AsyncTransaction(self.__catalog__, timeout)


async def open_file(
    runner: Runner,
    path: str | os.PathLike[str],
    read_only: bool,
    recovery: str | None,
    *,
    cache_size: int,
    page_size: int,
    durability: str,
) -> AsyncDatabase:
    """A database on disk over a runner; the arguments are those of `AsyncDatabase.open`."""
    name = file_name(path, "path")
    if not isinstance(read_only, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"argument 'read_only': {type(read_only).__name__!r} object is not an instance of 'bool'")
    if recovery not in RECOVERY:
        raise ValueError(f"recovery must be 'strict' or 'auto_truncate', got \"{recovery}\"")
    if durability not in DURABILITY:
        raise ValueError(f"durability must be 'full', 'relaxed' or 'off', got {durability!r}")
    from modelvault._access import Access  # with a third of the package, which nobody needs before
    from modelvault._engine import Engine

    opened: list[Engine] = []

    def start() -> None:
        opened.append(
            Engine.open(
                name,
                read_only=read_only,
                cache_size=cache_size,
                page_size=page_size,
                durability=durability,
                strict=recovery == "strict",
            )
        )

    try:
        await runner.finish(start)
        return AsyncDatabase(Access(opened[0], runner, name, read_only=read_only))
    except BaseException:
        for engine in opened:
            engine.close(writer=not read_only)
        raise


async def open_memory(runner: Runner, page_size: int) -> AsyncDatabase:
    """A database in memory over a runner."""
    from modelvault._access import Access
    from modelvault._engine import Engine

    return AsyncDatabase(Access(Engine.open_in_memory(page_size=page_size), runner, ":memory:", read_only=False))


async def open_copy(runner: Runner, source: str | bytes) -> AsyncDatabase:
    """A database in memory with the content of a file, or of its bytes, over a runner."""
    from modelvault._access import Access
    from modelvault._backup import load

    return AsyncDatabase(Access(await load(runner, source), runner, ":memory:", read_only=False))


def content(data: Any) -> bytes:
    """What was given as the content of a file. TypeError for what is not bytes."""
    given: Any = data  # a memoryview of what, nobody knows
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"argument 'data': {type(given).__name__!r} object is not an instance of 'bytes'")
    return bytes(given)
