"""One range of a tree, a leaf at a time."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.cursor cimport Cursor


@final
cdef class Stretch:
    # One range of a tree, a leaf at a time: slots [start, end) of cursor.leaf.
    cdef Cursor cursor
    cdef bytes low
    cdef bytes high
    cdef bint backward
    cdef bint begun
    cdef bint last              # the range ends in this leaf
    cdef size_t start
    cdef size_t end

    cdef int set(self, bytes low, bytes high) except -1
    cdef bint next(self, Buffer position, bint behind, bint wait) except -1
    cdef bint seek(self, Buffer position, bint behind, bint wait) except -1
    cdef bint ahead(self, bytes bound, Buffer position) noexcept
    cdef int measure(self) except -1


cdef Stretch new_stretch(bint backward)
cdef int compare_bytes(bytes left, const unsigned char* right, size_t size) noexcept
cdef int copy_key(Buffer out, const unsigned char* data, size_t page_size, size_t slot) except -1
