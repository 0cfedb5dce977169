"""Files that fail, tear and remember: what a test puts in place of the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from modelvault._core.file import DiskFile, File
from modelvault.errors import LockedError

TEAR = 512


@dataclass
class Faults:
    """Fails the n-th I/O (counted from 1 over all the operations named in `on`) and, if `lasting`, all later ones.

    kind: "EIO", "ENOSPC", or "short" (a write that writes half of it, then fails with EIO). On a simulated disk also
    "lost" and "phantom": EIO, and what was written and not synced is gone; with "phantom" it can still be read.
    """

    at: int = 0
    kind: str = "EIO"
    on: frozenset[str] = frozenset({"read", "write", "sync", "resize", "reserve"})
    lasting: bool = False
    count: int = 0
    hit: bool = False
    struck: str = ""  # the operation that failed first

    def strike(self, operation: str) -> bool:
        """Count an operation; whether it has to fail."""
        if operation not in self.on:
            return False
        self.count += 1
        failing = self.at > 0 and (self.count == self.at or (self.lasting and self.count > self.at))
        self.hit = self.hit or failing
        self.struck = self.struck or (operation if failing else "")
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


# A disk in memory that remembers


@dataclass
class Event:
    """One recorded operation.

    "write" (offset, data), "resize" (offset is the size), "sync" (offset is the number of events before it began:
    those are durable from here on, of a sync with a `reach` only what was written there), or "mark" (what a test wants
    to find again: `note`).
    """

    kind: str
    offset: int = 0
    data: bytes = b""
    note: Any = None
    reach: range | None = None

    def covers(self, event: Event) -> bool:
        """Of a sync: whether it makes this earlier event durable."""
        if self.reach is None:
            return True
        return (
            event.kind == "write" and event.offset in self.reach and event.offset + len(event.data) <= self.reach.stop
        )


@dataclass
class Window:
    """A moment before a sync ends: what is durable, and the sectors and sizes on their way to the disk.

    position: events that have happened. units: (offset, data) for a piece of a sector, (size, None) for a resize.
    starts: where the units of each operation begin.
    """

    position: int
    base: bytes
    units: list[tuple[int, bytes | None]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def state(self, chosen: Collection[int], ruined: int | None = None) -> bytes:
        """What is left if the chosen units reached the disk; the sector of unit `ruined` is zero."""
        content = bytearray(self.base)
        for number in sorted(chosen):
            offset, data = self.units[number]
            if data is None:
                resize(content, offset)
            else:
                put(content, offset, data)
        if ruined is not None:
            offset, data = self.units[ruined]
            put(content, offset, bytes(len(data or b"")))
        return bytes(content)

    def operation(self, number: int) -> range:
        """The units of one operation."""
        ends = [*self.starts[1:], len(self.units)]
        return range(self.starts[number], ends[number])


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

        Everything up to the last sync is there. Of the later events each resize and each piece of a sector of each
        write is there if choose() says so.
        """
        window = Log(self.start, self.events[:position]).last_window()
        return window.state([number for number in range(len(window.units)) if choose()])

    def last_window(self) -> Window:
        """The window after the last event."""
        *_, last = self.windows()
        return last

    def windows(self) -> Iterator[Window]:
        """The moment before the end of each sync, and the one after everything."""
        base = bytearray(self.start)
        pending: list[int] = []
        for position in range(len(self.events) + 1):
            event = self.events[position] if position < len(self.events) else None
            if event is not None and event.kind != "sync":
                pending.append(position)
                continue
            window = Window(position, bytes(base))
            for number in pending:
                add_units(window, self.events[number])
            yield window
            if event is not None:
                done = {number for number in pending if number < event.offset and event.covers(self.events[number])}
                for number in sorted(done):
                    apply(base, self.events[number])
                pending = [number for number in pending if number not in done]


def add_units(window: Window, event: Event) -> None:
    """Divide an event at the borders of sectors."""
    if event.kind in ("write", "resize"):
        window.starts.append(len(window.units))
    if event.kind == "resize":
        window.units.append((event.offset, None))
    elif event.kind == "write":
        start, end = event.offset, event.offset + len(event.data)
        while start < end:
            stop = min(end, start - start % TEAR + TEAR)
            window.units.append((start, event.data[start - event.offset : stop - event.offset]))
            start = stop


def apply(content: bytearray, event: Event) -> None:
    """Do what was recorded."""
    if event.kind == "resize":
        resize(content, event.offset)
    elif event.kind == "write":
        put(content, event.offset, event.data)


def resize(content: bytearray, size: int) -> None:
    """Cut or extend with zeros."""
    del content[size:]
    content.extend(bytes(size - len(content)))


def put(content: bytearray, offset: int, data: bytes) -> None:
    """Overwrite, growing if needed."""
    if len(content) < offset + len(data):
        resize(content, offset + len(data))
    content[offset : offset + len(data)] = data


class Medium:
    """One file of a simulated disk: its bytes as processes see them, and everything that was done to it.

    faults: which operation fails. capacity: bytes that the disk has for the file.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.log = Log(bytes(content))
        self.faults = Faults()
        self.capacity: int | None = None
        self.lock = threading.RLock()
        self.writer: object = None
        self.identity = (-1, next(_numbers))
        self.reach = threading.local()

    def mark(self, note: Any) -> None:
        """Remember that something happened here."""
        with self.lock:
            self.log.events.append(Event("mark", note=note))

    def write(self, offset: int, data: bytes) -> None:
        self.log.events.append(Event("write", offset, data))
        put(self.content, offset, data)

    def resize(self, size: int) -> None:
        self.log.events.append(Event("resize", size))
        resize(self.content, size)

    def sync(self) -> None:
        """Everything that was written before is durable, or what this thread has just written through."""
        self.log.events.append(Event("sync", len(self.log.events), reach=getattr(self.reach, "now", None)))

    def unsynced(self) -> list[Event]:
        """What the next sync of this thread makes durable."""
        pending: list[Event] = []
        for event in self.log.events:
            if event.kind == "sync":
                pending = [earlier for earlier in pending if not event.covers(earlier)]
            else:
                pending.append(event)
        reach = Event("sync", reach=getattr(self.reach, "now", None))
        return [event for event in pending if reach.covers(event)]

    def lose(self, readable: bool) -> None:
        """What was not synced never reaches the disk; it is gone at once unless it is still `readable`."""
        durable = self.log.last_window().base
        marks = [event for event in self.log.events if event.kind == "mark"]
        self.log = Log(durable, marks)
        if not readable:
            self.content = bytearray(durable)

    def check_room(self, end: int, path: str) -> None:
        """OSError ENOSPC if the file would grow beyond the disk."""
        if self.capacity is not None and end > max(self.capacity, len(self.content)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


_numbers = count()


class SimulatedFile(File):
    """An open file of a simulated disk."""

    def __init__(self, path: str, medium: Medium) -> None:
        super().__init__(path)
        self.medium = medium
        self.closed = False

    @property
    def log(self) -> Log:
        return self.medium.log

    def _strike(self, operation: str) -> bool:
        """Whether the operation fails; what is special about the kind of fault is for the caller."""
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        return self.medium.faults.strike(operation)

    def read_at(self, offset: int, size: int, wait: bool = True) -> bytes:
        with self.medium.lock:
            if self._strike("read"):
                raise self.medium.faults.error(self.path)
            return bytes(memoryview(self.medium.content)[offset : offset + size])

    def write_at(self, offset: int, buffers: Iterable[Any]) -> None:
        data = b"".join(buffers)
        with self.medium.lock:
            if self._strike("write"):
                if self.medium.faults.kind == "short":
                    self.medium.write(offset, data[: len(data) // 2])
                raise self.medium.faults.error(self.path)
            self.medium.check_room(offset + len(data), self.path)
            self.medium.write(offset, data)

    def write_through(self, offset: int, data: bytes) -> None:
        self.medium.reach.now = range(offset, offset + len(data))
        try:
            super().write_through(offset, data)
        finally:
            self.medium.reach.now = None

    def sync(self) -> None:
        with self.medium.lock:
            if self._strike("sync"):
                if self.medium.faults.kind in ("lost", "phantom"):
                    self.medium.lose(readable=self.medium.faults.kind == "phantom")
                raise self.medium.faults.error(self.path)
            self.medium.sync()

    def resize(self, size: int) -> None:
        with self.medium.lock:
            if self._strike("resize"):
                raise self.medium.faults.error(self.path)
            self.medium.check_room(size, self.path)
            self.medium.resize(size)

    def reserve(self, offset: int, size: int) -> None:
        with self.medium.lock:
            if self._strike("reserve"):
                raise self.medium.faults.error(self.path)
            self.medium.check_room(offset + size, self.path)
            if offset + size > len(self.medium.content):
                self.medium.resize(offset + size)

    def size(self) -> int:
        return len(self.medium.content)

    def sync_directory(self) -> None:
        """The name of a simulated file is always durable."""

    def close(self) -> None:
        self.closed = True
        if self.medium.writer is self:
            self.medium.writer = None

    @property
    def identity(self) -> tuple[int, int]:
        return self.medium.identity

    def lock_writer(self) -> None:
        if self.medium.writer not in (None, self):
            raise LockedError(errno.EAGAIN, "database file is locked", self.path, pid=os.getpid())
        self.medium.writer = self

    def unlock_writer(self) -> None:
        self.medium.writer = None


class RecordingFile(SimulatedFile):
    """A simulated file of its own, for replaying power cuts."""

    def __init__(self, content: bytes = b"", path: str = ":recorded:") -> None:
        super().__init__(path, Medium(content))


class SimulatedDisk:
    """Stands in for the class DiskFile in `modelvault._engine`: paths lead to Mediums, opened as `kind`."""

    def __init__(self, kind: type[SimulatedFile] = SimulatedFile) -> None:
        self.media: dict[str, Medium] = {}
        self.kind = kind

    def __call__(self, path: str, read_only: bool = False) -> SimulatedFile:
        if path not in self.media:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.kind(path, self.media[path])

    def create(self, path: str, content: bytes) -> SimulatedFile:
        """A new file whose content and name are durable."""
        if path in self.media:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        file = self.kind(path, self.media.setdefault(path, Medium(content)))
        file.lock_writer()
        return file

    def hold(self, path: str, content: bytes) -> Medium:
        """Put a file with this content there, in place of what was there."""
        medium = self.media[path] = Medium(content)
        return medium
