"""The engine over bytes: versions, writes, savepoints, sharing, errors; on disk and in memory."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelvault import _checkpoints
from modelvault._core.file import DiskFile, MemoryFile
from modelvault._core.walk import Tree
from modelvault._engine import Engine, Version, Write, entries, new_content
from modelvault._options import PAGE_SIZE
from modelvault.errors import ClosedError, LockedError, ModelVaultFormatError
from tests.faults import Faults, FaultyDisk, RecordingFile


@pytest.fixture(params=["memory", "disk"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine.open_in_memory() if request.param == "memory" else Engine.open(str(tmp_path / "db"))
    yield engine
    if not engine.closed:
        engine.check()
        engine.close()


def put(write: Write, tree: int, key: bytes, value: bytes) -> None:
    write.put(tree, key, value)


def delete(write: Write, tree: int, key: bytes) -> None:
    assert write.delete(tree, key)


def items(engine: Engine, version: Version, tree: int) -> list[tuple[bytes, bytes]]:
    return list(entries(engine.pager, version.roots[tree]))


def test_a_commit_becomes_the_newest_version(engine: Engine) -> None:
    write = engine.begin()
    tree = write.new_tree()
    put(write, tree, b"a", b"1")
    before = engine.latest
    after = engine.commit(write)
    assert engine.latest is after
    assert items(engine, after, tree) == [(b"a", b"1")]
    assert after.sequence == before.sequence + 1


def test_a_rollback_leaves_nothing(engine: Engine) -> None:
    write = engine.begin()
    tree = write.new_tree()
    put(write, tree, b"a", b"1")
    engine.commit(write)
    write = engine.begin()
    put(write, tree, b"b", b"2" * 50_000)
    delete(write, tree, b"a")
    engine.rollback(write)
    assert items(engine, engine.latest, tree) == [(b"a", b"1")]


def test_savepoints_nest(engine: Engine) -> None:
    write = engine.begin()
    tree = write.new_tree()
    put(write, tree, b"a", b"1")
    outer = write.savepoint()
    put(write, tree, b"b", b"2")
    inner = write.savepoint()
    put(write, tree, b"c", b"3")
    write.rewind(inner)
    put(write, tree, b"d", b"4")
    write.release(outer)
    engine.commit(write)
    assert [key for key, _ in items(engine, engine.latest, tree)] == [b"a", b"b", b"d"]


def test_a_pinned_version_does_not_move(engine: Engine) -> None:
    write = engine.begin()
    tree = write.new_tree()
    for number in range(500):
        put(write, tree, b"%06d" % number, b"x" * 100)
    engine.commit(write)
    pinned = engine.pin()
    expected = items(engine, pinned, tree)
    for round in range(5):
        write = engine.begin()
        for number in range(0, 500, 7):
            put(write, tree, b"%06d" % number, b"%d" % round)
        for number in range(round, 500, 5):
            delete(write, tree, b"%06d" % number)
        engine.commit(write)
    assert items(engine, pinned, tree) == expected
    engine.unpin(pinned)
    assert engine.pins == 0
    assert items(engine, engine.latest, tree) != expected


def test_definitions_survive_reopening(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path)
    write = engine.begin()
    number, tree = write.new_collection(), write.new_tree()
    schema = {"form": 1, "name": "users", "primary": "id", "version": 1, "fields": [["id", "int64"]], "indexes": []}
    definition = {"id": number, "name": "users", "tree": tree, "indexes": [], "schemas": [schema]}
    write.define(definition)
    engine.commit(write)
    engine.close()
    engine = Engine.open(path)
    assert engine.latest.definitions == {"users": definition}
    assert (number, tree) == (1, 2)
    write = engine.begin()
    assert (write.new_collection(), write.new_tree()) == (2, 3)
    engine.rollback(write)
    engine.check()
    engine.close()


def test_read_only_users_share_the_writer_of_their_process(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    writer = Engine.open(path)
    reader = Engine.open(path, read_only=True)
    assert reader is writer
    with pytest.raises(LockedError, match="already open for this path in this process") as caught:
        Engine.open(path)
    assert caught.value.pid == os.getpid()
    assert caught.value.filename == path
    writer.close(writer=True)
    assert not reader.closed
    reader.close()
    assert reader.closed
    with pytest.raises(ClosedError):
        reader.begin()


def test_a_writer_in_another_process_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path)
    script = (
        "import sys\nfrom modelvault._engine import Engine\nfrom modelvault.errors import LockedError\n"
        "try:\n    Engine.open(sys.argv[1])\nexcept LockedError as error:\n    print(error.errno, error.pid, error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    number, pid, text = result.stdout.split(" ", 2)
    assert int(number) == errno.EAGAIN
    assert pid in (str(os.getpid()), "None")
    assert "locked by another process" in text
    engine.close()


def test_a_reader_in_another_process_follows(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    engine = Engine.open(path)
    write = engine.begin()
    tree = write.new_tree()
    put(write, tree, b"n", b"0")
    engine.commit(write)
    script = (
        "import sys\nfrom modelvault._engine import Engine, entries\n"
        "engine = Engine.open(sys.argv[1], read_only=True)\n"
        "for line in sys.stdin:\n"
        "    version = engine.refresh()\n"
        f"    print(dict(entries(engine.pager, version.roots[{tree}]))[b'n'].decode(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for number in range(30):
            write = engine.begin()
            put(write, tree, b"n", b"%d" % number)
            engine.commit(write)
            reader.stdin.write("look\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == f"{number}\n"
        reader.stdin.close()
    engine.check()
    engine.close()


def test_a_handle_is_dead_in_a_forked_child(tmp_path: Path) -> None:
    engine = Engine.open(str(tmp_path / "db"))
    child = os.fork()
    if child == 0:
        try:
            engine.begin()
        except ClosedError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    engine.commit(engine.begin())
    engine.close()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4096, 4 * 8192])
def test_an_interrupted_creation_is_finished(tmp_path: Path, size: int) -> None:
    path = tmp_path / "db"
    path.write_bytes(bytes(size))
    engine = Engine.open(str(path))
    engine.check()
    engine.close()


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"hello world, this is not a database" * 100)
    before = path.read_bytes()
    with pytest.raises(ModelVaultFormatError, match="bad magic bytes"):
        Engine.open(str(path))
    assert path.read_bytes() == before


def test_pages_are_used_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = Engine.open(str(path))
    write = engine.begin()
    tree = write.new_tree()
    for number in range(2000):
        put(write, tree, b"%06d" % number, b"x" * 200)
    engine.commit(write)
    size = path.stat().st_size
    for round in range(300):
        write = engine.begin()
        for number in range(round % 10, 2000, 400):
            put(write, tree, b"%06d" % number, b"%d" % round * 60)
        engine.commit(write)
    assert path.stat().st_size < 3 * size
    engine.check()
    engine.close()


def test_a_write_larger_than_the_cache(tmp_path: Path) -> None:
    cache = 1 << 20
    engine = Engine.open(str(tmp_path / "db"), cache_size=cache)
    write = engine.begin()
    tree = write.new_tree()
    expected = {}
    spills = 0
    savepoint = None
    for number in range(20_000):
        key, value = b"%06d" % (number * 7919 % 20_000), b"%d" % number * (5000 if number % 500 == 0 else 40)
        put(write, tree, key, value)
        expected[key] = value
        if write.is_large:
            write.spill()
            spills += 1
        if number == 12_000:
            savepoint, kept = write.savepoint(), dict(expected)
        if number == 16_000:
            assert savepoint is not None
            write.rewind(savepoint)
            expected = kept
        assert engine.pager.draft_bytes < 2 * cache
    assert spills > 3
    engine.commit(write)
    assert items(engine, engine.latest, tree) == sorted(expected.items())
    engine.check()
    engine.close()
    engine = Engine.open(str(tmp_path / "db"), cache_size=cache)
    assert items(engine, engine.latest, tree) == sorted(expected.items())
    engine.close()


def test_a_version_pinned_while_a_checkpoint_is_sealed_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may pin what was the newest version until the sealed one takes its place."""
    engine = Engine.open(str(tmp_path / "db"))
    write = engine.begin()
    tree = write.new_tree()
    put(write, tree, b"first", b"1")
    engine.commit(write)
    for number in range(200):
        write = engine.begin()
        put(write, tree, b"%03d" % number, b"x" * 200)
        engine.commit(write)
    assert engine.log.used, "there is something to seal"
    expected = items(engine, engine.latest, tree)
    pinned: list[Version] = []
    real = _checkpoints.seal

    def pinning(*args: Any) -> Any:
        new = real(*args)
        pinned.append(engine.pin())
        return new

    monkeypatch.setattr(_checkpoints, "seal", pinning)
    engine.checkpoint()
    write = engine.begin()
    put(write, tree, b"later", b"2")
    engine.commit(write)
    assert items(engine, pinned[0], tree) == expected
    engine.unpin(pinned[0])
    engine.check()
    engine.close()


def test_no_sector_with_a_durable_record_is_written_again() -> None:
    """A power cut may ruin the sector that is being written: it must hold nothing that was acknowledged."""
    file = RecordingFile()
    engine = Engine.open_file(file)
    for number in range(40):
        write = engine.begin()
        tree = write.new_tree() if number == 0 else 2
        put(write, tree, b"%03d" % number, b"x" * (7 * number))
        engine.commit(write)
    extent = range(engine.log.first * PAGE_SIZE, (engine.log.first + engine.log.pages) * PAGE_SIZE)
    records = [event for event in file.log.events if event.kind == "write" and event.offset in extent][1:]
    assert len(records) > 30, "small commits go to the log"
    sectors = [
        sector
        for event in records
        for sector in range(event.offset // 512, -(-(event.offset + len(event.data)) // 512))
    ]
    assert len(sectors) == len(set(sectors))
    engine.check()
    engine.close()


def test_a_pinned_version_is_sound_after_a_checkpoint_has_sealed_its_pages(tmp_path: Path) -> None:
    """Its pages may stand by now where its own free tree says that there is room."""
    engine = Engine.open(str(tmp_path / "db"), page_size=4096)
    write = engine.begin()
    tree = write.new_tree()
    for number in range(300):
        put(write, tree, b"%04d" % number, b"x" * 200)
    engine.commit(write)
    for round in range(60):
        write = engine.begin()
        for number in range(round % 7, 300, 11):
            put(write, tree, b"%04d" % number, b"%d" % round * 60)
        engine.commit(write)
    assert engine.log.used and engine.stats()["free_pages"]
    expected = items(engine, engine.latest, tree)
    version = engine.pin()
    engine.checkpoint()
    engine.check(version)
    engine.check()
    assert items(engine, version, tree) == expected
    engine.unpin(version)
    engine.close()


def test_changes_that_nobody_noted_do_not_go_to_the_log(tmp_path: Path) -> None:
    """The record would be empty: whoever forgets to note a change, or to take room, gets a checkpoint."""
    engine = Engine.open(str(tmp_path / "db"))
    tree = 0
    for number in range(4):
        write = engine.begin()
        tree = tree or write.new_tree()
        put(write, tree, b"%d" % number, b"x")
        engine.commit(write)
    before = engine.checkpoints.count
    assert engine.log.used, "the last ones went there"
    write = engine.begin()
    target = Tree(write.draft, write.roots[tree])
    target.put(b"y", b"z")
    write.roots[tree] = target.root
    engine.commit(write)
    assert engine.checkpoints.count > before
    again = Engine.open_file(MemoryFile((tmp_path / "db").read_bytes()), read_only=True)
    assert (b"y", b"z") in items(again, again.latest, tree)
    again.close()
    engine.close()


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_pinned_version_keeps_its_own_pages_in_memory_and_no_later_ones(engine: Engine, checkpoints: bool) -> None:
    """What came and went while somebody reads was never seen by them: memory does not grow with the commits."""
    write = engine.begin()
    tree = write.new_tree()
    for number in range(300):
        put(write, tree, b"%04d" % number, b"x" * 200)
    engine.commit(write)
    version = engine.pin()
    expected = items(engine, version, tree)
    draw, drafts = random.Random(5), []
    for number in range(400):
        write = engine.begin()
        for _ in range(3):
            put(write, tree, b"%04d" % draw.randrange(300), b"y" * draw.randrange(200))
        engine.commit(write)
        if checkpoints and number % 20 == 19:
            engine.checkpoint()
        drafts.append(engine.stats()["drafts"])
        if number == 200:
            later = engine.pin()
            seen = items(engine, later, tree)
    assert items(engine, version, tree) == expected
    assert items(engine, later, tree) == seen
    engine.unpin(later)
    engine.unpin(version)
    assert max(drafts) <= 80, "two versions and the newest, of some 20 pages each"


@pytest.mark.parametrize("kind", ["EIO", "ENOSPC", "short"])
def test_every_failing_operation_leaves_the_last_commit(tmp_path: Path, kind: str) -> None:
    """Fail the n-th write, sync or reservation for every n: the file holds the last state or, unknown, the next."""
    at = 0
    while True:
        at += 1
        path = tmp_path / f"{kind}{at}"
        DiskFile.create(str(path), new_content(4096)).close()
        file = FaultyDisk(str(path))
        engine = Engine.open_file(file)
        file.faults = Faults(at=at, kind=kind, on=frozenset({"write", "sync", "resize", "reserve"}))
        states: list[dict[bytes, bytes]] = [{}]
        error = failure(engine, states)
        if error is not None:
            assert error.errno == (errno.ENOSPC if kind == "ENOSPC" else errno.EIO)
            assert error.filename == str(path)
        assert engine.write is None
        failed = file.faults.hit
        if len(states) > 1:
            assert dict(items(engine, engine.latest, 2)) == states[-1]
        if failed and kind != "ENOSPC":
            with pytest.raises(OSError, match="an earlier write failed"):
                engine.begin()
        elif failed and file.faults.struck == "sync" and engine.poisoned is not None:
            with pytest.raises(OSError, match="an earlier write failed"):  # what a failed sync did is unknown
                engine.begin()
        elif failed:
            run_rounds(engine, states)
        engine.close()
        reopened = Engine.open(str(path))
        found = dict(items(reopened, reopened.latest, 2)) if len(reopened.latest.roots) > 2 else {}
        assert found == states[-1] or (failed and found == following(states))
        reopened.check()
        reopened.close()
        path.unlink()
        if not failed:
            return


def failure(engine: Engine, states: list[dict[bytes, bytes]]) -> OSError | None:
    """What ended run_rounds, if anything did."""
    try:
        run_rounds(engine, states)
    except OSError as error:
        return error
    return None


def following(states: list[dict[bytes, bytes]]) -> dict[bytes, bytes]:
    """The state after the round that comes next."""
    return apply_round(len(states) - 1, states[-1])


def apply_round(round: int, state: dict[bytes, bytes]) -> dict[bytes, bytes]:
    state = dict(state)
    for number in range(round * 10, round * 10 + 60):
        state[b"%05d" % number] = b"%d" % round * (3000 if number % 17 == 0 else 30)
    for number in range(round * 10, round * 10 + 5):
        del state[b"%05d" % number]
    return state


def run_rounds(engine: Engine, states: list[dict[bytes, bytes]], rounds: int = 6) -> None:
    """Commit round after round; each acknowledged state is appended to `states`."""
    while len(states) <= rounds:
        round = len(states) - 1
        write = engine.begin()
        tree = 2 if len(engine.latest.roots) > 2 else write.new_tree()
        state = apply_round(round, states[-1])
        for key, value in state.items():
            if states[-1].get(key) != value:
                put(write, tree, key, value)
        for key in states[-1].keys() - state.keys():
            delete(write, tree, key)
        engine.commit(write)
        states.append(state)


@pytest.mark.parametrize("seed", range(20))
def test_every_power_cut_leaves_a_whole_commit(seed: int) -> None:
    """Cut the power between any two operations, with any part of what was not synced: a whole state is there."""
    draw = random.Random(seed)
    file = RecordingFile(new_content(4096))
    engine = Engine.open_file(file)
    states: list[dict[bytes, bytes]] = [{}]
    synced = [0]
    for _ in range(4):
        run_rounds(engine, states, len(states))
        synced.append(len(file.log.events))
    share = draw.choice([0.1, 0.5, 0.9])
    for position in range(len(file.log.events) + 1):
        content = file.log.crash(position, lambda: draw.random() < share)
        reopened = Engine.open_file(MemoryFile(content))
        found = dict(items(reopened, reopened.latest, 2)) if len(reopened.latest.roots) > 2 else {}
        whole = max(i for i, end in enumerate(synced) if end <= position)
        assert found in states[whole : whole + 2]
        reopened.check()
        run_rounds(reopened, [found], 1)
        reopened.check()
