"""The door to the disk: reads, writes, errors and locks."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from modelvault._core.file import DiskFile, MemoryFile
from modelvault.errors import LockedError


@pytest.fixture
def path(tmp_path: Path) -> str:
    name = str(tmp_path / "x.modelvault")
    DiskFile.create(name, b"0123456789").close()
    return name


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_reads_see_what_was_written(kind: str, path: str) -> None:
    file = DiskFile(path) if kind == "disk" else MemoryFile(b"0123456789")
    file.write_at(4, [b"ab", bytearray(b"cd"), b"", memoryview(b"ef")])
    assert file.read_at(0, 100) == b"0123abcdef"
    assert file.read_at(5, 3) == b"bcd"
    assert file.read_at(50, 3) == b""
    file.write_at(12, [b"z"])
    assert file.read_at(8, 10) == b"ef\0\0z"
    file.sync()
    file.resize(3)
    assert file.size() == 3 and file.read_at(0, 10) == b"012"
    file.reserve(0, 5000)
    assert file.size() == 5000 and file.read_at(0, 5) == b"012\0\0"
    file.close()
    file.close()


def test_many_buffers_take_several_calls(path: str) -> None:
    file = DiskFile(path)
    file.write_at(0, [bytes([i % 251]) * 3 for i in range(5000)])
    assert file.read_at(0, 20000) == b"".join(bytes([i % 251]) * 3 for i in range(5000))


@pytest.mark.parametrize("offset", [1024, 3], ids=["past the cache", "where that cannot be"])
def test_what_is_written_through_is_there_for_everybody(path: str, offset: int) -> None:
    file = DiskFile(path)
    file.resize(16384)
    file.sync()
    twin, other = file.twin(), DiskFile(path, read_only=True)
    for number in range(3):
        data = bytes([65 + number]) * 512 * 2**number
        twin.write_through(offset, data)
        assert [each.read_at(offset, len(data)) for each in (file, twin, other)] == [data] * 3
    for each in (twin, file, other):
        each.close()
    assert Path(path).stat().st_size == 16384


def test_a_write_that_failed_before_the_sync_is_harmless() -> None:
    """Only then is it known that nothing of it can become durable."""

    class Failing(MemoryFile):
        failing = "write_at"

        def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
            if self.failing == "write_at":
                raise OSError(errno.ENOSPC, "no room")

        def sync(self) -> None:
            raise OSError(errno.EIO, "lost")

    file = Failing()
    for name, harmless in (("write_at", True), ("sync", False)):
        file.failing = name
        with pytest.raises(OSError) as caught:
            file.write_through(0, bytes(512))
        assert getattr(caught.value, "harmless", False) is harmless


def test_a_read_that_must_not_wait_answers_from_the_system_cache_or_not_at_all(path: str) -> None:
    file = DiskFile(path)
    file.read_at(0, 10)
    assert file.read_at(0, 10, False) in (b"0123456789", None)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="nothing to forget a file with")
def test_a_cold_file_is_asked_rarely_until_it_answers(path: str) -> None:
    step = 4 << 20  # farther than the system reads ahead
    with open(path, "r+b") as plain:
        plain.truncate(8 * step)
        for at in range(8):
            plain.seek(at * step)
            plain.write(b"0123456789")
        os.fsync(plain.fileno())
        os.posix_fadvise(plain.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file = DiskFile(path)
    missed = [file.read_at(at * step, 10, False) is None for at in range(6)]
    file.read_at(7 * step, 10)
    answers = [file.read_at(7 * step, 10, False) for _ in range(40)]
    if not all(missed[:4]):
        pytest.skip("this file system has it all in memory, or cannot tell")
    if any(answers):
        first = answers.index(b"0123456789")
        assert first < 16 and answers[first:] == [b"0123456789"] * (40 - first), "it is asked each time again"


def test_creation_needs_a_free_name(path: str) -> None:
    with pytest.raises(FileExistsError) as info:
        DiskFile.create(path, b"new")
    assert info.value.filename == path and Path(path).read_bytes() == b"0123456789"
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)], "nothing is left behind"


def test_creation_without_unnamed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    name = str(tmp_path / "y")
    DiskFile.create(name, b"abc").close()
    assert Path(name).read_bytes() == b"abc" and os.listdir(tmp_path) == ["y"]
    with pytest.raises(FileExistsError):
        DiskFile.create(name, b"other")
    assert os.listdir(tmp_path) == ["y"]


def test_creation_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        DiskFile.create(str(tmp_path / "y"), b"").close()
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "y").st_mode & 0o777 == 0o640


def test_a_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    class Full(DiskFile):
        def sync(self) -> None:
            raise OSError(errno.ENOSPC, "full", self.path)

    with pytest.raises(OSError):
        Full.create(str(tmp_path / "y"), b"abc")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_errors_of_opening(tmp_path: Path, read_only: bool) -> None:
    for name, code in [
        (str(tmp_path), errno.EISDIR),
        (str(tmp_path / "missing"), errno.ENOENT),
        (str(tmp_path / "missing" / "x"), errno.ENOENT),
        ("", errno.ENOENT),
        ("/dev/null", errno.EINVAL),
        ("a\0b", errno.EINVAL),
    ]:
        with pytest.raises(OSError) as info:
            DiskFile(name, read_only)
        assert (info.value.errno, info.value.filename) == (code, name)
    for name, code in [
        (str(tmp_path / "missing" / "x"), errno.ENOENT),
        (str(tmp_path), errno.EEXIST),
        ("", errno.ENOENT),
        ("a\0b", errno.EINVAL),
    ]:
        with pytest.raises(OSError) as info:
            DiskFile.create(name, b"")
        assert (info.value.errno, info.value.filename) == (code, name)


def test_creation_through_a_symbolic_link_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    DiskFile.create(str(tmp_path / "link"), b"abc").close()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"abc"


def test_errors_of_use_carry_errno_and_name(path: str) -> None:
    file = DiskFile(path, read_only=True)
    for call in (lambda: file.write_at(0, [b"x"]), lambda: file.resize(1), lambda: file.reserve(0, 100)):
        with pytest.raises(OSError) as info:
            call()
        assert info.value.errno in (errno.EBADF, errno.EINVAL) and info.value.filename == path
    file.close()
    for call in (lambda: file.read_at(0, 1), file.sync, file.size, file.lock_writer):
        with pytest.raises(OSError) as info:
            call()
        assert info.value.errno == errno.EBADF and info.value.filename == path
    with pytest.raises(TypeError):
        DiskFile(path).write_at(0, ["text"])


def test_there_is_one_writer(path: str) -> None:
    first, second = DiskFile(path), DiskFile(path)
    first.lock_writer()
    first.lock_writer()
    with pytest.raises(LockedError) as info:
        second.lock_writer()
    assert info.value.errno in (errno.EAGAIN, errno.EACCES) and info.value.filename == path
    assert info.value.pid == os.getpid() and "this process" in str(info.value)
    DiskFile(path).close()
    with pytest.raises(LockedError):
        second.lock_writer()
    first.close()
    second.lock_writer()


def test_another_process_is_named_and_its_death_frees_the_lock(path: str) -> None:
    code = (
        "import sys, time; from modelvault._core.file import DiskFile\n"
        f"f = DiskFile({path!r}); f.lock_writer(); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        file = DiskFile(path)
        try:
            with pytest.raises(LockedError) as info:
                file.lock_writer()
        finally:
            child.kill()
        assert info.value.pid == child.pid
    file.lock_writer()


def test_the_oldest_snapshot_of_other_handles(path: str) -> None:
    writer = DiskFile(path)
    writer.lock_writer()
    assert writer.oldest_snapshot(0, 2**64 - 1) is None
    readers = {}
    for generation in (900, 17, 400, 18, 2**40):
        readers[generation] = DiskFile(path, read_only=True)
        readers[generation].lock_snapshot(generation)
    writer.lock_snapshot(3)
    assert writer.oldest_snapshot(0, 2**64 - 1) == 17, "one's own do not count"
    assert writer.oldest_snapshot(18, 1000) == 18
    assert writer.oldest_snapshot(19, 399) is None
    assert writer.oldest_snapshot(400, 400) == 400
    also = DiskFile(path, read_only=True)
    also.lock_snapshot(17)
    readers[17].unlock_snapshot(17)
    assert writer.oldest_snapshot(0, 1000) == 17
    also.close()
    assert writer.oldest_snapshot(0, 1000) == 18
