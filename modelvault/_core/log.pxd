"""The log: a ring of records in one extent of the file."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.draft cimport Draft
from modelvault._core.tree cimport Roots


@final
cdef class Log:
    # Owns nothing. Positions count bytes since the extent was new; the place in the extent is the rest by its capacity.
    cdef readonly object file
    cdef uint64_t seed
    cdef readonly uint64_t first        # page of the extent, and how many; 0: there is no log
    cdef readonly uint64_t pages
    cdef uint64_t offset                # of the extent in the file
    cdef readonly uint64_t capacity     # bytes
    cdef readonly uint64_t tail         # position: what is before it stands in the trees of the newest stored meta
    cdef readonly uint64_t head         # position behind the last record
    cdef readonly uint64_t sequence     # of the last commit
    cdef readonly uint64_t chain        # the checksum of the last record
    cdef readonly uint64_t durable      # sequence of the last commit that is known to survive a power failure

    cdef uint64_t applied               # changes repeated

    cdef size_t most(self) noexcept
    cpdef size_t draft_limit(self)
    cdef bint fills(self, bytes record) noexcept
    cpdef bytes pack(self, Draft draft, entries, uint32_t next_tree, uint32_t next_collection)
    cpdef bint has_room(self, bytes record)
    cpdef int append(self, bytes record, bint sync) except -1
    cpdef int erase(self, bytes record) except -1
    cdef uint64_t place(self, size_t size) noexcept
    cdef bytes load(self, uint64_t place, bint wait)
    cdef int advance(self, const unsigned char* record, uint64_t position) except -1
    cdef int apply(self, Draft draft, Roots roots, bytes record, list entries) except -1
