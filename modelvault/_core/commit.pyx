"""One checkpoint: the drafts of a version get their places in the file, and the file names them.

Its two halves are compiled, so that each is one step for Python: a signal handler (Ctrl-C) runs before it or after it, never
inside. `seal` works in memory, and can only fail for lack of space; `write_pages` and `name_pages` wait for the disk.
"""

import errno
from time import monotonic

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from modelvault._core.draft cimport Draft
from modelvault._core.format cimport CATALOG_TREE, FIRST_TREE, FREE_TREE, Root
from modelvault._core.history cimport History, Write
from modelvault._core.log cimport Log
from modelvault._core.pager cimport DRAFT_SHIFT, Pager
from modelvault._core.space cimport Space
from modelvault._core.tree cimport Roots, tree_delete, tree_put
from modelvault._core.walk cimport tree_seal

from modelvault._core.meta import is_named, write_meta
from modelvault._frozen import replace
from modelvault.errors import CorruptionError

ZEROS = 1 << 20         # bytes of a log that are written at once
RESERVE = 16            # pages behind the last one that let deletes happen on a full disk; see Space
SLACK = 32              # pages that a checkpoint may need for the catalog and the free tree

cdef uint64_t ROOM = RESERVE + SLACK


cdef class Outlook:
    """What the next checkpoint will need, and whether it is due: every commit to the log asks, so numbers answer.

    reserved: bytes of the file that surely have their disk space. spare: free pages that the next checkpoint may use,
    whatever readers come. watched: somebody will see to it when nothing has been committed for a while. unsynced: commits
    are made durable behind their callers' backs, and nobody has been told to. synced: a commit to the log is durable when
    it returns. active: when the last one went to the log.
    """

    def __init__(self, History history not None):
        self.history = history

    cpdef uint64_t size_needed(self, Draft draft, uint64_t more=0):
        """Bytes of the file with what a checkpoint may take behind its last page after this write, and `more` pages."""
        cdef Pager pager = self.history.pager
        cdef uint64_t end = self.history.meta.page_count
        cdef int64_t single = <int64_t> (pager.live_pages + draft.single_pages - draft.replaced_pages)
        cdef uint64_t pages = pager.live_extent_pages + draft.extent_pages + more + ROOM
        if single > <int64_t> self.spare:
            pages += single - <int64_t> self.spare
        return (end + pages + pages // 16) * pager.page_size

    def has_room(self, Draft draft not None):
        """Whether the file surely has room for a checkpoint after this write."""
        return self.size_needed(draft) <= self.reserved

    def is_due(self):
        """After a commit to the log: whether something has to be begun, `Checkpoints.tend`."""
        self.active = monotonic()
        return not self.watched or self.unsynced or self.is_near()

    cpdef bint is_near(self):
        """Whether there shall be a checkpoint now: the log is nearly full, or drafts take half of the cache."""
        cdef Pager pager = self.history.pager
        return self.history.log.is_full or 2 * pager.draft_bytes > pager.cache_size

    cpdef bint by_log(self, Write write) except -1:
        """Commit a write by one record of the log if nothing else has to be done for it: whether it was. Errors as `log`.

        Nothing else: the definitions are what they were, log and file have room, and nothing is due afterwards.
        """
        cdef Log log = self.history.log
        cdef Pager pager = self.history.pager
        cdef bytes record
        if (write.space is not None or log.capacity == 0 or write.draft.record.count == 0
                or write.definitions is not self.history.latest.definitions
                or not self.watched or self.unsynced or 2 * pager.draft_bytes > pager.cache_size):
            return False
        record = log.pack(write.draft, (), write.next_tree, write.next_collection)
        if record is None or log.fills(record) or self.size_needed(write.draft) > self.reserved:
            return False
        self.log(write, record)
        self.active = monotonic()
        return True

    cpdef int log(self, Write write, bytes record) except -1:
        """Commit a write by a record for which the log has room, and the file for a checkpoint. Errors as `Engine.commit`."""
        cdef Log log = self.history.log
        try:
            log.append(record, self.synced)
        except BaseException as error:
            log.erase(record)
            # Written, not synced, and without room: it is not whole in the file, and nobody will take it for a commit.
            self.history.fail(write, error, self.synced)
            raise
        return self.history.publish(write, log.sequence, self.history.meta)


def seal(Space space not None, Roots roots not None, Roots base not None, entries not None, meta, uint64_t log_pages):
    """Give the drafts of `roots` their places, and return the next Meta; nothing is written yet.

    base: the roots that `meta` names. entries: what changes in the catalog besides roots, (key, value or None) in bytes.
    meta: the one before, with the ids, the sequence and the log's place that the next one is to have. log_pages: the length
    that the log shall have; its extent stays if that is what it has. OSError and CorruptionError, before a draft is sealed:
    the write must be rolled back.
    """
    cdef Draft draft = space.draft
    cdef Pager pager = draft.pager
    cdef bint moved = log_pages != meta.log_pages
    changed = changed_trees(roots, base)
    if entry_count(roots) < entry_count(base):
        space.spend_reserve = True      # what deletes may still do on a full disk
    draft.free_forwarded()
    if moved and meta.log_pages:
        draft.free_sealed(meta.log_page, meta.log_pages)
    for key, value in entries:
        put_entry(draft, roots, key, value)
    for tree in changed:
        put_root(draft, roots, tree)                # reserves the place of the final one
    space.prepare(roots, log_pages if moved else 0)
    for tree in changed:
        tree_seal(draft, roots.at(tree))
        put_root(draft, roots, tree)
    tree_seal(draft, roots.at(CATALOG_TREE))
    if moved:
        chain = meta.log_chain if log_pages else 0
        meta = replace(meta, log_page=space.take_log(log_pages), log_pages=log_pages, log_start=0, log_chain=chain)
    space.finish(roots)
    pager.page_count = space.end
    pager.free_pages = space.free_pages
    return next_meta(meta, draft.generation, space, roots)


def write_pages(Draft draft not None, new, meta):
    """Write what `seal` made for the Meta `new`, where `meta` is the one before. After an error it may be tried again."""
    draft.write_out()
    if new.log_pages and new.log_page != meta.log_page:
        write_zeros(draft.pager.file, new.log_page * new.page_size, new.log_pages * new.page_size)


def name_pages(file not None, new, meta, bint sync):
    """Let the file begin with the Meta `new`, whose pages are there, and return when that is durable if `sync`.

    OSError: the previous `meta` is put back once, without a promise that the disk obeys. True in `error.harmless`, if it
    is there: the disk was full, and `new` did not get into the file.
    """
    writing = True
    try:
        write_meta(file, new)
        writing = False
        if sync:
            file.sync()
    except BaseException as error:
        restore_meta(file, new, meta)
        if writing and isinstance(error, OSError) and error.errno == errno.ENOSPC and not is_named(file, new):
            error.harmless = True
        raise


def write_zeros(file not None, uint64_t offset, uint64_t size):
    """Write zeros, so that what is written there later needs no new blocks of the file system."""
    zeros = bytes(min(size, <uint64_t> ZEROS))
    while size:
        part = min(size, <uint64_t> len(zeros))
        file.write_at(offset, [zeros[:part]])
        offset += part
        size -= part


def changed_trees(Roots roots, Roots base):
    """The ids of the collections' trees whose root is not what it was."""
    cdef uint32_t tree
    return [
        tree for tree in range(FIRST_TREE, roots.count)
        if tree >= base.count or memcmp(roots.items + tree, base.items + tree, sizeof(Root)) != 0
    ]


cdef uint64_t entry_count(Roots roots) noexcept:
    """Of all the collections' trees together."""
    cdef uint64_t total = 0
    cdef uint32_t tree
    for tree in range(FIRST_TREE, roots.count):
        total += roots.items[tree].entries
    return total


cdef int put_entry(Draft draft, Roots roots, bytes key, bytes value) except -1:
    """Change an entry of the catalog; no value: it goes."""
    if value is None:
        return tree_delete(draft, roots.at(CATALOG_TREE), key, len(key), True)
    return tree_put(draft, roots.at(CATALOG_TREE), key, len(key), value, len(value), True)


cdef int put_root(Draft draft, Roots roots, uint32_t tree) except -1:
    """Enter a tree's root in the catalog: the same place and size each time."""
    cdef unsigned char key[5]
    key[0] = c"t"
    key[1], key[2], key[3], key[4] = tree >> 24, tree >> 16 & 0xFF, tree >> 8 & 0xFF, tree & 0xFF
    tree_put(draft, roots.at(CATALOG_TREE), key, 5, <const unsigned char*> roots.at(tree), sizeof(Root), True)
    return 0


def unpack_root(bytes value not None):
    """The root that put_root stored, as Roots takes it. CorruptionError for what cannot be one."""
    cdef Root root
    if len(value) != sizeof(Root):
        raise CorruptionError(f"the catalog is damaged: a root has {sizeof(Root)} bytes, not {len(value)}", tree=CATALOG_TREE)
    memcpy(&root, <const unsigned char*> value, sizeof(Root))
    if root.ref.number >> DRAFT_SHIFT:
        raise CorruptionError("the catalog is damaged: a root names a page that was never written", tree=CATALOG_TREE)
    return root.ref.number, root.ref.birth, root.ref.checksum, root.entries


def next_meta(meta, uint64_t generation, Space space not None, Roots roots not None):
    """The meta of the next generation, with these roots."""
    cdef Root* catalog = roots.at(CATALOG_TREE)
    cdef Root* free = roots.at(FREE_TREE)
    return replace(
        meta, generation=generation,
        page_count=space.end, free_pages=space.free_pages,
        catalog=(catalog.ref.number, catalog.ref.birth, catalog.ref.checksum), catalog_entries=catalog.entries,
        free=(free.ref.number, free.ref.birth, free.ref.checksum), free_entries=free.entries,
    )


def restore_meta(file, failed, meta):
    """Write the meta that holds into the slot of one whose commit failed; once, and an error here changes nothing more."""
    try:
        write_meta(file, meta, failed.generation % 2)
    except OSError:
        pass
