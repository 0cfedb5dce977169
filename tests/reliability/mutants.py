"""The protocol, broken on purpose: each mutant must be caught by a part of the suite, or the suite is too weak.

Here are the mutants of the door to the disk: the engine is as it is, and the file under it forgets a step. Those that
need a changed source are in `patches.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.faults import Event, SimulatedFile
from tests.reliability import failing, power
from tests.reliability.tally import Tally
from tests.reliability.workload import PAGE_SIZE

META_END = 4 * PAGE_SIZE


class Forgetful(SimulatedFile):
    """A file that does nothing in those syncs that `skips` says yes to, and claims that it did."""

    def sync(self) -> None:
        with self.medium.lock:
            if not self.skips(self.medium.unsynced()):
                super().sync()

    def skips(self, events: list[Event]) -> bool:
        return True


class NoSyncBeforeTheMeta(Forgetful):
    """Pages are not made durable before the meta names them."""

    def skips(self, events: list[Event]) -> bool:
        return not writes_meta(events)


class NoSyncAfterTheMeta(Forgetful):
    """The meta is not made durable before the commit is acknowledged."""

    def skips(self, events: list[Event]) -> bool:
        return writes_meta(events)


class NoSyncAtAll(Forgetful):
    """Nothing is ever made durable."""


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


def writes_meta(events: list[Event]) -> bool:
    """Whether a meta page is among what was written."""
    return any(event.kind == "write" and event.offset < META_END for event in events)


@dataclass(frozen=True)
class Mutant:
    """A broken file and the part that has to notice; `part(tally, seed, file_type=...)` runs it."""

    file_type: type[SimulatedFile]
    part: Callable[..., None]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.file_type.__name__

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
    Mutant(NoSyncAtAll, power.run, CUT),
    Mutant(Misdirected, power.run, CUT),
    Mutant(SyncErrorsIgnored, failing.run, FAIL),
    Mutant(SyncTriedAgain, failing.run, {**FAIL, "kinds": ["lost", "phantom"]}),
    Mutant(WriteErrorsIgnored, failing.run, FAIL),
]
