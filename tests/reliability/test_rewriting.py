"""Rewrites that are killed, cut off from power and failed by the disk, at any moment: old or new, and never in part."""

from __future__ import annotations

import errno
import os
import random
import time
from pathlib import Path

import pytest

from modelvault import Database
from tests.faults import Faults, Medium, SimulatedDisk
from tests.reliability.kills import Server
from tests.reliability.power import states
from tests.reliability.rewriting import State, change, follow, look, next_migration, start
from tests.reliability.workload import PATH, Installed

COUNT = 400
SMALL = 60
KILLS = int(os.environ.get("KILLS", 12))
SEED = int(os.environ.get("SEED", 5))  # long runs can be made in portions, each with another


def test_kill_while_rows_are_written_anew(tmp_path: Path) -> None:
    """Every acknowledged change of a row is there, the one under way perhaps; a migration is done or not."""
    draw = random.Random(SEED)
    path = tmp_path / "x.modelvault"
    with Database.open(path) as db:
        state = start(db, COUNT)
    seed, done, versions = SEED, 0, 0
    print(f"SEED={seed}")
    deadline = time.monotonic() + (25 if "KILLS" not in os.environ else 1e9)
    with Server("tests.reliability.rewriting_process") as server:
        for _ in range(KILLS):
            if time.monotonic() > deadline and versions and done:
                break
            lines = server.kill(f"{path} {seed} {COUNT} {done}", draw.uniform(0.02, 0.5))
            assert not [line for line in lines if line.startswith("error")], lines
            changes = [int(line.split()[1]) for line in lines if line.startswith("change")]
            versions += sum(line.startswith("version") for line in lines)
            with Database.open(path) as db:
                found = look(db)
            for number in range(done + 1, max([done, *changes]) + 1):
                state = follow(state, change(seed, number, COUNT))
            done = max([done, *changes])
            after = follow(state, change(seed, done + 1, COUNT))
            assert found in (state, after)
            if found != state:
                state, done = after, done + 1
    assert versions and done
    with Database.open(path) as db:
        next_migration(db).apply(db)
        assert look(db) == state


def prepared(disk: SimulatedDisk, both: bool) -> tuple[bytes, State]:
    """A closed database before a migration; `both`: before the second one."""
    with Database.open(PATH, page_size=4096) as db:
        state = start(db, SMALL)
        if both:
            next_migration(db).apply(db)
    return bytes(disk.media[PATH].content), state


def judge(state: State, place: str) -> None:
    """What a crash left is old or new, and the migration can be finished."""
    with Database.open(PATH) as db:
        assert look(db) == state, place
        version = next_migration(db).apply(db, chunk=25)
        assert version in (2, 3, 4) and look(db) == state, place


@pytest.mark.parametrize("both", [False, True], ids=["renamed and wider", "with a function"])
def test_power_cuts_while_rows_are_written_anew(both: bool) -> None:
    draw = random.Random(7)
    with Installed() as disk:
        content, state = prepared(disk, both)
        medium = disk.hold(PATH, content)
        with Database.open(PATH) as db:
            next_migration(db).apply(db, chunk=20)
        tried = 0
        for window in medium.log.windows():
            for left in list(states(window, draw, 3))[:4]:
                disk.hold(PATH, left)
                judge(state, f"event {window.position}")
                tried += 1
        assert tried > 20


@pytest.mark.damaged  # handles are left poisoned; `judge` checks what it opens again
@pytest.mark.parametrize("kind", ["EIO", "ENOSPC"])
def test_a_disk_that_fails_while_rows_are_written_anew(kind: str) -> None:
    kinds = frozenset({"write", "sync", "resize", "reserve"}) if kind == "EIO" else frozenset({"write", "reserve"})
    with Installed() as disk:
        content, state = prepared(disk, False)
        at, medium = 1, None
        while medium is None or medium.faults.hit:
            medium = disk.hold(PATH, content)
            medium.faults = Faults(at, kind, kinds, False)
            fail(medium, kind)
            left = bytes(medium.content)
            disk.hold(PATH, left)
            judge(state, f"{kind} at {at}")
            at += 3
        assert at > 10


def fail(medium: Medium, kind: str) -> None:
    """A migration on this medium, which may fail."""
    try:
        db = Database.open(PATH)
    except OSError:
        return
    try:
        next_migration(db).apply(db, chunk=20)
    except OSError as error:
        if error.errno != (errno.ENOSPC if kind == "ENOSPC" else errno.EIO):
            raise
    finally:
        medium.faults.at = 0
        try:
            db.close()
        except OSError:
            pass
