"""The protocol, broken on purpose: each mutant must be caught by a part of the suite, or the suite is too weak.

Here are the mutants of the door to the disk: the engine is as it is, and the file under it forgets a step. Those of the
source are in `patches.py`; `run` tries all of both.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from modelvault._core.meta import unpack
from tests.faults import Event, Medium, SimulatedFile
from tests.reliability import failing, power
from tests.reliability.patches import PATCHES, ROOT, Patch
from tests.reliability.tally import Tally
from tests.reliability.workload import PAGE_SIZE

META_END = 4 * PAGE_SIZE


class Forgetful(SimulatedFile):
    """A file that skips some syncs, and claims that it did them."""

    def sync(self) -> None:
        with self.medium.lock:
            if not self.skips({place(self.medium, event) for event in self.medium.unsynced()}):
                super().sync()

    def skips(self, places: set[str]) -> bool:
        """Whether to skip a sync before which these places were written."""
        return True


class NoSyncBeforeTheMeta(Forgetful):
    """Pages are not made durable before the meta names them."""

    def skips(self, places: set[str]) -> bool:
        return "pages" in places and "meta" not in places


class NoSyncAfterTheMeta(Forgetful):
    """The meta is not made durable before the commit is acknowledged, or the log is used again."""

    def skips(self, places: set[str]) -> bool:
        return "meta" in places


class NoSyncOfTheLog(Forgetful):
    """A record is not made durable before the commit is acknowledged."""

    def skips(self, places: set[str]) -> bool:
        return "log" in places and not places & {"meta", "pages"}


class NoSyncAtAll(Forgetful):
    """Nothing is ever made durable."""


def place(medium: Medium, event: Event) -> str:
    """Where an event writes: "meta", "log", "pages", or nowhere."""
    if event.kind != "write":
        return ""
    if event.offset < META_END:
        return "meta"
    copies = [unpack(bytes(medium.content[page * PAGE_SIZE :][:512])) for page in range(4)]
    newest = max((copy[0] for copy in copies if copy is not None), key=lambda meta: meta.generation)
    log = range(newest.log_page * PAGE_SIZE, (newest.log_page + newest.log_pages) * PAGE_SIZE)
    return "log" if event.offset in log else "pages"


class SyncErrorsIgnored(SimulatedFile):
    """A failed sync is taken for a good one."""

    def sync(self) -> None:
        try:
            super().sync()
        except OSError:
            pass


class SyncTriedAgain(SimulatedFile):
    """A failed sync is tried again, and then succeeds without what it lost."""

    def sync(self) -> None:
        try:
            super().sync()
        except OSError:
            super().sync()


class WriteErrorsIgnored(SimulatedFile):
    """A failed write is taken for a good one."""

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        try:
            super().write_at(offset, buffers)
        except OSError:
            pass


class Misdirected(SimulatedFile):
    """Now and then a page is written one page too far."""

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        data = b"".join(buffers)
        shift = PAGE_SIZE if len(data) == 3 * PAGE_SIZE and offset >= META_END else 0
        super().write_at(offset + shift, [data])


@dataclass(frozen=True)
class Mutant:
    """A broken file and the part that has to notice; `part(tally, seed, file_type=...)` runs it."""

    file_type: type[SimulatedFile]
    part: Callable[..., None]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.file_type.__name__

    @property
    def test(self) -> str:
        return "tests/reliability/test_mutants.py::test_a_mutant_is_killed"

    def run(self, seed: int, seconds: float) -> Tally:
        """What the suite says about the mutant: nothing lost means that it survived."""
        tally = Tally(f"mutant {self.name}", time.monotonic() + seconds, until_lost=True)
        self.part(tally, seed, file_type=self.file_type, **self.options)
        return tally


CUT = {"per_window": 4, "length": 25}
FAIL = {"length": 15, "stride": 2}

MUTANTS = [
    Mutant(NoSyncBeforeTheMeta, power.run, CUT),
    Mutant(NoSyncAfterTheMeta, power.run, CUT),
    Mutant(NoSyncOfTheLog, power.run, CUT),
    Mutant(NoSyncAtAll, power.run, CUT),
    Mutant(Misdirected, power.run, CUT),
    Mutant(SyncErrorsIgnored, failing.run, FAIL),
    Mutant(SyncTriedAgain, failing.run, {**FAIL, "kinds": ["lost", "phantom"]}),
    Mutant(WriteErrorsIgnored, failing.run, FAIL),
]

ALL = [*MUTANTS, *PATCHES]


def run(tally: Tally, seed: int) -> None:
    """Every mutant once, and before them the source as it is, which no test may find fault with."""
    killed = []
    folder = ROOT / "build" / "mutants"
    control = Patch("the source as it is", "_engine.py", (), "")
    control.build(folder)
    for test in sorted({patch.test for patch in PATCHES}):
        if Patch("the source as it is", "", (), test).killed(folder):
            tally.lose("a test fails without a mutant", test)
    for mutant in ALL:
        tally.place = mutant.name
        if isinstance(mutant, Mutant):
            how = ", ".join(mutant.run(seed, seconds=120).losses)
        else:
            mutant.build(folder)
            how = mutant.killed(folder)
        if not how:
            tally.lose("a mutant survives", mutant.name)
        killed.append(f"{mutant.name}: {how or 'SURVIVES'} ({mutant.test.removeprefix('tests/')})")
        tally.tried += 1
        print(killed[-1], flush=True)
    tally.detail = f"{len(ALL) - tally.losses['a mutant survives']} of {len(ALL)} killed"
    tally.rows = killed
    shutil.rmtree(folder)
