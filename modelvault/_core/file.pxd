"""The one door to the disk, and the C entries that skip its Python methods."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef class File:
    cdef readonly object path


cdef class DiskFile(File):
    cdef int descriptor
    cdef readonly bint read_only
    cdef bint no_wait           # the kernel and the file system know RWF_NOWAIT
    cdef Py_ssize_t read_into(self, uint64_t offset, unsigned char* data, size_t size, bint wait) except -2


cdef class MemoryFile(File):
    cdef bytearray data
