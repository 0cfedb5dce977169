"""Many rows on their way into a table."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.draft cimport Draft
from modelvault._core.record cimport Face
from modelvault._core.table cimport Table, TableIndex
from modelvault._core.tree cimport Path, Roots


cdef struct Ends:
    size_t key
    size_t record


cdef struct Item:
    # An entry of an index, followed by the primary key of its row.
    uint64_t head               # eight bytes behind what all entries share, as a big-endian number
    const unsigned char* data   # NULL until they are sorted: the bytes may still move
    uint32_t entry              # bytes without the primary key
    uint32_t size               # bytes in all
    bint alone                  # no other row may have it


@final
cdef class Pending:
    # Owns `items`.
    cdef Buffer bytes
    cdef Item* items
    cdef size_t count
    cdef size_t capacity
    cdef size_t common          # bytes that all entries share at their beginning
    cdef size_t at              # entries that are in their tree
    cdef bint ordered
    cdef int add(
        self, const unsigned char* entry, size_t size, const unsigned char* key, size_t length, bint alone) except -1
    cdef int order(self) except -1
    cdef int put(
        self, Table table, TableIndex index, Draft draft, Roots roots, size_t* steps, bint wait) except -1
    cdef void clear(self) noexcept


@final
cdef class Batch:
    # Owns `ends`.
    cdef Buffer keys
    cdef Buffer records
    cdef Ends* ends
    cdef readonly size_t count
    cdef size_t capacity
    cdef readonly size_t at     # rows that are in the primary tree
    cdef list pending           # Pending of each index of the table
    cdef int append(self, Face face, object row) except -1
    cdef int room(self) except -1
    cdef size_t waiting(self) except? 0
    cdef int prepare(self, Table table) except -1
    cdef int put_row(self, Table table, Draft draft, Roots roots, Path* path, size_t row, bint wait) except -1
    cdef int put_pending(
        self, Table table, Draft draft, Roots roots, size_t* steps, bint wait) except -1
