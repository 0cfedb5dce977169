"""What trees see of the pager: pages to read, and the private pages of one write."""

from cpython.mem cimport PyMem_RawRealloc
from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from modelvault._core.cache cimport Cache
from modelvault._core.file cimport DiskFile, iovec
from modelvault._core.format cimport Ref


cdef enum:
    # Set in a page number while the page lives in memory only: the rest is its index in Pager.drafts.
    DRAFT_SHIFT = 63


cdef struct Words:
    # A growable array of numbers.
    uint64_t* items
    size_t count
    size_t capacity


cdef struct Bytes:
    # A growable array of bytes.
    unsigned char* items
    size_t count
    size_t capacity


cdef inline int push(Words* words, uint64_t value) except -1:
    # Append one number.
    cdef size_t capacity
    cdef void* items
    if words.count == words.capacity:
        capacity = 2 * words.capacity if words.capacity else 32
        items = PyMem_RawRealloc(words.items, capacity * sizeof(uint64_t))
        if items == NULL:
            raise MemoryError()
        words.items = <uint64_t*> items
        words.capacity = capacity
    words.items[words.count] = value
    words.count += 1
    return 0


@final
cdef class Page:
    # Owns `data`. Immutable unless it is a draft whose stamp is the pager's current one.
    # Whoever holds a Python reference to it may read `data`, with or without the GIL.
    cdef unsigned char* data
    cdef bint checked               # tree: its structure was verified
    cdef readonly size_t size       # bytes: page_size, or the whole extent of an overflow value
    cdef readonly uint64_t number
    cdef readonly uint64_t birth
    cdef readonly uint64_t stamp    # 0 for a page that stands in the file
    cdef readonly uint64_t serial   # of a draft: what a reference to it has in place of the birth


@final
cdef class Pager:
    cdef readonly object file
    cdef DiskFile disk              # the file again if its C methods may be called: it is exactly a DiskFile
    cdef readonly size_t page_size
    cdef readonly uint64_t stamp    # drafts with this stamp may be changed in place
    cdef uint64_t shared            # older drafts may belong to a fork as well; 0: none do
    cdef public uint64_t page_count # pages in use by the format: the end of the file as the last commit knew it
    cdef public uint64_t free_pages # of them in the free tree
    cdef public uint64_t ceiling    # 0, or while the file is being compacted: new pages shall stand below this one
    cdef uint64_t seed              # of every page's checksum
    cdef uint64_t hand_generation   # space: the batch of the free tree at which to look for pages next
    cdef uint64_t hand_batch

    # Drafts: owned references by index, NULL where an index is free.
    cdef PyObject** drafts
    cdef size_t draft_limit         # indexes ever used
    cdef size_t draft_capacity
    cdef Words spare                # free indexes below draft_limit
    cdef Words retired              # pairs (stamp, index): drafts that only older versions can see, oldest first
    cdef size_t retired_start
    cdef readonly size_t draft_bytes
    cdef uint64_t serials           # given out

    # What the next checkpoint has to do for the commits that stand in the log only.
    cdef readonly uint64_t live_pages   # drafts of one page that the newest version reaches
    cdef readonly dict live_extents     # longer ones: index -> pages
    cdef readonly uint64_t live_extent_pages
    cdef readonly list unnoted          # (number, pages): sealed pages that it no longer reaches
    cdef readonly dict pending          # sealed pages that are not in the file yet, by number

    cdef readonly Cache cache       # pages that stand in the file
    cdef readonly size_t cache_size # bytes for them and for drafts

    cdef uint64_t seals             # pages sealed
    cdef readonly uint64_t hits
    cdef readonly uint64_t misses
    cdef readonly uint64_t reads
    cdef readonly uint64_t writes

    cdef Page find(self, const Ref* ref, bint wait)
    cdef Page find_extent(self, const Ref* ref, size_t length, bint wait)
    cpdef uint64_t freeze(self)
    cpdef int release(self, uint64_t stamp) except -1

    cdef Page load(self, const Ref* ref, size_t size, bint wait)
    cdef int read_page(self, Page page, bint wait) except -1
    cdef int verify(self, Page page, const Ref* ref) except -1
    cdef int remember(self, Page page) except -1
    cdef inline size_t extent_size(self, size_t length) noexcept
    cdef int check_number(self, uint64_t number) except -1
    cdef uint64_t add_draft(self, Page page) except 0
    cdef int retire(self, uint64_t index) except -1
    cdef int free_draft(self, uint64_t index) except -1


cdef class Allocator:
    # Where sealed pages go. This one only extends the file; space.Space reuses free pages.
    cdef readonly Pager pager
    cdef uint64_t take(self, uint64_t pages) except 0
    cdef bint give_back(self, uint64_t number, uint64_t pages) except -1
    cdef object mark(self)
    cdef int rewind(self, object mark) except -1
    cdef int forget(self, object mark) except -1


@final
cdef class Draft:
    # The private pages of one write: made, changed and dropped here, sealed by a commit or thrown away.
    cdef readonly Pager pager
    cdef public uint64_t generation     # the birth of the pages that it seals
    cdef public Allocator allocator
    cdef readonly uint64_t single_pages # to seal: drafts of one page that the write's roots reach
    cdef readonly uint64_t extent_pages # to seal: pages of longer drafts
    cdef readonly uint64_t begin        # drafts with an older stamp belong to published versions
    cdef uint64_t fence                 # drafts with an older stamp are seen by a savepoint or a version
    cdef Words created                  # indexes of the drafts made here (some may be gone)
    cdef Words superseded               # indexes of older drafts that this write's roots no longer reach
    cdef Words freed                    # pairs (number, pages): sealed pages that this write's roots no longer reach
    cdef Words marks                    # a row of numbers for each live savepoint
    cdef list places                    # what the allocator remembers of each live savepoint
    cdef list sealed                    # pages waiting for write_out
    cdef Words forwarded                # indexes of sealed drafts that published versions know them by
    cdef readonly uint64_t replaced_pages   # published drafts of one page that this write's roots no longer reach
    cdef bint adopted                   # what it seals includes the drafts of the newest version
    cdef Bytes record                   # the changes as the log will have them
    cdef readonly size_t record_limit   # bytes; longer ones are not kept, and the write cannot go to the log

    cdef Page create(self, uint8_t type, uint8_t level, size_t size)
    cdef Page copy(self, Page page)
    cdef Page own(self, Ref* ref, bint wait)
    cdef int drop(self, const Ref* ref, size_t size) except -1
    cdef int seal(self, Page page, Ref* ref) except -1
    cdef int settle_ref(self, Page page, Ref* ref) except -1
    cdef bint may_seal_early(self, Page page) noexcept
    cpdef int publish(self) except -1
    cdef int add_live(self) except -1
    cpdef int write_out(self) except -1

    cdef int note_put(
        self, uint32_t tree, const unsigned char* key, size_t length, const unsigned char* value, size_t size) except -1
    cdef int note_delete(self, uint32_t tree, const unsigned char* key, size_t length) except -1
    cdef int note(self, uint64_t head, const unsigned char* data, size_t size) except -1
    cdef int forget_record(self) except -1
    cdef int count(self, size_t size, int sign) except -1
    cdef int replace(self, const Ref* ref, size_t size) except -1
    cdef int drop_drafts(self, size_t start) except -1
    cdef int drop_sealed(self) except -1
    cdef int forget_lists(self) except -1
    cdef uint64_t* mark_at(self, size_t depth) except NULL
    cdef int write_run(self, Py_ssize_t start, Py_ssize_t end, iovec* parts) except -1
