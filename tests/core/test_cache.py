"""Pages of a file: sealed, written, read back, verified and evicted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelvault._core.draft import Draft
from modelvault._core.file import DiskFile, File, MemoryFile
from modelvault._core.pager import Pager
from modelvault.errors import ColdPage, CorruptionError
from tests.faults import Faults, FaultyDisk

LEAF, OVERFLOW = 1, 3
PAGE = 4096
Ref = tuple[int, int, int]


def fill(file: File, count: int, generation: int = 5, cache_size: int = 1 << 24) -> list[Ref]:
    """Pages 4 to 4 + count, page i with the text `page i`."""
    pager = Pager(file, PAGE, cache_size, 7)
    pager.page_count = 4
    draft = Draft(pager, generation)
    refs = []
    for i in range(count):
        page = draft.new(LEAF, 0, PAGE)
        page.write(100, f"page {i}".encode())
        refs.append(draft.settle(page))
    draft.write_out()
    draft.complete()
    assert pager.draft_count == 0 and draft.waiting == 0
    return refs


@pytest.mark.parametrize("kind", ["disk", "memory", "subclass"])
def test_sealed_pages_come_back(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    DiskFile.create(path, b"").close()
    file = {"disk": DiskFile, "memory": lambda _: MemoryFile(), "subclass": FaultyDisk}[kind](path)
    refs = fill(file, 3000)
    assert refs[0][:2] == (4, 5) and refs[-1][0] == 3003
    pager = Pager(file, PAGE, 1 << 24, 7)
    for i, ref in enumerate(refs):
        page = pager.read(ref)
        assert bytes(page)[100:110].rstrip(b"\0") == f"page {i}".encode()
        assert pager.read(ref) is page, "the second time it comes from the cache"
    assert (pager.reads, pager.hits, pager.misses) == (3000, 3000, 3000)
    with pytest.raises(ValueError):
        page.write(0, b"x")


def test_neighbours_are_written_together() -> None:
    calls = []

    class Counting(MemoryFile):
        def write_at(self, offset: int, buffers: list[bytes]) -> None:
            calls.append((offset // PAGE, len(buffers)))
            super().write_at(offset, buffers)

    fill(Counting(), 20)
    assert calls == [(4, 20)]


def test_an_extent_is_one_page_with_one_checksum() -> None:
    file = MemoryFile()
    pager = Pager(file, PAGE, 1 << 24, 7)
    pager.page_count = 4
    draft = Draft(pager, 1)
    page = draft.new(OVERFLOW, 0, 3 * PAGE)
    page.write(40, b"v" * 10_000)
    assert (draft.single_pages, draft.extent_pages) == (0, 3)
    ref = draft.settle(page)
    after = draft.settle(draft.new(LEAF, 0, PAGE))
    assert after[0] == 7
    draft.write_out()
    again = Pager(file, PAGE, 1 << 24, 7).read_extent(ref, 10_000)
    assert again.size == 3 * PAGE and bytes(again)[40:10_040] == b"v" * 10_000
    file.write_at(6 * PAGE + 4000, [b"x"])
    with pytest.raises(CorruptionError):
        Pager(file, PAGE, 1 << 24, 7).read_extent(ref, 10_000)


def test_every_flipped_byte_is_noticed() -> None:
    file = MemoryFile()
    ref = fill(file, 1)[0]
    for offset in range(PAGE):
        byte = file.read_at(4 * PAGE + offset, 1)
        file.write_at(4 * PAGE + offset, [bytes([byte[0] ^ 0x10])])
        with pytest.raises(CorruptionError) as info:
            Pager(file, PAGE, 1 << 20, 7).read(ref)
        assert info.value.page == 4 and info.value.path == ":memory:"
        file.write_at(4 * PAGE + offset, [byte])
    Pager(file, PAGE, 1 << 20, 7).read(ref)


def test_stale_misdirected_foreign_and_missing_pages_are_told() -> None:
    file = MemoryFile()
    refs = fill(file, 2)
    newer = fill(MemoryFile(), 2, generation=6)

    def expect(file: File, ref: Ref, why: str, seed: int = 7) -> None:
        pager = Pager(file, PAGE, 1 << 20, seed)
        with pytest.raises(CorruptionError, match=why):
            pager.read(ref)
        assert pager.cache.count == 0

    expect(file, newer[0], "generation 5, not 6")
    expect(file, (refs[0][0], refs[0][1], refs[1][2]), "not the version")
    swapped = MemoryFile(bytes(file))
    swapped.write_at(4 * PAGE, [file.read_at(5 * PAGE, PAGE)])
    expect(swapped, refs[0], "it is page 5")
    torn = MemoryFile(bytes(file))
    torn.write_at(4 * PAGE + 512, [b"old" * 100])
    expect(torn, refs[0], "checksum")
    expect(MemoryFile(bytes(file)), refs[0], "checksum", seed=8)
    expect(file, (900, 5, 1), "end of the file")
    expect(MemoryFile(bytes(file)[: 5 * PAGE + 100]), refs[1], "end of the file")
    expect(file, (2**62, 5, 1), "end of the file")


def test_a_cold_page_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    DiskFile.create(path, b"").close()
    file = FaultyDisk(path)
    ref = fill(file, 1)[0]
    file.cold = True
    pager = Pager(file, PAGE, 1 << 20, 7)
    with pytest.raises(ColdPage):
        pager.read(ref, False)
    page = pager.read(ref, True)
    assert pager.read(ref, False) is page
    assert file.read_threads == ["MainThread"]


def answers(pager: Pager, ref: Ref) -> bool:
    """Whether a read need not wait; if it must, it is done all the same."""
    try:
        pager.read(ref, False)
    except ColdPage:
        pager.read(ref, True)
        return False
    return True


def test_a_page_that_the_system_has_is_read_at_once_and_one_it_lost_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    DiskFile.create(path, b"").close()
    file = DiskFile(path)
    refs = fill(file, 600)
    file.sync()
    cold, tries = 0, 0
    while not cold and tries < 5:  # what another processor has just touched the system may keep
        tries += 1
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        pager = Pager(file, PAGE, 1 << 24, 7)
        cold = sum(not answers(pager, ref) for ref in refs)
    again = Pager(file, PAGE, 1 << 24, 7)
    if not answers(again, refs[0]):
        pytest.skip("this file system has no reads that do not wait")
    assert cold > 0
    assert all(answers(again, ref) for ref in refs)


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    file = MemoryFile()
    refs = fill(file, 2000)
    pager = Pager(file, PAGE, 100 * PAGE, 7)
    favourite = pager.read(refs[0])
    for ref in refs[1:]:
        pager.read(ref)
        assert pager.read(refs[0]) is favourite
        assert pager.cache.bytes <= 100 * PAGE
    assert pager.cache.count == pager.cache.bytes // PAGE and pager.cache.count > 90
    assert pager.cache.evictions == 2000 - pager.cache.count
    last = [pager.reads, pager.read(refs[-1]) and pager.reads]
    assert last[0] == last[1]


def test_drafts_take_their_share_of_the_cache() -> None:
    file = MemoryFile()
    refs = fill(file, 200)
    pager = Pager(file, PAGE, 100 * PAGE, 7)
    draft = Draft(pager, 6)
    for _ in range(50):
        draft.new(LEAF, 0, PAGE)
    for ref in refs:
        pager.read(ref)
    assert pager.cache.bytes + pager.draft_bytes <= 100 * PAGE
    for _ in range(500):
        draft.new(LEAF, 0, PAGE)
    for ref in refs:
        pager.read(ref)
    assert 20 * PAGE <= pager.cache.bytes <= 25 * PAGE, "some room for reading is left to a write that does not spill"


def test_a_random_history_of_the_table_agrees_with_a_dict() -> None:
    import random

    random.seed(11)
    file = MemoryFile()
    refs = fill(file, 1000)
    pager = Pager(file, PAGE, 300 * PAGE, 7)
    for _ in range(20_000):
        i = int(random.paretovariate(0.5)) % 1000
        assert bytes(pager.read(refs[i]))[100:110].rstrip(b"\0") == f"page {i}".encode()
    assert pager.hits + pager.misses == 20_000 and pager.hits > 5000


def test_a_reused_number_replaces_the_old_page_in_the_cache() -> None:
    pager = Pager(MemoryFile(), PAGE, 1 << 20, 7)
    pager.page_count = 4
    first = Draft(pager, 1)
    old = first.settle(first.new(LEAF, 0, PAGE))
    first.write_out()
    first.complete()
    pager.page_count = 4
    second = Draft(pager, 2)
    page = second.new(LEAF, 0, PAGE)
    new = second.settle(page)
    second.write_out()
    second.complete()
    assert pager.read(new) is page and pager.cache.count == 1
    with pytest.raises(CorruptionError):
        pager.read(old)


def test_what_a_write_replaces_is_freed_once() -> None:
    file = MemoryFile()
    refs = fill(file, 3)
    pager = Pager(file, PAGE, 1 << 20, 7)
    draft = Draft(pager, 6)
    page, ref = draft.change(refs[1])
    assert draft.change(ref) == (page, ref) and draft.freed_pages == [(5, 1)] and draft.single_pages == 1
    depth = draft.mark()
    draft.discard(ref, PAGE)
    draft.discard(refs[0], PAGE)
    assert draft.freed_pages == [(5, 1), (4, 1)] and draft.single_pages == 0
    draft.rewind(depth)
    assert draft.freed_pages == [(5, 1)] and draft.single_pages == 1 and draft.change(ref)[0] is not page
    draft.rollback()
    assert pager.draft_count == 0 and pager.draft_bytes == 0 and pager.read(refs[1])


@pytest.mark.parametrize("kind", ["EIO", "ENOSPC", "short"])
def test_a_failing_write_is_reported_and_rolled_back(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    DiskFile.create(path, b"").close()
    file = FaultyDisk(path)
    file.faults = Faults(1, kind, frozenset({"write"}))
    pager = Pager(file, PAGE, 1 << 20, 7)
    pager.page_count = 4
    draft = Draft(pager, 1)
    draft.settle(draft.new(LEAF, 0, PAGE))
    with pytest.raises(OSError) as info:
        draft.write_out()
    assert info.value.filename == path and file.faults.hit
    draft.rollback()
    assert draft.waiting == 0 and pager.cache.count == 0 and pager.cache.bytes == 0


def test_memory_stays_within_the_cache(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    DiskFile.create(path, b"").close()
    code = f"""
import resource, sys
from modelvault._core.file import DiskFile
from modelvault._core.draft import Draft
from modelvault._core.pager import Pager
file = DiskFile({path!r})
pager = Pager(file, 4096, 1 << 20, 7)
pager.page_count = 4
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
refs = []
for generation in range(1, 53):
    draft = Draft(pager, generation)
    for _ in range(51):
        refs.append(draft.settle(draft.new(1, 0, 4096)))
    draft.write_out()
    draft.complete()
for _ in range(3):
    for ref in refs:
        pager.read(ref)
assert pager.reads > 6000, pager.reads
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert os.path.getsize(path) > 10 << 20
    assert grown < 4 * 1024, f"{grown} KiB for a cache of 1024 KiB"
