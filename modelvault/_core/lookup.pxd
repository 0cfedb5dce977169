"""Several keys looked for in one tree, side by side."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.format cimport Ref, Root
from modelvault._core.pager cimport Page, Pager


cdef enum:
    SIDE_BY_SIDE = 64           # keys of a lookup, at most


cdef struct Sought:
    # One key: where its leaf is, and what stands there.
    size_t key                  # offset in Lookup.keys
    size_t size
    Ref ref
    size_t slot
    const unsigned char* value  # NULL: there is no such key
    size_t length


@final
cdef class Lookup:
    # The bytes of a value stay until `clear` or as long as its pages are held; those of a draft, until the write changes this tree.
    cdef Sought sought[SIDE_BY_SIDE]
    cdef size_t count           # keys
    cdef Buffer keys
    cdef list leaves            # of each key
    cdef list extents           # of each key that has one, else None

    cdef int clear(self) except -1
    cdef int add(self, const unsigned char* key, size_t size) except -1
    cdef size_t find(self, Pager pager, const Root* root, bint wait) except? 0
    cdef size_t descend(self, Pager pager, const Root* root, bint wait) except? 0
    cdef size_t find_leaves(self, Pager pager, size_t count, bint wait) except? 0
    cdef size_t find_values(self, Pager pager, size_t count, bint wait) except? 0
    cdef size_t read_extent(self, Pager pager, Sought* sought, bint wait) except? 0
