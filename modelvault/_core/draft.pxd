"""The private pages of one write."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from modelvault._core.file cimport iovec
from modelvault._core.format cimport Ref
from modelvault._core.pager cimport Bytes, Page, Pager, Words


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
    cdef Words forwarded                # indexes of sealed drafts that published versions know them by, and their stamps
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
    cpdef int publish(self, uint64_t pinned=*) except -1
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
