"""Conditions checked and converted."""

from cython cimport final

from modelvault._core.leaf cimport Form
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport Route


@final
cdef class Asked:
    cdef readonly tuple path
    cdef str op
    cdef Route route            # in the newest version
    cdef bint negated
    cdef bint absent            # the answer for None
    cdef bint never             # only None fits
    cdef bint whole             # the container is compared, not its elements
    cdef Form form              # of the values that `keys` were made of
    cdef list values            # as they are dumped
    cdef list keys
    cdef object pattern         # of a regex
    cdef bytes tokens           # of like
    cdef int cost

    cdef bint in_python(self, Route route)
    cdef int prepare(self, tuple values) except -1
    cdef int prepare_text(self, object value) except -1
    cdef int prepare_values(self, list values) except -1
    cdef int prepare_free(self, list values, list dumps) except -1
    cdef bint fits_key(self, bytes key) except -1
    cdef bint fits_value(self, object value) except -1
    cdef bint fits_text(self, object value) except -1


@final
cdef class Group:
    cdef str kind
    cdef bint negated
    cdef list parts
    cdef int cost


cdef bint is_container(object value)
cdef object build(RecordCodec newest, object condition, bint negated, int depth)
