"""A reader process beside a writer: what it may see, and when. Here both are engines with files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelvault._checkpoints import FIRST_LOG
from modelvault._core.file import DiskFile
from modelvault._engine import Engine, entries

TREE = 2


class Watched(DiskFile):
    """A file that tells when something was written and is not durable yet, and then when it is."""

    told: Callable[[], object] = staticmethod(lambda: None)

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        super().write_at(offset, buffers)
        self.told()

    def sync(self) -> None:
        self.told()
        super().sync()
        self.told()


class Synced(DiskFile):
    """A file that counts."""

    syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        super().sync()


def put(engine: Engine, number: int, size: int = 10) -> None:
    """One commit: this key, with so many bytes."""
    write = engine.begin()
    if len(write.roots) <= TREE:
        assert write.new_tree() == TREE
    write.put(TREE, b"%06d" % number, b"x" * size)
    engine.commit(write)


def keys(engine: Engine) -> list[int]:
    """What the newest version holds."""
    version = engine.refresh()
    return [int(key) for key, _ in entries(engine.pager, version.roots[TREE])] if len(version.roots) > TREE else []


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "db")
    Engine.open(path).close()
    return path


@pytest.fixture
def writer(path: str) -> Iterator[Engine]:
    engine = Engine.open_file(Watched(path))
    yield engine
    if not engine.closed:
        engine.check()
        engine.close()


@pytest.fixture
def reader(writer: Engine, path: str) -> Iterator[Engine]:
    engine = Engine.open_file(Synced(path, read_only=True), read_only=True)
    yield engine
    engine.check()
    engine.close()


def test_nobody_sees_a_commit_before_it_is_durable(writer: Engine, reader: Engine) -> None:
    expected: list[int] = []
    sizes = [10, 10, 10, 10, FIRST_LOG, 10, 10]  # the first makes the log, the large one goes past it
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        assert keys(reader) == expected

    writer.file.told = look  # type: ignore[attr-defined]
    for number, size in enumerate(sizes):
        put(writer, number, size)
        expected.append(number)
        look()
    assert looks > 4 * len(sizes)
    assert reader.file.syncs == 0, "what the writer shows is durable"  # type: ignore[attr-defined]


def test_a_reader_keeps_up_through_checkpoints(writer: Engine, reader: Engine) -> None:
    for number in range(300):
        put(writer, number, 1500)
        if number % 7 == 0:
            assert keys(reader) == list(range(number + 1))
    assert writer.checkpoints.count > 2
    assert reader.latest.generation >= writer.latest.generation - 1, "it holds no old generation"


def die(engine: Engine) -> None:
    """What a kill leaves of a process: the system closes its files."""
    engine.file.close()
    engine.closed = True


def test_a_commit_that_no_writer_showed_is_durable_before_it_is_seen(writer: Engine, reader: Engine) -> None:
    for number in range(3):
        put(writer, number)
    assert keys(reader) == [0, 1, 2]

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    writer.file.sync = kill  # type: ignore[method-assign]
    write = writer.begin()
    write.put(TREE, b"%06d" % 3, b"")
    with pytest.raises(Killed):
        writer.log.append(writer.log.pack(write.draft, [], write.next_tree, write.next_collection), True)  # type: ignore[arg-type]
    assert keys(reader) == [0, 1, 2], "the writer lives"
    die(writer)
    assert reader.file.syncs == 0  # type: ignore[attr-defined]
    assert keys(reader) == [0, 1, 2, 3]
    assert reader.file.syncs == 1  # type: ignore[attr-defined]
    assert keys(reader) == [0, 1, 2, 3]
    assert reader.file.syncs == 1, "only once"  # type: ignore[attr-defined]


def test_a_new_writer_begins_with_what_readers_have_seen(writer: Engine, reader: Engine, path: str) -> None:
    for number in range(4):
        put(writer, number)
    die(writer)
    assert keys(reader) == [0, 1, 2, 3]
    successor = Engine.open_file(DiskFile(path))
    assert keys(reader) == [0, 1, 2, 3]
    put(successor, 4)
    assert keys(reader) == keys(successor) == [0, 1, 2, 3, 4]
    successor.close()
    assert keys(reader) == [0, 1, 2, 3, 4]


def test_a_writer_that_comes_while_a_reader_looks_says_how_far_it_may_see(
    writer: Engine, reader: Engine, path: str
) -> None:
    for number in range(4):
        put(writer, number)
    die(writer)
    successor: list[Engine] = []

    def come() -> None:
        if not successor:
            successor.append(Engine.open_file(DiskFile(path)))
            put(successor[0], 4)

    reader.file.sync = come  # type: ignore[method-assign]
    assert keys(reader) == [0, 1, 2, 3, 4]
    successor[0].close()


def test_a_pinned_generation_stays_locked(writer: Engine, reader: Engine) -> None:
    put(writer, 0)
    assert keys(reader) == [0]
    pinned = reader.pin()
    generation = pinned.generation
    for number in range(1, 200):
        put(writer, number, 2000)
        if number % 20 == 0:
            assert len(keys(reader)) == number + 1
            assert writer.file.oldest_snapshot(0, writer.meta.generation) == generation
    assert [int(key) for key, _ in entries(reader.pager, pinned.roots[TREE])] == [0]
    reader.unpin(pinned)
    assert writer.file.oldest_snapshot(0, writer.meta.generation) == reader.latest.generation


class Slow(DiskFile):
    """A file of a reader who is interrupted once, when it knows which generation it wants to lock."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def lock_snapshot(self, generation: int) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super().lock_snapshot(generation)


def test_a_reader_that_comes_too_late_takes_the_next_generation(writer: Engine, path: str) -> None:
    """Between its look at the meta and its lock the writer commits, and writes to pages that were given up by that."""
    writes = []

    def go_on() -> None:
        put(writer, 0, 3000)
        writer.checkpoint()
        write = writer.begin()
        writes.append(write)
        write.take_room()
        for number in range(200):
            write.put(TREE, b"%06d" % number, b"y" * 3000)
            write.spill()

    for number in range(200):
        put(writer, number, 3000)
    writer.checkpoint()
    file = Slow(path, read_only=True)
    file.meanwhile = go_on
    reader = Engine.open_file(file, read_only=True)
    assert keys(reader) == list(range(200))
    writer.rollback(writes[0])
    reader.close()


def test_a_reader_may_keep_what_the_writer_has_not_gone_beyond(writer: Engine, path: str) -> None:
    """A large commit is in the file, and its writer stopped before it let others see it."""
    put(writer, 0)
    writer.checkpoint()
    shown = writer.file.publish
    writer.file.publish = lambda sequence: None  # type: ignore[method-assign]
    put(writer, 1, FIRST_LOG)
    reader = Engine.open_file(DiskFile(path, read_only=True), read_only=True)
    assert keys(reader) == [0]
    writer.file.publish = shown  # type: ignore[method-assign]
    writer.file.publish(writer.latest.sequence)
    assert keys(reader) == [0, 1]
    reader.close()
