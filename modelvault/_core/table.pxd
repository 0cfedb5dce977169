"""One collection in bytes: its primary tree and its index trees, kept in step."""

from libc.stdint cimport uint32_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Draft
from modelvault._core.entry cimport EntryShape
from modelvault._core.index cimport Entries, IndexKeys
from modelvault._core.keys cimport KeyCodec
from modelvault._core.lookup cimport Lookup
from modelvault._core.pager cimport Pager
from modelvault._core.record cimport Shape
from modelvault._core.tree cimport ADD_FAILED, Added, Path, Roots


cdef class TableIndex:
    cdef readonly str name
    cdef readonly uint32_t tree
    cdef readonly bint unique
    cdef readonly dict extractors       # IndexKeys by schema version
    cdef int newest_version             # -1: there is none
    cdef IndexKeys newest               # for the newest schema version
    cdef EntryShape shape               # of its entries, in all versions
    cdef Entries before                 # scratch of the change under way
    cdef Entries after
    cdef bint same
    cdef Cursor cursor                  # lent to who looks for rows; None while it is in use
    cdef Lookup lookup                  # in the same way

    cdef Cursor lend_cursor(self)
    cdef Lookup lend_lookup(self)
    cdef IndexKeys extractor(self, const unsigned char* record, size_t size)
    cdef int collect(self, const unsigned char* record, size_t size, Entries out) except -1
    cdef object values(self, const unsigned char* record, size_t size)


cdef class Table:
    cdef readonly str name
    cdef readonly Pager pager
    cdef readonly uint32_t tree
    cdef readonly tuple indexes         # of TableIndex
    cdef tuple careful                  # the same, unique ones first
    cdef public object definition       # that must hold in a Write for it to be changed; None: any
    cdef public uint32_t journal        # the tree that notes the keys of changed rows, 0 for none
    cdef KeyCodec primary
    cdef Buffer spare                   # lent to get(); None while it is in use
    cdef Buffer joined                  # an entry and the primary key

    cdef Buffer lend(self)
    cdef list rows_at(
        self, Roots roots, TableIndex index, const unsigned char* entry, size_t length, Shape shape, size_t most, bint wait)
    cdef int copy_rows(self, Roots roots, TableIndex index, Lookup lookup, Buffer records, bint wait) except -1
    cdef TableIndex index(self, str name)
    cdef int check_definition(self, write) except -1
    cdef bint put_at(
        self, Draft draft, Roots roots, const unsigned char* start, size_t length, const unsigned char* data,
        size_t size, bint create, bint wait) except -1
    cdef bint exchange_at(
        self, Draft draft, Roots roots, const unsigned char* start, size_t length, bytes before,
        const unsigned char* data, size_t size) except -1
    cdef bint delete_at(
        self, Draft draft, Roots roots, const unsigned char* start, size_t length, bint wait) except -1
    cdef bint put_new(
        self, Draft draft, Roots roots, const unsigned char* key, size_t length, const unsigned char* record,
        size_t size) except -1
    cdef Added add_entry(
        self, Draft draft, Roots roots, TableIndex index, Path* path, const unsigned char* data, size_t size,
        size_t entry, bint alone, bint wait) except ADD_FAILED
    cdef int take_back(
        self, Draft draft, Roots roots, TableIndex failed, size_t done, const unsigned char* key,
        size_t length) except -1
    cdef int note(self, Draft draft, Roots roots, const unsigned char* key, size_t length, bint wait) except -1
    cdef int plan(
        self, Roots roots, const unsigned char* key, size_t length, const unsigned char* old, size_t old_size,
        const unsigned char* record, size_t size, bint wait) except -1
    cdef int check_lengths(self, TableIndex index, size_t length) except -1
    cdef int check_unique(
        self, Roots roots, TableIndex index, const unsigned char* record, size_t size, bint wait) except -1
    cdef int touch(
        self, Roots roots, TableIndex index, Entries entries, const unsigned char* key, size_t length) except -1
    cdef int join(self, Entries entries, size_t i, const unsigned char* key, size_t length) except -1
    cdef int apply(self, Draft draft, Roots roots, const unsigned char* key, size_t length, bint wait) except -1
    cdef object too_long(self, size_t size, str what)
    cdef object violation(self, TableIndex index, const unsigned char* record, size_t size)
    cdef int check_entries(self, Roots roots, TableIndex index, bytes key) except -1


cdef const unsigned char* entry_at(Entries entries, size_t i, size_t* size) noexcept
cdef bint same_entries(Entries a, Entries b) noexcept
