"""Serializable in the order of real time, whoever asks: tasks, threads, loops in threads, and other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from modelvault import AsyncDatabase, Database, models
from tests.reliability.isolation import KEYS, Anomaly, Chain, Client, Lists, Record, check
from tests.worlds import World, dress

SEED = int(os.environ.get("MODELVAULT_SEED", "20261124"))
STEPS = int(os.environ.get("MODELVAULT_STEPS", "60"))  # transactions of each client
READER = Path(__file__).with_name("reader_process.py")


def judge(clients: list[Client], final: Lists, extra: list[Record] | None = None) -> None:
    """Check what the clients saw."""
    history = [record for client in clients for record in client.history] + (extra or [])
    try:
        effective = check(history, final)
    except Anomaly as anomaly:
        raise AssertionError(f"MODELVAULT_SEED={SEED} MODELVAULT_STEPS={STEPS}: {anomaly}") from None
    assert effective >= STEPS / 4, "too little happened"


async def lists(db: Any) -> Lists:
    return {row.id: row.items for row in await db.collection(Chain).all()}


async def nothing() -> None:
    return None


# The checker finds what it is there for

T = Record


@pytest.mark.parametrize(
    ("history", "final"),
    [
        pytest.param([T(0, 1, {}, [(1, 5)], "committed")], {1: []}, id="lost"),
        pytest.param([T(0, 1, {}, [(1, 5)], "aborted")], {1: [5]}, id="aborted but there"),
        pytest.param([T(0, 1, {}, [(1, 5), (2, 6)])], {1: [5]}, id="in part"),
        pytest.param([], {1: [5]}, id="from nowhere"),
        pytest.param([T(0, 1, {}, [(1, 5)], "committed")], {1: [5, 5]}, id="twice"),
        pytest.param(
            [T(0, 1, {}, [(1, 5)], "aborted"), T(0, 1, {1: [5]}, [], "committed")], {1: []}, id="aborted read"
        ),
        pytest.param(
            [T(0, 9, {}, [(1, 5), (1, 6)], "committed"), T(0, 9, {1: [5]}, [], "committed")],
            {1: [5, 6]},
            id="intermediate read",
        ),
        pytest.param(
            [T(0, 1, {}, [(1, 5)], "committed"), T(2, 3, {1: []}, [], "committed")], {1: [5]}, id="stale read"
        ),
        pytest.param(
            [T(0, 9, {}, [(1, 5), (2, 6)], "committed"), T(0, 9, {1: [5], 2: []}, [], "committed")],
            {1: [5], 2: [6]},
            id="no snapshot",
        ),
        pytest.param(
            [T(0, 9, {1: []}, [(1, 5)], "committed"), T(0, 9, {1: []}, [(1, 6)], "committed")],
            {1: [5, 6]},
            id="lost update",
        ),
        pytest.param(
            [T(0, 9, {1: []}, [(2, 5)], "committed"), T(0, 9, {2: []}, [(1, 6)], "committed")],
            {1: [6], 2: [5]},
            id="write skew",
        ),
        pytest.param(
            [
                T(0, 9, {}, [(1, 5)], "committed"),
                T(0, 9, {}, [(2, 6)], "committed"),
                T(0, 9, {1: [5], 2: []}, [], "committed"),
                T(0, 9, {1: [], 2: [6]}, [], "committed"),
            ],
            {1: [5], 2: [6]},
            id="two orders",
        ),
    ],
)
def test_the_checker_finds(history: list[Record], final: Lists) -> None:
    with pytest.raises(Anomaly):
        check(history, final)


def test_the_checker_accepts_what_is_right() -> None:
    history = [
        T(0, 1, {1: []}, [(1, 5), (1, 6)], "committed"),
        T(0, 4, {1: []}, [], "committed"),
        T(2, 9, {1: [5, 6]}, [(1, 7)]),
        T(3, 5, {1: [5, 6, 7]}, [], "committed"),
        T(3, 5, {1: [5]}, [(1, 8)], "aborted"),
        T(3, 5, {}, [(1, 9)]),
    ]
    assert check(history, {1: [5, 6, 7]}) == 2


# The database


async def test_tasks(loop_world: World) -> None:
    clients = [Client(number, SEED, anyio.lowlevel.checkpoint, number % 2 == 0) for number in range(6)]
    async with loop_world.open() as db:
        await db.collection(Chain)
        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(client.run, db, STEPS)
        final = await lists(db)
    judge(clients, final)
    if loop_world.place is not None:
        async with loop_world.open() as db:
            assert await lists(db) == final


def in_threads(*calls: Callable[[], Any]) -> None:
    """Run all at the same time."""
    errors: list[BaseException] = []

    def run(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads(place: Path | None) -> None:
    world = World("blocking", place)
    clients = [Client(number, SEED, nothing) for number in range(6)]
    with Database.open_in_memory() if place is None else Database.open(place / "db") as db:
        models.collection(db, Chain)
        in_threads(*(lambda c=client: world.run(lambda: c.run(dress(db), STEPS)) for client in clients))  # type: ignore[misc]
        judge(clients, {row.id: row.items for row in db.collection(Chain).all()})


def test_loops_in_threads(place: Path | None) -> None:
    worlds = [World(name, place) for name in ("asyncio", "trio", "uvloop")]
    clients = [Client(number, SEED, anyio.lowlevel.checkpoint, number % 2 == 0) for number in range(6)]

    async def opened() -> AsyncDatabase:
        db = await (AsyncDatabase.open_in_memory() if place is None else AsyncDatabase.open(place / "db"))
        await db.collection(Chain)
        return db

    db = anyio.run(opened)

    async def work(some: list[Client]) -> None:
        async with anyio.create_task_group() as group:
            for client in some:
                group.start_soon(client.run, db, STEPS)

    in_threads(
        *(
            lambda world=world, some=clients[number::3]: world.run(lambda: work(some))  # type: ignore[misc]
            for number, world in enumerate(worlds)
        )
    )
    judge(clients, anyio.run(lists, db))
    anyio.run(db.close)


class Reader:
    """A reader process."""

    def __init__(self, path: Path, number: int) -> None:
        self._output = path.with_name(f"reader{number}")
        with self._output.open("wb") as output:
            command = [sys.executable, str(READER), str(path), str(SEED + number)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output)
        while not self._output.stat().st_size:
            assert self.process.poll() is None
            sleep(0.01)

    def stop(self, code: int = 0) -> None:
        """Let it end; it must not have before."""
        assert self.process.poll() is None, "a reader died"
        if code:
            self.process.kill()
        self.close()
        assert self.process.returncode == code

    def close(self) -> None:
        """End it, if it has not ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def history(self) -> list[Record]:
        """What it saw; if it was killed, up to the last whole line."""
        found = []
        for line in self._output.read_text().split("\n")[1:-1]:
            begin, end, reads = json.loads(line)
            there = {int(key): items for key, items in reads.items()}
            found.append(Record(begin, end, {key: [] for key in range(KEYS)} | there, [], "committed"))
        return found


@pytest.mark.parametrize("name", ["asyncio", "blocking"])
def test_reader_processes_beside_a_writer(name: str, tmp_path: Path) -> None:
    world = World(name, tmp_path)
    clients = [Client(number, SEED, nothing if world.blocking else anyio.lowlevel.checkpoint) for number in range(4)]
    readers: list[Reader] = []
    final: Lists = {}

    async def main() -> None:
        async with world.open() as db:
            await db.collection(Chain)
            readers.extend(Reader(Path(str(world.path)), number) for number in range(3))
            if world.blocking:
                for client in clients:
                    await client.run(db, STEPS // 2, 0.8)
            else:
                async with anyio.create_task_group() as group:
                    for client in clients:
                        group.start_soon(client.run, db, STEPS // 2, 0.8)
            readers[0].stop(-signal.SIGKILL)
            await clients[0].run(db, STEPS // 2, 1.0)
            for reader in readers[1:]:
                reader.stop()
            final.update(await lists(db))

    try:
        world.run(main)
    finally:
        for reader in readers:
            reader.close()
    histories = [reader.history() for reader in readers]
    judge(clients, final, [record for history in histories for record in history])
    assert all(len(history) > 10 for history in histories)
