"""An index entry taken apart: its components are self-delimiting, what is left behind them is the primary key.

docs/format.md section 5 has the forms. Nothing becomes a Python object, so a scan over entries can do this without the GIL.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.codec cimport Codec
from modelvault._core.container cimport Custom
from modelvault._core.index cimport IndexKeys, Path
from modelvault._core.keys cimport NONE_TAG, VALUE_TAG
from modelvault._core.objects cimport Part
from modelvault._core.scalar cimport Bool, Choice, Decimals, Float64, Uuid, decimal_class, uuid_class
from modelvault._core.temporal cimport Date, Time, TimeDelta, Timestamp
from modelvault._core.text cimport Bytes, String

import datetime

cdef enum Length:
    # How a component of no fixed length says where it ends.
    INTEGER = -1
    TEXT = -2
    DECIMAL = -3
    TAGGED = -4                 # a class byte, then the component

cdef dict LENGTHS = {
    Bool: 1, Float64: 8, Uuid: 16, Timestamp: 9, Date: 4, Time: 9, TimeDelta: 12,
    String: TEXT, Bytes: TEXT, Decimals: DECIMAL,
}

# Values of enums and literals. bool before int, datetime before date.
cdef list VALUES = [
    (bool, 1), (int, INTEGER), (float, 8), (str, TEXT), (bytes, TEXT), (datetime.datetime, 9),
    (datetime.date, 4), (datetime.time, 9), (datetime.timedelta, 12),
]


cdef tuple value_entry(object value):
    """Class and length of a value of an enum or literal."""
    for entry in VALUES:
        if isinstance(value, entry[0]):
            return entry
    return (uuid_class(), 16) if isinstance(value, uuid_class()) else (decimal_class(), DECIMAL)


cdef int length_of(Codec codec) except? 0:
    """How long components of these values are."""
    if isinstance(codec, Custom):
        return length_of((<Custom>codec).inner)
    if isinstance(codec, Choice):
        found = {value_entry(value) for value in (<Choice>codec).values}
        return TAGGED if len(found) > 1 else found.pop()[1]
    return LENGTHS.get(type(codec), INTEGER)


@final
cdef class EntryShape:
    """The components of one index, the same for all schema versions."""

    def __init__(self, IndexKeys keys not None):
        cdef Py_ssize_t i
        cdef Path path
        self.count = len(keys.compiled)
        PyMem_Free(self.kinds)
        self.kinds = <int*>PyMem_Calloc(self.count + 1, sizeof(int))
        if self.kinds == NULL:
            raise MemoryError()
        for i in range(self.count):
            path = keys.compiled[i]
            self.kinds[i] = length_of(path.codec)

    def __dealloc__(self):
        PyMem_Free(self.kinds)

    cdef size_t key_at(self, const unsigned char* entry, size_t size) noexcept nogil:
        """Where the primary key of an entry begins; 0 for bytes that are no entry."""
        return self.mark(entry, size, NULL)

    cdef size_t mark(self, const unsigned char* entry, size_t size, Part* parts) noexcept nogil:
        """The same, and where each component lies, its tag left out; NULL for None."""
        cdef const unsigned char* p = entry
        cdef const unsigned char* end = entry + size
        cdef const unsigned char* start
        cdef Py_ssize_t i
        for i in range(self.count):
            if p == end:
                return 0
            start = NULL
            if p[0] == VALUE_TAG:
                start = p + 1
                p = behind(self.kinds[i], p + 1, end)
                if p == NULL:
                    return 0
            elif p[0] == NONE_TAG:
                p += 1
            else:
                return 0
            if parts != NULL:
                parts[i].data, parts[i].size = start, 0 if start == NULL else p - start
        return p - entry

    def split(self, bytes entry not None):
        """(components, primary key) of an entry; None for bytes that are none."""
        cdef size_t at = self.key_at(entry, len(entry))
        return (entry[:at], entry[at:]) if at else None


cdef const unsigned char* behind(int kind, const unsigned char* p, const unsigned char* end) noexcept nogil:
    """Where the component at `p` ends, its tag left out; NULL if it does not."""
    if kind == TAGGED:
        if p == end:
            return NULL
        kind = kind_of_class(p[0])
        p += 1
    if kind > 0:
        return p + kind if end - p >= kind else NULL
    if kind == INTEGER:
        return behind_integer(p, end, 0)
    if kind == TEXT:
        return behind_text(p, end)
    return behind_decimal(p, end) if kind == DECIMAL else NULL


cdef int kind_of_class(int tag) noexcept nogil:
    """What follows the class byte of "any scalar"; 0 for none."""
    if tag == 0x10:
        return 1
    if tag == 0x20:
        return INTEGER
    if tag == 0x30:
        return 8
    if tag == 0x40 or tag == 0x50:
        return TEXT
    if tag == 0x60:
        return 16
    if tag == 0x70 or tag == 0x90:
        return 9
    if tag == 0x80:
        return 4
    if tag == 0xA0:
        return 12
    return DECIMAL if tag == 0xB0 else 0


cdef const unsigned char* behind_integer(const unsigned char* p, const unsigned char* end, int flip) noexcept nogil:
    if p == end:
        return NULL
    cdef int count = (p[0] ^ flip) - 0x80
    if count < 0:
        count = -count
    return p + 1 + count if count <= 8 and end - p > count else NULL


cdef const unsigned char* behind_text(const unsigned char* p, const unsigned char* end) noexcept nogil:
    while end - p >= 2:
        if p[0]:
            p += 1
        elif p[1] == 0:
            return p + 2
        else:
            p += 2
    return NULL


cdef const unsigned char* behind_decimal(const unsigned char* p, const unsigned char* end) noexcept nogil:
    if p == end:
        return NULL
    cdef int kind = p[0]
    cdef int flip = 0xFF if kind == 1 else 0
    p += 1
    if kind != 1 and kind != 3:
        return p if kind <= 5 else NULL
    p = behind_integer(p, end, flip)
    while p != NULL and p < end:
        if p[0] == flip:
            return p + 1
        p += 1
    return NULL
