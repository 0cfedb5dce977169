"""What trees see of the pager: pages to read, and the private pages of one write."""

from libc.stdint cimport uint8_t, uint64_t

from modelvault._core.format cimport Ref


cdef enum:
    # Set in a page number while the page lives in memory only: the rest is its index in Pager.drafts.
    DRAFT_SHIFT = 63


cdef class Page:
    # Owns `data`. Immutable unless it is a draft whose stamp is the pager's current one.
    # Whoever holds a Python reference to it may read `data`, with or without the GIL.
    cdef unsigned char* data
    cdef size_t size            # bytes: page_size, or the whole extent of an overflow value
    cdef uint64_t number
    cdef uint64_t birth
    cdef uint64_t stamp         # 0 for a page that stands in the file
    cdef bint hot               # used since the eviction hand passed


cdef class Pager:
    cdef readonly object file
    cdef readonly size_t page_size
    cdef uint64_t stamp         # drafts with this stamp may be changed in place

    cdef Page find(self, const Ref* ref, bint wait)
    cdef Page find_extent(self, const Ref* ref, size_t length, bint wait)
    cpdef uint64_t freeze(self)


cdef class Draft:
    # The private pages of one write: made, changed and dropped here, sealed by a commit or thrown away.
    cdef readonly Pager pager
    cdef Page create(self, uint8_t type, uint8_t level, size_t size)
    cdef Page own(self, Ref* ref, bint wait)
    cdef int drop(self, const Ref* ref, size_t size) except -1
    cdef int seal(self, Page page, Ref* ref) except -1
