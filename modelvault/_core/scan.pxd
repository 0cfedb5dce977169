"""Carrying out one source of a query against one version of a table."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.cover cimport Cover
from modelvault._core.feed cimport Feed, Hit, Mode, RowFeed
from modelvault._core.program cimport Program
from modelvault._core.record cimport Shape
from modelvault._core.table cimport Table
from modelvault._core.tree cimport Roots


# Around the making of so many rows: keep the garbage collector from looking at them.
cdef enum Collector:
    COLLECTOR_FAILED = -1
    ON                          # as it was
    OFF                         # stopped
    AGING                       # stopped, and what is young becomes old


@final
cdef class Scan:
    cdef readonly Table table
    cdef readonly bint backward
    cdef readonly bint done
    cdef readonly size_t returned   # rows that matched, so far
    cdef Program program
    cdef Feed feed
    cdef Gathering gathering        # of a union, else None
    cdef bint busy
    cdef bint standing              # the feed knows its place, in pages that do not change
    cdef uint64_t page              # of the hit at hand
    cdef Buffer key
    cdef Buffer copies              # of hits
    cdef public double seconds      # of a slice; 0: however long it takes
    cdef Collector collector        # during a slice

    cdef int set_source(self, tuple source, Roots roots, Cover cover) except -1
    cdef size_t run(
        self, Mode mode, Sink sink, size_t count, size_t budget, bint wait, bint release, bint whole=*) except? 0
    cdef bint go(self, Mode mode, size_t want, size_t* budget, bint wait, bint release) except -1
    cdef int go_back(self, bytes position) except -1
    cdef object locate(self, object error)
    cdef size_t take(self, Sink sink, size_t before, bint wait, bint release) except? 0
    cdef int stop_gc(self, size_t rows, size_t given, bint foreign) except -1
    cdef int resume_gc(self) except -1
    cdef size_t take_hits(self, Sink sink) except? 0
    cdef size_t take_whole(self, Sink sink, bint release) except? 0
    cdef int copy_hits(self) except -1


cdef class Sink:
    cdef bint keyed                 # it needs keys
    cdef bint bare                  # it makes no objects of them
    cdef bint whole                 # it takes the hits of a step all at once, without keys
    cdef size_t at                  # of those, the one that raised an error
    cdef int take(
        self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1
    cdef bint foreign(self) noexcept
    cdef size_t take_all(self, Hit* hits, size_t count, bint release) except? 0


@final
cdef class RowSink(Sink):
    cdef Shape shape
    cdef list rows


@final
cdef class KeySink(Sink):
    cdef list keys


@final
cdef class Gathering:
    cdef Table table
    cdef bint backward
    cdef list entries               # sources
    cdef list points
    cdef list ranges
    cdef list waiting               # scans of entries yet to be read; None before the first
    cdef list runs                  # of keys, each sorted
    cdef Py_ssize_t held            # keys in them
    cdef bytes horizon              # keys beyond it were left out
    cdef bint complete
    cdef Py_ssize_t most            # keys

    cdef int begin(self) except -1
    cdef size_t read(self, RowFeed feed, size_t budget, bint wait, bint release) except? 0
    cdef int admit(self, RowFeed feed, list keys) except -1
    cdef bint merge(self, Py_ssize_t most) except -1
    cdef int hand_over(self, RowFeed feed) except -1
    cdef bint go_on(self, RowFeed feed) except -1


cdef Collector gc_off(size_t rows, size_t given, bint foreign) except COLLECTOR_FAILED
cdef int gc_on(Collector collector) except -1
