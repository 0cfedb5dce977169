"""The short form of the loop over failing I/O, and a disk that is full for long."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest

from modelvault import Database
from tests.faults import Faults
from tests.reliability import failing
from tests.reliability.tally import PATIENCE, Tally
from tests.reliability.workload import PATH, Installed, Lazy, Row, look, rows_of

pytestmark = pytest.mark.damaged  # handles are left poisoned; failing.py checks what it opens again


def test_every_failing_operation() -> None:
    tally = Tally.counted("failing I/O")
    failing.run(tally, 20261124, length=20, stride=8, workloads=PATIENCE)
    tally.check(at_least=30)


def filler(number: int) -> Row:
    return Row(id=number, email=f"{number}@example.com", batch=number % 10, tags=[], text="x" * 300)


def test_a_full_disk_takes_deletes_and_then_rows_again() -> None:
    """On a disk that stays full: inserts fail, everything is readable, deletes work, and they make room."""
    with Installed() as disk:
        db = Database.open(PATH, page_size=4096)
        rows = db.collection(Row)
        rows.insert_many([filler(number) for number in range(200)])
        medium = disk.media[PATH]
        medium.capacity = len(medium.content)
        number, error = 200, None
        while error is None:
            try:
                rows.insert(filler(number))
                number += 1
            except OSError as caught:
                error = caught
        assert (error.errno, error.filename) == (errno.ENOSPC, PATH)
        expected = {key: filler(key) for key in range(number)}
        assert rows_of(db) == expected
        for key in range(0, number, 2):
            assert rows.delete(key)
            del expected[key]
        assert rows_of(db) == expected
        for key in range(0, 40, 2):
            rows.insert(filler(key))
            expected[key] = filler(key)
        db.close()
        assert len(medium.content) <= medium.capacity
        assert look() == expected


def test_commits_to_the_log_leave_room_for_their_checkpoint() -> None:
    """Each changes other pages, on a disk that is full: what is acknowledged gets into the trees, and deletes work."""
    with Installed(keeper=Lazy) as disk:
        db = Database.open(PATH, page_size=4096)
        rows = db.collection(Row)
        expected = {key: filler(key) for key in range(3000)}
        rows.insert_many(expected.values())
        for key in range(0, 200, 10):  # until there is a log
            rows.insert(expected[key])
        db.checkpoint()
        db._twin._access.engine.checkpoints.trim()  # the file may have grown ahead of need
        medium = disk.media[PATH]
        medium.capacity = len(medium.content)
        for key in range(0, 3000, 13):
            with suppress(OSError):
                expected[key] = rows.update(key, {"email": f"{key * 7919 % 1009}@example.org", "batch": key % 7})
        assert rows_of(db) == expected
        for key in range(0, 3000, 3):
            assert rows.delete(key)
            del expected[key]
        db.close()
        assert len(medium.content) <= medium.capacity
        assert look() == expected


def test_a_full_disk_can_be_opened() -> None:
    """Opened while there is no room: read, delete, close, open again."""
    with Installed() as disk:
        with Database.open(PATH, page_size=4096) as db:
            db.collection(Row).insert_many([filler(number) for number in range(200)])
        medium = disk.media[PATH]
        medium.capacity = len(medium.content)
        with Database.open(PATH) as db:
            assert len(rows_of(db)) == 200
            for key in range(0, 200, 2):
                assert db.collection(Row).delete(key)
        assert look() == {key: filler(key) for key in range(1, 200, 2)}


@pytest.mark.parametrize("flushed", [False, True])
def test_close_tells_that_relaxed_commits_may_be_lost(flushed: bool) -> None:
    """A sync fails while the log is made into a checkpoint. Of what is durable already there is nothing to tell."""
    with Installed(keeper=Lazy) as disk:
        with Database.open(PATH, page_size=4096) as db:
            rows = db.collection(Row)
            rows.insert_many([filler(number) for number in range(3)])
        db = Database.open(PATH, durability="relaxed")
        for number in range(3, 6):
            db.collection(Row).insert(filler(number))
        if flushed:
            db.checkpoint()
        disk.media[PATH].faults = Faults(1, "lost", frozenset({"sync"}), lasting=True)
        if flushed:
            db.close()
        else:
            with pytest.raises(OSError, match="reopen the database") as caught:
                db.close()
            assert (caught.value.errno, caught.value.filename) == (errno.EIO, PATH)
        disk.media[PATH].faults = Faults()
        found = look()
        assert found == {number: filler(number) for number in range(len(found))}
        assert len(found) == 6 or not flushed
