"""How the log ends: torn commits that nobody was told of, damaged ones that somebody was, and an abandoned history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelvault import Database
from modelvault.errors import CorruptionError, ModelVaultFormatError
from tests.faults import SimulatedDisk
from tests.reliability.sealing import SealedLog, aligned
from tests.reliability.workload import PAGE_SIZE, PATH, Installed, Lazy, Row

pytestmark = pytest.mark.damaged


@pytest.fixture
def disk() -> Iterator[SimulatedDisk]:
    with Installed(keeper=Lazy) as disk:
        yield disk


def plain(key: int, text: str = "") -> Row:
    return Row(id=key, email=f"{key}", batch=0, tags=[], text=text)


def logged(disk: SimulatedDisk, count: int = 6) -> bytes:
    """A file with rows 0 to count - 1, the last ones in its log."""
    with Database.open(PATH, page_size=PAGE_SIZE) as db:
        rows = db.collection(Row)
        for key in range(count):
            rows.insert(plain(key))
        return bytes(disk.media[PATH].content)


def keys() -> list[int]:
    with Database.open(PATH) as db:
        return [row.id for row in db.collection(Row).all()]


def test_damage_to_a_commit_in_the_middle_is_told_and_the_page_named(disk: SimulatedDisk) -> None:
    file = SealedLog(logged(disk))
    assert len(file.records) > 3
    at = file.start + file.meta.log_start
    for record in file.records[:-1]:
        for place in (0, 8, 16, 32, 47, len(record) - 1):
            damaged = bytearray(file.content)
            damaged[at + place] ^= 4
            disk.hold(PATH, bytes(damaged))
            for options in ({}, {"recovery": "strict"}, {"recovery": "auto_truncate"}, {"read_only": True}):
                with pytest.raises(CorruptionError, match="damaged") as caught:
                    Database.open(PATH, **options)
                assert caught.value.page == at // PAGE_SIZE
                assert f"page {at // PAGE_SIZE}" in str(caught.value)
        at += aligned(len(record))


def test_a_torn_tail_is_left_out_or_refused_if_strict(disk: SimulatedDisk) -> None:
    file = SealedLog(logged(disk))
    last = file.records[-1]
    at = file.content.rindex(last)
    for kept in range(48, len(last) - 1, 9):
        torn = bytearray(file.content)
        torn[at + kept : at + len(last)] = bytes(len(last) - kept)
        disk.hold(PATH, bytes(torn))
        with pytest.raises(ModelVaultFormatError, match="torn_tail"):
            Database.open(PATH, recovery="strict")
        assert bytes(disk.media[PATH].content) == bytes(torn), "a refused file is left alone"
        with Database.open(PATH, recovery="auto_truncate") as db:
            assert db.recovery_info["truncate_reason"] == "torn_tail"
            assert [row.id for row in db.collection(Row).all()] == [0, 1, 2, 3, 4]
        assert keys() == [0, 1, 2, 3, 4]
        with Database.open(PATH, recovery="strict") as db:
            assert db.recovery_info == {"truncated_bytes": 0, "truncate_reason": None}


def test_a_record_of_an_abandoned_history_is_not_repeated(disk: SimulatedDisk) -> None:
    """Of two relaxed commits a power cut took the first. Another one takes its place; the second must not follow it."""
    logged(disk)
    db = Database.open(PATH, durability="relaxed")
    rows = db.collection(Row)
    medium = disk.media[PATH]
    rows.insert(plain(100, "first"))
    rows.insert(plain(101, "a log by now"))
    before = bytes(medium.content)
    rows.insert(plain(102, "lost"))
    between = bytes(medium.content)
    rows.insert(plain(103, "left behind"))
    after = bytearray(medium.content)
    db.close()
    changed = [place for place in range(len(before)) if between[place] != before[place]]
    after[changed[0] : changed[-1] + 1] = before[changed[0] : changed[-1] + 1]
    disk.hold(PATH, bytes(after))
    with Database.open(PATH, durability="relaxed") as db:
        rows = db.collection(Row)
        assert rows.get(101) and not rows.get(102) and not rows.get(103)
        rows.insert(plain(104, "in"))  # of another length, and then one of the same
        content = bytes(disk.media[PATH].content)
    disk.hold(PATH, bytes(after))
    with Database.open(PATH, durability="relaxed") as db:
        db.collection(Row).insert(plain(105, "lost"))
        same = bytes(disk.media[PATH].content)
    for state, there in ((content, 104), (same, 105)):
        disk.hold(PATH, state)
        assert keys()[-3:] == [100, 101, there]
