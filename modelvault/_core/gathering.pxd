"""Entries of many stored rows on their way into new indexes."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.batch cimport Pending
from modelvault._core.buffer cimport Buffer
from modelvault._core.cursor cimport Cursor
from modelvault._core.table cimport Table


@final
cdef class Gathering:
    cdef Table table
    cdef list pending           # Pending of each index of the table
    cdef Buffer key             # of the row that came last
    cdef readonly size_t size   # bytes of the entries
    cdef int add(self, Cursor source) except -1
