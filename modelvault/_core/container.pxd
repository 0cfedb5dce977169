"""Values made of values, except objects."""

from cython cimport final

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Codec, Container


@final
cdef class Optional(Container):
    cdef Codec item


@final
cdef class List(Container):
    cdef Codec item


@final
cdef class Set(Container):
    cdef Codec item
    cdef bint frozen


@final
cdef class VarTuple(Container):
    cdef Codec item


@final
cdef class Tuple(Container):
    cdef tuple items


@final
cdef class Dict(Container):
    cdef Codec key_codec
    cdef Codec value_codec


@final
cdef class Union(Container):
    cdef tuple items
    cdef tuple choosers             # a class or a predicate for each item
    cdef object choose(self, object value)
    cdef int attempt(self, Buffer out, object value, object places) except -1


@final
cdef class Custom(Codec):
    cdef Codec inner
    cdef object dump
    cdef object load
    cdef object loaded(self, object value)
