"""Numbers of the file format; docs/format.md has the words."""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    FORMAT_VERSION = 1
    META_COUNT = 4              # pages 0 to 3
    META_SIZE = 512
    REF_SIZE = 24

    LEAF = 1
    BRANCH = 2
    OVERFLOW = 3

    # Page header
    PAGE_CHECKSUM = 0
    PAGE_NUMBER = 8
    PAGE_BIRTH = 16
    PAGE_TYPE = 24
    PAGE_LEVEL = 25
    PAGE_COUNT = 26
    PAGE_PREFIX = 28
    PAGE_HEAP = 32
    PAGE_GARBAGE = 36
    PAGE_SLOTS = 40
    SLOT_SIZE = 8

    CATALOG_TREE = 0
    FREE_TREE = 1
    FIRST_TREE = 2


cdef struct Ref:
    # A page as its parent knows it. All zero: no page.
    uint64_t number
    uint64_t birth
    uint64_t checksum


cdef struct Root:
    # A tree as the catalog knows it.
    Ref ref
    uint64_t entries
