"""Pages: those that stand in the file, by way of the cache, and where the drafts of writes are kept.

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
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove

from modelvault._core.cache cimport Cache, Entry
from modelvault._core.file cimport DiskFile
from modelvault._core.format cimport PAGE_BIRTH, PAGE_CHECKSUM, PAGE_NUMBER, PAGE_SLOTS, Ref
from modelvault._core.xxh64 cimport xxh64

from modelvault.errors import ColdPage, CorruptionError

cdef enum:
    FIRST_DRAFTS = 64
    SMALL_READ = 1 << 16        # bytes hashed without releasing the GIL

cdef uint64_t DRAFT_BIT = (<uint64_t> 1) << DRAFT_SHIFT
cdef uint64_t LAST_PAGE = (<uint64_t> 1) << 46
cdef uint64_t LAST_LENGTH = ((<uint64_t> 1) << 32) - 1


def checksum(const unsigned char[::1] data not None, uint64_t seed=0):
    """XXH64 of a bytes-like object."""
    if data.shape[0] == 0:
        return xxh64(b"", 0, seed)
    return xxh64(&data[0], data.shape[0], seed)


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


cdef Ref unpack_ref(tuple ref):
    cdef Ref result
    result.number, result.birth, result.checksum = ref
    return result
