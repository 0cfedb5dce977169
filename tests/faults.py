"""Files that fail, tear and remember: what a test puts in place of the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from modelvault._core.file import DiskFile, MemoryFile

TEAR = 512


@dataclass
class Faults:
    """Fails the n-th I/O (counted from 1 over all the operations named in `on`) and, if `lasting`, all later ones.

    kind: "EIO", "ENOSPC", or "short" (a write that writes half of it, then fails with EIO).
    """

    at: int = 0
    kind: str = "EIO"
    on: frozenset[str] = frozenset({"read", "write", "sync", "resize", "reserve"})
    lasting: bool = False
    count: int = 0
    hit: bool = False

    def strike(self, operation: str) -> bool:
        """Count an operation; whether it has to fail."""
        if operation not in self.on:
            return False
        self.count += 1
        failing = self.at > 0 and (self.count == self.at or (self.lasting and self.count > self.at))
        self.hit = self.hit or failing
        return failing

    def error(self, path: str) -> OSError:
        """What the failing operation raises."""
        code = errno.ENOSPC if self.kind == "ENOSPC" else errno.EIO
        return OSError(code, os.strerror(code), path)


class FaultyDisk(DiskFile):
    """A DiskFile that fails when its `faults` say so and notes the thread of each read in `read_threads`.

    `cold`: reads that must not wait answer None, as if nothing was in the system's cache.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.faults = Faults()
        self.cold = False
        self.read_threads: list[str] = []

    def read_at(self, offset: int, size: int, wait: bool = True) -> bytes | None:
        if self.faults.strike("read"):
            raise self.faults.error(self.path)
        if not wait and self.cold:
            return None
        self.read_threads.append(threading.current_thread().name)
        return super().read_at(offset, size, wait)

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        if self.faults.strike("write"):
            if self.faults.kind == "short":
                data = b"".join(buffers)
                super().write_at(offset, [data[: len(data) // 2]])
            raise self.faults.error(self.path)
        super().write_at(offset, buffers)

    def sync(self) -> None:
        if self.faults.strike("sync"):
            raise self.faults.error(self.path)
        super().sync()

    def resize(self, size: int) -> None:
        if self.faults.strike("resize"):
            raise self.faults.error(self.path)
        super().resize(size)

    def reserve(self, offset: int, size: int) -> None:
        if self.faults.strike("reserve"):
            raise self.faults.error(self.path)
        super().reserve(offset, size)


@dataclass
class Event:
    """One recorded operation: "write" (offset, data), "resize" (offset is the size) or "sync"."""

    kind: str
    offset: int = 0
    data: bytes = b""


@dataclass
class Log:
    """What happened to a file since `start` was its content."""

    start: bytes = b""
    events: list[Event] = field(default_factory=list)

    def syncs(self) -> int:
        """How many syncs were recorded."""
        return sum(event.kind == "sync" for event in self.events)

    def crash(self, position: int, choose: Any) -> bytes:
        """What a power cut before event `position` may leave.

        Everything up to the last sync is there. Of the later events each resize and each 512-byte piece of each write
        is there if choose() says so.
        """
        durable = max((i for i, event in enumerate(self.events[:position]) if event.kind == "sync"), default=-1)
        content = bytearray(self.start)
        for i, event in enumerate(self.events[:position]):
            if event.kind == "resize":
                if i <= durable or choose():
                    resize(content, event.offset)
            elif event.kind == "write":
                for piece in range(0, len(event.data), TEAR):
                    if i <= durable or choose():
                        put(content, event.offset + piece, event.data[piece : piece + TEAR])
        return bytes(content)


def resize(content: bytearray, size: int) -> None:
    """Cut or extend with zeros."""
    del content[size:]
    content.extend(bytes(size - len(content)))


def put(content: bytearray, offset: int, data: bytes) -> None:
    """Overwrite, growing if needed."""
    if len(content) < offset + len(data):
        resize(content, offset + len(data))
    content[offset : offset + len(data)] = data


class RecordingFile(MemoryFile):
    """A file in memory that notes every write, resize and sync, for replaying power cuts."""

    def __init__(self, content: bytes = b"", path: str = ":recorded:") -> None:
        super().__init__(content, path)
        self.log = Log(bytes(content))

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        data = b"".join(buffers)
        self.log.events.append(Event("write", offset, data))
        super().write_at(offset, [data])

    def resize(self, size: int) -> None:
        self.log.events.append(Event("resize", size))
        super().resize(size)

    def sync(self) -> None:
        self.log.events.append(Event("sync"))
