"""Concurrent histories: tasks, threads, loops in threads, and reader processes beside a writer, and what they saw.

Each function runs clients on one database and gives their history to the checker in isolation.py.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from typing import Any

import anyio
import anyio.lowlevel

from modelvault import AsyncDatabase, Database, models
from tests.reliability.isolation import KEYS, Anomaly, Chain, Client, Lists, Record, check
from tests.reliability.tally import Tally
from tests.worlds import World, dress

READER = Path(__file__).with_name("reader_process.py")
ROOT = Path(__file__).parents[2]


def judge(clients: list[Client], final: Lists, extra: list[Record] | None = None) -> int:
    """Check what the clients saw; how many transactions took effect. Anomaly if they are not serializable."""
    history = [record for client in clients for record in client.history] + (extra or [])
    return check(history, final)


async def lists(db: Any) -> Lists:
    return {row.id: row.items for row in await db.collection(Chain).all()}


async def nothing() -> None:
    return None


def tasks(world: World, seed: int, steps: int) -> int:
    """Tasks on one loop, some of which are cancelled; how many transactions took effect."""
    clients = [Client(number, seed, anyio.lowlevel.checkpoint, number % 2 == 0) for number in range(6)]
    finals: list[Lists] = []

    async def main() -> None:
        async with world.open() as db:
            await db.collection(Chain)
            async with anyio.create_task_group() as group:
                for client in clients:
                    group.start_soon(client.run, db, steps)
            finals.append(await lists(db))
        if world.place is not None:
            async with world.open() as db:
                finals.append(await lists(db))

    world.run(main)
    if finals[-1] != finals[0]:
        raise Anomaly("another state after reopening")
    return judge(clients, finals[0])


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


def open_threads(place: Path | None) -> Database:
    return Database.open_in_memory() if place is None else Database.open(place / "db")


def threads(place: Path | None, seed: int, steps: int) -> int:
    """Threads that use the blocking interface."""
    world = World("blocking", place)
    clients = [Client(number, seed, nothing) for number in range(6)]
    with open_threads(place) as db:
        models.collection(db, Chain)
        in_threads(*(lambda c=client: world.run(lambda: c.run(dress(db), steps)) for client in clients))  # type: ignore[misc]
        return judge(clients, {row.id: row.items for row in db.collection(Chain).all()})


def loops_in_threads(place: Path | None, seed: int, steps: int) -> int:
    """Three event loops, each in a thread, on one handle."""
    worlds = [World(name, place) for name in ("asyncio", "trio", "uvloop")]
    clients = [Client(number, seed, anyio.lowlevel.checkpoint, number % 2 == 0) for number in range(6)]

    async def opened() -> AsyncDatabase:
        db = await (AsyncDatabase.open_in_memory() if place is None else AsyncDatabase.open(place / "db"))
        await db.collection(Chain)
        return db

    async def work(some: list[Client]) -> None:
        async with anyio.create_task_group() as group:
            for client in some:
                group.start_soon(client.run, db, steps)

    db = anyio.run(opened)
    try:
        in_threads(
            *(
                lambda world=world, some=clients[number::3]: world.run(lambda: work(some))  # type: ignore[misc]
                for number, world in enumerate(worlds)
            )
        )
        return judge(clients, anyio.run(lists, db))
    finally:
        anyio.run(db.close)


class Reader:
    """A reader process; leaving it ends it in any case."""

    def __init__(self, path: Path, seed: int) -> None:
        self._output = path.with_name(f"reader{seed}")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        with self._output.open("wb") as output:
            command = [sys.executable, str(READER), str(path), str(seed)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment)

    def __enter__(self) -> Reader:
        while not self._output.stat().st_size and self.process.poll() is None:
            sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def stop(self, code: int = 0) -> None:
        """Let it end; it must not have before."""
        assert self.process.poll() is None, "a reader died"
        if code:
            self.process.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait() == code

    def history(self) -> list[Record]:
        """What it saw; if it was killed, up to the last whole line."""
        found = []
        for line in self._output.read_text().split("\n")[1:-1]:
            begin, end, reads = json.loads(line)
            there = {int(key): items for key, items in reads.items()}
            found.append(Record(begin, end, {key: [] for key in range(KEYS)} | there, [], "committed"))
        return found


def reader_processes(world: World, seed: int, steps: int) -> tuple[int, list[int]]:
    """Three processes that read beside a writer, one of which is killed; what took effect, and what each read."""
    pause = nothing if world.blocking else anyio.lowlevel.checkpoint
    clients = [Client(number, seed, pause) for number in range(4)]
    final: Lists = {}
    with ExitStack() as stack:
        readers: list[Reader] = []

        async def main() -> None:
            async with world.open() as db:
                await db.collection(Chain)
                path = Path(str(world.path))
                readers.extend(stack.enter_context(Reader(path, seed + number)) for number in range(3))
                if world.blocking:
                    for client in clients:
                        await client.run(db, steps // 2, 0.8)
                else:
                    async with anyio.create_task_group() as group:
                        for client in clients:
                            group.start_soon(client.run, db, steps // 2, 0.8)
                readers[0].stop(-signal.SIGKILL)
                await clients[0].run(db, steps // 2, 1.0)
                for reader in readers[1:]:
                    reader.stop()
                final.update(await lists(db))

        world.run(main)
        seen = [reader.history() for reader in readers]
    effective = judge(clients, final, [record for history in seen for record in history])
    return effective, [len(history) for history in seen]


def run(tally: Tally, seed: int, steps: int = 150) -> None:
    """Histories of every sort, on a disk and in memory, from one seed after the other until the time is up."""
    effective = 0
    for number in itertools.count(seed):
        for name, history in SORTS.items():
            if tally.over:
                return
            with tempfile.TemporaryDirectory() as folder:
                tally.place = f"{name}, seed {number}, {steps} steps"
                try:
                    effective += history(Path(folder) if number % 4 else None, number, steps)
                except Exception as error:
                    tally.lose(f"{name}: {type(error).__name__}", f"{tally.place}: {error!s:.1500}")
                tally.tried += 1
                tally.detail = f"histories of {len(SORTS)} sorts, {effective:,} transactions that took effect"


SORTS: dict[str, Callable[[Path | None, int, int], int]] = {
    "asyncio": lambda place, seed, steps: tasks(World("asyncio", place), seed, steps),
    "uvloop": lambda place, seed, steps: tasks(World("uvloop", place), seed, steps),
    "trio": lambda place, seed, steps: tasks(World("trio", place), seed, steps),
    "threads": threads,
    "loops in threads": loops_in_threads,
    "reader processes": lambda place, seed, steps: (
        0 if place is None else reader_processes(World("asyncio", place), seed, steps)[0]
    ),
}
