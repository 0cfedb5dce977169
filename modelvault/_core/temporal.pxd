"""Points in time, dates, times of day and spans."""

from cython cimport final
from libc.stdint cimport int32_t, int64_t

from modelvault._core.buffer cimport Buffer, Reader
from modelvault._core.codec cimport Fixed


cdef struct Moment:
    # A point in time, or a time of day, as it is stored.
    int64_t microseconds
    int32_t zone


@final
cdef class Timestamp(Fixed):
    cdef bint typed                 # datetimes come out, and naive ones stay naive; else integers, as in 0.16
    cdef int read_value(self, object value, Moment* moment) except -1


@final
cdef class Date(Fixed):
    pass


@final
cdef class Time(Fixed):
    pass


@final
cdef class TimeDelta(Fixed):
    pass
