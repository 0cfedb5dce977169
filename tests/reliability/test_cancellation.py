"""Cancelled at the k-th await, for every k: the short form, and what opens and closes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cancelling import Attempt, everywhere
from tests.faults import FaultyDisk
from tests.models import User, user
from tests.reliability.cancellations import BEFORE, CELL, OPERATIONS, WAYS, cancel, fill, state
from tests.worlds import World, bare


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two rows in each cell."""
    path = tmp_path_factory.mktemp("cells") / "db"
    fill(path)
    return path


@pytest.fixture(params=WAYS, ids=[f"{loop}-{'task' if native else 'scope'}" for loop, native in WAYS])
def way(request: pytest.FixtureRequest) -> tuple[str, bool]:
    found: tuple[str, bool] = request.param
    return found


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_cancelled_at_every_await(
    name: str, cold: bool, way: tuple[str, bool], filled: Path, tmp_path: Path, disks: list[FaultyDisk]
) -> None:
    path = tmp_path / "db"
    shutil.copyfile(filled, path)
    tried = cancel(name, World(way[0], tmp_path), way[1], cold, path, disks)
    assert tried > 1 or (name == "reads" and not cold), "it was cancelled at least once"


def test_cancelled_while_it_closes_or_opens(way: tuple[str, bool], filled: Path, tmp_path: Path) -> None:
    loop, native = way
    path = tmp_path / "db"
    shutil.copyfile(filled, path)

    async def main() -> None:
        handles: list[Any] = []

        async def open_and_write() -> None:
            db = await world.open(path)
            handles.append(db)
            await db.collection(User).insert(user(7, age=7))

        async for _ in everywhere(open_and_write, native):
            while handles:
                await handles.pop().close()
            async with world.open(path):
                pass  # nobody holds it any more

        async def close() -> None:
            db = handles[-1]
            transaction = db.transaction()
            await transaction.__aenter__()
            await db.collection(User).insert(user(8))
            await db.close()

        for at in range(1, 100):
            handles.append(await world.open(path))
            made = Attempt(close(), at)
            await made.run(native)
            await handles.pop().close()
            async with world.open(path) as db:
                users = await db.collection(User)
                assert await users.get(8) is None and await users.get(7) is not None
            if made.suspensions < at:
                return
        raise AssertionError

    world = World(loop, tmp_path)
    world.run(main)


@pytest.mark.parametrize("name", ["insert", "transaction", "insert_very_many", "upsert"])
def test_cancelled_at_every_await_in_memory(name: str, way: tuple[str, bool], tmp_path: Path) -> None:
    loop, native = way
    tried = OPERATIONS[name]

    async def main() -> None:
        async with world.open() as db:
            users = await db.collection(User)
            cell = -CELL

            async def attempt() -> None:
                nonlocal cell
                cell += CELL
                await users.insert_many(user(cell + number, age=0) for number in BEFORE)
                await tried.run(db, users, cell)

            async for made in everywhere(attempt, native):
                outcome = await state(users, cell)
                assert outcome in [*tried.states, {}]
                assert made.cancelled or outcome == tried.states[-1]
                await users.insert(user(-2, age=cell))
                assert bare(db)._access.unit is None and bare(db)._access.engine.pins == 0

    world = World(loop, None)
    world.run(main)
