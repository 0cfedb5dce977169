"""Values that are carried over as they stand."""

from cython cimport final

from modelvault._core.codec cimport Codec, Fixed, Raw


@final
cdef class CarriedFixed(Fixed):
    pass


@final
cdef class Carried(Raw):
    pass


cdef Codec carried(Codec codec)
