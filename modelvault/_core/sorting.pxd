"""Rows of a scan in another order."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.order cimport SortKeys
from modelvault._core.record cimport Shape
from modelvault._core.scan cimport Scan, Sink


cdef struct Item:
    # A row that waits to be sorted.
    uint64_t head               # the first eight bytes of its sort key, big-endian
    size_t place                # in the rows; while they are being sorted, where it is in memory


@final
cdef class Run:
    # Sorted rows in the temporary file, read from the front.
    cdef object file
    cdef uint64_t at            # of `block` in the file
    cdef uint64_t end
    cdef size_t block_size
    cdef bytes block
    cdef size_t offset          # of the row at hand in `block`
    cdef const unsigned char* row

    cdef bint next(self, bint wait) except -1
    cdef const unsigned char* whole(self, size_t size, bint wait) except NULL


@final
cdef class Sort(Sink):
    # Owns `items`.
    cdef readonly Scan scan
    cdef readonly size_t spilled    # bytes written to the temporary file
    cdef readonly bint done         # every row was given
    cdef SortKeys order
    cdef size_t limit
    cdef bytes after
    cdef size_t memory
    cdef Buffer rows
    cdef Item* items
    cdef readonly size_t count      # rows kept in memory
    cdef size_t capacity
    cdef size_t given               # items, of those sorted in memory
    cdef size_t handed              # rows given so far
    cdef bint sorted
    cdef Buffer key                 # sort key of the row at hand
    cdef Buffer bar                 # rows from this sort key on are not among the best
    cdef bint barred
    cdef list runs                  # once all is read: a heap
    cdef bint stale                 # the first row of the first run was given
    cdef object file

    cdef bint is_due(self) noexcept
    cdef int tidy(self) except -1
    cdef bint is_wanted(self) noexcept
    cdef int make_room(self, size_t size) except -1
    cdef int arrange(self) except -1
    cdef int prune(self) except -1
    cdef int spill(self) except -1
    cdef int finish(self) except -1
    cdef int give_up_rows(self) except -1
    cdef size_t go_on(self, list found, Shape shape, size_t count, bint wait) except? 0
    cdef size_t give(self, list found, Shape shape, size_t count, double end) except? 0
    cdef size_t give_merged(self, list found, Shape shape, size_t count, double end, bint wait) except? 0
    cdef int pass_given(self, bint wait) except -1
    cdef int sink_down(self, size_t i) except -1
