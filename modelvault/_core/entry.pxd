"""An index entry taken apart: where its components end and the primary key begins."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.objects cimport Part


@final
cdef class EntryShape:
    # Owns `kinds`.
    cdef int* kinds                 # of each component: its bytes, or a Length
    cdef readonly Py_ssize_t count  # components

    cdef size_t key_at(self, const unsigned char* entry, size_t size) noexcept nogil
    cdef size_t mark(self, const unsigned char* entry, size_t size, Part* parts) noexcept nogil
