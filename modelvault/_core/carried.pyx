"""Values that are carried over as they stand: read and written as the bytes that are stored, whatever they mean."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.string cimport memcpy

from modelvault._core.buffer cimport Buffer, Reader, put_bytes
from modelvault._core.codec cimport Codec, Fixed, Raw


cdef Codec carried(Codec codec):
    """What carries the values of a codec, as fields of an object."""
    cdef Codec found = CarriedFixed() if codec.width else Carried()
    found.width, found.wide = codec.width, codec.wide
    return found


cdef class CarriedFixed(Fixed):
    """Of a fixed width: its bytes, and one more if the wide bit is set."""

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        memcpy(data, PyBytes_AS_STRING(value), self.width)
        return PyBytes_GET_SIZE(value) > self.width

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        cdef bytes value = PyBytes_FromStringAndSize(<const char*> data, self.width)
        return value + b"\1" if wide else value


cdef class Carried(Raw):
    """Of a variable width."""

    cdef int write(self, Buffer out, object value) except -1:
        return put_bytes(out, <const unsigned char*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    cdef object read(self, Reader* reader):
        cdef size_t size = reader.end - reader.at
        reader.at = reader.end
        return PyBytes_FromStringAndSize(<const char*> reader.end - size, size)
