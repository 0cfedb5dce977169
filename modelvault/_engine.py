"""The engine: one file (or memory), its catalog, its versions, and at most one write at a time.

Everything here is synchronous and knows only bytes and tree ids; async and models are floors above.

A `Version` is what one commit left behind: the roots of all trees. Readers read a version. A `Write` works on its own
copy of the newest version's roots and on private pages (drafts), and becomes the next version by `Engine.commit`, or
never was.

What this is not: a queue. Whoever calls `begin` or `inline` has the writer's turn; who has it is decided above.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any, Final

from modelvault._core.commit import commit, spill, unpack_root
from modelvault._core.cursor import Cursor
from modelvault._core.file import DiskFile, File, MemoryFile
from modelvault._core.meta import PAGE_SIZES, Meta, first_pages, read_meta, unpack
from modelvault._core.pager import Draft, Pager
from modelvault._core.space import Space, check_space, free_runs
from modelvault._core.tree import Roots
from modelvault._core.walk import Tree
from modelvault.errors import ClosedError, LockedError, ModelVaultFormatError, ModelVaultTransactionError

PAGE_SIZE: Final = 8192
CACHE_SIZE: Final = 64 * 1024 * 1024

CATALOG: Final = 0
FREE: Final = 1
NO_PIN: Final = 2**64 - 1
NO_ROOT: Final = (0, 0, 0, 0)
META_SIZE: Final = 512
BLANK_SIZE: Final = 4 * 65536  # bytes of the meta pages, at most
DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Definition = dict[str, Any]


class Version:
    """What a reader reads: the tree roots and definitions of one commit. `stamp` is the pager's when it was pinned."""

    __slots__ = ("definitions", "generation", "page_count", "roots", "sequence", "stamp")

    def __init__(self, roots: Roots, meta: Meta, definitions: dict[str, Definition]) -> None:
        self.roots = roots
        self.generation = meta.generation
        self.sequence = meta.sequence
        self.page_count = meta.page_count
        self.definitions = definitions
        self.stamp = 0

    def twin(self, roots: Roots) -> Version:
        """The same version with an array of its own for the roots."""
        twin = object.__new__(Version)
        twin.roots = roots
        twin.generation, twin.sequence, twin.page_count = self.generation, self.sequence, self.page_count
        twin.definitions = self.definitions
        twin.stamp = 0
        return twin


class Write:
    """A private copy of the newest version that `Engine.commit` makes the next one."""

    __slots__ = ("base", "definitions", "draft", "next_collection", "next_tree", "roots", "space")

    def __init__(
        self, base: Version, roots: Roots, draft: Draft, space: Space | None, next_ids: tuple[int, int]
    ) -> None:
        self.base = base
        self.roots = roots
        self.draft = draft
        self.space = space
        self.definitions = base.definitions
        self.next_tree, self.next_collection = next_ids

    def new_tree(self) -> int:
        """The id of a new, empty tree."""
        tree = self.next_tree
        self.next_tree += 1
        self.roots[tree] = NO_ROOT
        return tree

    def new_collection(self) -> int:
        """The id of a new collection."""
        number = self.next_collection
        self.next_collection += 1
        return number

    def define(self, definition: Definition) -> None:
        """Put a collection's definition into the catalog; it has at least `name` and `id`."""
        key = b"c" + int(definition["id"]).to_bytes(4, "big")
        catalog = Tree(self.draft, self.roots[CATALOG])
        catalog.put(key, json.dumps(definition, separators=(",", ":")).encode())
        self.roots[CATALOG] = catalog.root
        self.definitions = {**self.definitions, definition["name"]: definition}

    @property
    def is_large(self) -> bool:
        """Whether the private pages take half of the cache, and `spill` should be called."""
        pager = self.draft.pager
        return self.space is not None and 2 * pager.draft_bytes > pager.cache_size

    def spill(self) -> None:
        """Write private pages to their final places ahead of the commit; blocking. OSError ends the write."""
        if self.space is not None:
            spill(self.space, self.roots)

    def savepoint(self) -> Savepoint:
        """A state to come back to; end it with `rewind` or `release`, the newest first."""
        return Savepoint(self)

    def rewind(self, savepoint: Savepoint) -> None:
        """Undo everything since the savepoint, and end it."""
        self.draft.rewind(savepoint.mark)
        self.draft.forget(savepoint.mark)
        self.roots = savepoint.roots
        self.definitions = savepoint.definitions
        self.next_tree, self.next_collection = savepoint.next_ids

    def release(self, savepoint: Savepoint) -> None:
        """Keep what was done since the savepoint, and end it."""
        self.draft.forget(savepoint.mark)


class Savepoint:
    """What a Write was at one moment."""

    __slots__ = ("definitions", "mark", "next_ids", "roots")

    def __init__(self, write: Write) -> None:
        self.mark = write.draft.mark()
        self.roots = copy(write.roots)
        self.definitions = write.definitions
        self.next_ids = (write.next_tree, write.next_collection)


class Engine:
    """One open database. Writable engines are one per file and process; read-only users of the file get that one.

    Not thread-safe for writes: one caller at a time may use a Write. Reads of `latest` need no lock.
    """

    def __init__(self, file: File, pager: Pager, meta: Meta, *, read_only: bool, volatile: bool) -> None:
        self.file = file
        self.pager = pager
        self.meta = meta
        self.read_only = read_only
        self.volatile = volatile
        self.poisoned: BaseException | None = None
        self.users = 1
        self.closed = False
        self.write: Write | None = None
        self._lock = threading.Lock()
        self._pinned: dict[int, int] = {}  # generation (in memory: stamp) -> how many pins
        self._process = os.getpid()
        self._identity = file.identity
        roots, definitions = load_catalog(pager, meta)
        self.latest = Version(roots, meta, definitions)
        self._inline: Write | None = None

    @property
    def path(self) -> str:
        """The path as given to `open`, or ':memory:'."""
        return str(self.file.path)

    # Opening and closing

    @classmethod
    def open(
        cls, path: str, *, read_only: bool = False, page_size: int = PAGE_SIZE, cache_size: int = CACHE_SIZE
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
                engine = cls.open_file(file, read_only=read_only, page_size=page_size, cache_size=cache_size)
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
    ) -> Engine:
        """An engine over a file that nobody else in this process uses; an empty one becomes a new database."""
        if not read_only:
            file.lock_writer()
            if is_blank(file):
                file.write_at(0, [new_content(page_size)])
                file.sync()
        meta = lock_newest(file) if read_only else read_meta(file)
        pager = Pager(file, meta.page_size, cache_size, meta.seed)
        pager.page_count, pager.free_pages = meta.page_count, meta.free_pages
        return cls(file, pager, meta, read_only=read_only, volatile=volatile)

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

    def close(self) -> None:
        """Give up one use; the last one closes the file. A write that is open is rolled back."""
        with _registry:
            self.users -= 1
            if self.users or self.closed:
                return
            self.closed = True
            if _writers.get(self._identity) is self:
                del _writers[self._identity]
        if self.write is not None:
            self.rollback(self.write)
        self.file.close()

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
        """Whether the file has a newer commit: it would be in the meta slot that the latest one is not in.

        With wait False also True where it would have to wait for the disk.
        """
        page = 2 * ((self.meta.generation + 1) % 2)
        found = unpack(self.file.read_at(page * self.meta.page_size, META_SIZE, wait) or b"")
        return found is None or found[0].generation > self.meta.generation

    def _follow(self) -> None:
        """Move to the newest commit of the writer's process."""
        previous, self.meta = self.meta, lock_newest(self.file)
        roots, definitions = load_catalog(self.pager, self.meta)
        self.pager.page_count, self.pager.free_pages = self.meta.page_count, self.meta.free_pages
        self.latest = Version(roots, self.meta, definitions)
        if previous.generation not in self._pinned and previous.generation != self.meta.generation:
            self.file.unlock_snapshot(previous.generation)

    def pin(self) -> Version:
        """The newest version, kept readable until `unpin`."""
        with self._lock:
            latest = self.latest
            version = latest.twin(copy(latest.roots) if self.volatile else latest.roots)
            version.stamp = self.pager.freeze() if self.volatile else latest.generation
            self._pinned[version.stamp] = self._pinned.get(version.stamp, 0) + 1
            return version

    def unpin(self, version: Version) -> None:
        """Give a pinned version up."""
        with self._lock:
            count = self._pinned[version.stamp] - 1
            if count:
                self._pinned[version.stamp] = count
                return
            del self._pinned[version.stamp]
            if self.closed:
                return
            if self.volatile:
                self.pager.release(min(self._pinned, default=NO_PIN))
            elif self.read_only and version.generation != self.meta.generation:
                self.file.unlock_snapshot(version.generation)

    @property
    def pins(self) -> int:
        """How many versions are pinned."""
        return sum(self._pinned.values())

    # Writing

    def inline(self) -> Write | None:
        """In memory, while no write is open: what is changed through the result is committed as it happens. Else None.

        Call `publish_inline` after each change, and change nothing if the change may fail half-way.
        """
        if not self.volatile or self.write is not None:
            return None
        if self._inline is None or self._pinned:
            draft = Draft(self.pager, 0, not self._pinned)
            self._inline = Write(self.latest, self.latest.roots, draft, None, self._next_ids())
        return self._inline

    def publish_inline(self, write: Write) -> None:
        """Make known what was changed through `inline`."""
        latest = self.latest
        write.draft.publish()
        latest.sequence += 1
        latest.definitions = write.definitions
        if self._pinned:
            self._inline = None
        if write.next_tree != self.meta.next_tree:
            self.meta = replace(self.meta, next_tree=write.next_tree, next_collection=write.next_collection)

    def begin(self) -> Write:
        """Open the one Write. OSError on a read-only engine, and what poisoned the engine if something did."""
        self.check_open()
        if self.read_only:
            raise OSError(errno.EROFS, "database opened read-only", self.path)
        if self.poisoned is not None:
            message = f"an earlier write failed ({self.poisoned}); reopen the database to write again"
            raise OSError(errno.EIO, message, self.path)
        if self.write is not None:
            raise ModelVaultTransactionError("transaction error: a write is open on this engine")
        latest = self.latest
        draft = Draft(self.pager, latest.generation + 1)
        space = None if self.volatile else Space(draft, self._oldest_reader())
        self.write = Write(latest, copy(latest.roots), draft, space, self._next_ids())
        self._inline = None
        return self.write

    def _next_ids(self) -> tuple[int, int]:
        return self.meta.next_tree, self.meta.next_collection

    def rollback(self, write: Write) -> None:
        """The write never was."""
        write.draft.rollback()
        self.pager.page_count = self.meta.page_count
        self.write = None

    def commit(self, write: Write) -> Version:
        """Make the write the newest version; blocking, durable when it returns.

        A full disk rolls back and leaves the engine usable. Any other error while writing rolls back and poisons the
        engine: what was committed before can still be read, later writes raise.
        """
        meta = self._publish(write) if self.volatile else self._store(write)
        self.latest = Version(write.roots, meta, write.definitions)
        self.meta = meta
        self.write = None
        if self.volatile:
            with self._lock:  # and only now: readers in other threads saw the version before
                self.pager.release(min(self._pinned, default=NO_PIN))
        return self.latest

    def _publish(self, write: Write) -> Meta:
        """Commit in memory: the drafts are the database."""
        write.draft.publish()
        return replace(
            self.meta,
            generation=self.latest.generation + 1,
            sequence=self.latest.sequence + 1,
            next_tree=write.next_tree,
            next_collection=write.next_collection,
        )

    def _store(self, write: Write) -> Meta:
        """Commit to the file."""
        meta = replace(self.meta, next_tree=write.next_tree, next_collection=write.next_collection)
        assert write.space is not None
        try:
            return commit(write.space, write.roots, write.base.roots, meta)
        except BaseException as error:
            self.rollback(write)
            if not (isinstance(error, OSError) and error.errno in DISK_FULL):
                self.poisoned = error
            raise

    def _oldest_reader(self) -> int:
        """The oldest generation that somebody here or in another process reads."""
        elsewhere = self.file.oldest_snapshot(0, self.latest.generation)
        with self._lock:  # pin() may have read `latest` a while ago and not have entered it yet
            generation = self.latest.generation
            return min(generation, *self._pinned, generation if elsewhere is None else elsewhere)

    # Looking after itself

    def check(self, version: Version | None = None) -> None:
        """Walk all trees of a pinned version, else of the newest: every page is reachable once, or free, or pending.

        CorruptionError if not.
        """
        version = version or self.latest
        draft = Draft(self.pager, 0, True)
        reached = [page for tree in range(len(version.roots)) for page in Tree(draft, version.roots[tree]).check()]
        if not self.volatile:
            check_space(version.page_count, reached, free_runs(self.pager, version.roots))

    def stats(self) -> dict[str, int]:
        """Counters and sizes in bytes, by name."""
        latest = self.latest
        return {**self.pager.stats(), "generation": latest.generation, "sequence": latest.sequence, "pins": self.pins}


_registry: Final = threading.Lock()
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


def load_catalog(pager: Pager, meta: Meta) -> tuple[Roots, dict[str, Definition]]:
    """The roots of all trees, and the definitions of the collections by name."""
    roots = Roots()
    roots[CATALOG] = (*meta.catalog, meta.catalog_entries)
    roots[FREE] = (*meta.free, meta.free_entries)
    definitions = {}
    for key, value in entries(pager, roots[CATALOG]):
        if key[:1] == b"t":
            roots[int.from_bytes(key[1:], "big")] = unpack_root(value)
        elif key[:1] == b"c":
            definition = json.loads(value)
            definitions[definition["name"]] = definition
    return roots, definitions


def entries(pager: Pager, root: tuple[int, int, int, int]) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a tree in key order."""
    cursor = Cursor(pager, root)
    more = cursor.to_first()
    while more:
        yield cursor.entry()
        more = cursor.step()
