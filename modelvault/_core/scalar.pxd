"""Numbers, UUIDs, decimals and choices."""

from cython cimport final
from libc.stdint cimport int64_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Fixed, Raw


@final
cdef class Bool(Fixed):
    pass


@final
cdef class Int64(Fixed):
    pass


@final
cdef class UInt64(Fixed):
    pass


@final
cdef class Int(Fixed):
    pass


@final
cdef class Float64(Fixed):
    pass


@final
cdef class Uuid(Fixed):
    pass


@final
cdef class Decimals(Raw):
    pass


@final
cdef class Choice(Fixed):
    cdef tuple values               # what is stored
    cdef tuple members              # what comes out; the values themselves when there are no members
    cdef dict places                # value -> list of its places: True, 1 and 1.0 are one dict key
    cdef bint textual               # 0.16's enum: strings only
    cdef tuple open_keys            # of the values, as the last part of a key
    cdef tuple component_keys
    cdef int place(self, object value) except -1
    cdef int fail(self, object value) except -1


cdef int put_int_key(Buffer out, int64_t value, bint wide) except -1
cdef int read_int_key(Reader* reader, int64_t* value) except -1
cdef object new_int(int64_t value, bint wide)
cdef object uuid_class()
cdef object decimal_class()
