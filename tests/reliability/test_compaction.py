"""Compaction on a disk that is full, and when the power is cut in the middle of it."""

from __future__ import annotations

import errno
import random

import pytest

from modelvault import Database
from tests.reliability.power import states
from tests.reliability.workload import PATH, Installed, Row, look, rows_of

SEED = 20261130


def filler(number: int) -> Row:
    """A row, some of them longer than a page."""
    text = "x" * (7000 if number % 20 == 0 else 300)
    return Row(id=number, email=f"{number}@example.com", batch=number % 10, tags=[], text=text)


def sparse() -> dict[int, Row]:
    """Make a file of which four in five rows were deleted; the others."""
    with Database.open(PATH, page_size=4096) as db:
        rows = db.collection(Row)
        rows.insert_many([filler(number) for number in range(300)])
        with db.transaction():
            for number in range(300):
                if number % 5:
                    rows.delete(number)
        rows.insert(filler(1000))
        return rows_of(db)


def test_a_full_disk_gets_room() -> None:
    with Installed() as disk:
        expected = sparse()
        medium = disk.media[PATH]
        medium.capacity = before = len(medium.content)
        with Database.open(PATH) as db:
            db.compact()
            assert len(medium.content) < before * 2 // 3
            assert rows_of(db) == expected
            db.verify()
            for number in range(2000, 2020):
                db.collection(Row).insert(filler(number))
                expected[number] = filler(number)
        assert len(medium.content) <= before
        assert look() == expected


def test_a_full_disk_without_a_free_page_stays_usable() -> None:
    with Installed() as disk:
        with Database.open(PATH, page_size=4096) as db:
            db.collection(Row).insert_many([filler(number) for number in range(200)])
        medium = disk.media[PATH]
        medium.capacity = len(medium.content)
        with Database.open(PATH) as db:
            expected = rows_of(db)
            try:
                db.compact()
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017
            assert rows_of(db) == expected
            for number in range(0, 200, 2):
                assert db.collection(Row).delete(number)
                del expected[number]
            db.compact()
            assert rows_of(db) == expected
            db.verify()
        assert look() == expected


@pytest.mark.parametrize("log", [False, True], ids=["closed", "with a log"])
def test_power_cuts(log: bool) -> None:
    """Whatever of the writes reached the disk: the file opens, sound, with all rows."""
    draw = random.Random(SEED)
    tried = 0
    with Installed() as disk:
        expected = sparse()
        medium = disk.hold(PATH, bytes(disk.media[PATH].content))
        with Database.open(PATH) as db:
            if log:
                for number in range(3000, 3006):
                    db.collection(Row).insert(filler(number))
                    expected[number] = filler(number)
                start = len(medium.log.events)
            else:
                start = 0
            db.compact()
            assert rows_of(db) == expected
        for window in medium.log.windows():
            if window.position < start:
                continue
            for content in states(window, draw, 2, ruin=1):
                disk.hold(PATH, content)
                assert look() == expected, f"event {window.position}"
                tried += 1
    assert tried > 60
