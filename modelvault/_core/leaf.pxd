"""Single values in a record's bytes as numbers that compare, without the GIL."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelvault._core.buffer cimport get16, get32, get64, get64_big
from modelvault._core.codec cimport Codec
from modelvault._core.objects cimport Part
from modelvault._core.route cimport ABSENT, DAMAGED, PRESENT, Span, take_part


cdef enum Form:
    # How one value is stored. Up to CHOICE it is a pair of numbers; the order of pairs is that of keys, except of choices.
    BOOL
    INT64
    UINT64
    INT
    FLOAT
    UUID
    STAMP
    TIME
    DATE
    DELTA
    CHOICE                      # minor is the place in the list
    STRING                      # the rest is bytes
    BYTES
    DECIMAL
    OTHER                       # no scalar


cdef struct Value:
    uint64_t major
    uint64_t minor
    const unsigned char* data
    size_t size


cdef Form form_of(Codec codec)
cdef bint same_domain(Form a, Form b) noexcept nogil
cdef int width_of(Form form) noexcept nogil
cdef object free_key(object value)
cdef int load_int_key(Span* span, Value* value) noexcept nogil


cdef inline void load_signed(int64_t number, Value* value) noexcept nogil:
    value.major = number >= 0
    value.minor = <uint64_t>number


cdef inline void load_float(uint64_t bits, Value* value) noexcept nogil:
    """The bits of a float in the order of keys: one zero, one NaN above infinity."""
    cdef uint64_t top = (<uint64_t>1) << 63
    cdef uint64_t size = bits & ~top
    value.major = 0
    if size == 0:
        value.minor = top
    elif size > <uint64_t>0x7FF0000000000000:
        value.minor = <uint64_t>0xFFF8000000000000
    else:
        value.minor = ~bits if bits & top else bits | top


cdef inline int load_fixed(Form form, const unsigned char* data, bint wide, Value* value) noexcept nogil:
    """The value of a fixed form; DAMAGED for a bool that is none."""
    value.major = 0
    if form == INT:
        load_signed(<int64_t>get64(data), value)
        if wide:
            value.major = 1
    elif form == INT64:
        load_signed(<int64_t>get64(data), value)
    elif form == FLOAT:
        load_float(get64(data), value)
    elif form == CHOICE:
        value.minor = get16(data)
    elif form == BOOL:
        if data[0] > 1:
            return DAMAGED
        value.minor = data[0]
    elif form == STAMP or form == TIME:
        value.major = get64(data) ^ (<uint64_t>1) << 63
        # Naive is -2^31 + fold.
        value.minor = get32(data + 8) >> 1 != <uint32_t>1 << 30
    elif form == DATE:
        value.minor = get32(data)
    elif form == DELTA:
        value.major = get32(data) ^ (<uint32_t>1) << 31
        value.minor = get64(data + 4)
    elif form == UINT64:
        value.major = 1
        value.minor = get64(data)
    else:
        value.major = get64_big(data)
        value.minor = get64_big(data + 8)
    return PRESENT


cdef inline int load_inline(Form form, Span* span, Value* value) noexcept nogil:
    """The next value inside a container; any form but OTHER."""
    cdef Part part
    cdef int width
    if form == INT:
        return load_int_key(span, value)
    if form > CHOICE:
        if take_part(span, &part) < 0:
            return DAMAGED
        value.data = part.data
        value.size = part.size
        return PRESENT
    width = width_of(form)
    if span.end - span.at < width:
        return DAMAGED
    span.at += width
    return load_fixed(form, span.at - width, False, value)
