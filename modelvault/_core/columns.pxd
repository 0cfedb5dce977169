"""Some fields of a record as Python values."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.objects cimport Object, Part
from modelvault._core.record cimport Shape
from modelvault._core.route cimport Route, Span


@final
cdef class Branch:
    cdef Object place
    cdef Object newest          # the same object in the newest version
    cdef list picks             # (number of the field or -1, its name, what of it: None for all)
    cdef bint many              # these are the elements of a list
    cdef bint holes             # which may be None

    cdef dict pick(self, const unsigned char* data, size_t size, int depth)
    cdef object pick_part(self, const Part* part, int depth)
    cdef int add_default(self, dict found, str name, dict tree) except -1


@final
cdef class Columns(Shape):
    cdef readonly tuple paths
    cdef bint nested            # makes dicts
    cdef list versions
    cdef list routes            # of each version
    cdef list branches          # of each version

    cdef Py_ssize_t version_of(self, const unsigned char* record, size_t size) except -1
    cdef tuple read(self, const unsigned char* record, size_t size)
    cdef dict pick(self, const unsigned char* record, size_t size)
