"""What the reliability tests do to a database, and what it must hold afterwards.

A workload is a list of steps made from a seed. A `History` runs them and knows the state after each commit, which
commits were begun and which were acknowledged; `look` reads a whole database, checks it, and says what it holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from modelvault import AsyncDatabase, Database, DuplicateKeyError, _checkpoints, _engine, models
from tests.faults import Medium, SimulatedDisk, SimulatedFile
from tests.worlds import gather

PATH = "/simulated/db.modelvault"
PAGE_SIZE = 4096
PROBE = 10**9
IDLE = 0.002  # seconds


class Row(BaseModel):
    """A row with every sort of index, and a text that is sometimes longer than a page."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "rows"
    __modelvault_indexes__ = (models.unique("email"), models.index("batch"), models.index("tags"))
    id: int
    email: str
    batch: int
    tags: list[str]
    text: str


State = dict[int, Row]
Change = tuple[str, Any]  # ("put", row) or ("delete", key)


@dataclass
class Step:
    """A commit (its changes), several at once ("group": one for each change), or something else."""

    kind: str
    changes: list[Change] = field(default_factory=list)


def plan(seed: int, length: int, large: bool = True, steady: bool = False) -> list[Step]:
    """A workload: single writes, transactions, groups, checkpoints, failures, reopening.

    large: now and then with values of several pages. steady: neither reopened nor told to make a checkpoint.
    """
    draw = random.Random(seed)
    alive: list[int] = []
    steps = []
    for number in range(length):
        kind = draw.choice(
            ["insert", "insert", "insert", "update", "delete", "transaction", "transaction", "many", "group", "group"]
            + ["rollback", "refused", "checkpoint", "reopen", "idle"]
        )
        if steady and kind in ("checkpoint", "reopen"):
            kind = "insert"
        step = Step(kind)
        if kind in ("insert", "many", "group", "transaction", "rollback"):
            for place in range({"insert": 1, "group": 6}.get(kind, draw.randrange(2, 9))):
                step.changes.append(("put", row(draw, number * 100 + place, number, large)))
        if kind in ("transaction", "rollback", "delete", "group") and len(alive) > 3:
            gone = draw.sample(alive, 1 if kind == "delete" else 2)
            step.changes += [("delete", key) for key in gone]
        if kind in ("update", "transaction") and alive:
            kept = [key for key in alive if ("delete", key) not in step.changes]
            if kept:
                step.changes.append(("put", row(draw, draw.choice(kept), number, large)))
        if kind not in ("rollback", "refused"):
            for what, change in step.changes:
                if what == "delete":
                    alive.remove(change)
                elif change.id not in alive:
                    alive.append(change.id)
        if step.changes or kind in ("checkpoint", "reopen", "refused", "idle"):
            steps.append(step)
    return steps


def churn(seed: int, length: int) -> list[Step]:
    """A workload that uses the same pages again and again: a few rows replaced in turn; checkpoints, compactions."""
    draw = random.Random(seed)
    steps = []
    for number in range(length):
        if number % 3 == 2:
            steps.append(Step(draw.choice(["checkpoint", "checkpoint", "checkpoint", "compact", "reopen"])))
        else:
            keys = draw.sample(range(14), draw.randrange(1, 5))
            puts = [("put", row(draw, key, number, large=key < 2)) for key in keys]
            steps.append(Step("transaction" if number % 2 else "many", puts))
    return steps


def row(draw: random.Random, key: int, batch: int, large: bool) -> Row:
    """A row with these numbers; the rest is drawn."""
    size = draw.choice([0, 20, 20, 20, 200, 200, 900, 9000 if large else 300])
    text = chr(97 + batch % 26) * size
    return Row(id=key, email=f"{key}-{batch}@example.com", batch=batch, tags=[f"t{key % 3}", f"u{batch}"], text=text)


class Undo(Exception):
    """What a transaction is left with to roll it back."""


class History:
    """Runs a workload: states[i] is what commit i left, of which `acknowledged` is the newest that returned."""

    def __init__(self, medium: Callable[[], Medium | None] = lambda: None, **options: Any) -> None:
        """medium: where to note what was begun and acknowledged; options: of `AsyncDatabase.open`."""
        self.states: list[State] = [{}]
        self.acknowledged = 0
        self.medium = medium
        self.options = {"page_size": PAGE_SIZE, **options}
        self.db: AsyncDatabase | None = None

    async def run(self, steps: list[Step], path: str = PATH) -> None:
        """All steps, each in its turn; ends with what one of them raises."""
        self.db = await AsyncDatabase.open(path, **self.options)
        for step in steps:
            if step.kind == "reopen":
                db, self.db = self.db, None
                await db.close()
                self.db = await AsyncDatabase.open(path, **self.options)
            else:
                await self.step(self.db, step)

    async def step(self, db: AsyncDatabase, step: Step) -> None:
        """One step that is not `reopen`."""
        rows = db.collection(Row)
        if step.kind == "checkpoint":
            await db.checkpoint()
        elif step.kind == "compact":
            await db.compact()
        elif step.kind == "idle":
            await anyio.sleep(4 * IDLE)
        elif step.kind == "refused":
            await self.refused(rows)
        elif step.kind == "rollback":
            await self.rolled_back(db, step)
        elif step.kind == "group":
            await self.group(rows, step.changes)
        else:
            number = self.begin(step.changes)
            if step.kind == "transaction":
                async with db.transaction() as tx:
                    for change in step.changes:
                        await apply(tx.collection(Row), change)
            elif step.kind == "many":
                await rows.insert_many([change for _, change in step.changes])
            else:
                await apply(rows, step.changes[0])
            self.acknowledge(number)

    def begin(self, changes: list[Change]) -> int:
        """A commit with these changes is handed over: its number."""
        state = dict(self.states[-1])
        for what, change in changes:
            if what == "put":
                state[change.id] = change
            else:
                state.pop(change, None)
        self.states.append(state)
        self.note(("begun", len(self.states) - 1))
        return len(self.states) - 1

    def acknowledge(self, number: int) -> None:
        """The commit with this number returned."""
        self.acknowledged = max(self.acknowledged, number)
        self.note(("acknowledged", number))

    def note(self, what: tuple[str, int]) -> None:
        medium = self.medium()
        if medium is not None:
            medium.mark(what)

    async def group(self, rows: Any, changes: list[Change]) -> None:
        """Several commits at the same time, queued in order; raises what one of them raises."""
        first = len(self.states)
        numbers = [self.begin([change]) for change in changes]

        async def member(number: int) -> None:
            await apply(rows, changes[number - first])
            self.acknowledge(number)

        results = await gather(*(partial(member, number) for number in numbers))
        good = [change for change, result in zip(changes, results, strict=True) if result is None]
        errors = [result for result in results if result is not None]
        if errors:
            if results[-1] is None:  # the commits behind a full disk's victims
                self.acknowledge(self.begin_again(first, good))
            raise errors[0]

    def begin_again(self, first: int, changes: list[Change]) -> int:
        """Only these of the changes from commit `first` on were made: the number of the last of them."""
        del self.states[first:]
        self.acknowledged = min(self.acknowledged, first - 1)
        for change in changes:
            self.begin([change])
        return len(self.states) - 1

    async def refused(self, rows: Any) -> None:
        """A statement that fails: another row has its unique value."""
        taken = next(iter(self.states[-1].values()), None)
        if taken is None:
            return
        with pytest.raises(DuplicateKeyError):
            await rows.insert(taken.model_copy(update={"id": PROBE + 1}))

    async def rolled_back(self, db: AsyncDatabase, step: Step) -> None:
        """A transaction that is given up."""
        try:
            async with db.transaction() as tx:
                for change in step.changes:
                    await apply(tx.collection(Row), change)
                raise Undo
        except Undo:
            pass


async def apply(rows: Any, change: Change) -> None:
    """Put or delete."""
    what, value = change
    await (rows.insert(value) if what == "put" else rows.delete(value))


def look(path: str = PATH, **options: Any) -> State:
    """Everything in the database, which is checked: pages, free space, rows against indexes."""
    with Database.open(path, **options) as db:
        return rows_of(db)


def rows_of(db: Database) -> State:
    """Everything in an open database, which is checked."""
    if "rows" not in db.collection_names():
        db.verify()
        return {}
    rows = db.collection(Row)
    state = {row.id: row for row in rows.all()}
    db.verify()
    assert rows.count() == len(state)
    return state


def look_twice(path: str = PATH, **options: Any) -> State:
    """What the database holds; that one commit more works, and is there when it is opened again."""
    with Database.open(path, **options) as db:
        found = rows_of(db)
        probe = row(random.Random(1), PROBE, 1, large=True)
        db.collection(Row).insert(probe)
    after = look(path, **options)
    assert after == found | {PROBE: probe}, "the next commit, or what was there before it, is lost"
    return found


class Prompt:
    """In place of the keeper: what is due is done at once, what is due later never."""

    def call(self, job: Callable[[], object], delay: float = 0.0) -> None:
        if not delay:
            job()

    def end(self) -> None:
        return None


class Lazy(Prompt):
    """In place of the keeper: nothing is ever done, so that who needs it done has to do it. The log does not grow."""

    def call(self, job: Callable[[], object], delay: float = 0.0) -> None:
        return None


class Installed:
    """`with Installed() as disk`: databases are opened on a simulated disk, through files of this kind.

    Logs begin with two pages and grow to eight, so that they fill up and go round in a short workload; a moment without
    a commit is enough for a checkpoint. keeper: what stands in for the thread that works in the background.
    """

    def __init__(self, kind: type[SimulatedFile] = SimulatedFile, keeper: type[Prompt] | None = None) -> None:
        self.disk = SimulatedDisk(kind)
        self.keeper = keeper
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> SimulatedDisk:
        self.patch.setattr(_engine, "DiskFile", self.disk)
        for name, value in {
            "FIRST_LOG": 2 * PAGE_SIZE,
            "SMALL_LOG": 8 * PAGE_SIZE,
            "IDLE": IDLE,
            "WINDOW": IDLE,
            **({"Keeper": self.keeper} if self.keeper else {}),
            **({"SMALL_LOG": 2 * PAGE_SIZE, "LOG_SHARE": 10**6} if self.keeper is Lazy else {}),
        }.items():
            self.patch.setattr(_checkpoints, name, value)
        return self.disk

    def __exit__(self, *_: object) -> None:
        self.patch.undo()
