"""Values that carry their kind with them."""

from cython cimport final
from libc.stdint cimport uint8_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Container


cdef enum:
    # Tags
    ANY_LIST = 13
    ANY_DICT = 17


@final
cdef class Anything(Container):
    pass


cdef int put_any(Buffer out, object value) except -1
cdef object read_any(Reader* reader)
cdef int put_items(Buffer out, object value) except -1
cdef int put_pairs(Buffer out, object value) except -1
cdef object read_container(Reader* reader, uint8_t tag)
