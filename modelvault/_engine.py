"""The engine: one file (or memory), its catalog, its versions, and at most one write at a time.

Everything here is synchronous and knows only bytes and tree ids; async and models are floors above.

A commit takes one of two ways. A small one goes to the log: one record, one sync, and its drafts stay in memory as the
newest version. A large one is a checkpoint: its pages are sealed and written, and the meta names them. What the log has
collected is made into a checkpoint in the background; `_seal` does the part in memory, `_store` the part that waits.

What this is not: a queue. Whoever calls `begin`, `inline` or `checkpoint` has the writer's turn; who has it is decided
above.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from modelvault._core.commit import changed_trees, name_pages, seal, write_pages
from modelvault._core.file import DiskFile, File, MemoryFile
from modelvault._core.log import LOG_HEADER, RECORD_SHARE, Log
from modelvault._core.meta import PAGE_SIZES, Meta, first_pages, read_meta, unpack
from modelvault._core.pager import Draft, Pager
from modelvault._core.space import Space, check_space, free_runs
from modelvault._core.walk import Tree
from modelvault._keeper import Keeper
from modelvault._version import (
    CATALOG,
    FREE,
    Definition,
    Savepoint,
    Version,
    Write,
    apply_entries,
    changed_entries,
    entries,
    load_catalog,
)
from modelvault.errors import (
    ClosedError,
    ColdPage,
    CorruptionError,
    LockedError,
    ModelVaultFormatError,
    ModelVaultTransactionError,
)

__all__ = ["CACHE_SIZE", "PAGE_SIZE", "Definition", "Engine", "Savepoint", "Version", "Write", "entries", "new_content"]

PAGE_SIZE: Final = 8192
CACHE_SIZE: Final = 64 * 1024 * 1024

NO_PIN: Final = 2**64 - 1
META_SIZE: Final = 512
BLANK_SIZE: Final = 4 * 65536  # bytes of the meta pages, at most
DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

FIRST_LOG: Final = 64 * 1024  # bytes
SMALL_LOG: Final = 256 * 1024  # a log grows to this size in any file,
LOG_SHARE: Final = 8  # and then up to this part of the file
LAST_LOG: Final = 8 * 1024 * 1024
RESERVE: Final = 16  # pages behind the last one that let deletes happen on a full disk; see Space
SLACK: Final = 32  # pages that a checkpoint may need for the catalog and the free tree
GROWTH: Final = 16  # pages by which the file grows at least ahead of need
IDLE: Final = 1.0  # seconds without a commit before the log is made into a checkpoint
WINDOW: Final = 0.05  # seconds after which a relaxed commit is durable
PATIENCE: Final = 100  # times that a reader looks again while the writer is faster

DURABILITY: Final = ("full", "relaxed", "off")


class Checkpoint(NamedTuple):
    """What is sealed and not stored yet: pages, the meta that names them, the one before, the log's head."""

    draft: Draft
    new: Meta
    meta: Meta
    position: int


class Turns(Protocol):
    """The writer's turn, for work in the background."""

    def try_enter(self) -> bool:
        """Take the turn if nobody has it."""

    def leave(self) -> None:
        """Give it up."""


class Engine:
    """One open database. Writable engines are one per file and process; read-only users of the file get that one.

    Not thread-safe for writes: one caller at a time may use a Write. Reads of `latest` need no lock.

    durability: "full": a commit returns when it is durable. "relaxed": it is durable within WINDOW. "off": when the
    system sees fit. strict: refuse a file whose log ends in an unfinished record.
    """

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
        self.file = file
        self.pager = pager
        self.meta = meta  # of the newest checkpoint, stored or not
        self.read_only = read_only
        self.volatile = volatile
        self.durability = durability
        self.poisoned: BaseException | None = None
        self.users = 1
        self.closed = False
        self.write: Write | None = None
        self.turns: Turns | None = None
        self.truncated = 0  # bytes of an unfinished record that `open` left behind
        self.checkpoints = 0
        self._lock = threading.Lock()
        self._pinned: dict[int, int] = {}  # stamp of each pinned version -> its generation
        self._process = os.getpid()
        self._identity = file.identity
        self._inline: Write | None = None
        self._keeper = Keeper("modelvault-keeper")
        self._store_lock = threading.Lock()
        self._unstored: Checkpoint | None = None
        self._reserved = 0  # bytes of the file that surely have their disk space
        self._logged = False  # has there been a commit that could have gone to the log?
        self._active = 0.0  # when the last commit went to the log
        self._watching = self._flushing = False  # jobs of the keeper that are due
        self._log_file = file.twin() if not (volatile or read_only) else file
        self._load(meta)
        self._recover(strict)

    @property
    def path(self) -> str:
        """The path as given to `open`, or ':memory:'."""
        return str(self.file.path)

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
        meta = lock_newest(file) if read_only else read_meta(file)
        pager = Pager(file, meta.page_size, cache_size, meta.seed)
        return cls(file, pager, meta, read_only=read_only, volatile=volatile, durability=durability, strict=strict)

    @classmethod
    def open_in_memory(cls, *, page_size: int = PAGE_SIZE) -> Engine:
        """A new database in memory."""
        return cls.open_file(MemoryFile(), volatile=True, page_size=page_size)

    def _share(self, file: File, path: str, read_only: bool) -> Engine:
        """This engine for a second, read-only user of its file; LockedError for a second writer."""
        if not read_only:
            message = f"writable storage already open for this path in this process: {path}"
            raise LockedError(errno.EAGAIN, message, path, pid=os.getpid())
        file.close()
        self.users += 1
        return self

    def _load(self, meta: Meta) -> None:
        """Begin with the trees of a stored checkpoint."""
        self.meta = meta
        self.pager.page_count, self.pager.free_pages = meta.page_count, meta.free_pages
        self.pager.start_over()
        self._next_ids = (meta.next_tree, meta.next_collection)
        self._stored, self._stored_definitions = load_catalog(self.pager, meta)
        self.log = Log(self._log_file, meta)
        self._show(copy(self._stored), self._stored_definitions)

    def _show(self, roots: Any, definitions: dict[str, Definition]) -> None:
        """These trees are the newest version."""
        self.latest = Version(roots, self.meta, self.log.sequence, definitions, self.pager.unnoted)

    def _recover(self, strict: bool) -> None:
        """Repeat what the log has, and find out how it ends.

        ModelVaultFormatError if it ends in an unfinished record and `strict`; CorruptionError if it misses a commit.
        """
        self._replay()
        if self.read_only:
            self._check_end()
            return
        torn = self.log.torn()
        if torn and strict:
            raise ModelVaultFormatError(
                f"format error: unclean log tail (strict open): torn_tail; {torn} bytes behind commit "
                f"{self.log.sequence} of {self.path} are no whole record; recovery='auto_truncate' leaves them out"
            )
        self.truncated = torn
        if self.log.used:
            if self.durability != "off":
                self._log_file.sync()  # what was read may stand in the system's cache only
                self.log.synced(self.log.sequence)
            self._tend()

    def _replay(self) -> None:
        """Apply the records of the log that are not in the newest version yet."""
        before = self.log.sequence
        draft = Draft(self.pager)
        roots = copy(self.latest.roots)
        try:
            changes, next_tree, next_collection = self.log.replay(draft, roots)
        except BaseException:
            draft.rollback()
            raise
        if self.log.sequence == before:
            return
        if next_tree is not None and next_collection is not None:
            self._next_ids = (next_tree, next_collection)
        draft.publish()
        self._show(roots, apply_entries(self.latest.definitions, changes) if changes else self.latest.definitions)
        self.pager.release(self._least_stamp())

    def close(self) -> None:
        """Give up one use; the last one closes the file. A write that is open is rolled back.

        OSError if relaxed commits cannot be made durable. The log is made into a checkpoint if that is possible.
        """
        with _registry:
            self.users -= 1
            if self.users or self.closed:
                return
            self.closed = True
        try:
            if os.getpid() == self._process:
                if self.write is not None:
                    self.rollback(self.write)
                if not self.read_only and not self.volatile:
                    self._close_log()
        finally:
            with _registry:
                if _writers.get(self._identity) is self:
                    del _writers[self._identity]
            if self._log_file is not self.file:
                self._log_file.close()
            self.file.close()

    def _close_log(self) -> None:
        """Leave a file that has no log, and little room behind its last page."""
        if self.poisoned is not None:
            return
        try:
            self._wait()
            if self.log.capacity:
                self._seal(0)
                self._wait()
            size = (self.meta.page_count + RESERVE) * self.meta.page_size
            if self.file.size() > size:
                self.file.resize(size)
        except (OSError, CorruptionError):
            if self.durability == "relaxed" and self.poisoned is None:
                self._log_file.sync()

    def check_open(self) -> None:
        """ClosedError after close() and in a forked child."""
        if self.closed:
            raise ClosedError(f"the database {self.path} is closed")
        if os.getpid() != self._process:
            raise ClosedError(f"the database {self.path} was opened before a fork; open it again in this process")

    # Reading

    def refresh(self) -> Version:
        """The newest version; a read-only engine looks in the file for what the writer in another process committed."""
        if not self.read_only:
            return self.latest
        with self._lock:
            if self.is_behind():
                self._follow()
        return self.latest

    def is_behind(self, wait: bool = True) -> bool:
        """Whether the file has a newer commit: in the meta slot that the latest one is not in, or in the log.

        With wait False also True where it would have to wait for the disk.
        """
        page = 2 * ((self.meta.generation + 1) % 2)
        found = unpack(self.file.read_at(page * self.meta.page_size, META_SIZE, wait) or b"")
        if found is None or found[0].generation > self.meta.generation:
            return True
        try:
            return self.log.next(wait) is not None
        except ColdPage:
            return True

    def _follow(self) -> None:
        """Move to the newest commit of the writer's process."""
        sequence = self.log.sequence
        for _ in range(PATIENCE):
            previous = self.meta.generation
            newest = lock_newest(self.file)
            if newest.generation != previous:
                self.pager.retire_all()
                self._load(newest)
                self._unlock(previous)
            self._replay()
            if self.log.sequence >= sequence and not self._is_passed():
                return
        raise CorruptionError(f"{self.path}: its log misses commit {self.log.sequence + 1}", path=self.path)

    def _is_passed(self) -> bool:
        """Whether the file has a newer meta than ours."""
        return read_meta(self.file).generation != self.meta.generation

    def _check_end(self) -> None:
        """For a reader: CorruptionError if the log misses a commit, and not because the writer uses its space again."""
        for _ in range(PATIENCE):
            try:
                self.log.torn()
                return
            except CorruptionError:
                if not self._is_passed():
                    raise
                self._follow()

    def _unlock(self, generation: int) -> None:
        """The pages of a generation may be used again, as far as this reader is concerned."""
        if generation != self.meta.generation and generation not in self._pinned.values():
            self.file.unlock_snapshot(generation)

    def pin(self) -> Version:
        """The newest version, kept readable until `unpin`."""
        with self._lock:
            latest = self.latest
            version = latest.twin(copy(latest.roots) if self.volatile else latest.roots)
            version.stamp = self.pager.freeze()
            self._pinned[version.stamp] = version.generation
            return version

    def unpin(self, version: Version) -> None:
        """Give a pinned version up."""
        with self._lock:
            del self._pinned[version.stamp]
            if self.closed:
                return
            self.pager.release(self._least_stamp())
            if self.read_only:
                self._unlock(version.generation)

    def _least_stamp(self) -> int:
        """Drafts that were retired before this stamp are seen by nobody."""
        least = min(self._pinned, default=NO_PIN)
        return least if self.write is None else min(least, self.write.draft.begin)

    @property
    def pins(self) -> int:
        """How many versions are pinned."""
        return len(self._pinned)

    # Writing

    def inline(self) -> Write | None:
        """In memory, while no write is open: what is changed through the result is committed as it happens. Else None.

        Call `publish_inline` after each change, and change nothing if the change may fail half-way.
        """
        if not self.volatile or self.write is not None:
            return None
        if self._inline is None or self._pinned:
            draft = Draft(self.pager, 0, not self._pinned)
            self._inline = Write(self.latest, self.latest.roots, draft, None, self._next_ids)
        return self._inline

    def publish_inline(self, write: Write) -> None:
        """Make known what was changed through `inline`."""
        latest = self.latest
        write.draft.publish()
        latest.sequence += 1
        latest.definitions = write.definitions
        if self._pinned:
            self._inline = None
        self._next_ids = (write.next_tree, write.next_collection)

    def begin(self) -> Write:
        """Open the one Write. OSError on a read-only engine, and what poisoned the engine if something did."""
        self.check_open()
        self._check_writable()
        if self.write is not None:
            raise ModelVaultTransactionError("transaction error: a write is open on this engine")
        latest = self.latest
        limit = 0 if self.volatile else self.log.record_limit or FIRST_LOG // RECORD_SHARE
        draft = Draft(self.pager, record_limit=limit)
        room = None if self.volatile else self._give_room
        self.write = Write(latest, copy(latest.roots), draft, room, self._next_ids)
        self._inline = None
        return self.write

    def _check_writable(self) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, "database opened read-only", self.path)
        if self.poisoned is not None:
            self._refuse()

    def _refuse(self) -> NoReturn:
        """Raise what a write gets after an error that left the state of the file unknown."""
        message = f"an earlier write failed ({self.poisoned}); reopen the database to write again"
        raise OSError(errno.EIO, message, self.path) from self.poisoned

    def rollback(self, write: Write) -> None:
        """The write never was."""
        write.draft.rollback()
        self.pager.page_count, self.pager.free_pages = self.meta.page_count, self.meta.free_pages
        self.write = None

    def commit(self, write: Write) -> Version:
        """Make the write the newest version; blocking, and durable when it returns unless `durability` says less.

        A full disk rolls back and leaves the engine usable. Any other error while writing rolls back and poisons the
        engine: what was committed before can still be read, later writes raise, and whether this write comes back when
        the file is opened again is unknown.
        """
        if self.volatile:
            self._publish(write, self.latest.sequence + 1, replace(self.meta, generation=self.meta.generation + 1))
        elif write.space is None and write.roots[CATALOG] != write.base.roots[CATALOG]:
            raise AssertionError("the catalog was changed without take_room()")
        elif not self._commit_to_log(write):
            self._commit_pages(write)
        return self.latest

    def _publish(self, write: Write, sequence: int, meta: Meta) -> None:
        """The drafts of the write are the newest version from now on."""
        with self._lock:
            write.draft.publish()
            self._next_ids = (write.next_tree, write.next_collection)
            self.meta = meta
            self.latest = Version(write.roots, meta, sequence, write.definitions, self.pager.unnoted)
            self.write = None
            self.pager.release(self._least_stamp())

    def _commit_to_log(self, write: Write) -> bool:
        """Commit by one record of the log; False, and nothing done, if that cannot be."""
        log = self.log
        if write.space is not None or not log.capacity:
            return False
        changes = changed_entries(self.latest.definitions, write.definitions)
        record = log.pack(write.draft, changes, write.next_tree, write.next_collection)
        if record is None or (len(record) == LOG_HEADER and changed_trees(write.roots, self.latest.roots)):
            return False
        try:
            if not log.has_room(record):
                self._wait()
            if not log.has_room(record) or not self._reserve(write.draft):
                return False
        except BaseException as error:
            self._fail(write, error, unsure=False)
            raise
        try:
            log.append(record, self.durability == "full")
        except BaseException as error:
            log.erase(record)
            self._fail(write, error, log.syncing)
            raise
        self._publish(write, log.sequence, self.meta)
        self._active = time.monotonic()
        self._tend()
        return True

    def _fail(self, write: Write, error: BaseException, unsure: bool) -> None:
        """Roll a write back whose commit failed. unsure: it is not known what of it is in the file."""
        self.rollback(write)
        if not is_full(error) or (unsure and not getattr(error, "harmless", False)):
            self.poisoned = self.poisoned or error

    def _reserve(self, draft: Draft, more: int = 0) -> bool:
        """See that the file has room for a checkpoint after this write, and `more` pages; False if the disk is full."""
        pages = self.pager.unsealed_pages + draft.single_pages + draft.extent_pages + more + RESERVE + SLACK
        page_size = self.meta.page_size
        needed = (self.meta.page_count + pages + pages // 16) * page_size
        if needed <= self._reserved:
            return True
        size = self.file.size()
        if size < needed:
            growth = max(pages // 8, GROWTH) * page_size
            try:
                self.file.reserve(size, needed + growth - size)
            except OSError as error:
                if not is_full(error):
                    raise
                with suppress(OSError):
                    self.file.resize(size)
                return False
            size = needed + growth
        self._reserved = size
        return True

    def _commit_pages(self, write: Write) -> None:
        """Commit by a checkpoint."""
        unsure = False
        try:
            if write.space is None:
                self._give_room(write)
            assert write.space is not None
            before = self.meta
            changes = changed_entries(self._stored_definitions, write.definitions)
            meta = self._next_meta(write.next_tree, write.next_collection, self.log.sequence + 1)
            new = seal(write.space, write.roots, self._stored, changes, meta, self._log_pages(write))
            write_pages(write.draft, new, before)
            if self.durability != "off":
                self.file.sync()
            unsure = True
            name_pages(self.file, new, before, self.durability != "off")
        except BaseException as error:
            self._fail(write, error, unsure)
            raise
        with self._lock:
            write.draft.complete()
            self.checkpoints += 1
            self._stored, self._stored_definitions = write.roots, write.definitions
            self._next_ids = (write.next_tree, write.next_collection)
            self.meta = new
            self._end_checkpoint(Checkpoint(write.draft, new, before, self.log.head))
            self.log.skip(new.sequence)
            if self.durability != "off":
                self.log.synced(new.sequence)
            self._show(copy(write.roots), write.definitions)
            self.write = None
            self.pager.release(self._least_stamp())

    def _log_pages(self, write: Write) -> int:
        """How long the log shall be after a commit by checkpoint: the second small one makes it."""
        if self.log.capacity or not write.draft.record_size:
            return self.log.pages
        if not self._logged:
            self._logged = True
            return 0
        pages = FIRST_LOG // self.meta.page_size
        return pages if self._reserve(write.draft, pages) else 0

    def _give_room(self, write: Write) -> None:
        """Let a write have pages of the file, after everything that was committed before it."""
        self._wait()
        if self.log.used or self.pager.unsealed_pages or self.pager.unnoted:
            self._seal(self.log.pages)
            self._wait()
        write.draft.generation = self.meta.generation + 1
        write.allot(Space(write.draft, self._oldest_reader()), self._stored[CATALOG], self._stored[FREE])

    def _oldest_reader(self) -> int:
        """The oldest generation that somebody here or in another process reads."""
        elsewhere = self.file.oldest_snapshot(0, self.meta.generation)
        with self._lock:  # pin() may have read `latest` a while ago and not have entered it yet
            generation = self.meta.generation
            return min(generation, *self._pinned.values(), generation if elsewhere is None else elsewhere)

    # Checkpoints

    def checkpoint(self) -> None:
        """Bring everything that is committed into the trees of the file; blocking. The log is empty then."""
        if self.volatile:
            return
        self.check_open()
        self._check_writable()
        self._wait()
        if self.log.used:
            self._seal(self.log.pages)
            self._wait()

    def _next_meta(self, next_tree: int, next_collection: int, sequence: int) -> Meta:
        """The next meta, but for what sealing finds out."""
        log = self.log
        return replace(
            self.meta,
            next_tree=next_tree,
            next_collection=next_collection,
            sequence=sequence,
            log_start=log.start,
            log_chain=log.chain,
        )

    def _seal(self, log_pages: int) -> None:
        """Give the newest version its pages in the file: in memory, `_store` must follow. OSError: there is no room."""
        latest = self.latest
        draft = Draft(self.pager, self.meta.generation + 1)
        draft.adopt()
        space = Space(draft, self._oldest_reader())
        roots = copy(latest.roots)
        roots[CATALOG], roots[FREE] = self._stored[CATALOG], self._stored[FREE]
        changes = changed_entries(self._stored_definitions, latest.definitions)
        meta = self._next_meta(*self._next_ids, latest.sequence)
        try:
            new = seal(space, roots, self._stored, changes, meta, log_pages)
        except BaseException as error:
            if draft.waiting:
                self.poisoned = error
            else:
                draft.rollback()
                self.pager.page_count, self.pager.free_pages = self.meta.page_count, self.meta.free_pages
            raise
        with self._lock:
            draft.complete()
            self.pager.start_over()
            before, self.meta = self.meta, new
            self._stored, self._stored_definitions = roots, latest.definitions
            self._show(copy(roots), latest.definitions)
            self.pager.release(self._least_stamp())
            self._unstored = Checkpoint(draft, new, before, self.log.head)

    def _wait(self) -> None:
        """Store what is sealed, or wait for who does. OSError: it failed, now or before."""
        with self._store_lock:
            work = self._unstored
            if work is None:
                return
            if self.poisoned is not None:
                self._refuse()
            try:
                write_pages(work.draft, work.new, work.meta)
            except BaseException as error:
                if not is_full(error):  # else it may be tried again: what is to be written is still in memory
                    self.poisoned = error
                raise
            try:
                if self.durability != "off":
                    self.file.sync()
                name_pages(self.file, work.new, work.meta, self.durability != "off")
            except BaseException as error:
                if not getattr(error, "harmless", False):
                    self.poisoned = error
                raise
            self.checkpoints += 1
            self._unstored = None
            self._end_checkpoint(work)

    def _end_checkpoint(self, work: Checkpoint) -> None:
        """A meta is stored: the log's space before it may be used again."""
        if work.new.log_page == work.meta.log_page:
            self.log.release(work.position)
        else:
            self.log.move(work.new)
        if self.durability != "off":
            self.log.synced(work.new.sequence)

    def _tend(self) -> None:
        """After a commit to the log: see to it that it becomes durable, and a checkpoint before the log is full."""
        if self.durability == "relaxed" and not self._flushing:
            self._flushing = True
            self._keeper.call(self._flush, WINDOW)
        full = 4 * self.log.used > 3 * self.log.capacity
        if full or 2 * self.pager.draft_bytes > self.pager.cache_size:
            self._make_room(full)
        elif not self._watching:
            self._watching = True
            self._keeper.call(self._watch, IDLE)

    def _make_room(self, full: bool) -> None:
        """Begin a checkpoint, unless one is under way; what fails here fails again when the log is full."""
        if self._unstored is not None or self.write is not None:
            return
        pages = self.log.pages
        if full:
            page_size = self.meta.page_size
            most = max(self.meta.page_count // LOG_SHARE, SMALL_LOG // page_size)
            pages = max(pages, min(2 * pages, most, LAST_LOG // page_size))
        try:
            self._seal(pages)
            if pages != self.log.pages:
                self._wait()  # the next record goes to the new extent, which the file has to name first
            else:
                self._keeper.call(self._store)
        except (OSError, CorruptionError):
            return

    def _store(self) -> None:
        """The keeper's part of a checkpoint."""
        with suppress(OSError, CorruptionError):
            self._wait()

    def _flush(self) -> None:
        """Make relaxed commits durable."""
        self._flushing = False
        sequence = self.log.sequence
        if self._is_over():
            return
        try:
            self._log_file.sync()
            self.log.synced(sequence)
        except OSError as error:
            self.poisoned = self.poisoned or error

    def _watch(self) -> None:
        """When nothing has been committed for a while, make the log into a checkpoint."""
        self._watching = False
        if self._is_over() or not self.log.used:
            return
        turns = self.turns
        idle = time.monotonic() - self._active >= IDLE
        if idle and turns is not None and turns.try_enter():
            try:
                if not self._is_over() and self.write is None:
                    self._make_room(False)
            finally:
                turns.leave()
            return
        self._watching = True
        self._keeper.call(self._watch, IDLE)

    def _is_over(self) -> bool:
        """Whether nothing more will be written."""
        return self.closed or self.poisoned is not None

    # Looking after itself

    def check(self, version: Version | None = None) -> None:
        """Walk all trees of a pinned version, else of the newest: every page is reachable once, or free, or pending.

        CorruptionError if not.
        """
        version = version or self.latest
        draft = Draft(self.pager, 0, True)
        newest = NO_PIN if self.volatile else version.generation
        roots = [version.roots[tree] for tree in range(len(version.roots))]
        reached = [page for root in roots for page in Tree(draft, root).check(newest)]
        if self.volatile:
            return
        sealed = [(number, pages) for number, pages in reached if number < version.page_count]
        if len(sealed) + self._unsealed(reached) != len(reached):
            raise CorruptionError(f"{self.path}: a page is reached behind the end of the file", path=self.path)
        meta = version.meta
        log = [(meta.log_page, meta.log_pages)] if meta.log_pages else []
        check_space(version.page_count, sealed + version.freed + log, free_runs(self.pager, version.roots))

    def _unsealed(self, reached: list[tuple[int, int]]) -> int:
        """How many of these are drafts."""
        return sum(number >> 63 for number, _ in reached)

    def stats(self) -> dict[str, int]:
        """Counters and sizes in bytes, by name."""
        latest, log = self.latest, self.log
        return {
            **self.pager.stats(),
            "generation": latest.generation,
            "sequence": latest.sequence,
            "pins": self.pins,
            "checkpoints": self.checkpoints,
            "log_size": log.capacity,
            "log_used": log.used,
        }


_registry: Final = threading.RLock()  # a forgotten handle may be closed while one is opened
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


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk has no room."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


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


def lock_newest(file: File) -> Meta:
    """The newest meta of a file that another process writes to, with its pages kept from being used again.

    Between reading a meta and locking its generation the writer may go on: the lock holds if it is at most one ahead.
    """
    meta = read_meta(file)
    while True:
        file.lock_snapshot(meta.generation)
        newest = read_meta(file)
        if newest.generation <= meta.generation + 1:
            return meta
        file.unlock_snapshot(meta.generation)
        meta = newest
