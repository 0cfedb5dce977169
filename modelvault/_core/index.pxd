"""Index entries straight from record bytes."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.codec cimport Codec
from modelvault._core.objects cimport Part, Step
from modelvault._core.record cimport RecordCodec


@final
cdef class Entries:
    # The entries of one record in one index, one behind the other; kept and used again.
    cdef Buffer bytes
    cdef size_t* ends               # owned: where each entry ends in `bytes`
    cdef size_t count
    cdef size_t capacity
    cdef bint exempt                # a component is None: a unique index lets the record pass

    cdef int close_entry(self) except -1
    cdef int sort(self) except -1


@final
cdef class Path:
    cdef list objects               # the Object of each segment
    cdef Step** steps               # owned; the field of each segment
    cdef Py_ssize_t length
    cdef Codec codec                # of the values: the field's, or the elements'
    cdef bint many                  # the field holds many values
    cdef bint holes                 # which may be None
    cdef bint missing               # these records are too old for a segment, and `length` ends in front of it
    cdef Path rest                  # then: the path in the newest version,
    cdef bytes stand_in             # and the bytes of the segment's field there, None for None
    cdef bint stand_in_wide
    cdef int go_on(self, Path newest, Py_ssize_t known) except -1
    cdef int find_rest(self, Part* part) except -1
    cdef int resolve(self, Codec codec, tuple path) except -1
    cdef int find(self, const unsigned char* data, size_t size, Part* part) except -1


@final
cdef class IndexKeys:
    cdef readonly tuple paths
    cdef RecordCodec codec
    cdef list compiled
    cdef Py_ssize_t many            # which path gives several components; -1: none

    cdef int collect(self, const unsigned char* record, size_t size, Entries out) except -1
    cdef int put_one(self, Path path, const unsigned char* data, size_t size, Entries out) except -1
    cdef int put_many(self, const unsigned char* data, size_t size, Entries out) except -1
    cdef int put_around(self, Py_ssize_t first, Py_ssize_t last, const unsigned char* data, size_t size, Entries out) except -1
