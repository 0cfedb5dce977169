"""The versions of a database, which follow one another: what a reader reads, and what a writer makes the next one of.

A `Version` is what one commit left behind. A `Write` works on its own copy of the newest version's roots and on private
pages (drafts), and becomes the next version, or never was. A `History` knows the newest one, and which older ones are
read. They stand here because every commit makes one of each and exchanges them: 2 us less than in Python, and five
times that after a wait for the disk, when the processor's caches are cold.
"""

from cython cimport final
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.file cimport is_full
from modelvault._core.format cimport CATALOG_TREE, FIRST_TREE, FREE_TREE
from modelvault._core.turn cimport seize
from modelvault._core.walk cimport tree_spill

from modelvault._core.meta import MOST_TREES as _MOST_TREES
from modelvault._core.walk import Tree
from modelvault.errors import ModelVaultSchemaError, ModelVaultTransactionError

cdef uint64_t NO_PIN = <uint64_t> -1
cdef tuple NO_ROOT = (0, 0, 0, 0)


@final
cdef class Version:
    """What a reader reads: the tree roots and definitions of one commit.

    sequence: how many commits there were. stamp: the pager's when it was pinned. pins: how many times it is.
    meta: of the checkpoint before it. unnoted: sealed pages that its trees no longer reach and that are not in its free
    tree, as (first page, pages).
    """

    def __init__(self, Roots roots not None, meta, uint64_t sequence, dict definitions not None, list unnoted not None):
        self.roots, self.meta, self.sequence, self.definitions = roots, meta, sequence, definitions
        self.unnoted, self.unnoted_count = unnoted, len(unnoted)

    @property
    def generation(self):
        """The checkpoint that it follows."""
        return self.meta.generation

    @property
    def page_count(self):
        """Pages in use by the format, as of that checkpoint."""
        return self.meta.page_count

    @property
    def freed(self):
        """(first page, pages) that belong to no tree and are not in the free tree yet."""
        return self.unnoted[:self.unnoted_count]

    def twin(self, Roots roots not None):
        """The same version with an array of its own for the roots."""
        cdef Version twin = Version.__new__(Version)
        twin.roots, twin.meta, twin.sequence, twin.definitions = roots, self.meta, self.sequence, self.definitions
        twin.stamp, twin.unnoted, twin.unnoted_count = self.stamp, self.unnoted, self.unnoted_count
        return twin


@final
cdef class Write:
    """A private copy of the newest version that `Engine.commit` makes the next one.

    room: gives it a Space, with which it can store pages ahead of its commit; None in memory. waits: whether who uses
    it now may wait for the disk.
    """

    def __init__(self, Version base not None, Roots roots not None, Draft draft not None, room, tuple next_ids not None):
        self.base, self.roots, self.draft, self.room = base, roots, draft, room
        self.definitions = base.definitions
        self.next_tree, self.next_collection = next_ids
        self.start = (NO_ROOT, NO_ROOT)
        self.waits = True

    def new_tree(self):
        """The id of a new, empty tree. ModelVaultSchemaError if the file had all that it may have."""
        if self.next_tree >= _MOST_TREES:
            raise ModelVaultSchemaError(
                f"schema error: this file had {_MOST_TREES:,} trees, the most there may be; copy its rows to another one")
        cdef uint32_t tree = self.next_tree
        self.next_tree += 1
        self.roots[tree] = NO_ROOT
        return tree

    def put(self, uint32_t tree, bytes key not None, bytes value not None):
        """Insert or replace an entry of a tree that no table looks after; whether the key was there."""
        target = Tree(self.draft, self.roots[tree])
        there = target.put(key, value)
        self.roots[tree] = target.root
        self.draft.note_change(tree, key, value)
        return there

    def delete(self, uint32_t tree, bytes key not None):
        """Delete an entry; whether it was there."""
        target = Tree(self.draft, self.roots[tree])
        there = target.delete(key)
        if there:
            self.roots[tree] = target.root
            self.draft.note_change(tree, key, None)
        return there

    def new_collection(self):
        """The id of a new collection."""
        cdef uint32_t number = self.next_collection
        self.next_collection += 1
        return number

    def define(self, dict definition not None):
        """Add or replace a collection's definition; it has at least `name` and `id`."""
        self.definitions = {**self.definitions, definition["name"]: definition}

    @property
    def is_large(self):
        """Whether private pages take half of the cache, and `spill` should be called."""
        return self.room is not None and 2 * self.draft.pager.draft_bytes > self.draft.pager.cache_size

    def take_room(self):
        """Go past the log: due before trees are changed that no table looks after, the catalog too; may block.

        The commit will be a checkpoint, and what was committed before is made into one now. OSError ends the write.
        """
        if self.room is not None and self.space is None:
            if not self.waits:
                raise AssertionError("a statement that takes room must be performed away from the event loop")
            self.room(self)

    def spill(self):
        """Write leaves to their final places ahead of the commit, so that memory can be given back; blocking.

        OSError and CorruptionError end the write: it must be rolled back.
        """
        cdef uint32_t tree
        self.take_room()
        if self.space is None:
            return
        self.space.supply(self.roots, self.draft.single_pages)
        for tree in range(FIRST_TREE, self.roots.count):
            tree_spill(self.draft, self.roots.at(tree))
        self.draft.write_out()

    def allot(self, Space space not None, tuple catalog not None, tuple free not None):
        """Take a Space, with the catalog and the free tree that it works on."""
        self.space = space
        self.start = (catalog, free)
        self.roots[CATALOG_TREE], self.roots[FREE_TREE] = self.start
        self.draft.settle_places()

    def savepoint(self):
        """A state to come back to; end it with `rewind` or `release`, the newest first."""
        return Savepoint(self)

    def rewind(self, Savepoint savepoint not None):
        """Undo everything since the savepoint, and end it."""
        self.draft.rewind(savepoint.mark)
        self.draft.forget(savepoint.mark)
        self.roots = savepoint.roots
        if self.space is not None and not savepoint.had_space:
            self.roots[CATALOG_TREE], self.roots[FREE_TREE] = self.start
        self.definitions = savepoint.definitions
        self.next_tree, self.next_collection = savepoint.next_tree, savepoint.next_collection

    def release(self, Savepoint savepoint not None):
        """Keep what was done since the savepoint, and end it."""
        self.draft.forget(savepoint.mark)


@final
cdef class Savepoint:
    """What a Write was at one moment."""

    def __init__(self, Write write not None):
        self.mark = write.draft.mark()
        self.roots = write.roots.copy()
        self.had_space = write.space is not None
        self.definitions = write.definitions
        self.next_tree, self.next_collection = write.next_tree, write.next_collection


cdef class History:
    """The newest version of one open database, what leads to it, and who reads older ones."""

    cpdef Write inline(self):
        """In memory, while no write is open: what is changed through it is committed as it happens. Else None."""
        return None

    def check_writable(self):
        """Raise unless there may be a write."""

    cpdef Write begin(self):
        """Open the one Write. What `check_writable` raises."""
        cdef Version latest = self.latest
        if self.closed or self.forked or self.read_only or self.poisoned is not None:
            self.check_writable()
        if self.write is not None:
            raise ModelVaultTransactionError("transaction error: a write is open on this engine")
        draft = Draft.__new__(Draft, self.pager, 0, False, 0 if self.volatile else self.log.draft_limit())
        self.write = Write(latest, latest.roots.copy(), draft, self.room, self.next_ids)
        self.lane = None
        return self.write

    cpdef int rollback(self, Write write) except -1:
        """The write never was."""
        write.draft.rollback()
        self.pager.page_count, self.pager.free_pages = self.meta.page_count, self.meta.free_pages
        self.write = None
        return 0

    cpdef int fail(self, Write write, error, bint unsure) except -1:
        """Roll a write back whose commit failed. unsure: it is not known what of it is in the file.

        A full disk leaves the engine usable, if it is sure. Everything else poisons it.
        """
        self.rollback(write)
        if not is_full(error) or (unsure and not getattr(error, "harmless", False)):
            self.poisoned = self.poisoned or error
        return 0

    cpdef int publish(self, Write write, uint64_t sequence, meta) except -1:
        """The drafts of the write are the newest version from now on, even if an interrupt is raised."""
        interrupted = seize(self.lock)
        try:
            self.write = None
            write.draft.publish(self.newest_stamp())
            self.next_ids = (write.next_tree, write.next_collection)
            self.meta = meta
            self.reveal(Version(write.roots, meta, sequence, write.definitions, self.pager.unnoted))
            self.pager.release(self.least_stamp())
        finally:
            self.lock.release()
        if interrupted is not None:
            raise interrupted
        return 0

    cpdef int reveal(self, Version version) except -1:
        """Make a version the newest one, for this process and for others.

        In one step: no thread here sees it before other processes do, and none of those before every thread here. It is
        compiled so that no signal handler (Ctrl-C) runs between the two.
        """
        self.file.publish(version.sequence)
        self.latest = version
        return 0

    cpdef uint64_t least_stamp(self):
        """Drafts that were retired before this stamp are seen by nobody."""
        cdef uint64_t least = min(self.pinned) if self.pinned else NO_PIN
        return least if self.write is None else min(least, self.write.draft.begin)

    cpdef uint64_t newest_stamp(self):
        """Drafts with this stamp or a later one are seen by nobody but who reads the newest version."""
        cdef uint64_t newest = max(self.pinned) if self.pinned else 0
        return newest if self.write is None else max(newest, self.write.draft.begin)
