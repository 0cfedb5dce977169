"""The one door to the disk, and the C entries that skip its Python methods."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len


cdef class File:
    cdef readonly object path


cdef class DiskFile(File):
    # Owns the descriptor.
    cdef int descriptor
    cdef readonly bint read_only
    cdef bint no_wait           # the kernel and the file system know RWF_NOWAIT
    cdef Py_ssize_t read_into(self, uint64_t offset, unsigned char* data, size_t size, bint wait) except -2
    cdef int write_vector(self, uint64_t offset, iovec* parts, size_t count) except -1
    cdef int fail(self, int code) except -1
    cdef int lock_byte(self, uint64_t generation, int kind) except -1


cdef class MemoryFile(File):
    cdef bytearray data
