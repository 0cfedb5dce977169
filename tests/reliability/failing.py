"""A disk that fails: each I/O of a workload in turn, in every way, once or from then on.

After the failure the last acknowledged state can still be read. Who gets EIO in a commit is told so by every later
write until the database is opened again; a full disk only fails the statement. Opened again, after the process died or
after the power was cut too, every acknowledged commit is there, and at most the one under way.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio

from modelvault import AsyncDatabase
from modelvault.errors import ModelVaultError
from tests.faults import Faults, Medium, SimulatedDisk, SimulatedFile
from tests.reliability.power import crash
from tests.reliability.tally import Tally
from tests.reliability.workload import (
    PATH,
    PROBE,
    History,
    Installed,
    Lazy,
    Prompt,
    Row,
    State,
    Step,
    look_twice,
    plan,
    row,
)

CHANGING = frozenset({"write", "sync", "resize", "reserve"})
KINDS = {
    "EIO": CHANGING,
    "ENOSPC": frozenset({"write", "resize", "reserve"}),
    "short": frozenset({"write"}),
    "lost": frozenset({"sync"}),
    "phantom": frozenset({"sync"}),
    "read": frozenset({"read"}),
}


@dataclass
class Breaker:
    """Runs one workload again and again, and fails its n-th I/O."""

    tally: Tally
    disk: SimulatedDisk
    steps: list[Step]
    draw: random.Random
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    def fail(self, kind: str, at: int, lasting: bool) -> bool:
        """Whether an I/O was hit; judges what followed."""
        place = f"{kind} at {at}{' and after' if lasting else ''}, seed {self.seed}"
        self.tally.place = place
        self.disk.media.pop(PATH, None)
        faults = Faults(at, "EIO" if kind == "read" else kind, KINDS[kind], lasting)
        history = History(lambda: self.disk.media.get(PATH), **self.options)
        try:
            anyio.run(self.live, history, faults, kind, place)
        except Exception as error:
            self.tally.lose("wrong error", f"{place}: {error!r}")
        if faults.hit:
            self.tally.tried += 1
            self.reopen(history, place)
        return faults.hit

    async def live(self, history: History, faults: Faults, kind: str, place: str) -> None:
        """The workload until it fails, and the handle after that."""
        self.disk.hold(PATH, b"").faults = faults
        error = None
        try:
            await history.run(self.steps)
        except OSError as caught:
            error = caught
        medium, db = self.disk.media[PATH], history.db
        if db is None:
            faults.at = 0
            return
        if error is not None:
            wanted = errno.ENOSPC if kind == "ENOSPC" else errno.EIO
            if error.errno != wanted or error.filename != PATH:
                self.tally.lose("errno or file name missing", f"{place}: {error!r}")
        try:
            if error is not None:
                await self.after(history, db, medium, kind, place)
        finally:
            medium.faults.at = 0
            try:
                await db.close()
            except OSError:
                pass

    async def after(self, history: History, db: AsyncDatabase, medium: Medium, kind: str, place: str) -> None:
        """What a handle does after a failure."""
        if kind != "read":
            self.judge(await read(db), history, place, "reads after the failure")
        else:
            medium.faults.at = 0
        refused = await refusal(db)
        poisoned = refused is not None and "reopen" in str(refused)
        if kind == "ENOSPC":
            medium.faults.at = 0
            refused = await refusal(db)
            if refused is not None:
                self.tally.lose("handle unusable after ENOSPC", f"{place}: {refused!r}")
        elif kind == "read":
            if refused is not None and not poisoned:
                self.tally.lose("wrong error", f"{place}: {refused!r}")
        elif not poisoned:
            self.tally.lose("not poisoned", f"{place}: {refused!r}")

    def judge(self, found: State, history: History, place: str, what: str) -> None:
        """All acknowledged commits, and not more than was begun."""
        found.pop(PROBE, None)
        if found not in history.states[history.acknowledged :]:
            self.tally.lose(what, f"{place}: commit {history.acknowledged} of {len(history.states) - 1}")

    def reopen(self, history: History, place: str) -> None:
        """Open again: the file as the process left it, and as a power cut may leave it."""
        medium = self.disk.media[PATH]
        killed, cuts = bytes(medium.content), [crash(medium, self.draw), medium.log.last_window().base]
        for content in (killed, *cuts):
            relaxed = self.options.get("durability") == "relaxed"
            if relaxed and (content is not killed or place.startswith(("lost", "phantom"))):
                history.acknowledged = 0  # what was not synced yet may be gone, in its order
            self.disk.hold(PATH, content)
            try:
                found = look_twice(**self.options)
            except (ModelVaultError, OSError, AssertionError) as error:
                self.tally.lose("does not open", f"{place}: {error!r}")
            else:
                self.judge(found, history, place, "after reopening")


async def read(db: AsyncDatabase) -> State:
    """All rows through an open handle."""
    if "rows" not in db.collection_names():
        return {}
    return {found.id: found for found in await db.collection(Row).all()}


async def refusal(db: AsyncDatabase) -> OSError | None:
    """Write one row; what that raises, if it does."""
    try:
        await db.collection(Row).insert(row(random.Random(1), PROBE, 1, large=False))
    except OSError as error:
        return error
    return None


def run(
    tally: Tally,
    seed: int,
    length: int = 30,
    stride: int = 1,
    kinds: Iterable[str] = tuple(KINDS),
    file_type: type[SimulatedFile] = SimulatedFile,
    workloads: int = 10**9,
    **options: Any,
) -> None:
    """Fail each I/O (each `stride`-th) of one workload after the other, until the time is up or so many are done."""
    counts = dict.fromkeys(kinds, 0)
    first = seed
    while not tally.over:
        draw = random.Random(seed)
        with Installed(file_type, (None, Lazy, Prompt)[seed % 3]) as disk:
            breaker = Breaker(tally, disk, plan(seed, length), draw, seed, options)
            for kind in counts:
                for lasting in (False, True):
                    at = draw.randrange(1, stride + 1)
                    while not tally.over and breaker.fail(kind, at, lasting):
                        counts[kind] += 1
                        at += stride
        seed += 1
        tally.detail = (
            ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) + f"; seeds {first} to {seed - 1}"
        )
        if seed - first == workloads:
            return
