"""Values that carry their kind with them."""

from libc.stdint cimport uint8_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Container


cdef enum:
    ANY_DICT = 17               # tag of a dict


cdef class Anything(Container):
    pass


cdef int put_any(Buffer out, object value) except -1
cdef object read_any(Reader* reader)
cdef int put_pairs(Buffer out, object value) except -1
cdef object read_container(Reader* reader, uint8_t tag)
