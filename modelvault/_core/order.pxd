"""The order of rows as bytes."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.leaf cimport Form
from modelvault._core.objects cimport Part
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport Route


@final
cdef class Term:
    cdef readonly bint desc
    cdef Route route
    cdef Form form
    cdef bytes constant         # the component in records that are too old for the field
    cdef tuple choices          # keys by place, the newest version's

    cdef bytes constant_of(self, Py_ssize_t i, int found, Part* part)
    cdef int put(self, Buffer out, const unsigned char* data, size_t size) except -1
    cdef int put_part(self, Buffer out, Py_ssize_t i, int found, Part* part) except -1
    cdef int put_value(self, Buffer out, const Part* part) except -1
    cdef int put_free(self, Buffer out, object value) except -1


@final
cdef class SortKeys:
    cdef readonly bint desc     # the direction of the primary key
    cdef bint textual           # the primary key is text: it has no end of its own
    cdef list versions          # numbers, and the terms of each
    cdef list terms

    cdef list terms_of(self, const unsigned char* record, size_t size)
    cdef int write(
        self, Buffer out, const unsigned char* record, size_t size, const unsigned char* key, size_t key_size
    ) except -1
