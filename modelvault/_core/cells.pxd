"""Pages written anew from lists of their cells."""

from libc.stddef cimport size_t

from modelvault._core.node cimport Cell


cdef bint node_in_order(
    const unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil
cdef int node_place(unsigned char* data, size_t page_size, size_t index, const Cell* cell) noexcept nogil
cdef int node_split(
    unsigned char* left, unsigned char* right, size_t page_size, size_t index, const Cell* cell, bint first, bint last,
    unsigned char* separator, size_t* separator_size) noexcept nogil
cdef int node_join(
    const unsigned char* left, const unsigned char* right, size_t page_size, const Cell* between,
    unsigned char* first, unsigned char* second, unsigned char* separator, size_t* separator_size) noexcept nogil
