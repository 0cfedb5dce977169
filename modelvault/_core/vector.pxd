"""Columns in the layout of Arrow, which grow value by value without the GIL."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t

from modelvault._core.leaf cimport Form


cdef enum:
    # What a put can come to, besides DAMAGED, ABSENT and PRESENT.
    FULL = -2                   # there is no memory
    UNFIT = -3                  # the column cannot hold the value; its `fault` says why


cdef enum Kind:
    # What a column holds.
    FLAGS                       # bits
    LONGS                       # from here to CODES of a fixed width
    UNSIGNED
    REALS
    UUIDS
    STAMPS
    DATES
    TIMES
    SPANS
    NUMERALS                    # decimals
    CODES                       # places in a list of values
    TEXTS                       # from here to THINGS bytes with offsets
    BLOBS
    THINGS                      # what has no columns: the stored bytes, with what reads them
    LISTS                       # offsets into the inner column
    MAPS                        # the same into two, of keys and of values
    STRUCTS
    ARRAYS                      # lists of one length


cdef enum Fault:
    FAULTLESS
    TOO_WIDE
    ZONED
    MIXED
    TOO_LONG
    TOO_PRECISE
    NO_NUMBER


cdef enum Zone:
    UNKNOWN
    NAIVE
    AWARE


cdef struct Heap:
    # Bytes that grow.
    unsigned char* data
    size_t size
    size_t capacity


cdef struct Vec:
    # A column; `inner` are those of its parts. Owned by a Vector.
    Kind kind
    Fault fault
    Zone zone                   # of the points in time in it, also in those that were sealed
    bint doubtful               # there is text that may not be UTF-8
    int width                   # bytes of a value, 0 for none
    size_t count
    size_t nulls
    size_t length               # of the lists of ARRAYS
    Heap valid                  # a bit for each value; nothing before the first null
    Heap offsets
    Heap data
    Vec** inner                 # owned
    Py_ssize_t inners


@final
cdef class Memory:
    # Owns `heap`.
    cdef Heap heap


@final
cdef class Piece:
    cdef readonly str kind
    cdef readonly str path
    cdef readonly tuple names
    cdef readonly object values
    cdef readonly size_t length
    cdef readonly size_t count
    cdef readonly size_t nulls
    cdef readonly object aware
    cdef readonly bint doubtful
    cdef readonly tuple buffers
    cdef readonly tuple inner


@final
cdef class Vector:
    # Owns the heaps of `vec`, and `vec.inner`.
    cdef Vec vec
    cdef str path
    cdef tuple names            # of the inner columns
    cdef tuple values           # of CODES
    cdef list readers           # of THINGS: Codecs
    cdef list inner

    cdef int hold(self, list inner) except -1
    cdef Vector faulty(self)
    cdef Piece seal(self)
    cdef list things(self)


cdef Vector new_vector(Kind kind, str path, size_t length=*)
cdef str fault_text(Fault fault)
cdef int put_null(Vec* vec) noexcept nogil
cdef int put_bytes_of(Vec* vec, const unsigned char* data, size_t size) noexcept nogil
cdef int put_thing(Vec* vec, uint32_t reader, const unsigned char* data, size_t size) noexcept nogil
cdef int put_count(Vec* vec, size_t end) noexcept nogil
cdef int put_present(Vec* vec) noexcept nogil
cdef int put_scalar(
    Vec* vec, Form form, const int32_t* codes, uint32_t choices, const unsigned char* data, size_t size,
    bint wide) noexcept nogil
