"""Processes to be killed: they write to a database and say on stdout what was acknowledged.

`python -m tests.reliability.writer_process` reads a line `PATH SEED MODE` for each writer, which is a fork of it. The
writer says `pid N`, then a line `WORKER BATCH` for each commit that returned; after its end the server says `end`.

What a commit does follows from the seed, the worker and the number of the batch, so that a reader knows exactly what
must be there after n of them.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any, Literal

from modelvault import Database
from tests.reliability.workload import Change, Row, State

SPACE = 10**7  # keys of one worker


@dataclass(frozen=True)
class Mode:
    """How writers write: `workers` threads, `size` rows a commit (one is without a transaction)."""

    workers: int = 1
    size: int = 1
    checkpoints: bool = False
    durability: Literal["full", "relaxed"] = "full"


MODES = {
    "inserts": Mode(),
    "transactions": Mode(size=5),
    "threads": Mode(workers=4),
    "checkpoints": Mode(workers=2, size=3, checkpoints=True),
    "relaxed": Mode(workers=2, size=2, durability="relaxed"),
}


def changes(seed: int, worker: int, batch: int, size: int) -> list[Change]:
    """What commit number `batch` of a worker does; with a size of 1 it is one insert, or one update, or one delete."""
    draw = random.Random(f"{seed} {worker} {batch}")
    found: list[Change] = []
    for place in range(size):
        what = draw.random()
        key = worker * SPACE + (batch * 10 + place if what < 0.6 else draw.randrange(batch * 10 + 1))
        text = chr(97 + batch % 26) * draw.choice([0, 10, 10, 40, 40, 300, 9000 if batch % 30 == 0 else 20])
        new = Row(id=key, email=f"{key}-{batch}", batch=batch, tags=[f"w{worker}", f"t{key % 7}"], text=text)
        found.append(("delete", key) if what > 0.85 else ("put", new))
    return found


def follow(state: State, found: list[Change]) -> State:
    """The state after a commit."""
    state = dict(state)
    for what, value in found:
        if what == "put":
            state[value.id] = value
        else:
            state.pop(value, None)
    return state


def work(db: Database, seed: int, worker: int, mode: Mode, batch: int) -> None:
    """Commit after commit, for ever."""
    rows = db.collection(Row)
    while True:
        batch += 1
        found = changes(seed, worker, batch, mode.size)
        if mode.size == 1:
            commit(rows, found)
        else:
            with db.transaction():
                commit(rows, found)
        os.write(1, f"{worker} {batch}\n".encode())


def commit(rows: Any, found: list[Change]) -> None:
    for what, value in found:
        if what == "put":
            rows.insert(value)
        else:
            rows.delete(value)


def write(path: str, seed: int, mode: Mode, done: list[int]) -> None:
    """A writer: goes on after so many commits of each worker."""
    db = Database.open(path, durability=mode.durability)
    workers = [
        threading.Thread(target=careful, args=(work, db, seed, worker, mode, done[worker]))
        for worker in range(mode.workers)
    ]
    if mode.checkpoints:
        workers.append(threading.Thread(target=careful, args=(checkpoints, db)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def checkpoints(db: Any) -> None:
    """One checkpoint after the other."""
    while True:
        db.checkpoint()


def careful(function: Any, *arguments: Any) -> None:
    """A thread of a writer: an error ends the process, and is told."""
    try:
        function(*arguments)
    except BaseException:
        os.write(1, ("error " + traceback.format_exc().replace("\n", " | ") + "\n").encode())
        os._exit(1)


def main() -> None:
    """The server."""
    for line in sys.stdin:
        path, seed, mode, *done = line.split()
        child = os.fork()
        if child == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            careful(write, path, int(seed), MODES[mode], [int(number) for number in done])
        os.waitpid(child, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    main()
