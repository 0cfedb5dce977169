"""Sorting a scan: against plain Python, with a limit, through the temporary file, on a full disk."""

from __future__ import annotations

import errno
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelvault._core.sorting
from modelvault._core.file import DiskFile, MemoryFile, open_scratch
from modelvault._core.order import SortKeys
from modelvault._core.program import Program
from modelvault._core.scan import Scan
from modelvault._core.sorting import Sort
from modelvault.conditions import Order, Test
from modelvault.errors import ColdPage
from tests.core.tables import CODEC, FACE, ColdFile, Store, random_rows
from tests.faults import Faults, FaultyDisk

ALL = ("rows", None, None)

ORDERS: list[tuple[Order, ...]] = [
    (),
    (Order(("n",)),),
    (Order(("n",), True),),
    (Order(("s",)), Order(("x",), True)),
    (Order(("blob",)),),
    (Order(("level",), True), Order(("s",))),
]


def whole(sort: Sort, chance: random.Random, budget: int) -> list[bytes]:
    """The keys of everything that a sort gives, read and given in slices."""
    while True:
        try:
            if sort.step(chance.randint(1, budget), False):
                break
        except ColdPage:
            if sort.step(chance.randint(1, budget), True):
                break
    found: list[bytes] = []
    while not sort.done:
        found += [key for key, _ in sort.fetch(None, chance.randint(1, 100))]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 30, 500]), st.sampled_from([1 << 14, 1 << 16, 1 << 25]))
def test_against_plain_python(seed: int, count: int, memory: int) -> None:
    chance = random.Random(seed)
    file = ColdFile()
    store = Store(random_rows(chance, count), file=file, cache_pages=chance.choice([5, 1000]))
    file.cold, file.chance = True, random.Random(seed)
    orders = chance.choice(ORDERS)
    keys = SortKeys([CODEC], orders, chance.choice([None, False, True]))
    by_key = {keys.key(CODEC.encode(row), key): key for key, row in store.rows.items() if row["level"] != 3}
    condition = Program([CODEC], Test(("level",), "ne", (3,)))
    after = chance.choice([None, None, *sorted(by_key)])
    limit = chance.choice([None, 0, 1, 7, 100, 10_000])
    right = [by_key[key] for key in sorted(by_key) if after is None or key > after]
    sort = Sort(Scan(store.table, store.version.roots, ALL, condition), keys, limit, after, memory)
    assert whole(sort, chance, 10 ** chance.randint(1, 4)) == right[:limit]
    assert sort.fetch(FACE, 5) == []
    file.cold = False
    store.close()


def big_store(count: int) -> Store:
    """Rows of about 1 KiB in no order."""
    chance = random.Random(5)
    rows = random_rows(chance, count)
    for number, row in enumerate(rows):
        row["id"], row["blob"] = f"{number:06d}", chance.randbytes(1000)
    return Store(rows)


def test_memory_stays_bounded_and_the_file_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = big_store(6000)
    files: list[DiskFile] = []

    def scratch(file: Any) -> DiskFile:
        files.append(open_scratch(DiskFile.create(str(tmp_path / "db"), b"content")))
        return files[-1]

    monkeypatch.setattr(modelvault._core.sorting, "open_scratch", scratch)
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    sort = Sort(Scan(store.table, store.version.roots, ALL), SortKeys([CODEC], (Order(("blob",)),)), memory=1 << 18)
    most = 0
    tracemalloc.start()
    while not sort.step(200):
        most = max(most, tracemalloc.get_traced_memory()[1])
    blobs: list[bytes] = []
    while not sort.done:
        blobs += [row["blob"] for row in sort.fetch(FACE, 50)]
        del blobs[:-1000]
        most = max(most, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert blobs == sorted(row["blob"] for row in store.rows.values())[-1000:]
    assert sort.spilled > 6_000_000 and len(files) == 1
    assert most < 4 << 20
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    store.close()


def test_a_limit_keeps_the_best_only() -> None:
    store = big_store(3000)
    sort = Sort(Scan(store.table, store.version.roots, ALL), SortKeys([CODEC], (Order(("blob",)),)), 20, memory=1 << 18)
    assert sort.step()
    assert sort.spilled == 0
    assert [row["blob"] for row in sort.fetch(FACE, 100)] == sorted(row["blob"] for row in store.rows.values())[:20]
    assert sort.done
    store.close()


@pytest.mark.parametrize(("kind", "number"), [("ENOSPC", errno.ENOSPC), ("EIO", errno.EIO), ("short", errno.EIO)])
def test_a_full_or_failing_disk_ends_the_sort_and_nothing_else(
    kind: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = big_store(1500)
    files: list[FaultyDisk] = []

    def scratch(file: Any) -> FaultyDisk:
        disk = FaultyDisk(str(tmp_path / "scratch"), descriptor=os.open(tmp_path / "scratch", os.O_RDWR | os.O_CREAT))
        os.unlink(tmp_path / "scratch")
        disk.faults = Faults(at=2, kind=kind, on=frozenset({"write"}))
        files.append(disk)
        return disk

    monkeypatch.setattr(modelvault._core.sorting, "open_scratch", scratch)
    order = SortKeys([CODEC], (Order(("x",)),))
    sort = Sort(Scan(store.table, store.version.roots, ALL), order, memory=1 << 18)
    with pytest.raises(OSError, match=r"No space left|Input.output error") as caught:
        whole(sort, random.Random(1), 500)
    assert caught.value.errno == number
    assert sort.done and sort.fetch(FACE, 10) == []
    with pytest.raises(OSError, match=r"Bad file descriptor"):
        files[0].size()
    monkeypatch.undo()
    again = Sort(Scan(store.table, store.version.roots, ALL), order, memory=1 << 18)
    assert len(whole(again, random.Random(1), 500)) == 1500
    store.close()


def test_a_cold_temporary_file_is_read_with_leave_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ColdFile()
    monkeypatch.setattr(modelvault._core.sorting, "open_scratch", lambda _: file)
    store = big_store(600)
    sort = Sort(Scan(store.table, store.version.roots, ALL), SortKeys([CODEC], ()), memory=1 << 16)
    with pytest.raises(ValueError, match="not sorted yet"):
        sort.fetch(FACE, 1)
    assert sort.step()
    file.cold, file.chance = True, random.Random(1)
    found, waited = [], 0
    while not sort.done:
        try:
            found += [row["id"] for row in sort.fetch(FACE, 100, False)]
        except ColdPage:
            found += [row["id"] for row in sort.fetch(FACE, 100, True)]
            waited += 1
    assert found == [f"{number:06}" for number in range(600)]
    assert waited
    assert sort.fetch(FACE, 1) == []
    store.close()


@pytest.mark.parametrize("memory", [1 << 16, 1 << 25])
def test_rows_are_given_for_so_long_only(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = big_store(600)
    scan = Scan(store.table, store.version.roots, ALL)
    sort = Sort(scan, SortKeys([CODEC], ()), memory=memory)
    assert sort.step()
    assert (sort.spilled > 0) == (memory == 1 << 16)
    ticks = iter(range(10**6))
    monkeypatch.setattr(modelvault._core.sorting, "monotonic", lambda: float(next(ticks)))
    scan.seconds = 1.5
    skipped = sort.skip(100)
    found = []
    while not sort.done:
        found.append([row["id"] for row in sort.fetch(FACE, 1000)])
    assert [key for part in found for key in part] == [f"{number:06}" for number in range(skipped, 600)]
    assert max(map(len, found)) == 128
    store.close()


@pytest.mark.parametrize("place", ["beside", "elsewhere", "memory"])
def test_where_the_temporary_file_is(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "db"
    path.parent.mkdir()
    source: Any = MemoryFile() if place == "memory" else DiskFile.create(str(path), b"x")
    if place == "elsewhere":
        source.close()
        path.unlink()
        path.parent.rmdir()
    file = open_scratch(source)
    file.write_at(5000, [b"abc", b"d"])
    assert file.read_at(5000, 10) == b"abcd"
    assert "temporary" in file.path
    if place != "elsewhere":
        assert [found.name for found in path.parent.iterdir()] == ([] if place == "memory" else ["db"])
    file.close()
