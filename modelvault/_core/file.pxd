"""The one door to the disk, and the C entries that skip its Python methods."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef extern from "system.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len


cdef int make_way() except -1
cdef double make_way_when(double due) except -1
cpdef bint is_full(error) except -1


cdef class File:
    cdef readonly object path


cdef class DiskFile(File):
    # Owns the descriptors and `aligned`.
    cdef int descriptor
    cdef int direct             # a second one that goes past the system's cache, or -1
    cdef unsigned char* aligned # what `direct` writes from
    cdef size_t aligned_size
    cdef readonly bint read_only
    cdef bint no_wait           # the kernel and the file system know RWF_NOWAIT
    cdef unsigned int misses    # reads without waiting in a row that the system's cache could not answer
    cdef unsigned int passed    # reads for which it was not asked
    cdef Py_ssize_t read_into(self, uint64_t offset, unsigned char* data, size_t size, bint wait) except -2
    cdef bint is_cold(self) noexcept
    cdef int write_vector(self, uint64_t offset, iovec* parts, size_t count) except -1
    cdef int write_direct(self, uint64_t offset, const unsigned char* data, size_t size) except -2
    cdef int fail(self, int code) except -1
    cdef int lock_byte(self, uint64_t generation, int kind) except -1


cdef class MemoryFile(File):
    cdef bytearray data
