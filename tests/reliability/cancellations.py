"""Cancelled at the k-th await, for every k: a whole effect or none, nothing left open, and the next operation works.

Each attempt has rows of its own (a cell), so that one database serves them all; what became of a cell is read at once,
and again after the database was closed and opened.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from modelvault import Database, _engine, models
from tests.cancelling import everywhere
from tests.faults import FaultyDisk
from tests.models import User, user
from tests.reliability.tally import Tally
from tests.worlds import World, bare

CELL = 10_000
CELLS = 120
BEFORE = {0: 0, 1: 0}

State = dict[int, int]
"""The rows of a cell: number within it -> age."""


class Oops(Exception):
    pass


@dataclass
class Operation:
    """Something to cancel, and the states that a cell may have after it; the last if it ran through."""

    run: Callable[[Any, Any, int], Awaitable[Any]]
    states: list[State]


OPERATIONS: dict[str, Operation] = {}


def operation(*states: State) -> Callable[[Any], Any]:
    """Enter an operation that leaves a cell as it was, or in one of these states."""

    def enter(run: Any) -> Any:
        OPERATIONS[run.__name__] = Operation(run, [BEFORE, *states])
        return run

    return enter


def rows(cell: int, count: int) -> Iterator[User]:
    return (user(cell + 2 + number, age=1) for number in range(count))


async def slowly(cell: int, count: int) -> AsyncIterator[User]:
    for row in rows(cell, count):
        await anyio.lowlevel.checkpoint()
        yield row


def with_more(count: int) -> State:
    return BEFORE | {2 + number: 1 for number in range(count)}


@operation(BEFORE | {2: 1})
async def insert(db: Any, users: Any, cell: int) -> None:
    await users.insert(user(cell + 2, age=1))


@operation(BEFORE | {0: 1})
async def replace(db: Any, users: Any, cell: int) -> None:
    await users.insert(user(cell, age=1))


@operation(BEFORE | {2: 1})
async def create(db: Any, users: Any, cell: int) -> None:
    await users.create(user(cell + 2, age=1))


@operation(BEFORE | {0: 1})
async def update(db: Any, users: Any, cell: int) -> None:
    assert await users.update(cell, {"age": 1}) == user(cell, age=1)


@operation({1: 0, 3: 1})
async def upsert(db: Any, users: Any, cell: int) -> None:
    await users.upsert(user(cell + 3, email=user(cell).email, age=1), on="email")


@operation({1: 0})
async def delete(db: Any, users: Any, cell: int) -> None:
    assert await users.delete(cell)


@operation(with_more(100))
async def insert_many(db: Any, users: Any, cell: int) -> None:
    assert await users.insert_many(rows(cell, 100)) == 100


@operation(with_more(1100))
async def insert_very_many(db: Any, users: Any, cell: int) -> None:
    assert await users.insert_many(rows(cell, 1100)) == 1100


@operation(with_more(4))
async def insert_many_that_come_slowly(db: Any, users: Any, cell: int) -> None:
    assert await users.insert_many(slowly(cell, 4)) == 4


@operation(with_more(2), with_more(4), with_more(5))
async def insert_chunks(db: Any, users: Any, cell: int) -> None:
    assert await users.insert_many(rows(cell, 5), chunk=2) == 5


@operation({1: 1, 2: 1, 3: 1})
async def transaction(db: Any, users: Any, cell: int) -> None:
    async with db.transaction() as tx:
        await users.insert(user(cell + 2, age=1))
        await anyio.lowlevel.checkpoint()
        with contextlib.suppress(Oops):
            async with tx.savepoint():
                await users.delete(cell + 1)
                await anyio.lowlevel.checkpoint()
                raise Oops
        async with tx.savepoint():
            await users.update(cell + 1, {"age": 1})
            await users.delete(cell)
            await anyio.lowlevel.checkpoint()
        await tx.collection(User).insert_many(rows(cell, 2))
        assert await users.get(cell) is None


@operation()
async def transaction_that_fails(db: Any, users: Any, cell: int) -> None:
    with pytest.raises(Oops):  # noqa: PT012
        async with db.transaction():
            await users.insert(user(cell + 2, age=1))
            await anyio.lowlevel.checkpoint()
            await users.delete(cell)
            raise Oops


@operation(BEFORE | {2: 1})
async def transaction_with_children(db: Any, users: Any, cell: int) -> None:
    async with db.transaction() as tx:
        inside = tx.collection(User)
        async with anyio.create_task_group() as group:
            group.start_soon(inside.insert, user(cell + 2, age=1))
            group.start_soon(inside.get, cell + 1)


@operation(BEFORE | {2: 1})
async def insert_behind_a_transaction(db: Any, users: Any, cell: int) -> None:
    async with anyio.create_task_group() as group:
        held, go = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with db.transaction():
                held.set()
                await go.wait()

        group.start_soon(hold)
        await held.wait()
        group.start_soon(users.insert, user(cell + 2, age=1))
        await anyio.lowlevel.checkpoint()
        go.set()


@operation(BEFORE | {2: 1})
async def transaction_behind_a_transaction(db: Any, users: Any, cell: int) -> None:
    async with anyio.create_task_group() as group:
        held, go = anyio.Event(), anyio.Event()

        async def hold() -> None:
            async with db.transaction():
                held.set()
                await go.wait()

        async def second() -> None:
            async with db.transaction():
                await users.insert(user(cell + 2, age=1))

        group.start_soon(hold)
        await held.wait()
        group.start_soon(second)
        await anyio.lowlevel.checkpoint()
        go.set()


@operation()
async def reads(db: Any, users: Any, cell: int) -> None:
    assert (await users.get(cell)).age == 0
    assert await users.get_many([cell, cell + 9]) == [user(cell, age=0), None]
    assert await users.where("email", user(cell + 1).email).count() == 1
    assert len(await users.all()) >= 2
    seen = 0
    async for row in users:
        seen += row.id in (cell, cell + 1)
        await anyio.lowlevel.checkpoint_if_cancelled()
    assert seen == 2
    await db.verify()


@operation()
async def registration(db: Any, users: Any, cell: int) -> None:
    before = set(db.collection_names())
    try:
        await db.register_collection(f"more {cell}", '[{"path": ["id"], "type": "int64"}]', "id")
    finally:
        assert set(db.collection_names()) - before in (set(), {f"more {cell}"})


def fill(path: Path) -> None:
    """A database with two rows in each cell."""
    with Database.open(path, page_size=4096) as db:
        cells = range(0, CELLS * CELL, CELL)
        models.collection(db, User).insert_many(user(cell + number, age=0) for cell in cells for number in BEFORE)


async def state(users: Any, cell: int) -> State:
    """What a cell holds, whichever way one looks."""
    keys = range(cell, cell + 1200)
    found = {row.id - cell: row.age for row in await users.get_many(keys) if row is not None}
    for number in (0, 1, 2, 3):
        mail = await users.where("email", user(cell + number).email).all()
        assert all(row.id - cell in found for row in mail), "the index knows what the table does"
    return found


def cancel(name: str, world: World, native: bool, cold: bool, path: Path, disks: list[FaultyDisk]) -> int:
    """Cancel an operation at each of its awaits, in a copy of the filled database; how often it was tried.

    native: a task is cancelled, else a scope. cold: pages are not in memory. disks: the files that are opened.
    """
    tried = OPERATIONS[name]
    outcomes: dict[int, State] = {}

    async def main() -> None:
        async with world.open(path, cache_size=64 * 1024 if cold else 1 << 24) as db:
            users = await db.collection(User)
            access = bare(db)._access
            await users.insert(user(-1))
            cells = iter(range(0, CELLS * CELL, CELL))
            cell = 0

            def attempt() -> Any:
                nonlocal cell
                cell = next(cells)
                return tried.run(db, users, cell)

            async for made in everywhere(attempt, native):
                disks[-1].cold = False
                assert access.unit is None
                outcomes[cell] = await state(users, cell)
                assert outcomes[cell] in tried.states
                if not made.cancelled:
                    assert outcomes[cell] == tried.states[-1]
                await look_after(db, users, cell)
                disks[-1].cold = cold
        async with world.open(path) as db:
            users = await db.collection(User)
            for cell, outcome in outcomes.items():
                assert await state(users, cell) == outcome, "what was decided stays so"
            await db.verify()

    world.run(main)
    return len(outcomes)


async def look_after(db: Any, users: Any, cell: int) -> None:
    """Nothing is left open, and the next operations work."""
    access = bare(db)._access
    with anyio.fail_after(20):
        await users.insert(user(-2, age=cell))
        async with db.transaction():
            await users.update(-2, {"age": 7})
    stats = db.stats()
    assert access.unit is None and stats["writers"]["waiting"] == 0 and stats["pins"] == 0


WAYS = [("asyncio", False), ("asyncio", True), ("uvloop", True), ("trio", False)]
"""A kind of loop, and whether a task is cancelled or a scope."""


def run(tally: Tally, seed: int) -> None:
    """Every operation in every way, again and again until the time is up."""
    opened: list[FaultyDisk] = []

    class Disk(FaultyDisk):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            opened.append(self)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole, path = Path(folder) / "whole", Path(folder) / "db"
        fill(whole)
        patch.setattr(_engine, "DiskFile", Disk)
        for number in itertools.count():
            for name, (loop, native), cold in itertools.product(OPERATIONS, WAYS, (False, True)):
                tally.place = f"{name}, {loop}, {'task' if native else 'scope'}, {'cold' if cold else 'warm'}"
                if tally.over:
                    tally.detail = f"{len(OPERATIONS)} operations, {len(WAYS)} ways, warm and cold; {number} times all"
                    return
                shutil.copyfile(whole, path)
                try:
                    tally.tried += cancel(name, World(loop, Path(folder)), native, cold, path, opened)
                except Exception as error:
                    tally.lose(type(error).__name__, f"{tally.place}: {error!r}")
                del opened[:]
