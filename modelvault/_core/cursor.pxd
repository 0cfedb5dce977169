"""A position in one version of a tree."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.format cimport Ref, Root
from modelvault._core.node cimport MAX_LEVEL, node_count
from modelvault._core.pager cimport Page, Pager


cdef enum Side:
    # Which child to take on the way down: always the first or the last, or the one for a key.
    FIRST
    LAST
    KEY


@final
cdef class Cursor:
    # Holds the pages from the root to its leaf, so that what it points to stays; owns `buffer`.
    # Movements return 1 at an entry, 0 at the end (the cursor is then nowhere). next and prev leave it
    # where it was on ColdPage and other errors; a seek has to be repeated.
    cdef Pager pager
    cdef Root root
    cdef Page leaf                  # None: nowhere
    cdef size_t index               # in the leaf
    cdef list branches              # pages from the root down to the leaf's parent
    cdef size_t steps[MAX_LEVEL + 1]    # which child of each was taken
    cdef Page extent                # of the value asked for last, if it has one
    cdef unsigned char* buffer      # the key asked for last

    cdef int leave(self) except -1
    cdef int descend(
        self, Py_ssize_t depth, const Ref* start, int level, Side side, const unsigned char* key, size_t size,
        bint wait) except -1
    cdef int check_place(self) except -1

    cdef int reset(self, Pager pager, const Root* root) except -1
    cdef int first(self, bint wait) except -1
    cdef int last(self, bint wait) except -1
    cdef int seek(self, const unsigned char* key, size_t size, bint wait) except -1
    cdef int seek_last_before(self, const unsigned char* key, size_t size, bint wait) except -1
    cdef bint find_near(self, const unsigned char* key, size_t size, bint wait) except -1
    cdef int next_leaf(self, bint wait) except -1
    cdef int prev_leaf(self, bint wait) except -1
    cdef const unsigned char* key(self, size_t* size) noexcept
    cdef int compare(self, const unsigned char* key, size_t size) noexcept
    cdef bint begins_with(self, const unsigned char* key, size_t size) noexcept
    cdef const unsigned char* value(self, size_t* size, bint wait) except NULL
    cdef size_t value_size(self) noexcept

    cdef inline int next(self, bint wait) except -1:
        # To the next entry; the cursor must be at one.
        if self.index + 1 < node_count(self.leaf.data):
            self.index += 1
            return 1
        return self.next_leaf(wait)

    cdef inline int prev(self, bint wait) except -1:
        # To the entry before; the cursor must be at one.
        if self.index > 0:
            self.index -= 1
            return 1
        return self.prev_leaf(wait)
