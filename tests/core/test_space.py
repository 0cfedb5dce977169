"""Free space, and whole commits: what a commit takes, what it frees, and what a crash in it leaves."""

from __future__ import annotations

import errno
import itertools
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelvault._core.draft import Draft
from modelvault._core.file import DiskFile, File, MemoryFile
from modelvault._core.meta import Meta, first_pages, read_meta, write_meta
from modelvault._core.pager import Pager
from modelvault._core.space import Space, check_space, free_runs
from modelvault._core.tree import Roots
from modelvault._core.walk import Tree
from modelvault.errors import CorruptionError
from tests.faults import Faults, FaultyDisk, RecordingFile

PAGE = 4096
CATALOG, FREE, USER = 0, 1, 2
UUID = bytes(range(16))


class Store:
    """The smallest engine: one user tree, whose root stands in the catalog."""

    def __init__(self, file: File, cache_size: int = 1 << 22) -> None:
        self.file = file
        self.meta = read_meta(file)
        self.pager = Pager(file, self.meta.page_size, cache_size, self.meta.seed)
        self.pager.page_count, self.pager.free_pages = self.meta.page_count, self.meta.free_pages
        self.roots = Roots()
        self.roots[CATALOG] = (*self.meta.catalog, self.meta.catalog_entries)
        self.roots[FREE] = (*self.meta.free, self.meta.free_entries)
        self.roots[USER] = unpack(self.tree(CATALOG).get(b"t") or bytes(32))
        self.floor: int | None = None

    def begin(self, spend_reserve: bool = False) -> Write:
        return Write(self, spend_reserve)

    def tree(self, number: int) -> Tree:
        return Tree(Draft(self.pager), self.roots[number])

    def rows(self) -> dict[bytes, bytes]:
        return dict(self.tree(USER).items())

    def reached(self) -> list[tuple[int, int]]:
        return [run for number in (CATALOG, FREE, USER) for run in self.tree(number).check()]

    def check(self) -> None:
        reached = self.reached()
        runs = free_runs(self.pager, self.roots)
        check_space(self.pager.page_count, reached, runs)
        assert self.pager.free_pages == sum(pages for _, _, pages in runs)
        assert self.pager.draft_count == 0
        assert self.pager.draft_bytes == 0


def unpack(value: bytes) -> tuple[int, int, int, int]:
    """A root as the catalog has it."""
    return struct.unpack("<4Q", value)  # type: ignore[return-value]


class Write:
    """A private version of a store, and the commit in the order of the disk."""

    def __init__(self, store: Store, spend_reserve: bool) -> None:
        self.store = store
        self.roots = store.roots.copy()
        self.draft = Draft(store.pager, store.meta.generation + 1)
        floor = store.meta.generation if store.floor is None else store.floor
        self.space = Space(self.draft, floor, spend_reserve)

    def put(self, key: bytes, value: bytes) -> None:
        self.change(USER, "put", key, value)

    def delete(self, key: bytes) -> None:
        self.change(USER, "delete", key)

    def change(self, number: int, verb: str, *arguments: bytes) -> None:
        tree = Tree(self.draft, self.roots[number])
        getattr(tree, verb)(*arguments)
        self.roots[number] = tree.root

    def spill(self) -> None:
        self.change(USER, "spill")
        self.draft.write_out()

    def seal(self) -> None:
        self.change(CATALOG, "put", b"t", bytes(32))
        self.space.prepare(self.roots)
        self.change(USER, "seal")
        self.change(CATALOG, "put", b"t", struct.pack("<4Q", *self.roots[USER]))
        self.change(CATALOG, "seal")
        self.space.finish(self.roots)

    def write_pages(self) -> None:
        try:
            self.seal()
            self.draft.write_out()
            self.store.file.sync()
        except BaseException:
            self.draft.rollback()
            raise

    def write_meta(self) -> None:
        store = self.store
        catalog, free = self.roots[CATALOG], self.roots[FREE]
        meta = Meta(
            PAGE, UUID, self.draft.generation, 0, self.space.end, catalog[:3], free[:3], catalog[3], free[3],
            free_pages=self.space.free_pages,
        )  # fmt: skip
        write_meta(store.file, meta)
        store.file.sync()
        store.pager.page_count, store.pager.free_pages = self.space.end, self.space.free_pages
        store.meta, store.roots = meta, self.roots
        self.draft.complete()

    def commit(self) -> None:
        self.write_pages()
        self.write_meta()


def new_store(file: File | None = None) -> Store:
    file = MemoryFile() if file is None else file
    file.write_at(0, [first_pages(Meta(PAGE, UUID))])
    return Store(file)


def put_many(store: Store, rows: dict[bytes, bytes]) -> None:
    write = store.begin()
    for key, value in rows.items():
        write.put(key, value)
    write.commit()


def some_rows(count: int, seed: int = 1, size: int = 100) -> dict[bytes, bytes]:
    source = random.Random(seed)
    return {b"%06d" % i: source.randbytes(source.randrange(size)) for i in range(count)}


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_commit_is_there_after_reopening(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    if kind == "disk":
        DiskFile.create(path, first_pages(Meta(PAGE, UUID))).close()
    store = Store(DiskFile(path)) if kind == "disk" else new_store()
    rows = some_rows(500)
    put_many(store, rows)
    store.check()
    for generation in range(2, 10):
        put_many(store, {b"%06d" % generation: b"changed"})
        rows[b"%06d" % generation] = b"changed"
        store.check()
        again = Store(DiskFile(path) if kind == "disk" else store.file)
        assert again.rows() == rows
        assert again.meta.generation == generation
        again.check()


def test_a_rolled_back_write_leaves_no_trace() -> None:
    store = new_store()
    put_many(store, some_rows(300))
    before, count = store.rows(), store.pager.page_count
    for stage in range(2):
        write = store.begin()
        for i in range(0, 300, 3):
            write.delete(b"%06d" % i)
        if stage:
            write.seal()
        write.draft.rollback()
        store.check()
        assert store.rows() == before
        assert store.pager.page_count == count
    put_many(store, {b"x": b"y"})
    store.check()


def churn(store: Store, commits: int, seed: int, changes: int = 5, count: int = 600, size: int = 200) -> Iterator[int]:
    """Random updates, inserts and deletes; the file's pages after each commit."""
    source = random.Random(seed)
    rows = store.rows()
    for _ in range(commits):
        write = store.begin()
        for _ in range(source.randrange(1, 2 * changes)):
            key = b"%06d" % source.randrange(count)
            if source.random() < 0.3 and key in rows:
                write.delete(key)
                del rows[key]
            else:
                rows[key] = source.randbytes(source.randrange(size))
                write.put(key, rows[key])
        write.commit()
        yield store.pager.page_count
    assert store.rows() == rows


@pytest.mark.parametrize("changes", [1, 5, 40])
@pytest.mark.parametrize(("size", "count"), [(200, 600), (200, 15_000), (20_000, 60)])
def test_churn_does_not_grow_the_file_without_bound(changes: int, size: int, count: int) -> None:
    store = new_store()
    put_many(store, some_rows(count, size=size))
    sizes = []
    for i, pages in enumerate(churn(store, 3000, changes, changes, count, size)):
        sizes.append(pages)
        if i % 300 == 0:
            store.check()
    store.check()
    live = sum(pages for _, pages in store.reached())
    assert sizes[-1] <= 2 * live + 12 * changes * (1 + size // PAGE), (sizes[-1], live)
    assert sizes[-1] <= sizes[1500] * 1.1, sizes[::100]


def test_the_cost_of_a_commit_does_not_depend_on_the_free_pages() -> None:
    store = new_store()
    put_many(store, some_rows(6000))
    write = store.begin()
    for i in range(6000):
        if i % 200:
            write.delete(b"%06d" % i)
    write.commit()
    written = []
    for i in range(30):
        before = store.pager.writes
        put_many(store, {b"%06d" % (i * 200): b"new"})
        written.append(store.pager.writes - before)
    store.check()
    assert max(written) <= 8, written


def test_pages_are_not_reused_while_a_reader_needs_them() -> None:
    store = new_store()
    put_many(store, some_rows(600))
    for _ in churn(store, 20, 1):
        pass
    pinned, old_roots, expected = store.meta.generation, store.roots, store.rows()
    store.floor = pinned
    grown = list(churn(store, 100, 2))
    fresh = Pager(store.file, PAGE, 1 << 22, store.meta.seed)
    assert dict(Tree(Draft(fresh), old_roots[USER]).items()) == expected
    assert grown[-1] > grown[0]
    store.floor = None
    later = list(churn(store, 100, 3))
    assert later[-1] <= grown[-1] + 20
    store.check()


def without_slot(file: File, slot: int) -> MemoryFile:
    """The file with a damaged meta slot."""
    damaged = MemoryFile(bytes(file))
    for page in (2 * slot, 2 * slot + 1):
        damaged.write_at(page * PAGE, [bytes(512)])
    write_meta(damaged, read_meta(damaged, repair=True), slot=slot)
    return damaged


def test_what_a_commit_gave_up_is_used_by_the_next_one() -> None:
    store = new_store()
    put_many(store, some_rows(600))
    for value in range(20):
        put_many(store, {b"%06d" % i: b"%200d" % value for i in range(600)})  # every page of the rows changes
    store.check()
    live = sum(pages for _, pages in store.reached())
    assert store.pager.page_count <= 2 * live + 20


def test_the_newest_state_stays_whole_until_the_next_one_is_durable() -> None:
    store = new_store()
    put_many(store, some_rows(600))
    history = [{}, store.rows()]
    for i in range(60):
        generation = store.meta.generation + 1
        write = store.begin()
        write.put(b"%06d" % (i * 7), b"change %d" % i)
        write.write_pages()
        assert Store(store.file).rows() == history[generation - 1]
        assert Store(without_slot(store.file, generation % 2)).rows() == history[generation - 1]
        write.write_meta()
        history.append(store.rows())


def test_savepoints_and_early_writing() -> None:
    store = new_store()
    put_many(store, some_rows(400))
    source = random.Random(5)
    rows = store.rows()
    for round_number in range(80):
        write = store.begin()
        state: list[tuple[int, Roots, dict[bytes, bytes]]] = []
        for _ in range(source.randrange(1, 40)):
            action = source.random()
            if action < 0.25:
                state.append((write.draft.mark(), write.roots.copy(), dict(rows)))
            elif action < 0.45 and state:
                depth, roots, saved = state[source.randrange(len(state))]
                write.draft.rewind(depth)
                del state[depth + 1 :]
                write.roots, rows = roots.copy(), dict(saved)
            elif action < 0.55 and state:
                write.draft.forget(state.pop()[0])
            elif action < 0.75:
                write.spill()
            else:
                for _ in range(20):
                    key = b"%06d" % source.randrange(200)
                    rows[key] = source.randbytes(source.randrange(200 if source.random() < 0.9 else 9000))
                    write.put(key, rows[key])
        if round_number % 4 == 3:
            write.draft.rollback()
            rows = store.rows()
        else:
            write.commit()
        store.check()
        assert store.rows() == rows, round_number
    assert Store(store.file).rows() == rows


def test_what_was_supplied_and_not_used_is_free_again() -> None:
    store = new_store()
    for pages in (3, 50, 7):
        write = store.begin()
        write.space.supply(write.roots, pages)
        assert write.space.available == pages
        write.put(b"a", b"b")
        write.commit()
        store.check()
    assert store.pager.page_count < 90


def test_a_write_that_spills_again_and_again_uses_its_own_pages_again() -> None:
    store = new_store()
    put_many(store, some_rows(600))
    count = store.pager.page_count
    source = random.Random(5)
    write = store.begin()
    for _ in range(30):
        for _ in range(50):
            write.put(b"%06d" % source.randrange(600), source.randbytes(100))
        write.spill()
    write.commit()
    store.check()
    assert store.pager.page_count < 4 * count


def failure(store: Store, rows: dict[bytes, bytes]) -> OSError | None:
    """The error of a commit, if it has one."""
    try:
        put_many(store, rows)
    except OSError as error:
        return error
    return None


def test_every_failing_operation_of_a_commit_leaves_the_last_state(tmp_path: Path) -> None:
    for kind, lasting in itertools.product(["EIO", "ENOSPC", "short"], [False, True]):
        for at in itertools.count(1):
            path = str(tmp_path / f"{kind}-{lasting}-{at}")
            DiskFile.create(path, first_pages(Meta(PAGE, UUID))).close()
            store = Store(FaultyDisk(path))
            put_many(store, some_rows(100))
            before = store.rows()
            store.file.faults = Faults(at, kind, lasting=lasting)
            error = failure(store, {b"a": b"1", b"b": b"2"})
            if error is not None:
                assert error.errno == (errno.ENOSPC if kind == "ENOSPC" else errno.EIO)
                assert error.filename == path
            hit = store.file.faults.hit
            store.file.faults = Faults()
            store.file.close()
            again = Store(DiskFile(path))
            assert again.rows() in (before, {**before, b"a": b"1", b"b": b"2"})
            again.check()
            put_many(again, {b"c": b"3"})
            again.check()
            again.file.close()
            if not hit:
                break
        assert at > 4


class FullDisk(MemoryFile):
    """A disk with room for `limit` bytes."""

    limit = 1 << 40

    def reserve(self, offset: int, size: int) -> None:
        if offset + size > self.limit:
            super().reserve(offset, max(self.limit - offset, 0))
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        super().reserve(offset, size)


def test_a_full_disk_fails_cleanly_and_deletes_still_work() -> None:
    file = FullDisk()
    store = new_store(file)
    put_many(store, some_rows(300))
    file.limit = file.size() + 40 * PAGE + 100
    store.floor = 0  # a reader keeps every free page from being used
    for rows in (50, 1):  # until there is no room for a large commit, then for a small one
        error = None
        for i in itertools.count():
            before, content = store.rows(), bytes(file)
            error = failure(store, {b"x%06d%d" % (i, k): bytes(900) for k in range(rows)})
            store.check()
            if error is not None:
                break
        assert error.errno == errno.ENOSPC
        assert store.rows() == before
        assert bytes(file) == content
    write = store.begin()
    write.delete(b"%06d" % 0)
    with pytest.raises(OSError, match="No space"):
        write.commit()
    for i in range(5):
        write = store.begin(spend_reserve=True)
        for k in range(60):
            write.delete(b"%06d" % (60 * i + k))
        write.commit()
        store.check()
        store.floor = None
    for i in range(3):
        put_many(store, {b"after%d" % i: bytes(500)})
    store.check()
    assert file.size() <= file.limit


def test_a_full_disk_makes_a_commit_use_what_is_free() -> None:
    file = FullDisk()
    store = new_store(file)
    put_many(store, some_rows(6000))
    for i in range(6):
        put_many(store, {b"%06d" % (500 * i): b"scatter"})
    pages = sum(count for _, _, count in free_runs(store.pager, store.roots))
    assert store.pager.page_count > 5 * pages, "so little is free that the file would grow"
    file.resize(store.pager.page_count * PAGE)
    file.limit = file.size()
    for i in range(20):
        put_many(store, {b"%06d" % (101 * i): b"x"})
        store.check()
    assert store.pager.page_count * PAGE == file.limit


def test_a_longer_batch_than_this_version_makes_is_used_up() -> None:
    store = new_store()
    put_many(store, some_rows(20_000))
    write = store.begin()
    for i in range(0, 20_000, 150):
        write.delete(b"%06d" % i)
    write.commit()
    put_many(store, {b"a": b"b"})
    write = store.begin()
    runs = [struct.pack("<QI", first, pages) for _, first, pages in free_runs(store.pager, store.roots)]
    assert len(runs) > 100
    for key, _ in list(store.tree(FREE).items()):
        write.change(FREE, "delete", key)
    write.change(FREE, "put", struct.pack(">QI", 1, 0), b"".join(runs[:80]))
    write.change(FREE, "put", struct.pack(">QI", 1, 1), b"".join(runs[80:]))
    depth, roots = write.draft.mark(), write.roots.copy()
    write.space.supply(write.roots, 30)
    write.draft.rewind(depth)
    write.roots = roots
    write.commit()
    store.check()
    for _ in churn(store, 50, 1):
        store.check()


def test_a_power_cut_at_any_moment_leaves_one_of_two_states() -> None:
    source = random.Random(9)
    file = RecordingFile()
    store = new_store(file)
    store.file.sync()
    states = [store.rows()]
    marks = [len(file.log.events)]
    for i in range(12):
        write = store.begin()
        for _ in range(source.randrange(1, 30)):
            write.put(b"%06d" % source.randrange(300), source.randbytes(60))
        write.commit()
        states.append(store.rows())
        marks.append(len(file.log.events))
        assert store.meta.generation == i + 1
    for position in range(marks[0], len(file.log.events) + 1):
        acknowledged = sum(mark <= position for mark in marks) - 1
        for chance in (0.0, 0.5, 0.9, 1.0):
            left = Store(MemoryFile(file.log.crash(position, lambda chance=chance: source.random() < chance)))
            assert left.meta.generation in (acknowledged, acknowledged + 1)
            assert left.rows() == states[left.meta.generation]
            left.check()
            put_many(left, {b"next": b"commit"})
            left.check()


def test_damage_in_the_free_tree_is_told() -> None:
    with pytest.raises(CorruptionError, match="twice"):
        check_space(6, [(4, 2)], [(1, 5, 1)])
    with pytest.raises(CorruptionError, match="neither"):
        check_space(6, [(4, 1)], [])
    with pytest.raises(CorruptionError, match="not in the file"):
        check_space(6, [(4, 1)], [(1, 5, 2)])
    check_space(6, [(4, 1)], [(1, 5, 1)])
    store = new_store()
    put_many(store, some_rows(300))
    for value, why in [
        (struct.pack("<QI", 99999, 1), "not in the file"),
        (struct.pack("<QIQI", 5, 2, 6, 1), "free twice"),
        (b"abc", "3 bytes"),
    ]:
        write = store.begin()
        write.change(FREE, "put", bytes(12), value)
        write.put(b"a", b"b")
        with pytest.raises(CorruptionError, match=why):
            write.commit()
        store.check()
