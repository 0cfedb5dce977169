"""Records made of index entries."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.entry cimport EntryShape
from modelvault._core.index cimport IndexKeys
from modelvault._core.leaf cimport Form
from modelvault._core.objects cimport Object, Part


cdef enum:
    DAMAGED_ENTRY = -1
    NEEDS_ROW = 2               # beside 1: the record is written


cdef struct Field:
    # A field of an object that is made of an entry.
    Form form
    int part                    # number of the component, behind them all the primary key; -1: an object
    int frame                   # number of that object's Frame
    int32_t width
    int32_t offset              # as in Step
    int32_t end
    int32_t null_byte
    int32_t wide_byte
    uint8_t null_mask
    uint8_t wide_mask


cdef struct Frame:
    # An object: its fields are `count` Fields from `first` on.
    int first
    int count
    int32_t ends_at
    size_t head                 # bytes in front of the data


@final
cdef class Cover:
    # Owns `fields`, `frames` and `parts`. It is used with the GIL held, from the first byte of a record to the last.
    cdef readonly tuple paths   # of the index
    cdef EntryShape shape
    cdef Field* fields
    cdef Frame* frames
    cdef int count              # of frames
    cdef int used               # fields
    cdef Part* parts            # scratch: the components of the entry at hand, data NULL for None
    cdef Py_ssize_t primary     # number of the primary key among them
    cdef list choices           # the keys of an enum's values, by part; else None

    cdef int lay_out(self, Object place, dict numbers, tuple path) except -1
    cdef int write(
        self, Buffer out, const unsigned char* entry, size_t size, const unsigned char* record, size_t record_size,
        IndexKeys extractor) except -2
    cdef int write_frame(
        self, Buffer out, const Frame* frame, const unsigned char* record, size_t record_size,
        IndexKeys extractor) except -2
    cdef int write_choice(self, int part, unsigned char* place) except -2
