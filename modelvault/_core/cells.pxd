"""Pages written anew from lists of their cells."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from modelvault._core.node cimport Cell


cdef struct Measure:
    # Of a page: bytes besides keys, bytes of all keys, their number, and what they share.
    size_t fixed
    size_t keys
    size_t count
    size_t prefix


cdef int compare_cells(const Cell* a, const Cell* b) noexcept nogil
cdef size_t read_cells(const unsigned char* data, size_t page_size, Cell* cells) noexcept nogil
cdef size_t measured(const Measure* measure) noexcept nogil
cdef void measure_next(Measure* measure, bint leaf, const Cell* cells, size_t i) noexcept nogil
cdef size_t measure_all(bint leaf, const Cell* cells, size_t count) noexcept nogil
cdef void fill(unsigned char* data, size_t page_size, uint8_t level, const Cell* cells, size_t count) noexcept nogil
cdef bint refill(unsigned char* data, size_t page_size, uint8_t level, const Cell* cells, size_t count) noexcept nogil
cdef size_t write_separator(bint leaf, const Cell* cells, size_t index, unsigned char* separator) noexcept nogil

cdef bint node_in_order(
    const unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil
cdef bint node_in_row(const unsigned char* data, size_t index) noexcept nogil
cdef int node_place(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil
cdef int node_split(
    unsigned char* left, unsigned char* right, size_t page_size, size_t index, const Cell* cell, bint first, bint last,
    unsigned char* separator, size_t* separator_size) noexcept nogil
cdef int node_join(
    const unsigned char* left, const unsigned char* right, size_t page_size, const Cell* between,
    unsigned char* first, unsigned char* second, unsigned char* separator, size_t* separator_size) noexcept nogil
