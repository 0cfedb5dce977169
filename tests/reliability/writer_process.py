"""Processes to be killed: they write to a database and say on stdout what was acknowledged.

`python -m tests.reliability.writer_process` reads a line `PATH SEED MODE BATCH ...`, with tabs, for each writer, which
is a fork of it. The writer says `pid N`, then a line `WORKER BATCH` for each commit that returned, and a line with the
name and a number for each thing that it did besides; after its end the server says `end`.

What a commit does follows from the seed, the worker and the number of the batch, so that a reader knows exactly what
must be there after n of them. For one thing more that goes on besides: a function in `BESIDES`, a mode in `MODES` and,
if it leaves something to look at, a function in `CHECKS`.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from modelvault import Database, models
from tests.reliability.workload import Change, Row, State

SPACE = 10**7  # keys of one worker


@dataclass(frozen=True)
class Mode:
    """How writers write: `workers` threads, `size` rows a commit (one is without a transaction; many are all new).

    besides: what else goes on, by its name in BESIDES.
    """

    workers: int = 1
    size: int = 1
    besides: str = ""
    durability: Literal["full", "relaxed"] = "full"
    cache_size: int = 1 << 26


MODES = {
    "inserts": Mode(),
    "transactions": Mode(size=5),
    "threads": Mode(workers=4),
    "checkpoints": Mode(workers=2, size=3, besides="checkpoint"),
    "relaxed": Mode(workers=2, size=2, durability="relaxed"),
    "bulk load": Mode(size=1500, cache_size=1 << 19),
    "schema changes": Mode(size=2, besides="schema"),
    "compaction": Mode(workers=2, size=3, besides="compact"),
    "export and restore": Mode(size=2, besides="copy"),
}
MANY = 100  # rows in a commit from which on it is one insert_many


# What goes on besides

Besides = Callable[[Any], Iterator[int]]
"""Does something again and again, and yields a number after each that the next one's is not less than."""


def checkpoint(db: Any) -> Iterator[int]:
    """One checkpoint after the other."""
    while True:
        db.checkpoint()
        yield 0


SHAPES = 300


class ShapeNumber(BaseModel):
    """A collection whose rows are all written anew with each change of its schema: numbers become texts, ..."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "shapes"
    __modelvault_indexes__ = (models.index("value"),)
    id: int
    value: int


class ShapeText(BaseModel):
    """... and texts become numbers."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "shapes"
    __modelvault_indexes__ = (models.index("value"),)
    id: int
    value: str


def schema(db: Any) -> Iterator[int]:
    """One change of a schema after the other; the version after each."""
    if "shapes" not in db.collection_names():
        with db.transaction():
            db.collection(ShapeNumber).insert_many(ShapeNumber(id=key, value=key * 3) for key in range(SHAPES))
    while True:
        version = shape_version(db) + 1
        cls, make = (ShapeText, str) if version % 2 == 0 else (ShapeNumber, int)

        def upgrade(row: dict[str, Any], make: Any = make) -> dict[str, Any]:
            return row | {"value": make(row["value"])}

        yield models.apply(db, cls, upgrade={version: upgrade}, chunk=SHAPES // 4)


def shape_version(db: Any) -> int:
    """The schema's version, odd for numbers."""
    version: int = db.__catalog__.find("shapes", None).version
    return version


def check_schema(db: Any, acknowledged: int) -> int:
    """All rows are there in the form of the version, which is the last one acknowledged or the next; the version."""
    if "shapes" not in db.collection_names():
        assert acknowledged == 0
        return 0
    version = shape_version(db)
    last = max(acknowledged, 1)
    assert version in (last, last + 1), f"version {version}, {acknowledged} was acknowledged"
    rows = db.collection("shapes").all()
    assert [row["id"] for row in rows] == list(range(SHAPES))
    make: Any = str if version % 2 == 0 else int
    assert all(row["value"] == make(row["id"] * 3) for row in rows)
    assert db.collection("shapes").where("value", make(3)).count() == 1
    return version


def compact(db: Any) -> Iterator[int]:
    """One compaction after the other."""
    while True:
        db.compact()
        yield 0


def copy(db: Any) -> Iterator[int]:
    """A copy of the database, which then takes the place of another file; again and again."""
    while True:
        db.export_snapshot(f"{db.path()}.copy")
        Database.restore_snapshot(f"{db.path()}.copy", f"{db.path()}.restored")
        yield 1


def check_copy(db: Any, acknowledged: int) -> int:
    """The copies are whole, or not there; whether they are there, which never ends."""
    for path in (f"{db.path()}.copy", f"{db.path()}.restored"):
        if os.path.exists(path):
            with Database.open(path, recovery="strict") as other:
                other.verify()
        else:
            assert not acknowledged, f"{path} is gone"
    return acknowledged


BESIDES: dict[str, Besides] = {"checkpoint": checkpoint, "schema": schema, "compact": compact, "copy": copy}
CHECKS: dict[str, Callable[[Any, int], int]] = {"schema": check_schema, "copy": check_copy}


# Writing


def changes(seed: int, worker: int, batch: int, size: int) -> list[Change]:
    """What commit number `batch` of a worker does; with a size of 1 it is one insert, or one update, or one delete."""
    draw = random.Random(f"{seed} {worker} {batch}")
    found: list[Change] = []
    for place in range(size):
        what = 0.0 if size >= MANY else draw.random()
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
    if len(found) >= MANY:
        rows.insert_many(value for _, value in found)
        return
    for what, value in found:
        if what == "put":
            rows.insert(value)
        else:
            rows.delete(value)


def write(path: str, seed: int, mode: Mode, done: list[int]) -> None:
    """A writer: goes on after so many commits of each worker."""
    db = Database.open(path, durability=mode.durability, cache_size=mode.cache_size)
    workers = [
        threading.Thread(target=careful, args=(work, db, seed, worker, mode, done[worker]))
        for worker in range(mode.workers)
    ]
    if mode.besides:
        workers.append(threading.Thread(target=careful, args=(beside, db, mode.besides)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def beside(db: Any, name: str) -> None:
    """Do it, and say so."""
    for number in BESIDES[name](db):
        os.write(1, f"{name} {number}\n".encode())


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
        path, seed, mode, *done = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            careful(write, path, int(seed), MODES[mode], [int(number) for number in done])
        os.waitpid(child, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    main()
