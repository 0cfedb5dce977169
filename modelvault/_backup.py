"""Snapshots as files and bytes: made, checked and put back, part by part, in worker threads.

A copy never comes into being under its name: it gets the name when it is whole and on the medium (`Replacement`).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any, Final

from modelvault._access import Access
from modelvault._compaction import compacting
from modelvault._copying import copy_pages, pour_into, pour_to_file
from modelvault._core.file import File, open_memory
from modelvault._core.replacement import Replacement
from modelvault._engine import Engine, Version
from modelvault._options import TIMEOUT, file_name
from modelvault._progress import Progress
from modelvault._runner import Runner

__all__ = ["Tell", "compact", "export", "load", "parts_of", "restore", "rewritten", "to_bytes"]

STEP: Final = 0.02  # seconds that a worker thread goes on before it looks whether it shall

Tell = bool | Callable[[int], object]
"""Who hears of progress: True for a line on standard error, or a function that gets the count so far."""


class Parts:
    """Work that is done in parts, in whatever thread calls `step`; `close` ends it between two parts."""

    def __init__(self, parts: Iterator[int], seconds: float = STEP) -> None:
        self._parts = parts
        self._seconds = seconds
        self._lock = threading.Lock()

    def step(self) -> int | None:
        """Do some parts, until they have taken `seconds`, or one if that is 0; how many bytes, None at the end."""
        done, some = 0, False
        end = monotonic() + self._seconds
        with self._lock:
            for size in self._parts:
                done, some = done + size, True
                if monotonic() >= end:
                    break
        return done if some else None

    def close(self) -> None:
        """Undo what the parts have left; waits for the one under way."""
        with self._lock:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()


async def parts_of(
    runner: Runner, parts: Iterator[int], what: str, progress: Tell, attend: Callable[[], object] | None = None
) -> None:
    """Do all parts in worker threads. A cancellation ends it between two of them, and so does what `attend` raises."""
    work = Parts(parts)
    meter = Progress(what, progress, "bytes")
    try:
        while (done := await runner.run(work.step)) is not None:
            meter.add(done)
            await runner.rest()
            if attend is not None:
                attend()
    finally:
        work.close()
    meter.close()


def to_path(make: Callable[[File], Iterator[int]], path: str, like: File | None) -> Iterator[int]:
    """A file made part by part, and then put at `path`. LockedError if a database is open there."""
    replacement = Replacement(path, like)
    try:
        yield from make(replacement.file)
        replacement.publish()
    finally:
        replacement.abandon()


async def export(access: Access, dest: Any, progress: Tell, *, version: Version | None = None) -> None:
    """Copy a pinned version, or the last commit, to a file."""
    path = file_name(dest, "dest_path")
    make = partial(pour_to_file if access.volatile else copy_pages, access.engine)
    await write_copy(access, make, path, "export", progress, version)


async def rewritten(access: Access, dest: Any, progress: Tell) -> None:
    """Copy the last commit to a file without any unused space."""
    path = file_name(dest, "dest_path")
    await write_copy(access, partial(pour_to_file, access.engine), path, "compact", progress, None)


async def write_copy(
    access: Access,
    make: Callable[[Version, File], Iterator[int]],
    path: str,
    what: str,
    progress: Tell,
    version: Version | None,
) -> None:
    """Write what `make` makes of a version to a file."""
    given = version
    version = given or await pin(access, f"to {what}")
    try:
        parts = to_path(partial(make, version), path, access.engine.file)
        await parts_of(access.runner, parts, what, progress, access.attend)
    finally:
        if version is not given:
            access.engine.unpin(version)


async def compact(access: Access, progress: Tell) -> None:
    """Compact the file in its place. ValueError in memory, OSError on a read-only handle."""
    access.stay_outside("compact")
    access.check_writable()
    if access.volatile:
        raise ValueError("compact_in_place is only supported for file-backed databases")
    async with access.upkeep:
        steps = Parts(compacting(access.engine), 0)
        meter = Progress("compact", progress, "bytes")
        timeout: float | None = TIMEOUT  # the first step may wait for who waits for this; the others have begun
        try:
            while (done := await in_turn(access, steps.step, timeout)) is not None:
                timeout = None
                meter.add(done)
                await access.runner.rest()
        finally:
            steps.close()
        meter.close()


async def in_turn(access: Access, step: Callable[[], int | None], timeout: float | None) -> int | None:
    """A step with the writer's turn, which others may have between two steps."""
    with access.runner.guard():
        await access.queue.enter(timeout)
        try:
            return await access.runner.finish(step)
        finally:
            access.queue.leave()


async def pin(access: Access, what: str) -> Version:
    """The last commit, outside of a transaction; to be unpinned."""
    access.stay_outside(what)
    await access.catch_up()
    return access.pin()


async def to_bytes(access: Access) -> bytes:
    """The last commit of a database in memory as the content of a file. ValueError for one on disk."""
    if not access.volatile:
        raise ValueError("snapshot_bytes is only supported for in-memory databases: export_snapshot writes a file")
    version = await pin(access, "snapshot_bytes")
    content: list[bytes] = []
    try:
        await parts_of(access.runner, poured(access.engine, version, content), "snapshot", False, access.attend)
    finally:
        access.engine.unpin(version)
    return content[0]


def poured(engine: Engine, version: Version, content: list[bytes]) -> Iterator[int]:
    """The parts of `to_bytes`: what it returns is in `content`."""
    file = open_memory()
    try:
        yield from pour_to_file(engine, version, file)
        content.append(file.read_at(0, file.size()) or b"")
    finally:
        file.close()


async def restore(runner: Runner, snapshot_path: Any, dest_path: Any, progress: Tell) -> None:
    """Put a copy of a database file in the place of another, with every page checked before."""
    source, dest = file_name(snapshot_path, "snapshot_path"), file_name(dest_path, "dest_path")
    await parts_of(runner, restored(source, dest), "restore", progress)


def restored(source: str, dest: str) -> Iterator[int]:
    """The parts of `restore`."""
    engine = Engine.open(source, read_only=True)
    try:
        if os.path.realpath(source) == os.path.realpath(dest):
            raise OSError(errno.EINVAL, "the snapshot and the destination are the same file", dest)
        version = engine.pin()
        try:
            yield from to_path(partial(copy_pages, engine, version), dest, engine.file)
        finally:
            engine.unpin(version)
    finally:
        engine.close()


async def load(runner: Runner, source: str | bytes) -> Engine:
    """A database in memory with the content of a file, or of its bytes; b"" is an empty one."""
    if source == b"":
        return Engine.open_in_memory()
    opened: list[Engine] = []
    try:
        await parts_of(runner, loaded(source, opened), "load", False)
    except BaseException:
        for engine in opened:
            engine.close()
        raise
    return opened[0]


def loaded(source: str | bytes, opened: list[Engine]) -> Iterator[int]:
    """The parts of `load`: the database that they fill is in `opened`."""
    if isinstance(source, str):
        engine = Engine.open(source, read_only=True)
    else:
        file = open_memory()
        file.write_at(0, [source])
        engine = Engine.open_file(file, read_only=True)
    try:
        version = engine.pin()
        try:
            opened.append(Engine.open_in_memory(page_size=version.meta.page_size))
            yield from pour_into(engine, version, opened[0])
        finally:
            engine.unpin(version)
    finally:
        engine.close()
