"""Rows as records: docs/format.md section 6."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.codec cimport Codec
from modelvault._core.keys cimport Finite, KeyCodec
from modelvault._core.objects cimport Object, Step


@final
cdef class RecordCodec:
    cdef readonly int version
    cdef readonly str primary
    cdef Object root
    cdef bint foreign           # reading its records runs code of the user's
    cdef Buffer spare           # lent to encode(); None while it is in use

    cdef int write(self, Buffer out, object source) except -1
    cdef object decode_at(self, const unsigned char* data, size_t size)
    cdef int check_version(self, const unsigned char* data, size_t size) except -1


cdef class Shape:
    # What records are made into.
    cdef bint foreign           # by code of the user's, too
    cdef object decode_at(self, const unsigned char* data, size_t size)


@final
cdef class Face(Shape):
    cdef readonly tuple codecs
    cdef RecordCodec newest
    cdef readonly KeyCodec keys # of the primary key
    cdef Step* primary_step
    cdef Finite finite
    cdef dict by_version

    cdef int write(self, Buffer key, Buffer record, object source) except -1
    cdef RecordCodec codec_of(self, const unsigned char* data, size_t size)


cdef Codec compile_type(object type, list stack)
