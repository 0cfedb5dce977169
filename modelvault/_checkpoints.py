"""Checkpoints: what is committed is brought into the trees of the file, and the log's space is free again.

A checkpoint has two halves. Sealing happens in memory, in the writer's turn: every draft gets its place in the file.
Storing waits for the disk: the pages are written, then the meta that names them. In between writers go on with the log;
what was sealed is found in memory. The keeper's thread stores, and is also who makes relaxed commits durable.

A large write seals and stores its own pages as its commit.
"""

from __future__ import annotations

import errno
import threading
import time
from contextlib import suppress
from typing import Final, NoReturn, Protocol

from modelvault._committed import Committed
from modelvault._core.commit import RESERVE, Outlook, name_pages, seal, write_pages
from modelvault._core.draft import Draft
from modelvault._core.file import is_full
from modelvault._core.log import RECORD_SHARE, SMALL_LOG
from modelvault._core.meta import Meta
from modelvault._core.space import Space
from modelvault._definitions import CATALOG, FREE, Write, changed_entries
from modelvault._frozen import frozen, replace
from modelvault._keeper import Keeper
from modelvault.errors import CorruptionError

FIRST_LOG: Final = 64 * 1024  # bytes
LOG_SHARE: Final = 8  # a log grows to SMALL_LOG in any file, and then up to this part of it
LAST_LOG: Final = 8 * 1024 * 1024
GROWTH: Final = 16  # pages by which the file grows at least ahead of need
IDLE: Final = 1.0  # seconds without a commit before the log is made into a checkpoint
WINDOW: Final = 0.05  # seconds after which a relaxed commit is durable


@frozen
class Sealed:
    """What is sealed and not stored yet: pages, the meta that names them, the one before, the log's head."""

    draft: Draft
    new: Meta
    meta: Meta
    position: int


class Turns(Protocol):
    """The writer's turn, for work in the background."""

    def try_enter(self) -> bool:
        """Take the turn if nobody has it."""
        ...

    def leave(self) -> int:
        """Give it up."""
        ...


class Checkpoints(Outlook):
    """The checkpoints of one writable file.

    durability: "full", "relaxed" or "off", as the engine has it. turns: whose turn it is to write, for the background.
    """

    # What the core's Outlook has, said again for type checkers.
    reserved: int
    spare: int
    watched: bool
    unsynced: bool
    synced: bool
    active: float

    def __init__(self, state: Committed, durability: str) -> None:
        super().__init__(state)
        self.count: int = 0
        self.turns: Turns | None = None
        self.naming: bool = False
        """Is it unknown whether the file names the pages of the last `commit`?"""
        self._state = state
        self._durability = durability
        self._keeper = Keeper()
        self._storing = threading.Lock()
        self._sealed: Sealed | None = None
        self._first = state.meta.generation  # of those whose pages are counted in
        self._given_up: dict[int, int] = {}  # pages by the generation that does not need them, but maybe a reader does
        self._logged = False  # has there been a commit that could have gone to the log?
        self.unsynced = durability == "relaxed"
        self.synced = durability == "full"
        self._ended = False

    # By way of the log

    @property
    def _most_pages(self) -> int:
        """How long a log may be in a file with so much in it."""
        meta = self._state.meta
        used = meta.page_count - meta.free_pages
        return min(max(used // LOG_SHARE, SMALL_LOG // meta.page_size), LAST_LOG // meta.page_size)

    def reserve(self, draft: Draft, more: int = 0) -> bool:
        """See that the file has room for a checkpoint after this write, and `more` pages; False if the disk is full."""
        if self.size_needed(draft, more) <= self.reserved:
            return True
        self.wait()  # rather than let the file grow: what is given up when a checkpoint is stored may do,
        self._count_spare()  # and readers may have gone
        needed = self.size_needed(draft, more)
        if needed <= self.reserved:
            return True
        meta, file = self._state.meta, self._state.file
        size = file.size()
        if size < needed:
            growth = max((needed // meta.page_size - meta.page_count) // 8, GROWTH) * meta.page_size
            try:
                file.reserve(size, needed + growth - size)
            except OSError as error:
                if not is_full(error):
                    raise
                with suppress(OSError):
                    file.resize(size)
                return False
            size = needed + growth
        self.reserved = size
        return True

    def tend(self) -> None:
        """After a commit to the log: see to it that it becomes durable, and a checkpoint before the log is full."""
        if self.unsynced:
            self.unsynced = False
            self._keeper.call(self._flush, WINDOW)
        if self.is_near():
            self._begin(self._state.log.is_full)
        elif not self.watched:
            self.watched = True
            self._keeper.call(self._watch, IDLE)

    def _begin(self, full: bool) -> None:
        """Begin a checkpoint, unless one is under way; what fails here fails again when the log is full."""
        if self._sealed is not None or self._state.write is not None:
            return
        log = self._state.log
        pages = max(log.pages, min(2 * log.pages, self._most_pages)) if full else log.pages
        try:
            self._seal(pages)
            if pages != log.pages:
                self.wait()  # the next record goes to the new extent, which the file has to name first
            else:
                self._keeper.call(self._store)
        except (OSError, CorruptionError):
            return

    def _store(self) -> None:
        """The keeper's part of a checkpoint."""
        with suppress(OSError, CorruptionError):
            self.wait()

    def _flush(self) -> None:
        """Make relaxed commits durable."""
        self.unsynced = True
        state = self._state
        sequence = state.log.sequence
        if self._is_over():
            return
        try:
            state.log_file.sync()
            state.log.synced(sequence)
        except OSError as error:
            state.poisoned = state.poisoned or error

    def _watch(self) -> None:
        """When nothing has been committed for a while, make the log into a checkpoint."""
        self.watched = False
        if self._is_over() or not self._state.log.used:
            return
        turns = self.turns
        idle = time.monotonic() - self.active >= IDLE
        if idle and turns is not None and turns.try_enter():
            try:
                if not self._is_over() and self._state.write is None:
                    self._begin(False)
            finally:
                turns.leave()
            return
        self.watched = True
        self._keeper.call(self._watch, IDLE)

    def _is_over(self) -> bool:
        """Whether nothing more will be written."""
        return self._ended or self._state.closed or self._state.poisoned is not None

    # At once

    def run(self) -> None:
        """Bring everything that is committed into the trees of the file; blocking. The log is empty then."""
        self.wait()
        if self._state.log.used:
            self._seal(self._state.log.pages)
            self.wait()

    def end(self) -> None:
        """Leave a file that has no log, and little room behind its last page. OSError: relaxed commits may be lost."""
        state = self._state
        self._ended = True
        self._keeper.end()
        if state.poisoned is None:
            try:
                self.drop_log()
                self.trim()
            except (OSError, CorruptionError):
                if self._durability == "relaxed" and state.poisoned is None:
                    state.log_file.sync()
        if self._durability == "relaxed" and state.poisoned is not None and state.log.durable < state.log.sequence:
            refuse(state.poisoned, state.path)

    def drop_log(self) -> None:
        """Bring everything into the trees of the file, and do without a log; blocking. OSError."""
        self.wait()
        if self._state.log.capacity:
            self._seal(0)
            self.wait()

    def trim(self) -> None:
        """Let the file have little room behind its last page. OSError."""
        state = self._state
        size = (state.meta.page_count + RESERVE) * state.meta.page_size
        if state.file.size() > size:
            self.reserved = 0
            state.file.resize(size)

    def commit(self, write: Write) -> None:
        """Commit a write by sealing and storing its own pages. After an error the caller rolls it back."""
        state = self._state
        self.naming = False
        if write.space is None:
            self.give_room(write)
        assert write.space is not None
        before, synced = state.meta, self._durability != "off"
        changes = changed_entries(state.stored_definitions, write.definitions)
        meta = self._next_meta(write.next_tree, write.next_collection, state.log.sequence + 1)
        new = seal(write.space, write.roots, state.stored, changes, meta, self._log_pages(write))
        write_pages(write.draft, new, before)
        if synced:
            state.file.sync()
        self.naming = True
        name_pages(state.file, new, before, synced)
        work = Sealed(write.draft, new, before, state.log.head)
        self._given_up[new.generation] = given_up(write.draft)
        with state.lock:
            write.draft.complete(state.newest_stamp())
            state.stored, state.stored_definitions = write.roots, write.definitions
            state.next_ids = (write.next_tree, write.next_collection)
            state.meta = new
            self._end(work)
            state.log.skip(new.sequence)
            if synced:
                state.log.synced(new.sequence)
            state.reveal(state.version(write.roots.copy(), write.definitions))
            state.write = None
            state.pager.release(state.least_stamp())
        self._count_spare()

    def give_room(self, write: Write) -> None:
        """Let a write have pages of the file, after everything that was committed before it."""
        state = self._state
        self.wait()
        if state.log.used or state.pager.unsealed_pages or state.pager.unnoted:
            self._seal(state.log.pages)
            self.wait()
        write.draft.generation = state.meta.generation + 1
        write.allot(Space(write.draft, state.oldest_reader()), state.stored[CATALOG], state.stored[FREE])

    def _log_pages(self, write: Write) -> int:
        """How long the log shall be after a commit by checkpoint, so that the next one like it can go to the log.

        The second commit that is small enough makes the log. None does while the file is compacted: the beginning has
        no room for it, and at the end it would keep the file as long as it is.
        """
        log, size = self._state.log, write.draft.record_size
        if self._state.pager.ceiling:
            return log.pages
        if not size or (not log.capacity and not self._logged):
            self._logged = self._logged or size > 0
            return log.pages
        room = max(FIRST_LOG, 2 * RECORD_SHARE * size) // self._state.meta.page_size
        pages = max(log.pages, min(room, self._most_pages))
        return pages if pages == log.pages or self.reserve(write.draft, pages) else log.pages

    # The two halves

    def _next_meta(self, next_tree: int, next_collection: int, sequence: int) -> Meta:
        """The next meta, but for what sealing finds out."""
        log = self._state.log
        return replace(
            self._state.meta,
            next_tree=next_tree,
            next_collection=next_collection,
            sequence=sequence,
            log_start=log.start,
            log_chain=log.chain,
        )

    def _seal(self, log_pages: int) -> None:
        """Give the newest version its pages in the file: in memory, `wait` must follow. OSError: there is no room."""
        state = self._state
        pager, latest = state.pager, state.latest
        draft = Draft(pager, state.meta.generation + 1)
        draft.adopt()
        space = Space(draft, state.oldest_reader())
        roots = latest.roots.copy()
        roots[CATALOG], roots[FREE] = state.stored[CATALOG], state.stored[FREE]
        changes = changed_entries(state.stored_definitions, latest.definitions)
        meta = self._next_meta(*state.next_ids, latest.sequence)
        try:
            new = seal(space, roots, state.stored, changes, meta, log_pages)
        except BaseException as error:
            if draft.waiting:
                state.poisoned = error
            else:
                draft.rollback()
                pager.page_count, pager.free_pages = state.meta.page_count, state.meta.free_pages
            raise
        work = Sealed(draft, new, state.meta, state.log.head)
        self._given_up[new.generation] = given_up(draft)
        with state.lock:
            draft.complete(state.newest_stamp())
            pager.start_over()
            state.meta = new
            state.stored, state.stored_definitions = roots, latest.definitions
            state.show(roots.copy(), latest.definitions)
            pager.release(state.least_stamp())
            self._sealed = work
        self._count_spare()

    def _count_spare(self) -> None:
        """Find out how many free pages the next checkpoint may use, whatever readers come.

        What a generation gave up is used when nobody reads an older one: neither here nor in another process, nor who
        comes while the file still names the older one.
        """
        stored, meta = self._sealed is None, self._state.meta
        oldest = min(self._state.oldest_reader(), meta.generation - (not stored))
        self._given_up = {number: pages for number, pages in self._given_up.items() if number > oldest}
        self.spare = max(0, meta.free_pages - sum(self._given_up.values())) if oldest >= self._first else 0

    def wait(self) -> None:
        """Store what is sealed, or wait for who does. OSError: it failed, now or before."""
        state = self._state
        with self._storing:
            work = self._sealed
            if work is None:
                return
            if state.poisoned is not None:
                refuse(state.poisoned, state.path)
            try:
                write_pages(work.draft, work.new, work.meta)
            except BaseException as error:
                if not is_full(error):  # else it may be tried again: what is to be written is still in memory
                    state.poisoned = error
                raise
            try:
                if self._durability != "off":
                    state.file.sync()
                name_pages(state.file, work.new, work.meta, self._durability != "off")
            except BaseException as error:
                if not getattr(error, "harmless", False):
                    state.poisoned = error
                raise
            self._end(work)
            self._sealed = None

    def _end(self, work: Sealed) -> None:
        """A meta is stored: the log's space before it may be used again."""
        self.count += 1
        log = self._state.log
        if work.new.log_page == work.meta.log_page:
            log.release(work.position)
        else:
            log.move(work.new)
        if self._durability != "off":
            log.synced(work.new.sequence)


def given_up(draft: Draft) -> int:
    """How many sealed pages a write replaced or dropped."""
    return sum(pages for _, pages in draft.freed_pages)


def refuse(poison: BaseException, path: str) -> NoReturn:
    """Raise what a write gets after an error that left the state of the file unknown."""
    message = f"an earlier write failed ({poison}); reopen the database to write again"
    raise OSError(errno.EIO, message, path) from poison
