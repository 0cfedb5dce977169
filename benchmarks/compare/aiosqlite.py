"""SQLite on an event loop, through aiosqlite: one connection, whose thread does the work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite

from benchmarks.compare.common import Common
from benchmarks.compare.sqlite import COUNT, FILE, GET, INSERT, PRAGMAS, SCORED, SELECT, Sqlite, model, values
from benchmarks.data import User


class Session:
    """The awaited verbs."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.connection = connection

    async def get(self, key: int) -> User | None:
        found = list(await self.connection.execute_fetchall(GET, (key,)))
        return model(found[0]) if found else None  # type: ignore[arg-type]

    async def insert(self, user: User) -> None:
        await self.connection.execute_insert(INSERT, values(user))

    async def stored(self) -> int:
        found = [model(row) for row in await self.connection.execute_fetchall(SCORED, (10.0,))]  # type: ignore[arg-type]
        ((count,),) = await self.connection.execute_fetchall(COUNT, (10.0,))
        every = [model(row) for row in await self.connection.execute_fetchall(SELECT)]  # type: ignore[arg-type]
        return len(found) + int(count) + len(every)


class Aiosqlite(Common):
    """Sessions only; the files are made by the blocking module."""

    durability = Sqlite.durability
    how = "the same statements; one round trip to the connection's thread for each"
    asyncio = uvloop = True

    @staticmethod
    def version() -> str:
        return aiosqlite.__version__

    def __new__(cls, path: Path | None) -> Sqlite:  # type: ignore[misc]
        return Sqlite(path)

    @staticmethod
    @asynccontextmanager
    async def session(path: Path) -> AsyncIterator[Session]:
        async with aiosqlite.connect(path / FILE, isolation_level=None) as connection:
            for pragma in PRAGMAS:
                await connection.execute(pragma)
            yield Session(connection)
