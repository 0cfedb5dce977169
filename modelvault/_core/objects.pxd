"""Objects: rows, and the models, dataclasses and dicts inside them."""

from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t

from modelvault._core.buffer cimport Buffer, Reader, get16, get32
from modelvault._core.codec cimport Codec, Raw
from modelvault._core.slots cimport Slot


cdef enum:
    # Flags of an object. The lowest two bits say how wide its ends are: u8, u16, u32.
    END_BITS = 3
    TAILED = 4
    MAX_FLAGS = 7


cdef enum Role:
    ROW = 0
    INNER = 1
    GROUP = 2                   # an object made of 0.16's multi-segment paths


cdef struct Step:
    # A field's place. References are borrowed from the lists of the Object.
    PyObject* codec
    PyObject* outer             # a Custom around an optional, or NULL
    PyObject* name
    PyObject* attribute         # NULL: the class has no such field
    int32_t offset              # of a fixed field, from the object's start; -1: variable
    int32_t end                 # number of a variable field's end
    int32_t place               # in copies of the template; 0: unknown
    int32_t null_byte           # from the object's start, and the mask of its bit; mask 0: cannot be None
    int32_t wide_byte
    uint8_t null_mask
    uint8_t wide_mask


cdef struct Part:
    # Stored bytes of one field.
    const unsigned char* data
    size_t size
    bint wide


@final
cdef class Object(Raw):
    cdef readonly tuple names
    cdef readonly tuple attributes
    cdef list codecs            # by field; owns what the steps borrow
    cdef list outers
    cdef list fields            # Field objects, for their defaults
    cdef Step* steps            # owned
    cdef Py_ssize_t count
    cdef int variable           # fields of variable width
    cdef size_t heads[8]        # bytes in front of the data, by flags; more than there can be for flags that mean nothing
    cdef int ends_at            # where the ends begin
    cdef Role role
    cdef str primary            # name of the row's primary key, to say that it is missing
    cdef dict places            # name -> number of the field

    # The Python side
    cdef object cls             # None: dicts
    cdef bint pydantic
    cdef bint direct            # instances are made by tp_alloc
    cdef bint inline            # 3.13+: attributes lie in the instance
    cdef bint uses_dict
    cdef bint extras
    cdef bint privates
    cdef object private_defaults
    cdef frozenset private_names  # those that have a default, once that was asked
    cdef dict template          # what a new instance's or row's dict is copied from
    cdef set all_set            # the attributes: fields-set of a model without unset fields
    cdef set given_set          # the same, as new instances get it
    cdef list slots             # Slot by field where there is no dict
    cdef Slot set_slot
    cdef Slot extra_slot
    cdef Slot private_slot
    cdef list fills             # (attribute, Field, may be None) of fields that these records are too old for
    cdef bint filled            # fill_from was here
    cdef object whole           # the class of dicts that have all that is stored, where rows are such; else None
    cdef bint tracks            # ... and the fields that these records are too old for are not set

    cdef int lay_out(self, list types) except -1
    cdef int bind(self, object shape) except -1
    cdef int bind_class(self, object shape) except -1
    cdef int find_places(self) except -1
    cdef int fill_from(self, Object newest) except -1

    cdef int source_kind(self, object source) except -1
    cdef int check_subclass(self, object source) except -1
    cdef tuple pydantic_tail(self, object source)
    cdef tuple whole_tail(self, object source)
    cdef tuple extra_tail(self, object values, int how)
    cdef int write_fields(self, Buffer out, object source, int how, Py_ssize_t* at, tuple tail) except -1
    cdef object attribute_of(self, object source, Py_ssize_t i, Py_ssize_t* at)
    cdef object absent(self, Py_ssize_t i, int how, Py_ssize_t* at)
    cdef int explain(self, object source, Py_ssize_t at) except -1
    cdef int check_names(self, object source) except -1
    cdef int put_tail(self, Buffer out, tuple tail) except -1
    cdef bint put_fields_set(self, Buffer out, object unset) except -1

    cdef object new(self)
    cdef int read_fields(self, Reader* reader, object target, Reader* tail) except -1
    cdef object new_pydantic(self, object values, Reader* tail)
    cdef object filled_privates(self, object stored)
    cdef tuple read_tail(self, Reader* tail)
    cdef object new_whole(self, object target, Reader* tail)
    cdef object add_extras(self, object target, object extra)
    cdef int fill(self, object target) except -1
    cdef int find_part(self, const unsigned char* data, size_t size, Step* step, Part* part) except -1
    cdef object read_fill(self, tuple path, Py_ssize_t depth)
    cdef object read_part(self, const unsigned char* data, size_t size, tuple path, Py_ssize_t depth)


cdef Codec bare_codec(Codec codec)
cdef tuple default_of(object field)
cdef tuple fill_of(object field, bint optional)


cdef inline size_t get_end(const unsigned char* ends, Py_ssize_t number, int flags) noexcept nogil:
    """Where a variable field's bytes end, counted from the start of the data."""
    if flags & END_BITS == 0:
        return ends[number]
    if flags & END_BITS == 1:
        return get16(ends + 2 * number)
    return get32(ends + 4 * number)
