"""Trees: find, put and delete by key; docs/format.md sections 3 and 4."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from modelvault._core.draft cimport Draft
from modelvault._core.format cimport Ref, Root
from modelvault._core.node cimport MAX_LEVEL
from modelvault._core.pager cimport Page, Pager


cdef struct Path:
    # From the root to a leaf: drafts that the write owns, hence borrowed references, and which child was taken.
    PyObject* pages[MAX_LEVEL + 2]
    size_t index[MAX_LEVEL + 2]
    int depth                   # pages


cdef enum Added:
    ADD_FAILED = -1
    ADDED = 0
    ADD_FOUND = 1               # the key is there
    ADD_TAKEN = 2               # another key begins with what it should have for itself
    ADD_UNSURE = 3              # so may one in the next leaf


@final
cdef class Roots:
    # Owns `items`.
    cdef Root* items
    cdef readonly size_t count
    cdef size_t capacity
    cpdef Roots copy(self)
    cdef Root* at(self, uint32_t tree) except NULL
    cdef int grow(self, size_t count) except -1


# The page that `ref` names, its structure verified; level: the one it must have, -1 for a root.
cdef Page fetch(Pager pager, const Ref* ref, int level, bint wait)
# The extent that `place` in a leaf names and that holds a value of `length` bytes.
cdef Page fetch_extent(Pager pager, const unsigned char* place, size_t length, bint wait)
cdef size_t child_index(
    const unsigned char* data, size_t page_size, const unsigned char* key, size_t size) noexcept nogil

cdef Page tree_find(
    Pager pager, const Root* root, const unsigned char* key, size_t size, bint wait,
    const unsigned char** value, size_t* value_size)
cdef Page tree_leaf(Pager pager, const Root* root, const unsigned char* key, size_t size, bint wait)
cdef int tree_put(
    Draft draft, Root* root, const unsigned char* key, size_t size,
    const unsigned char* value, size_t value_size, bint wait) except -1
cdef Added tree_add(
    Draft draft, Root* root, Path* path, const unsigned char* key, size_t size, size_t alone,
    const unsigned char* value, size_t value_size, bint wait) except ADD_FAILED
cdef int tree_delete(Draft draft, Root* root, const unsigned char* key, size_t size, bint wait) except -1

cdef tuple root_tuple(const Root* root)
cdef Root tuple_root(tuple root) except *
