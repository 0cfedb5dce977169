"""Pages: the cache of those that stand in the file, and the drafts of a write.

Sealed pages are immutable. They are found by number in the cache and verified once, when they are read: number, birth
and checksum must be those of the reference. Drafts are found by index in an array. docs/design.md section 3 explains
stamps.

Locking: everything here runs under the GIL, which is released only around system calls and long checksums; whatever is
looked up before such a gap is looked up again after it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from modelvault._core.cache cimport Cache, Entry
from modelvault._core.file cimport DiskFile, iovec, make_way
from modelvault._core.format cimport (
    OVERFLOW, PAGE_BIRTH, PAGE_CHECKSUM, PAGE_GARBAGE, PAGE_HEAP, PAGE_LEVEL, PAGE_NUMBER, PAGE_SLOTS, PAGE_TYPE, Ref,
)
from modelvault._core.xxh64 cimport xxh64

from modelvault.errors import ColdPage, CorruptionError

cdef enum:
    FIRST_DRAFTS = 64
    SMALL_READ = 1 << 16        # bytes hashed without releasing the GIL
    MARK_WORDS = 8              # of a savepoint: see Draft.mark
    MOST_PARTS = 1024           # pages in one write call
    SEALS = 128                 # pages sealed in a row, at 4 us each, before other threads may run

cdef uint64_t DRAFT_BIT = (<uint64_t> 1) << DRAFT_SHIFT
cdef uint64_t LAST_PAGE = (<uint64_t> 1) << 46
cdef uint64_t LAST_LENGTH = ((<uint64_t> 1) << 32) - 1


def checksum(const unsigned char[::1] data not None, uint64_t seed=0):
    """XXH64 of a bytes-like object."""
    if data.shape[0] == 0:
        return xxh64(b"", 0, seed)
    return xxh64(&data[0], data.shape[0], seed)


# Fields of a page header; memcpy because the format is little-endian and so are the machines it runs on.

cdef inline uint64_t get_u64(const unsigned char* p) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, p, 8)
    return value


cdef inline uint32_t get_u32(const unsigned char* p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline void set_u64(unsigned char* p, uint64_t value) noexcept nogil:
    memcpy(p, &value, 8)


cdef inline void set_u32(unsigned char* p, uint32_t value) noexcept nogil:
    memcpy(p, &value, 4)


cdef Page new_page(size_t size, bint zeroed):
    """A page with a buffer of `size` bytes that belongs to nothing yet."""
    cdef Page page = Page.__new__(Page)
    page.data = <unsigned char*> (PyMem_RawCalloc(1, size) if zeroed else PyMem_RawMalloc(size))
    if page.data == NULL:
        raise MemoryError()
    page.size = size
    return page


@final
cdef class Page:
    """The bytes of one page, or of one overflow extent. Frees them when nobody refers to it any more."""

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    def __bytes__(self):
        return self.data[:self.size]

    def write(self, size_t offset, bytes data not None):
        """Overwrite bytes of a draft; ValueError for a sealed page or a range outside of the page."""
        cdef size_t size = PyBytes_GET_SIZE(data)
        if not self.number & DRAFT_BIT or offset > self.size or size > self.size - offset:
            raise ValueError(f"cannot write {len(data)} bytes at {offset} of page {self.number}")
        memcpy(self.data + offset, PyBytes_AS_STRING(data), size)

    def __repr__(self):
        return f"<Page {self.number} birth {self.birth} stamp {self.stamp} size {self.size}>"


@final
cdef class Pager:
    """The pages of one file (a modelvault._core.file.File), or of a database in memory.

    page_size: bytes. cache_size: bytes that cached pages and drafts may take together; a database in memory has drafts
    only, and they are not bounded. seed: of the page checksums, the first 8 bytes of the file's uuid.
    """

    def __cinit__(self, file, size_t page_size, size_t cache_size, uint64_t seed=0):
        self.file = file
        self.disk = file if type(file) is DiskFile else None
        self.page_size = page_size
        self.cache_size = cache_size
        self.seed = seed
        self.stamp = 1
        self.cache = Cache()
        self.live_extents = {}
        self.unnoted = []
        self.pending = {}
        self.draft_capacity = FIRST_DRAFTS
        self.drafts = <PyObject**> PyMem_RawCalloc(FIRST_DRAFTS, sizeof(PyObject*))
        if self.drafts == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef size_t i
        if self.drafts != NULL:
            for i in range(self.draft_limit):
                if self.drafts[i] != NULL:
                    Py_DECREF(<object> self.drafts[i])
        PyMem_RawFree(self.drafts)
        PyMem_RawFree(self.spare.items)
        PyMem_RawFree(self.retired.items)

    # Finding

    cdef Page find(self, const Ref* ref, bint wait):
        """The page that `ref` names. ColdPage: it is not in memory and `wait` is False. CorruptionError, OSError."""
        return self.find_extent(ref, self.page_size - PAGE_SLOTS, wait)

    cdef Page find_extent(self, const Ref* ref, size_t length, bint wait):
        """The overflow extent that `ref` names and that holds a value of `length` bytes; errors as find."""
        cdef uint64_t number = ref.number
        cdef Cache cache = self.cache
        cdef PyObject* draft
        cdef size_t place
        cdef Entry* entry
        if number & DRAFT_BIT:
            draft = self.drafts[number ^ DRAFT_BIT]
            if draft == NULL or (<Page> draft).serial != ref.birth:
                raise ColdPage(number)      # gone with a version that was not pinned
            return <Page> draft
        place = cache.home(number)
        while cache.entries[place].page != NULL:
            entry = &cache.entries[place]
            if entry.number == number:
                if entry.birth != ref.birth:
                    break
                entry.hot = 1
                self.hits += 1
                return <Page> entry.page
            place = (place + 1) & cache.mask
        return self.load(ref, self.extent_size(length), wait)

    cdef inline size_t extent_size(self, size_t length) noexcept:
        """Bytes of the extent of an overflow value of `length` bytes."""
        return (length + PAGE_SLOTS + self.page_size - 1) // self.page_size * self.page_size

    cdef Page load(self, const Ref* ref, size_t size, bint wait):
        """Read, verify and cache a page that is not in memory."""
        cdef Page page
        self.misses += 1
        if self.pending:
            page = self.pending.get(ref.number)
            if page is not None and page.birth == ref.birth:
                return page
        if ref.number > LAST_PAGE or size > LAST_LENGTH:
            raise self.damaged(ref.number, "it reaches beyond the end of the file")
        page = new_page(size, False)
        page.number = ref.number
        page.birth = ref.birth
        self.read_page(page, wait)
        self.verify(page, ref)
        self.reads += 1
        self.remember(page)
        return page

    cdef int read_page(self, Page page, bint wait) except -1:
        """Fill the page from the file; ColdPage if that would wait and must not."""
        cdef Py_ssize_t got
        cdef bytes data
        if self.disk is not None:
            got = self.disk.read_into(page.number * self.page_size, page.data, page.size, wait)
            if got < 0:
                raise ColdPage(page.number)
        else:
            data = self.file.read_at(page.number * self.page_size, page.size, wait)
            if data is None:
                raise ColdPage(page.number)
            got = min(PyBytes_GET_SIZE(data), <Py_ssize_t> page.size)
            memcpy(page.data, PyBytes_AS_STRING(data), got)
        if <size_t> got < page.size:
            raise self.damaged(page.number, "it reaches beyond the end of the file")
        return 0

    cdef int verify(self, Page page, const Ref* ref) except -1:
        """CorruptionError unless the page is the one that `ref` names."""
        cdef uint64_t hash
        if page.size > SMALL_READ:
            with nogil:
                hash = xxh64(page.data + 8, page.size - 8, self.seed)
        else:
            hash = xxh64(page.data + 8, page.size - 8, self.seed)
        if hash != get_u64(page.data + PAGE_CHECKSUM):
            raise self.damaged(page.number, "its content does not match its checksum")
        if get_u64(page.data + PAGE_NUMBER) != ref.number:
            raise self.damaged(page.number, f"it is page {get_u64(page.data + PAGE_NUMBER)}")
        if get_u64(page.data + PAGE_BIRTH) != ref.birth:
            raise self.damaged(
                page.number, f"it was written by generation {get_u64(page.data + PAGE_BIRTH)}, not {ref.birth}")
        if hash != ref.checksum:
            raise self.damaged(page.number, "it is not the version that its parent refers to")
        return 0

    def damaged(self, uint64_t number, str why):
        """The CorruptionError for a page."""
        path = None if self.file is None else self.file.path
        return CorruptionError(f"page {number} of {path} is damaged: {why}", page=number, path=path)

    cdef int remember(self, Page page) except -1:
        """Put a page of the file into the cache. Drafts take their room from it, but for the last quarter."""
        cdef size_t room = self.cache_size - min(self.draft_bytes, self.cache_size // 4 * 3)
        self.cache.shrink(room - min(page.size, room))
        return self.cache.put(page.number, page.birth, page.size, page)

    # Drafts

    cpdef uint64_t freeze(self):
        """Make all drafts immutable; the new stamp, which is greater than that of every draft."""
        self.stamp += 1
        return self.stamp

    cdef int retire(self, uint64_t index) except -1:
        """The newest version no longer reaches a draft by its index; versions that were pinned before still may."""
        push(&self.retired, self.stamp)
        return push(&self.retired, index)

    cpdef int release(self, uint64_t stamp) except -1:
        """Forget the retired drafts that only versions frozen before `stamp` can see.

        A version's stamp is what freeze() returned when it was made; pass the lowest one still in use, or 2**64 - 1.
        """
        while self.retired_start < self.retired.count and self.retired.items[self.retired_start] < stamp:
            self.free_draft(self.retired.items[self.retired_start + 1])
            self.retired_start += 2
        if self.retired_start and 2 * self.retired_start >= self.retired.count:
            self.retired.count -= self.retired_start
            memmove(self.retired.items, self.retired.items + self.retired_start, self.retired.count * sizeof(uint64_t))
            self.retired_start = 0
        return 0

    cdef uint64_t add_draft(self, Page page) except 0:
        """Enter a page in the drafts table; its number."""
        cdef uint64_t index
        cdef void* drafts
        if self.spare.count:
            self.spare.count -= 1
            index = self.spare.items[self.spare.count]
        else:
            if self.draft_limit == self.draft_capacity:
                drafts = PyMem_RawRealloc(self.drafts, 2 * self.draft_capacity * sizeof(PyObject*))
                if drafts == NULL:
                    raise MemoryError()
                self.drafts = <PyObject**> drafts
                self.draft_capacity *= 2
            index = self.draft_limit
            self.draft_limit += 1
        page.number = DRAFT_BIT | index
        page.birth = 0
        page.stamp = self.stamp
        self.serials += 1
        page.serial = self.serials
        Py_INCREF(page)
        self.drafts[index] = <PyObject*> page
        self.draft_bytes += page.size
        return page.number

    cdef int free_draft(self, uint64_t index) except -1:
        """Take a page out of the drafts table."""
        cdef PyObject* page = self.drafts[index]
        push(&self.spare, index)
        self.drafts[index] = NULL
        if (<Page> page).number & DRAFT_BIT:
            self.draft_bytes -= (<Page> page).size
        Py_DECREF(<object> page)
        return 0

    def fork(self, uint64_t before):
        """A second pager of a database in memory: the drafts with a stamp below `before` belong to both from now on.

        Neither changes them in place: like a version, the other one goes on seeing them as they are. They are held by
        reference, so this costs a few nanoseconds a page.
        """
        cdef Pager twin = Pager(self.file, self.page_size, self.cache_size, self.seed)
        cdef size_t index
        cdef void* drafts = PyMem_RawCalloc(self.draft_capacity, sizeof(PyObject*))
        if drafts == NULL:
            raise MemoryError()
        PyMem_RawFree(twin.drafts)
        twin.drafts = <PyObject**> drafts
        twin.draft_capacity = self.draft_capacity
        for index in range(self.draft_limit):
            twin.draft_limit = index + 1
            if self.drafts[index] == NULL or (<Page> self.drafts[index]).stamp >= before:
                push(&twin.spare, index)
                continue
            Py_INCREF(<object> self.drafts[index])
            twin.drafts[index] = self.drafts[index]
            twin.draft_bytes += (<Page> self.drafts[index]).size
        for index in range(self.retired_start, self.retired.count, 2):
            twin.free_draft(self.retired.items[index + 1])      # only older versions see it, and those are not forked
        self.shared = self.freeze()
        twin.shared = twin.stamp = self.stamp
        twin.serials = self.serials
        return twin

    # Between checkpoints

    def start_over(self):
        """Nothing of the newest version is left to seal: a checkpoint has done it, or the file has another one."""
        self.live_pages = self.live_extent_pages = 0
        self.live_extents = {}
        self.unnoted = []

    def retire_all(self):
        """No later version will reach any of the drafts that exist; call start_over too."""
        cdef size_t index
        there = {self.retired.items[i + 1] for i in range(<Py_ssize_t> self.retired_start, <Py_ssize_t> self.retired.count, 2)}
        for index in range(self.draft_limit):
            if self.drafts[index] != NULL and index not in there:
                self.retire(index)

    @property
    def unsealed_pages(self):
        """How many pages a checkpoint would have to seal for the collections."""
        return self.live_pages + self.live_extent_pages

    # What Python sees

    def read(self, tuple ref not None, bint wait=True):
        """The page with this (number, birth, checksum), of which the number is enough for a draft; ColdPage, CorruptionError."""
        cdef Ref target = unpack_ref(ref)
        self.check_number(target.number)
        if target.number & DRAFT_BIT:
            return <Page> self.drafts[target.number ^ DRAFT_BIT]
        return self.find(&target, wait)

    def read_extent(self, tuple ref not None, size_t length, bint wait=True):
        """The overflow extent with this (number, birth, checksum) and value length; ColdPage, CorruptionError."""
        cdef Ref target = unpack_ref(ref)
        self.check_number(target.number)
        return self.find_extent(&target, length, wait)

    cdef int check_number(self, uint64_t number) except -1:
        """ValueError for a draft that does not exist."""
        cdef uint64_t index = number ^ DRAFT_BIT
        if number & DRAFT_BIT and (index >= self.draft_limit or self.drafts[index] == NULL):
            raise ValueError(f"no draft {index}")
        return 0

    @property
    def draft_count(self):
        """Drafts that exist."""
        return self.draft_limit - self.spare.count

    def stats(self):
        """Counters and sizes in bytes, by name."""
        return {
            "page_size": self.page_size, "page_count": self.page_count, "free_pages": self.free_pages,
            "cache_size": self.cache_size, "cache_bytes": self.cache.bytes, "cached_pages": self.cache.count,
            "draft_bytes": self.draft_bytes, "drafts": self.draft_count, "unsealed_pages": self.unsealed_pages,
            "hits": self.hits, "misses": self.misses, "reads": self.reads, "writes": self.writes,
            "evictions": self.cache.evictions,
        }


def page_number(Page page not None):
    """The number of a page, to sort by."""
    return page.number


cdef Ref unpack_ref(tuple ref):
    cdef Ref result
    result.number, result.birth, result.checksum = ref
    return result


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
        cdef bint shared = page.stamp < self.begin      # with versions that know it by its index
        cdef uint64_t hash
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
            push(&self.forwarded, index)    # retired by complete(): until then the version that has it can be pinned
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

    cpdef int publish(self) except -1:
        """The write's roots are the newest version: keep its drafts, retire those that only older versions can see.

        Call Pager.release afterwards.
        """
        cdef Pager pager = self.pager
        cdef size_t i
        cdef uint64_t index
        cdef Page page
        for i in range(self.superseded.count):
            index = self.superseded.items[i]
            page = <Page> pager.drafts[index]
            if page.stamp >= self.begin:
                pager.free_draft(index)
            else:
                # Not `begin`: a version pinned while this write was open sees it too.
                pager.retire(index)
                if page.size != pager.page_size:
                    pager.live_extent_pages -= pager.live_extents.pop(index, 0)
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

    def complete(self):
        """The write's roots name sealed pages only and are the newest version: drop what is left of its drafts.

        Nobody may pin the version before from here until Pager.release.
        """
        cdef size_t i
        for i in range(self.forwarded.count):
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
