"""The engine: one file (or memory), its newest version, and at most one write at a time.

Everything here is synchronous and knows only bytes and tree ids; async and models are floors above.

A commit takes one of two ways. A small one goes to the log: one record, one sync, and its drafts stay in memory as the
newest version. A large one is a checkpoint: its pages are sealed and written, and the meta names them. What the log has
collected is made into a checkpoint in the background (`_checkpoints`).

What this is not: a queue. Whoever calls `begin`, `inline` or `checkpoint` has the writer's turn; who has it is decided
above.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final, Protocol

from modelvault._checkpoints import Checkpoints, refuse
from modelvault._committed import Committed
from modelvault._core.commit import changed_trees
from modelvault._core.draft import Draft
from modelvault._core.file import DiskFile, File, MemoryFile
from modelvault._core.meta import PAGE_SIZES, Meta, first_pages, read_meta, unpack
from modelvault._core.pager import Pager
from modelvault._definitions import CATALOG, Definition, Savepoint, Version, Write, changed_entries, entries
from modelvault._following import META_SIZE, Follower, lock_newest
from modelvault._frozen import replace
from modelvault._options import CACHE_SIZE, PAGE_SIZE
from modelvault.errors import ClosedError, LockedError, ModelVaultFormatError

__all__ = [
    "Definition",
    "Engine",
    "Savepoint",
    "Version",
    "Write",
    "entries",
    "new_content",
]

BLANK_SIZE: Final = 4 * 65536  # bytes of the meta pages, at most


class Listener(Protocol):
    """Who wants to know when an engine stops being the writer's."""

    def writer_left(self) -> None:
        """From now on another engine, or process, may write to the file."""


class Engine(Committed):
    """One open database. Writable engines are one per file and process; read-only users of the file get that one.

    Not thread-safe for writes: one caller at a time may use a Write. Reads of `latest` need no lock.

    durability: "full": a commit returns when it is durable. "relaxed": it is durable within WINDOW. "off": when the
    system sees fit. strict: refuse a file whose log ends in an unfinished record.
    """

    # What the core's History has, said again for type checkers.
    read_only: bool
    closed: bool
    room: Callable[[Write], None] | None
    next_ids: tuple[int, int]

    def __init__(
        self,
        file: File,
        pager: Pager,
        meta: Meta,
        *,
        read_only: bool,
        volatile: bool,
        durability: str = "full",
        strict: bool = False,
    ) -> None:
        log_file = file if volatile or read_only else file.twin()
        super().__init__(file, log_file, pager, meta, volatile=volatile)
        self.read_only = read_only
        self.durability = durability
        self.users: int = 1
        self.truncated: int = 0  # bytes of an unfinished record that `open` left behind
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self.checkpoints: Checkpoints = Checkpoints(self, durability)
        self.follower: Follower = Follower(self)
        self.room = None if volatile else self.checkpoints.give_room
        self._identity = file.identity
        self.lane = None
        self._ending = threading.Lock()
        self._following = threading.Lock()
        self._recover(strict)
        _open.add(self)

    # Opening and closing

    @classmethod
    def open(
        cls,
        path: str,
        *,
        read_only: bool = False,
        page_size: int = PAGE_SIZE,
        cache_size: int = CACHE_SIZE,
        durability: str = "full",
        strict: bool = False,
    ) -> Engine:
        """Open or create the file at `path`; blocking. OSError, LockedError, ModelVaultFormatError, CorruptionError.

        page_size: bytes, used when the file is made. cache_size: bytes of pages kept in memory.
        """
        with _registry:
            file = _open_or_create(path, read_only, page_size)
            try:
                engine = _writers.get(file.identity)
                if engine is not None:
                    return engine._share(file, path, read_only)
                engine = cls.open_file(
                    file,
                    read_only=read_only,
                    page_size=page_size,
                    cache_size=cache_size,
                    durability=durability,
                    strict=strict,
                )
            except BaseException:
                file.close()
                raise
            if not read_only:
                _writers[file.identity] = engine
            return engine

    @classmethod
    def open_file(
        cls,
        file: File,
        *,
        read_only: bool = False,
        volatile: bool = False,
        page_size: int = PAGE_SIZE,
        cache_size: int = CACHE_SIZE,
        durability: str = "full",
        strict: bool = False,
    ) -> Engine:
        """An engine over a file that nobody else in this process uses; an empty one becomes a new database."""
        if not read_only:
            file.lock_writer()
            if is_blank(file):
                file.write_at(0, [new_content(page_size)])
                file.sync()
        meta = lock_newest(file)[0] if read_only else read_meta(file)
        pager = Pager(file, meta.page_size, cache_size, meta.seed)
        return cls(file, pager, meta, read_only=read_only, volatile=volatile, durability=durability, strict=strict)

    @classmethod
    def open_in_memory(cls, *, page_size: int = PAGE_SIZE) -> Engine:
        """A new database in memory."""
        return cls.open_file(MemoryFile(), volatile=True, page_size=page_size)

    def fork(self) -> Engine:
        """A second database in memory, which begins as the newest version of this one. They share pages, not changes.

        Nobody may be in the middle of an inline change.
        """
        with self.lock:
            latest = self.latest
            pager = self.pager.fork(self.pager.freeze() if self.write is None else self.write.draft.begin)
            self.lane = None
        twin = Engine(self.file, pager, self.meta, read_only=False, volatile=True)
        twin.next_ids = self.next_ids
        twin.show(latest.roots.copy(), latest.definitions)
        return twin

    def _share(self, file: File, path: str, read_only: bool) -> Engine:
        """This engine for a second, read-only user of its file; LockedError for a second writer."""
        if not read_only:
            message = f"writable storage already open for this path in this process: {path}"
            raise LockedError(errno.EAGAIN, message, path, pid=os.getpid())
        file.close()
        self.users += 1
        return self

    def _recover(self, strict: bool) -> None:
        """Repeat what the log has, and find out how it ends.

        ModelVaultFormatError if it ends in an unfinished record and `strict`; CorruptionError if it misses a commit.
        """
        if self.read_only:
            self.follower.follow()
            self.follower.check_end()
            return
        self.replay()
        torn = self.log.torn()
        if torn and strict:
            raise ModelVaultFormatError(
                f"format error: unclean log tail (strict open): torn_tail; {torn} bytes behind commit "
                f"{self.log.sequence} of {self.path} are no whole record; recovery='auto_truncate' leaves them out"
            )
        self.truncated = torn
        if self.durability != "off" and not self.volatile:
            self.log_file.sync()  # what was read may stand in the system's cache only
            self.log.synced(self.log.sequence)
        self.file.publish(self.log.sequence)
        if self.log.used and self.checkpoints.is_due():
            self.checkpoints.tend()

    def close(self, *, writer: bool = False) -> None:
        """Give up one use, that of the writer if `writer`; the last one closes the file.

        Then, or when the writer goes, a write that is open is rolled back, and the log is made into a checkpoint if
        that is possible: OSError if relaxed commits cannot be made durable. Readers that stay follow the file from
        then on.
        """
        with _registry:
            self.users -= 1
            if self.closed or (self.users and (self.read_only or not writer)):
                return
            self.closed = not self.users
        with self._ending:
            try:
                if not self.forked and not self.read_only and not self.volatile:
                    self._finish()
            finally:
                if not self.forked and not self.closed:
                    self._step_down()
                with _registry:
                    if _writers.get(self._identity) is self:
                        del _writers[self._identity]
                if self.closed:
                    self.log_file.close()
                    self.file.close()

    def _finish(self) -> None:
        """The writer's last work."""
        if self.write is not None:
            self.rollback(self.write)
        self.checkpoints.end()

    def _step_down(self) -> None:
        """Become what a process is that only reads, so that there can be a new writer."""
        for listener in list(self.listeners):
            listener.writer_left()
        with self.lock:
            for generation in self.generations():
                self.file.lock_snapshot(generation)
            self.read_only = True
        self.file.unlock_writer()

    def leave(self) -> None:
        """End the use of a file without a log that stays open: it ends behind the last page then. OSError."""
        self.closed = True
        if self.log_file is not self.file:
            self.log_file.close()
        self.file.resize(self.meta.page_count * self.meta.page_size)

    def check_open(self) -> None:
        """ClosedError after close() and in a forked child."""
        if self.closed:
            raise ClosedError(f"the database {self.path} is closed")
        if self.forked:
            raise ClosedError(f"the database {self.path} was opened before a fork; open it again in this process")

    # Reading

    def refresh(self) -> Version:
        """The newest version; a read-only engine looks in the file for what the writer in another process committed."""
        if not self.read_only:
            return self.latest
        with self._following:
            if self.follower.is_behind():
                self.follower.follow()
        return self.latest

    def is_behind(self, wait: bool = True) -> bool:
        """Whether the file has a newer commit; without `wait` also True where it would have to wait for the disk."""
        return self.follower.is_behind(wait)

    def unused(self, generation: int) -> None:
        """See Committed."""
        if self.read_only:
            self.follower.unlock(generation)

    # Writing

    def inline(self) -> Write | None:
        """In memory, while no write is open: what is changed through the result is committed as it happens. Else None.

        Call `publish_inline` after each change, and change nothing if the change may fail half-way.
        """
        if not self.volatile or self.write is not None:
            return None
        if self.lane is not None:
            return self.lane
        write = Write(self.latest, self.latest.roots, Draft(self.pager, 0, not self.pinned), None, self.next_ids)
        if not self.pinned:
            self.lane = write
        return write

    def publish_inline(self, write: Write) -> None:
        """Make known what was changed through `inline`."""
        latest = self.latest
        write.draft.publish(self.newest_stamp())
        latest.sequence += 1
        latest.definitions = write.definitions
        self.next_ids = (write.next_tree, write.next_collection)

    def check_writable(self) -> None:
        """Raise unless there may be a write: ClosedError, OSError for a read-only or a poisoned engine."""
        self.check_open()
        if self.read_only:
            raise OSError(errno.EROFS, "database opened read-only", self.path)
        if self.poisoned is not None:
            refuse(self.poisoned, self.path)

    def commit(self, write: Write) -> Version:
        """Make the write the newest version; blocking, and durable when it returns unless `durability` says less.

        A full disk rolls back and leaves the engine usable. Any other error while writing rolls back and poisons the
        engine: what was committed before can still be read, later writes raise, and whether this write comes back when
        the file is opened again is unknown.
        """
        if self.volatile:
            self.publish(write, self.latest.sequence + 1, replace(self.meta, generation=self.meta.generation + 1))
        elif write.space is None and write.roots[CATALOG] != write.base.roots[CATALOG]:
            raise AssertionError("the catalog was changed without take_room()")
        elif not self.checkpoints.by_log(write) and not self._commit_to_log(write):
            try:
                self.checkpoints.commit(write)
            except BaseException as error:
                self.fail(write, error, self.checkpoints.naming)
                raise
        return self.latest

    def _commit_to_log(self, write: Write) -> bool:
        """Commit by one record of the log and what that asks for; False, and nothing done, if that cannot be."""
        log = self.log
        if write.space is not None or not log.capacity:
            return False
        latest = self.latest
        changes = changed_entries(latest.definitions, write.definitions)
        record = log.pack(write.draft, changes, write.next_tree, write.next_collection)
        if record is None or (not write.draft.record_size and changed_trees(write.roots, latest.roots)):
            return False
        try:
            if not log.has_room(record):
                self.checkpoints.wait()
                if not log.has_room(record):
                    return False
            if not (self.checkpoints.has_room(write.draft) or self.checkpoints.reserve(write.draft)):
                return False
        except BaseException as error:
            self.fail(write, error, False)
            raise
        self.checkpoints.log(write, record)
        if self.checkpoints.is_due():
            self.checkpoints.tend()
        return True

    def checkpoint(self) -> None:
        """Bring everything that is committed into the trees of the file; blocking. The log is empty then."""
        if self.volatile:
            return
        self.check_writable()
        self.checkpoints.run()

    def stats(self) -> dict[str, int]:
        """Counters and sizes in bytes, by name."""
        latest, log = self.latest, self.log
        return {
            **self.pager.stats(),
            "generation": latest.generation,
            "sequence": latest.sequence,
            "pins": self.pins,
            "checkpoints": self.checkpoints.count,
            "log_size": log.capacity,
            "log_used": log.used,
        }


_registry: Final = threading.RLock()  # a forgotten handle may be closed while one is opened
_open: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()
_writers: Final[dict[tuple[int, int] | None, Engine]] = {}  # writable engines of this process by device and inode


def _open_or_create(path: str, read_only: bool, page_size: int) -> DiskFile:
    """The file at `path`, made with an empty database in it if it is not there."""
    while True:
        try:
            return DiskFile(path, read_only=read_only)
        except FileNotFoundError:
            if read_only:
                raise
        try:
            return DiskFile.create(path, new_content(page_size))
        except FileExistsError:
            continue


def new_content(page_size: int) -> bytes:
    """The bytes of an empty database. ValueError for a page size that the format does not know."""
    if page_size not in PAGE_SIZES:
        raise ValueError(f"page_size must be one of {', '.join(map(str, PAGE_SIZES))}, not {page_size}")
    return first_pages(Meta(page_size, os.urandom(16)))


def is_blank(file: File) -> bool:
    """Whether the file is empty, or holds what an interrupted creation leaves: zeros and a part of the first metas."""
    size = file.size()
    if size > BLANK_SIZE:
        return False
    data = file.read_at(0, size) or b""
    sectors = [data[start : start + META_SIZE] for start in range(0, size, META_SIZE)]
    copies = [unpack(sector) for sector in sectors if any(sector)]
    if not all(copy is not None and copy[0].generation == 0 for copy in copies):
        return False
    try:
        read_meta(file)
    except ModelVaultFormatError:
        return True
    return False


def _after_fork() -> None:
    """In a forked child: no inherited engine works, and none keeps the parent's file open, and so locked."""
    for engine in list(_open):
        engine.forked = True
        engine.file.close()
        engine.log_file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
