"""The ways from the records of a schema version to columns."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t

from modelvault._core.codec cimport Codec
from modelvault._core.leaf cimport Form
from modelvault._core.objects cimport Object, Part
from modelvault._core.route cimport Hop
from modelvault._core.vector cimport Vec, Vector


cdef enum Turn:
    SCALAR
    THING                       # the bytes as they are
    FIELDS                      # of an object
    ITEMS                       # a count, then for each one value for each inner way
    PLACES                      # one value for each inner way


cdef struct Member:
    # A field of an object.
    Hop hop
    bint missing                # the records are too old for it
    bint filled                 # `fill` stands in for it, else None
    Part fill
    Way* way


cdef struct Way:
    # From the stored bytes of a value to a column. Owned by a Track.
    Turn turn
    Form form                   # of a SCALAR
    Vec* vec
    bint whole                  # FIELDS: the column is a struct; else what the one member gives
    bint holes                  # in a container: a byte in front says whether it is there
    int32_t* codes              # owned: of the places of a choice
    uint32_t choices
    uint32_t reader             # of a THING
    Member* members             # owned
    Py_ssize_t count            # of them
    Way** inner                 # owned
    Py_ssize_t inners


@final
cdef class Track:
    # Owns what `way` has, and keeps what it points to.
    cdef Way way
    cdef list kept

    cdef int hold(self, list inner) except -1
    cdef int set_codes(self, tuple stored, tuple known) except -1
    cdef int set_members(
        self, Object place, Object fresh, list paths, Py_ssize_t at, list vectors) except -1
    cdef int set_missing(
        self, Member* member, Object fresh, Py_ssize_t number, tuple path, Py_ssize_t at, Vector vector) except -1


cdef Vector vector_of_path(Object place, tuple path, Py_ssize_t at)
cdef Track track_of_row(Object place, Object fresh, list paths, list vectors)
cdef int put_part(const Way* way, const Part* part) noexcept nogil
