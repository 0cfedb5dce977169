"""Sums and groups of the rows of a scan."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.columns cimport Columns
from modelvault._core.leaf cimport Form
from modelvault._core.objects cimport Part
from modelvault._core.order cimport SortKeys
from modelvault._core.route cimport Route
from modelvault._core.scan cimport Scan, Sink


cdef enum What:
    COUNTED
    SUMMED
    LEAST
    MOST
    MEAN
    DIFFERENT


cdef struct Cell:
    # One function in one group.
    uint64_t count              # values that are not None
    int64_t high                # sum of integers, 128 bits
    uint64_t low
    double real                 # sum of floats, and what rounding took from it
    double lost
    uint64_t major              # the least or greatest value so far: to compare it,
    uint64_t minor
    unsigned char stored[16]    # and as it lies in the record
    bint wide


@final
cdef class Function:
    # One column of the result.
    cdef readonly str name
    cdef What what
    cdef Form form
    cdef bint plain             # a fixed-width number or moment: no Python object is needed to read it
    cdef bint summable          # by adding 64-bit numbers
    cdef Route route            # in records of the newest version; None for all rows
    cdef Columns column
    cdef SortKeys order         # of the values, for what is not plain

    cdef int aim(self, list codecs, tuple path) except -1
    cdef object value(self, const unsigned char* record, size_t size)
    cdef object total(self, const Cell* cell, object other)


cdef enum:
    MOST_RAW = 32               # bytes of a value that is recognised as it lies in a record
    SHELF_BITS = 8


@final
cdef class Group:
    # Owns `cells`.
    cdef Cell* cells
    cdef size_t raw_size        # 0: none yet
    cdef unsigned char raw[MOST_RAW]    # the value of the row that was put into it last, as it lies in the record
    cdef list others            # what a cell has in Python: a value, a sum, a set of keys
    cdef tuple values           # of the fields that the group is by


@final
cdef class Aggregate(Sink):
    cdef readonly Scan scan
    cdef list functions
    cdef int newest             # schema version
    cdef SortKeys order         # of the groups
    cdef Columns columns
    cdef dict groups            # by sort key
    cdef Route route            # to the value, where groups are by one field; else None
    cdef PyObject* shelf[1 << SHELF_BITS]   # some of the groups, by a hash of their raw values; borrowed
    cdef Group last             # of the row before
    cdef bytes last_key
    cdef Buffer key

    cdef Group group_of(self, const unsigned char* record, size_t size)
    cdef Group group_by_key(self, const unsigned char* record, size_t size)
    cdef Group new_group(self, const unsigned char* record, size_t size)
    cdef int add(
        self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1
    cdef int add_other(
        self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1
    cdef int add_value(self, Group group, Py_ssize_t i, Function function, object value) except -1
    cdef int compare(
        self, Group group, Py_ssize_t i, Function function, const unsigned char* record, size_t size) except -1
