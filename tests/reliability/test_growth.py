"""How large a file becomes under a churn: two sets of pages, and what was given up while somebody reads.

Counted in pages, whatever comes when.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from modelvault import Database, _checkpoints
from modelvault._checkpoints import Checkpoints
from modelvault._core.commit import RESERVE, SLACK
from modelvault._core.space import free_runs
from tests.faults import SimulatedDisk
from tests.reliability.workload import PAGE_SIZE, PATH, Installed, Lazy, Row

COUNT = 2000  # rows
LOG = 160  # pages, so that every page changes between two checkpoints


@pytest.fixture
def disk() -> Iterator[SimulatedDisk]:
    installed = Installed(keeper=Lazy)
    with installed as disk:
        installed.patch.setattr(_checkpoints, "SMALL_LOG", LOG * PAGE_SIZE)
        yield disk


def plain(key: int, text: str = "") -> Row:
    return Row(id=key, email=f"{key}", batch=0, tags=[], text=text)


class Churn:
    """A database of so many rows that are changed in random order, with a log that has grown.

    Each the most there was: set: its pages that are in use. most: those of the file. held: those that were given up and
    that a reader kept from being used.
    """

    def __init__(self, disk: SimulatedDisk, seed: int) -> None:
        self.disk = disk
        self.draw = Random(seed)
        self.db = Database.open(PATH, page_size=PAGE_SIZE)
        self.rows = self.db.collection(Row)
        self.rows.insert_many([plain(key, "x" * 200) for key in range(COUNT)])
        self.engine: Any = self.db._twin._access.engine
        self.checkpoints: Checkpoints = self.engine.checkpoints
        self.set = self.most = self.held = 0
        self.generation = -1
        while self.engine.log.pages < LOG:
            self.change(10)

    def __enter__(self) -> Churn:
        return self

    def __exit__(self, *error: object) -> None:
        self.db.close()

    def change(self, count: int = 1) -> None:
        """So many updates, each a commit."""
        for _ in range(count):
            self.rows.insert(self.fresh())
            self.look()

    def transaction(self, count: int) -> None:
        """So many updates in one commit."""
        with self.db.transaction():
            for _ in range(count):
                self.rows.insert(self.fresh())
        self.look()

    def to_checkpoint(self) -> None:
        """Change rows until a checkpoint is sealed; nobody stores it in the background here."""
        while self.checkpoints._sealed is None:
            self.transaction(5)

    def fresh(self) -> Row:
        return plain(self.draw.randrange(COUNT), "y" * (100 + self.draw.randrange(200)))

    def look(self) -> None:
        """Measure; what the next checkpoint is thought to have is never more than it may use."""
        meta = self.engine.meta
        self.most = max(self.most, len(self.disk.media[PATH].content) // PAGE_SIZE)
        if meta.generation != self.generation:
            self.generation = meta.generation
            self.set = max(self.set, meta.page_count - meta.free_pages - meta.log_pages)
            oldest = self.engine.oldest_reader()
            runs = free_runs(self.engine.pager, self.engine.stored)
            held = sum(pages for number, _, pages in runs if number > oldest)
            assert self.checkpoints.spare <= meta.free_pages - held
            self.held = max(self.held, held)

    def bound(self) -> int:
        """The pages that the file may have: two sets, what readers held, what is kept ready, what growing adds.

        A log that grows moves, and leaves as much behind as it had.
        """
        held = 2 * self.set + self.held + 2 * LOG + RESERVE + SLACK
        return held + held // 8

    def check(self) -> None:
        assert self.most <= self.bound(), (self.most, self.bound(), self.set, self.held)


def test_a_churn_holds_two_sets_of_pages(disk: SimulatedDisk) -> None:
    """Where every page changes between two checkpoints: those of the newest, and those that are written next."""
    with Churn(disk, 3) as churn:
        for _ in range(20):
            churn.to_checkpoint()
            churn.checkpoints.wait()
        churn.check()
        assert not churn.held


def test_a_commit_waits_for_a_checkpoint_rather_than_let_the_file_grow(disk: SimulatedDisk) -> None:
    with Churn(disk, 4) as churn:
        churn.to_checkpoint()
        churn.checkpoints.reserved = 0
        churn.change()
        assert churn.checkpoints._sealed is None
        assert churn.checkpoints.spare == churn.engine.meta.free_pages, "what it gave up is counted in"


def largest(disk: SimulatedDisk, seed: int, reading: bool = False) -> int:
    """The size of a file under a churn whose checkpoints are stored late. reading: while somebody reads, each time."""
    disk.media.pop(PATH, None)
    with Churn(disk, seed) as churn:
        for _ in range(20):
            version = churn.engine.pin() if reading else None
            churn.to_checkpoint()
            if version is not None:
                churn.checkpoints.wait()
                churn.engine.unpin(version)
            churn.change(200)
        churn.check()
        return churn.most


def test_a_checkpoint_that_is_stored_just_now_is_counted_in(
    disk: SimulatedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a commit needs was found out, then the keeper finished, and the commit saw nothing to wait for."""
    usual = largest(disk, 5)
    needed = Checkpoints.size_needed

    def overtaken(self: Checkpoints, draft: Any, more: int = 0) -> int:
        size = needed(self, draft, more)
        if size > self.reserved:
            self.wait()
        return size

    monkeypatch.setattr(Checkpoints, "size_needed", overtaken)
    assert largest(disk, 5) <= usual


def test_readers_that_have_gone_hold_nothing(disk: SimulatedDisk) -> None:
    """Somebody reads whenever a checkpoint is made, and is gone soon after."""
    assert largest(disk, 6, reading=True) <= largest(disk, 6)


def test_a_reader_holds_what_is_given_up_while_it_reads(disk: SimulatedDisk) -> None:
    """And when it has gone, that is used before the file grows again."""
    with Churn(disk, 7) as churn:
        version = churn.engine.pin()
        for _ in range(8):
            churn.to_checkpoint()
            churn.checkpoints.wait()
        churn.check()
        assert churn.held > 4 * churn.set
        churn.engine.unpin(version)
        before = churn.most
        for _ in range(20):
            churn.to_checkpoint()
            churn.checkpoints.wait()
        assert churn.most == before


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_when(disk: SimulatedDisk, seed: int) -> None:
    """Single commits, small and large transactions, checkpoints that are stored early or late, readers for a while."""
    with Churn(disk, seed) as churn:
        draw, pinned = Random(seed + 100), []
        for _ in range(400):
            what = draw.choice(["one", "few", "some", "many", "store", "checkpoint", "pin", "unpin", "unpin"])
            if what == "one":
                churn.change()
            elif what in ("few", "some", "many"):
                churn.transaction({"few": 8, "some": 40, "many": 300}[what])
            elif what == "store":
                churn.checkpoints.wait()
            elif what == "checkpoint":
                churn.db.checkpoint()
            elif what == "pin" and not pinned:
                pinned.append(churn.engine.pin())
            elif what == "unpin" and pinned:
                churn.engine.unpin(pinned.pop())
        while pinned:
            churn.engine.unpin(pinned.pop())
        churn.check()
