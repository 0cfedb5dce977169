"""The short form of the power-cut explorer."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from modelvault import Database
from tests.faults import Event, Log
from tests.reliability import power
from tests.reliability.tally import PATIENCE, Tally
from tests.reliability.workload import IDLE, PATH, Installed, Prompt, Row, row

pytestmark = pytest.mark.damaged  # power.py checks what it opens itself, and opens broken files on purpose


def test_every_state_that_a_power_cut_leaves_is_whole() -> None:
    tally = Tally.counted("power cuts")
    power.run(tally, 20261124, most=360 * PATIENCE, per_window=2 * PATIENCE, length=30)
    tally.check(at_least=200)


def test_relaxed_commits_are_lost_in_their_order_only() -> None:
    tally = Tally.counted("power cuts, relaxed")
    power.run(tally, 20261124, most=120 * PATIENCE, per_window=2, length=30, durability="relaxed")
    tally.check(at_least=50)


def test_a_relaxed_commit_is_durable_soon() -> None:
    """What is due after the window makes it durable: more than what came since then cannot be lost."""
    due: list[Callable[[], object]] = []

    class Noting(Prompt):
        def call(self, job: Callable[[], object], delay: float = 0.0) -> None:
            if job.__name__ == "_flush":
                assert delay == IDLE, "the window of these tests"
                due.append(job)

    with Installed(keeper=Noting) as disk, Database.open(PATH, durability="relaxed") as db:
        rows = db.collection(Row)
        for number in range(9):
            rows.insert(row(random.Random(number), number, 1, large=False))
            while number < 5 and due:
                due.pop()()
        assert disk.media[PATH].unsynced() and len(due) == 1
        due.pop()()
        assert not disk.media[PATH].unsynced()


def test_what_a_power_cut_may_leave() -> None:
    """The model of the disk: synced writes stay, others come in any part, by sectors, with the file's length apart."""
    log = Log(b"", [Event("write", 0, b"a" * 1024), Event("sync", 1), Event("write", 500, b"b" * 20)])
    log.events.append(Event("resize", 4096))
    window = log.last_window()
    assert window.base == b"a" * 1024
    assert window.units == [(500, b"b" * 12), (512, b"b" * 8), (4096, None)]
    assert window.state([1]) == b"a" * 512 + b"b" * 8 + b"a" * 504
    assert window.state([2]) == b"a" * 1024 + bytes(3072)
    assert window.state([0, 1], ruined=1) == b"a" * 500 + b"b" * 12 + bytes(8) + b"a" * 504


def test_a_sync_covers_only_what_was_there_when_it_began() -> None:
    log = Log(b"", [Event("write", 0, b"a"), Event("write", 1, b"b"), Event("sync", 1)])
    window = log.last_window()
    assert window.base == b"a"
    assert window.units == [(1, b"b")]
