"""Constraints, compiled for the kind of value they stand on."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t


cdef class Check:
    cdef tuple rules                # Constraint objects, asked one by one to explain a failure

    cdef int integer(self, int64_t value, bint wide) except -1
    cdef int real(self, double value) except -1
    cdef int text(self, object value, size_t utf8_size) except -1
    cdef int size(self, Py_ssize_t count) except -1
    cdef int other(self, object value) except -1


cdef Check compile_check(str kind, object constraints)
