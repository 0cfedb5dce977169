"""One test, four worlds: asyncio, uvloop, Trio, and the blocking interface in asynchronous clothes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from modelvault import (
    AsyncCollection,
    AsyncDatabase,
    AsyncQuery,
    AsyncSnapshot,
    AsyncTransaction,
    Collection,
    Database,
    Query,
    Snapshot,
    Transaction,
)
from modelvault._core.drive import drive
from modelvault.groups import Groups as AsyncGroups
from modelvault.sync import Groups, Rows, Savepoint
from modelvault.sync_upkeep import Upkeep
from modelvault.upkeep import AsyncUpkeep

TWINS: dict[type, type] = {
    Database: AsyncDatabase,
    Collection: AsyncCollection,
    Query: AsyncQuery,
    Groups: AsyncGroups,
    Snapshot: AsyncSnapshot,
    Transaction: AsyncTransaction,
    Upkeep: AsyncUpkeep,
}


@dataclass
class World:
    """A way to run a test's coroutine, and to open databases in it."""

    name: str
    place: Path | None
    databases: list[Any] = field(default_factory=list)

    @property
    def blocking(self) -> bool:
        return self.name == "blocking"

    @property
    def path(self) -> str | None:
        return None if self.place is None else str(self.place / "test.modelvault")

    def open(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """What `open` gives for a path; for the world's own place if there is none."""
        path = path or self.path
        if self.blocking:
            return Opening(
                lambda: Database.open_in_memory(**options) if path is None else Database.open(path, **options)
            )
        return AsyncDatabase.open_in_memory(**options) if path is None else AsyncDatabase.open(path, **options)

    def open_in_memory(self) -> Any:
        return Opening(Database.open_in_memory) if self.blocking else AsyncDatabase.open_in_memory()

    def open_snapshot(self, path: str | os.PathLike[str]) -> Any:
        return Opening(lambda: Database.open_snapshot(path)) if self.blocking else AsyncDatabase.open_snapshot(path)

    def open_snapshot_bytes(self, data: Any) -> Any:
        if self.blocking:
            return Opening(lambda: Database.open_snapshot_bytes(data))
        return AsyncDatabase.open_snapshot_bytes(data)

    def run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.blocking:
            drive(function())
        elif self.name == "uvloop":
            anyio.run(function, backend="asyncio", backend_options={"use_uvloop": True})
        else:
            anyio.run(function, backend=self.name)


class Done:
    """An awaitable that calls a function when it is awaited, and never suspends."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def __await__(self) -> Generator[None, None, Any]:
        return self._call()
        yield


class Opening(Done):
    """The blocking `open`, dressed: `await` it, or `async with` it."""

    def __await__(self) -> Generator[None, None, Any]:
        return dress(self._call())
        yield

    async def __aenter__(self) -> Any:
        self._database = self._call()
        return dress(self._database)

    async def __aexit__(self, *_: object) -> None:
        self._database.close()


def dress(value: Any) -> Any:
    return Dressed(value) if isinstance(value, (*TWINS, Rows, Savepoint)) else value


class Dressed:
    """A blocking object whose methods are awaited where its asynchronous twin's are."""

    def __init__(self, bare: Any) -> None:
        self.bare = bare

    def __getattr__(self, name: str) -> Any:
        name = {"aclose": "close"}.get(name, name)
        attribute = getattr(self.bare, name)
        if not callable(attribute):
            return attribute
        twin = TWINS.get(type(self.bare))

        def call(*args: Any, **options: Any) -> Any:
            bare = (arg.bare if isinstance(arg, Dressed) else arg for arg in args)
            return dress(attribute(*bare, **options))

        if twin is None or inspect.iscoroutinefunction(getattr(twin, name)):
            return lambda *args, **options: Done(lambda: call(*args, **options))
        return call

    def __await__(self) -> Generator[None, None, Any]:
        return self
        yield

    async def __aenter__(self) -> Any:
        entered = self.bare.__enter__()
        return self if entered is self.bare else dress(entered)

    async def __aexit__(self, *error: Any) -> None:
        self.bare.__exit__(*error)

    def __aiter__(self) -> Any:
        return dress(iter(self.bare))

    async def __anext__(self) -> Any:
        try:
            return next(self.bare)
        except StopIteration:
            raise StopAsyncIteration from None


def bare(database: Any) -> AsyncDatabase:
    """The asynchronous database behind whatever a test was given."""
    database = getattr(database, "bare", database)
    twin: AsyncDatabase = getattr(database, "_twin", database)
    return twin


async def gather(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Call all at the same time; what they returned or raised."""
    results: list[Any] = [None] * len(calls)

    async def one(number: int) -> None:
        try:
            results[number] = await calls[number]()
        except Exception as error:
            results[number] = error

    async with anyio.create_task_group() as group:
        for number in range(len(calls)):
            group.start_soon(one, number)
    return results
