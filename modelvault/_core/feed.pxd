"""Where the rows of a scan come from, and one such place: ranges and points of the primary tree."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.cursor cimport Cursor
from modelvault._core.pager cimport Page, Pager
from modelvault._core.program cimport Program
from modelvault._core.stretch cimport Stretch
from modelvault._core.table cimport Table
from modelvault._core.tree cimport Roots


cdef enum Mode:
    # What is wanted of a row that matches.
    ROWS                        # its key and record
    KEYS                        # its key; the record only if there is something to test
    COUNT                       # that it is there


cdef struct Hit:
    # A row that matches, or may. The pages are held by the feed until its next step.
    PyObject* leaf              # NULL: key and record were copied
    size_t slot
    size_t key_at               # where the primary key begins in the key of the slot
    uint64_t page               # number of the leaf of a copy
    const unsigned char* key
    size_t key_size
    const unsigned char* record
    size_t size
    bint undecided              # the program left the last word to Program.decide


cdef struct Leaf:
    PyObject* page              # held by the feed
    const unsigned char* data
    size_t start                # slots not yet looked at
    size_t end


cdef struct Window:
    # Leaves gathered side by side, and what a step makes of them.
    Leaf* leaves                # owned by the feed
    size_t count
    size_t at                   # leaves before this one are done
    bint backward
    Mode mode
    size_t want                 # left to find
    size_t budget               # left to look at
    size_t matched
    size_t examined
    Hit* hits                   # the feed's
    size_t found
    size_t capacity
    PyObject* last              # the page of the row looked at last, NULL for none
    size_t last_slot


cdef class Feed:
    # Owns `hits`.
    cdef Table table
    cdef Pager pager
    cdef Roots roots
    cdef Program program
    cdef bint backward
    cdef Mode mode
    cdef bint ended
    cdef Buffer position            # of the row looked at last: its primary key, or its entry
    cdef bint behind                # there is one
    cdef list held                  # pages that hits and windows point into
    cdef Hit* hits
    cdef size_t count
    cdef size_t capacity
    cdef size_t matched             # found without a hit being noted, in mode COUNT
    cdef size_t examined
    cdef size_t pages
    cdef uint32_t tree              # being read

    cdef int leave(self) except -1
    cdef int step(self, size_t want, size_t budget, bint wait, bint release) except -1
    cdef int make_room(self, size_t want) except -1
    cdef int stand_at(self, Page leaf, size_t slot) except -1
    cdef int add(self, Page leaf, size_t slot, size_t key_at, const unsigned char* record, size_t size, int verdict) except -1
    cdef int judge(self, const unsigned char* record, size_t size) except -2
    cdef object damaged_record(self, Page leaf)


@final
cdef class RowFeed(Feed):
    # Owns `window.leaves`.
    cdef list points                # packed primary keys, ascending, none of them in a range
    cdef list ranges                # (low, high), ascending and disjoint
    cdef Py_ssize_t point           # the next one
    cdef Py_ssize_t range
    cdef Stretch stretch
    cdef bint open                  # stretch is on ranges[range]
    cdef Cursor cursor              # of points
    cdef Window window
    cdef size_t rows                # to gather into the next window

    cdef int feed(self, list points, list ranges) except -1
    cdef bint is_range_next(self) except -1
    cdef bint has_points(self) noexcept
    cdef int find_points(self, size_t want, size_t budget, bint wait) except -1
    cdef bint find_point(self, bytes key, bint wait) except -1
    cdef int gather(self, size_t want, size_t budget, bint wait) except -1
    cdef int test(self, bint wait, bint release) except -1
    cdef size_t take_long(self, bint wait) except 0
    cdef int finish(self) except -1


cdef RowFeed new_row_feed(Table table, Roots roots, Program program, bint backward)
cdef Py_ssize_t first_range(Feed feed, list ranges) except -2
