"""Single values in a record's bytes as numbers that compare, without the GIL.

A value of a fixed width becomes a pair of 64-bit numbers whose order is that of the keys (docs/format.md section 5); text, bytes
and decimals stay where they are.
"""

import datetime
from enum import Enum

from modelvault._core.buffer cimport Buffer, put_byte
from modelvault._core.scalar cimport (
    Bool, Choice, Decimals, Float64, Int, Int64, UInt64, Uuid, decimal_class, uuid_class,
)
from modelvault._core.temporal cimport Date, Time, TimeDelta, Timestamp
from modelvault._core.text cimport Bytes, String

cdef dict FORMS = {
    Bool: BOOL, Int64: INT64, UInt64: UINT64, Int: INT, Float64: FLOAT, Uuid: UUID, Timestamp: STAMP, Time: TIME,
    Date: DATE, TimeDelta: DELTA, Choice: CHOICE, String: STRING, Bytes: BYTES, Decimals: DECIMAL,
}


cdef Form form_of(Codec codec):
    """The form of what a bare codec stores."""
    return FORMS.get(type(codec), OTHER)


cdef bint same_domain(Form a, Form b) noexcept nogil:
    """Whether values of these forms compare with one another as they are loaded."""
    return a == b or (a >= INT64 and a <= INT and b >= INT64 and b <= INT)


cdef int width_of(Form form) noexcept nogil:
    """The bytes of a fixed form inside a container."""
    if form == BOOL:
        return 1
    if form == CHOICE:
        return 2
    if form == DATE:
        return 4
    if form == STAMP or form == TIME or form == DELTA:
        return 12
    return 16 if form == UUID else 8


cdef int load_int_key(Span* span, Value* value) noexcept nogil:
    """An integer as containers hold it: in the encoding of keys."""
    cdef uint64_t size = 0
    cdef int count, i
    if span.at == span.end:
        return DAMAGED
    count = span.at[0] - 0x80
    value.major = count >= 0
    if count < 0:
        count = -count
    if count > 8 or span.end - span.at < 1 + count:
        return DAMAGED
    for i in range(1, count + 1):
        size = size << 8 | (span.at[i] if value.major else <uint8_t>~span.at[i])
    if not value.major and size > (<uint64_t>1) << 63:
        return DAMAGED
    span.at += 1 + count
    value.minor = size if value.major else -size
    return PRESENT


# Values without a key of their own

cdef list FREE = [
    (str, String(), 0x40),
    (bytes, Bytes(), 0x50),
    (datetime.datetime, Timestamp(True), 0x70),
    (datetime.date, Date(), 0x80),
    (datetime.time, Time(), 0x90),
    (datetime.timedelta, TimeDelta(), 0xA0),
]
cdef Codec NUMBERS = Decimals()
cdef Codec UUIDS = Uuid()


cdef object free_key(object value):
    """The key of any scalar, numbers of all kinds as one; None for what is no scalar."""
    cdef Buffer out = Buffer()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (int, decimal_class())):
        put_byte(out, 0x20)
        NUMBERS.key(out, value, False)
        return bytes(out)
    if isinstance(value, float):
        put_byte(out, 0x20)
        NUMBERS.key(out, decimal_class()(value), False)
        return bytes(out)
    for cls, codec, tag in FREE:
        if isinstance(value, cls):
            put_byte(out, tag)
            (<Codec>codec).key(out, value, False)
            return bytes(out)
    if isinstance(value, uuid_class()):
        put_byte(out, 0x60)
        UUIDS.key(out, value, False)
        return bytes(out)
    return None
