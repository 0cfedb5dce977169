"""Text and bytes."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Raw


@final
cdef class String(Raw):
    cdef PyObject** recent      # owned, with what it refers to: short texts that were read lately, by their bytes; or NULL
    cdef int worth              # of keeping them: it grows when one is met again
    cdef int pause              # so many texts until that is tried again

    cdef object short_text(self, const unsigned char* data, size_t size)


@final
cdef class Bytes(Raw):
    pass


cdef object new_text(const unsigned char* data, size_t size)
cdef int check_length(size_t size) except -1
cdef int put_text_key(Buffer out, const unsigned char* data, size_t size, bint open) except -1
cdef object read_text_key(Reader* reader, bint open)
