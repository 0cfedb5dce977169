"""The drafts of a write: made, changed and dropped in memory, sealed by a checkpoint, then immutable pages of the file.

docs/design.md section 3 explains stamps. As in the pager everything runs under the GIL, which is released around system
calls only.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelvault._core.file cimport iovec, make_way
from modelvault._core.format cimport (
    OVERFLOW, PAGE_BIRTH, PAGE_CHECKSUM, PAGE_GARBAGE, PAGE_HEAP, PAGE_LEVEL, PAGE_NUMBER, PAGE_TYPE, Ref,
)
from modelvault._core.pager cimport (
    DRAFT_SHIFT, Bytes, Page, Pager, get_u64, new_page, push, set_u32, set_u64, unpack_ref,
)
from modelvault._core.xxh64 cimport xxh64

cdef enum:
    MARK_WORDS = 8              # of a savepoint: see Draft.mark
    MOST_PARTS = 1024           # pages in one write call
    SEALS = 128                 # pages sealed in a row, at 4 us each, before other threads may run

cdef uint64_t DRAFT_BIT = (<uint64_t> 1) << DRAFT_SHIFT


cdef class Allocator:
    """Gives sealed pages their place: here always behind the last page of the file."""

    def __init__(self, Pager pager not None):
        self.pager = pager

    cdef uint64_t take(self, uint64_t pages) except 0:
        """The number of the first of `pages` contiguous pages that are this write's from now on."""
        cdef uint64_t number = self.pager.page_count
        self.pager.page_count += pages
        return number

    cdef bint give_back(self, uint64_t number, uint64_t pages) except -1:
        """Whether pages that this write took and no longer needs are now free for itself to take again."""
        return False

    cdef object mark(self):
        """A savepoint begins; what to pass to rewind and forget."""
        return self.pager.page_count

    cdef int rewind(self, object mark) except -1:
        """Nothing was taken since the savepoint, which stays."""
        self.pager.page_count = mark
        return 0

    cdef int forget(self, object mark) except -1:
        """The savepoint ends."""
        return 0


@final
cdef class Draft:
    """The private pages of one write.

    generation: the birth of the pages that it seals. inline: the write changes the newest version of a database in
    memory, which nobody else looks at: all drafts may be changed in place, but for those that it shares with a fork, and
    there is no rollback but to a savepoint; after publish() it can be used for the next one. record_limit: how many bytes of changes to keep for the log.
    """

    def __cinit__(self, Pager pager not None, uint64_t generation=0, bint inline=False, size_t record_limit=0):
        self.pager = pager
        self.generation = generation
        self.record_limit = record_limit
        self.allocator = Allocator(pager)
        self.begin = 0 if inline else pager.freeze()
        self.fence = max(self.begin, pager.shared)
        self.sealed = []
        self.places = []

    def __dealloc__(self):
        PyMem_RawFree(self.created.items)
        PyMem_RawFree(self.superseded.items)
        PyMem_RawFree(self.freed.items)
        PyMem_RawFree(self.marks.items)
        PyMem_RawFree(self.record.items)
        PyMem_RawFree(self.forwarded.items)

    cdef Page create(self, uint8_t type, uint8_t level, size_t size):
        """A new draft of `size` bytes: a zeroed page of this type and level, its heap empty."""
        cdef Page page = new_page(size, True)
        page.data[PAGE_TYPE] = type
        page.data[PAGE_LEVEL] = level
        if type == OVERFLOW:
            set_u32(page.data + PAGE_GARBAGE, <uint32_t> (size // self.pager.page_size))
        else:
            set_u32(page.data + PAGE_HEAP, <uint32_t> size)
        self.pager.add_draft(page)
        push(&self.created, page.number ^ DRAFT_BIT)
        self.count(size, 1)
        return page

    cdef Page copy(self, Page page):
        """A new draft with the content of a page."""
        cdef Page copy = self.create(page.data[PAGE_TYPE], page.data[PAGE_LEVEL], page.size)
        memcpy(copy.data + PAGE_TYPE, page.data + PAGE_TYPE, page.size - PAGE_TYPE)
        return copy

    cdef int count(self, size_t size, int sign) except -1:
        """A draft of `size` bytes came to (1) or left (-1) what a commit will seal."""
        if size == self.pager.page_size:
            self.single_pages += sign
        else:
            self.extent_pages += sign * <int64_t> (size // self.pager.page_size)
        return 0

    cdef Page own(self, Ref* ref, bint wait):
        """The page that `ref` names, or a copy of it, that may be changed in place; `ref` then names what is returned.

        ColdPage and CorruptionError leave everything as it was.
        """
        cdef Page page = self.pager.find(ref, wait)
        cdef Page copy
        if ref.number & DRAFT_BIT and page.stamp >= self.fence:
            page.stamp = self.pager.stamp
            return page
        copy = new_page(page.size, False)
        memcpy(copy.data, page.data, page.size)
        self.pager.add_draft(copy)
        push(&self.created, copy.number ^ DRAFT_BIT)
        self.count(page.size, 1)
        self.replace(ref, page.size)
        ref.number = copy.number
        ref.birth = copy.serial
        ref.checksum = 0
        return copy

    cdef int drop(self, const Ref* ref, size_t size) except -1:
        """The page or extent of `size` bytes that `ref` names is no longer reachable from this write's roots."""
        cdef uint64_t index = ref.number ^ DRAFT_BIT
        if ref.number & DRAFT_BIT and (<Page> self.pager.drafts[index]).stamp >= self.fence:
            self.count(size, -1)
            return self.pager.free_draft(index)
        return self.replace(ref, size)

    cdef int replace(self, const Ref* ref, size_t size) except -1:
        """Note that a page which others may still see left this write's trees."""
        cdef Page page
        cdef uint64_t pages = size // self.pager.page_size
        if ref.number & DRAFT_BIT:
            page = <Page> self.pager.drafts[ref.number ^ DRAFT_BIT]
            if page.stamp >= self.begin:
                self.count(size, -1)
            elif pages == 1 and page.number & DRAFT_BIT:
                self.replaced_pages += 1
            return push(&self.superseded, ref.number ^ DRAFT_BIT)
        if ref.birth == self.generation and self.allocator.give_back(ref.number, pages):
            return 0
        push(&self.freed, ref.number)
        return push(&self.freed, pages)

    cdef int seal(self, Page page, Ref* ref) except -1:
        """Give a draft its place in the file; it is immutable from now on, waits for write_out, and `ref` is final."""
        cdef uint64_t index = page.number ^ DRAFT_BIT
        cdef uint64_t number = self.allocator.take(page.size // self.pager.page_size)
        cdef uint64_t hash, stamp = page.stamp
        cdef bint shared = stamp < self.begin       # with versions that know it by its index
        page.number = number
        page.birth = self.generation
        page.stamp = 0
        set_u64(page.data + PAGE_NUMBER, number)
        set_u64(page.data + PAGE_BIRTH, self.generation)
        hash = xxh64(page.data + 8, page.size - 8, self.pager.seed)
        set_u64(page.data + PAGE_CHECKSUM, hash)
        ref.number = number
        ref.birth = self.generation
        ref.checksum = hash
        self.sealed.append(page)
        self.count(page.size, -1)
        self.pager.draft_bytes -= page.size
        self.pager.pending[number] = page
        if shared:
            push(&self.forwarded, index)    # gone with complete(): until then the version that has it can be pinned
            push(&self.forwarded, stamp)
        else:
            self.pager.free_draft(index)
        self.pager.remember(page)
        self.pager.seals += 1
        return 0 if self.pager.seals % SEALS else make_way()

    cdef int settle_ref(self, Page page, Ref* ref) except -1:
        """Make `ref`, which names a draft that a checkpoint has sealed, the final one."""
        ref.number = page.number
        ref.birth = page.birth
        ref.checksum = get_u64(page.data + PAGE_CHECKSUM)
        return 0

    cdef bint may_seal_early(self, Page page) noexcept:
        """Whether no savepoint refers to this draft, so that it can be sealed before the commit."""
        return page.stamp >= self.fence

    cpdef int write_out(self) except -1:
        """Write the sealed pages, neighbours together. After an error the file may have any part of them."""
        cdef Py_ssize_t count = len(self.sealed), start = 0, end
        cdef iovec* parts = <iovec*> PyMem_RawMalloc(MOST_PARTS * sizeof(iovec))
        cdef Page page
        cdef uint64_t next_number
        if parts == NULL:
            raise MemoryError()
        self.sealed.sort(key=page_number)
        try:
            while start < count:
                page = self.sealed[start]
                next_number = page.number + page.size // self.pager.page_size
                end = start + 1
                while end < count and end - start < MOST_PARTS:
                    page = self.sealed[end]
                    if page.number != next_number:
                        break
                    next_number += page.size // self.pager.page_size
                    end += 1
                self.write_run(start, end, parts)
                start = end
        finally:
            PyMem_RawFree(parts)
        for page in self.sealed:
            self.pager.pending.pop(page.number, None)
        self.sealed = []
        return 0

    cdef int write_run(self, Py_ssize_t start, Py_ssize_t end, iovec* parts) except -1:
        """Write sealed[start:end], which are neighbours in the file."""
        cdef Pager pager = self.pager
        cdef Page page = self.sealed[start]
        cdef uint64_t offset = page.number * pager.page_size
        cdef Py_ssize_t i
        pager.writes += end - start
        if pager.disk is None:
            pager.file.write_at(offset, [bytes(page) for page in self.sealed[start:end]])
            return 0
        for i in range(start, end):
            page = self.sealed[i]
            parts[i - start].iov_base = page.data
            parts[i - start].iov_len = page.size
        return pager.disk.write_vector(offset, parts, end - start)

    # For the log

    cdef int note_put(
            self, uint32_t tree, const unsigned char* key, size_t length, const unsigned char* value, size_t size) except -1:
        """Keep a put for the log's record: docs/format.md section 7."""
        if self.record_limit == 0:
            return 0
        self.note(2 * <uint64_t> tree, NULL, 0)
        self.note(length, key, length)
        return self.note(size, value, size)

    cdef int note_delete(self, uint32_t tree, const unsigned char* key, size_t length) except -1:
        """Keep a delete."""
        if self.record_limit == 0:
            return 0
        self.note(2 * <uint64_t> tree + 1, NULL, 0)
        return self.note(length, key, length)

    cdef int note(self, uint64_t head, const unsigned char* data, size_t size) except -1:
        """Append a varint and bytes to the record; from the limit on nothing is kept."""
        cdef Bytes* record = &self.record
        cdef size_t needed = record.count + 10 + size
        cdef void* items
        if needed > self.record_limit:
            self.record_limit = 0
            return self.forget_record()
        if needed > record.capacity:
            items = PyMem_RawRealloc(record.items, 2 * needed)
            if items == NULL:
                raise MemoryError()
            record.items = <unsigned char*> items
            record.capacity = 2 * needed
        while head >= 0x80:
            record.items[record.count] = <uint8_t> (head | 0x80)
            record.count += 1
            head >>= 7
        record.items[record.count] = <uint8_t> head
        record.count += 1
        if size:                # else there may be no data
            memcpy(record.items + record.count, data, size)
        record.count += size
        return 0

    cdef int forget_record(self) except -1:
        """Give the record's memory back."""
        PyMem_RawFree(self.record.items)
        self.record.items = NULL
        self.record.count = self.record.capacity = 0
        return 0

    # The end of a write

    cpdef int publish(self, uint64_t pinned=0xFFFFFFFFFFFFFFFF) except -1:
        """The write's roots are the newest version: keep its drafts, retire those that only older versions can see.

        pinned: the stamp of the newest version that is pinned, 0 without one: drafts that it does not see go at once.
        Call Pager.release afterwards.
        """
        cdef Pager pager = self.pager
        cdef size_t i
        cdef uint64_t index
        cdef Page page
        for i in range(self.superseded.count):
            index = self.superseded.items[i]
            page = <Page> pager.drafts[index]
            if page.stamp < self.begin and page.size != pager.page_size:
                pager.live_extent_pages -= pager.live_extents.pop(index, 0)
            if page.stamp >= min(self.begin, pinned):
                pager.free_draft(index)
            else:
                # Not `begin`: a version pinned while this write was open sees it too.
                pager.retire(index)
        self.add_live()
        self.forget_lists()
        return 0

    cdef int add_live(self) except -1:
        """Count what a checkpoint will have to seal and to free for this write, which does not do it itself."""
        cdef Pager pager = self.pager
        cdef size_t i
        cdef Page page
        pager.live_pages += self.single_pages - self.replaced_pages
        if self.extent_pages:
            for i in range(self.created.count):
                if pager.drafts[self.created.items[i]] != NULL:
                    page = <Page> pager.drafts[self.created.items[i]]
                    # An index can be there twice: given up, and used again by the same write.
                    if page.size != pager.page_size and self.created.items[i] not in pager.live_extents:
                        pager.live_extents[self.created.items[i]] = page.size // pager.page_size
                        pager.live_extent_pages += page.size // pager.page_size
        for i in range(0, self.freed.count, 2):
            pager.unnoted.append((self.freed.items[i], self.freed.items[i + 1]))
        return 0

    def adopt(self):
        """Seal what the newest version consists of: this write is a checkpoint, and changes nothing else."""
        self.adopted = True
        self.single_pages += self.pager.live_pages
        self.extent_pages += self.pager.live_extent_pages
        for number, pages in self.pager.unnoted:
            self.free_sealed(number, pages)

    def free_sealed(self, uint64_t number, uint64_t pages):
        """Sealed pages that this write's roots no longer reach."""
        push(&self.freed, number)
        push(&self.freed, pages)

    def free_forwarded(self):
        """Drafts that this write replaced and that a checkpoint has sealed meanwhile: their pages are free now."""
        cdef size_t i
        cdef Page page
        for i in range(self.superseded.count):
            page = <Page> self.pager.drafts[self.superseded.items[i]]
            if not page.number & DRAFT_BIT:
                self.free_sealed(page.number, page.size // self.pager.page_size)

    def complete(self, uint64_t pinned=0xFFFFFFFFFFFFFFFF):
        """The write's roots name sealed pages only and are the newest version: drop what is left of its drafts.

        pinned: as for `publish`, but that a write which is open counts as a version, too. Nobody may pin the version
        before from here until Pager.release.
        """
        cdef size_t i
        for i in range(0, self.forwarded.count, 2):
            if self.forwarded.items[i + 1] >= pinned:
                self.pager.free_draft(self.forwarded.items[i])
            else:
                self.pager.retire(self.forwarded.items[i])
        self.forwarded.count = 0
        self.drop_drafts(0)
        self.forget_lists()
        self.allocator = Allocator(self.pager)

    def rollback(self):
        """The write never was: drop its drafts, and what waits to be written. Not for an inline write."""
        self.drop_drafts(0)
        self.drop_sealed()
        self.forget_lists()
        self.allocator = Allocator(self.pager)

    cdef int drop_drafts(self, size_t start) except -1:
        """Free those drafts of created[start:] that still exist."""
        cdef size_t i
        for i in range(start, self.created.count):
            if self.pager.drafts[self.created.items[i]] != NULL:
                self.pager.free_draft(self.created.items[i])
        self.created.count = start
        return 0

    cdef int drop_sealed(self) except -1:
        """Take what waits to be written out of the cache and the queue."""
        cdef Page page
        for page in self.sealed:
            self.pager.cache.forget(page.number)
            self.pager.pending.pop(page.number, None)
        self.sealed = []
        return 0

    cdef int forget_lists(self) except -1:
        """Nothing belongs to this write any more."""
        self.created.count = 0
        self.superseded.count = 0
        self.freed.count = 0
        self.marks.count = 0
        self.places = []
        self.single_pages = 0
        self.extent_pages = 0
        self.replaced_pages = 0
        return self.forget_record()

    def mark(self):
        """Open a savepoint at the present state: freeze, and remember; the savepoint's depth, counted from 0.

        A mark is: the fence; the lengths of created, superseded and freed; single, extent and replaced pages; the
        length of the record.
        """
        cdef size_t depth = self.marks.count // MARK_WORDS
        if self.sealed:
            raise ValueError("sealed pages wait to be written")
        push(&self.marks, self.fence)
        push(&self.marks, self.created.count)
        push(&self.marks, self.superseded.count)
        push(&self.marks, self.freed.count)
        push(&self.marks, self.single_pages)
        push(&self.marks, self.extent_pages)
        push(&self.marks, self.replaced_pages)
        push(&self.marks, self.record.count)
        self.places.append(self.allocator.mark())
        self.fence = self.pager.freeze()
        return depth

    def rewind(self, size_t depth):
        """Back to the state of a savepoint, which stays open; deeper ones end. The caller puts back its roots."""
        cdef uint64_t* mark = self.mark_at(depth)
        self.drop_drafts(mark[1])
        self.superseded.count = mark[2]
        self.freed.count = mark[3]
        self.single_pages = mark[4]
        self.extent_pages = mark[5]
        self.replaced_pages = mark[6]
        self.record.count = min(self.record.count, mark[7])
        self.marks.count = (depth + 1) * MARK_WORDS
        self.drop_sealed()
        self.allocator.rewind(self.places[depth])
        del self.places[depth + 1:]
        self.fence = self.pager.freeze()

    def forget(self, size_t depth):
        """End a savepoint and the deeper ones, keeping what was done since."""
        cdef uint64_t* mark = self.mark_at(depth)
        self.fence = mark[0]
        self.marks.count = depth * MARK_WORDS
        self.allocator.forget(self.places[depth])
        del self.places[depth:]

    cdef uint64_t* mark_at(self, size_t depth) except NULL:
        """The numbers of a live savepoint."""
        if depth >= self.marks.count // MARK_WORDS:
            raise ValueError(f"no savepoint {depth}")
        return self.marks.items + depth * MARK_WORDS

    # What Python sees

    def new(self, uint8_t type, uint8_t level, size_t size):
        """A new draft; `create`."""
        return self.create(type, level, size)

    def change(self, tuple ref not None, bint wait=True):
        """(page, ref) for changing in place; `own`."""
        cdef Ref target = unpack_ref(ref)
        self.pager.check_number(target.number)
        page = self.own(&target, wait)
        return page, (target.number, target.birth, target.checksum)

    def discard(self, tuple ref not None, size_t size):
        """No longer reachable; `drop`."""
        cdef Ref target = unpack_ref(ref)
        self.pager.check_number(target.number)
        self.drop(&target, size)

    def settle(self, Page page not None):
        """The final ref of a draft; `seal`."""
        cdef Ref target
        if not page.number & DRAFT_BIT:
            raise ValueError(f"page {page.number} is sealed")
        self.seal(page, &target)
        return target.number, target.birth, target.checksum

    @property
    def freed_pages(self):
        """The sealed pages that this write replaced or dropped, as (number, pages)."""
        return [(self.freed.items[i], self.freed.items[i + 1]) for i in range(0, <Py_ssize_t> self.freed.count, 2)]

    @property
    def freed_count(self):
        """How many sealed pages those are. A list of so many tuples brought a garbage collection of 50 ms."""
        cdef size_t i
        cdef uint64_t pages = 0
        for i in range(1, self.freed.count, 2):
            pages += self.freed.items[i]
        return pages

    def extents(self):
        """The lengths in pages of the drafts of several pages that are still to be sealed."""
        gone = {self.superseded.items[i] for i in range(<Py_ssize_t> self.superseded.count)}
        sizes = dict(self.pager.live_extents) if self.adopted else {}
        for i in range(<Py_ssize_t> self.created.count):
            index = self.created.items[i]
            page = self.pager.drafts[index]
            if page != NULL and (<Page> page).size > self.pager.page_size and index not in gone:
                sizes[index] = (<Page> page).size // self.pager.page_size
        return list(sizes.values())

    def note_change(self, uint32_t tree, bytes key not None, bytes value):
        """Keep a put, or a delete without a value, for the log's record."""
        if value is None:
            self.note_delete(tree, key, len(key))
        else:
            self.note_put(tree, key, len(key), value, len(value))

    @property
    def record_size(self):
        """Bytes of changes kept for the log; 0 if there are none, or too many."""
        return self.record.count

    def settle_places(self):
        """A new allocator takes over: what the open savepoints remember of it is how it begins."""
        self.places = [self.allocator.mark() for _ in self.places]

    @property
    def waiting(self):
        """Pages sealed and not yet written."""
        return len(self.sealed)


def page_number(Page page not None):
    """The number of a page, to sort by."""
    return page.number
