"""Rows on their way from one schema into another."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.batch cimport Batch
from modelvault._core.buffer cimport Buffer
from modelvault._core.cursor cimport Cursor
from modelvault._core.index cimport Entries
from modelvault._core.record cimport Face


@final
cdef class Recoding:
    cdef Face reading
    cdef Face spare             # for rows that `reading` cannot show, or None
    cdef Face writing
    cdef object change
    cdef object settle          # or None
    cdef Buffer key             # of the row at hand
    cdef tuple watched          # (TableIndex, IndexKeys) of what should not move
    cdef readonly bint moved
    cdef Entries before
    cdef Entries after

    cdef int add_at(self, Batch batch, Cursor source) except -1
    cdef int add(self, Batch batch, const unsigned char* record, size_t size) except -1
    cdef object decode(self, const unsigned char* record, size_t size)
    cdef int append(self, Batch batch, object row) except -1
    cdef int compare(self, Batch batch, const unsigned char* record, size_t size) except -1
    cdef bint step(self, Cursor source) except -1
