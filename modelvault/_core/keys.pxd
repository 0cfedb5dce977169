"""Order-preserving bytes of one value: docs/format.md section 5."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.codec cimport Codec


cdef enum:
    VALUE_TAG = 1               # in front of a component of an index entry
    NONE_TAG = 2


cdef enum Finite:
    NOT_NUMBER = 0
    FINITE_FLOAT = 1            # NaN and infinities are refused, as 0.16 does in primary keys
    FINITE_DECIMAL = 2


@final
cdef class KeyCodec:
    cdef Codec codec
    cdef tuple dumps            # of custom types, outermost first
    cdef Finite finite
    cdef str place              # for errors

    cdef int write(self, Buffer out, object value, bint open) except -1


cdef Codec scalar_codec(object type)
cdef int check_finite(Finite which, const unsigned char* key, size_t size) except -1
cdef Finite which_finite(Codec codec)
