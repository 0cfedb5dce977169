"""What every kind of value can do: be written and read, in an object, inside a container, as a key."""

from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.constraint cimport Check


cdef class Codec:
    # How a field of this kind lies in an object:
    cdef int width              # bytes in the fixed part; 0: variable
    cdef bint nullable          # has a null bit
    cdef bint wide              # has a wide bit
    cdef Check check            # the constraints, or None

    # Fixed kinds, `width` bytes. write_fixed returns the wide bit.
    cdef int write_fixed(self, object value, unsigned char* data) except -1
    cdef object read_fixed(self, const unsigned char* data, bint wide)
    # Variable kinds. read() consumes all of `reader`.
    cdef int write(self, Buffer out, object value) except -1
    cdef object read(self, Reader* reader)
    # Inside containers; self-delimiting.
    cdef int write_inline(self, Buffer out, object value) except -1
    cdef object read_inline(self, Reader* reader)
    # Keys: of a value, of stored bytes (fixed or variable form), of the inline form that `reader` is at.
    cdef int key(self, Buffer out, object value, bint open) except -1
    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1
    cdef int key_inline(self, Buffer out, Reader* reader) except -1
    cdef object read_key(self, Reader* reader, bint open)


cdef class Fixed(Codec):
    pass


cdef class Raw(Codec):
    pass


cdef class Container(Codec):
    pass


cdef int fail_instance(object value, str name) except -1
cdef int enter(Buffer out) except -1
