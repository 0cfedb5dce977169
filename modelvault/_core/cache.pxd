"""The table of pages in memory, laid open so that the pager's hit path is a loop over it."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t


cdef struct Entry:
    # A place of the table. page is an owned reference, NULL when the place is empty.
    uint64_t number
    uint64_t birth
    PyObject* page
    uint32_t size               # bytes
    uint32_t hot                # used since the hand passed


@final
cdef class Cache:
    # Owns the entries and a reference to each page.
    cdef Entry* entries
    cdef size_t mask            # places - 1
    cdef unsigned int shift     # of a hash, to a place
    cdef size_t hand
    cdef readonly size_t count
    cdef readonly size_t bytes
    cdef readonly uint64_t evictions

    cdef inline size_t home(self, uint64_t number) noexcept:
        # Fibonacci hashing: neighbouring numbers come to lie far apart.
        return (number * <uint64_t> 0x9E3779B97F4A7C15) >> self.shift

    cdef int put(self, uint64_t number, uint64_t birth, size_t size, object page) except -1
    cdef int forget(self, uint64_t number) except -1
    cdef int shrink(self, size_t limit) except -1
    cdef int remove(self, size_t hole) except -1
    cdef int grow(self) except -1
