"""Rows that the entries of an index lead to."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.cover cimport Cover
from modelvault._core.cursor cimport Cursor
from modelvault._core.entry cimport EntryShape
from modelvault._core.feed cimport Feed
from modelvault._core.index cimport Entries
from modelvault._core.lookup cimport Lookup
from modelvault._core.pager cimport Page
from modelvault._core.program cimport Program
from modelvault._core.stretch cimport Stretch
from modelvault._core.table cimport Table, TableIndex
from modelvault._core.tree cimport Roots


@final
cdef class EntryFeed(Feed):
    cdef TableIndex index
    cdef EntryShape shape
    cdef list ranges
    cdef bint distinct
    cdef Py_ssize_t range
    cdef Stretch stretch
    cdef bint open
    cdef Lookup lookup              # in the primary tree
    cdef Page leaf                  # of it, looked into last
    cdef Entries scratch
    cdef Buffer joined              # the entry looked at
    cdef Buffer other
    cdef Cover cover                # makes records of entries; None: the rows are looked at
    cdef Buffer records             # made so
    cdef Cursor cursor              # for the rows of entries that do not do

    cdef bint reach(self, bint wait) except -1
    cdef size_t read_entry(self, size_t slot) except 0
    cdef object no_entry(self)
    cdef int pass_entries(self, size_t count) except -1
    cdef int take_entries(self, size_t want, size_t budget) except -1
    cdef int take_rows(self, size_t want, size_t budget, bint wait) except -1
    cdef size_t take_some(self, size_t most, bint wait) except 0
    cdef int take_row(self, size_t i, size_t slot) except -1
    cdef int take_covered(self, size_t want, size_t budget, bint wait) except -1
    cdef int cover_entries(self, size_t want, size_t budget, bint wait) except -1
    cdef int cover_entry(self, size_t slot, bint wait) except -1
    cdef const unsigned char* row_of(self, size_t key_at, size_t* size, bint wait) except NULL
    cdef bint is_first(self, const unsigned char* record, size_t size, size_t key_at) except -1
    cdef bint is_covered(self, const unsigned char* entry, size_t size) except -1


cdef EntryFeed new_entry_feed(
    Table table, Roots roots, Program program, bint backward, str index, list ranges, bint distinct, Cover cover)
