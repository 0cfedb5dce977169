"""Values that carry their kind with them: fields typed Any, extras, private attributes.

Subclasses are stored as the class that they extend; what is none of the kinds below is refused.
"""

from datetime import date, datetime, time, timedelta

from libc.stdint cimport uint8_t

from modelvault._core.buffer cimport (
    DEPTH_LIMIT, fail_corrupt, fail_depth, leave_trail, need, put_byte, put_varint, read_size,
)
from modelvault._core.codec cimport Codec, enter
from modelvault._core.scalar cimport Decimals, Float64, Int, Uuid, decimal_class, uuid_class
from modelvault._core.temporal cimport Date, Time, TimeDelta, Timestamp
from modelvault._core.text cimport Bytes, String

cdef enum:
    NONE = 0
    FALSE = 1
    TRUE = 2
    FIRST_SCALAR = 3            # int float64 string bytes uuid timestamp date time timedelta decimal

cdef tuple SCALARS = (
    Int(), Float64(), String(), Bytes(), Uuid(), Timestamp(True), Date(), Time(), TimeDelta(), Decimals(),
)
cdef tuple CONTAINERS = (list, tuple, set, frozenset, dict)
cdef tuple CLASSES = None       # by tag, and the tags by class; at the first value
cdef dict TAGS = {}


cdef int know_classes() except -1:
    global CLASSES, TAGS
    CLASSES = (
        type(None), bool, None, int, float, str, bytes, uuid_class(), datetime, date, time, timedelta, decimal_class(),
        *CONTAINERS,
    )
    TAGS = {cls: tag for tag, cls in enumerate(CLASSES) if cls is not None}
    return 0


cdef int tag_of(object value) except -1:
    """The tag of a value, by its class or the first class that it extends."""
    tag = TAGS.get(type(value))
    if tag is not None:
        return tag
    if CLASSES is None:
        know_classes()
    for tag, cls in enumerate(CLASSES):
        # A datetime is a date, but stands in front of it.
        if cls is not None and isinstance(value, cls):
            return tag
    raise TypeError(f"'{type(value).__name__}' object cannot be stored as Any: no type of the field says how")


cdef int put_any(Buffer out, object value) except -1:
    """Append a value with its tag."""
    cdef int tag = tag_of(value)
    if tag == FALSE:
        return put_byte(out, TRUE if value else FALSE)
    put_byte(out, tag)
    if tag == NONE:
        return 0
    if tag < ANY_LIST:
        return (<Codec>SCALARS[tag - FIRST_SCALAR]).write_inline(out, value)
    enter(out)
    if tag == ANY_DICT:
        put_pairs(out, value)
    else:
        put_items(out, value)
    out.depth -= 1
    return 0


cdef int put_items(Buffer out, object value) except -1:
    cdef Py_ssize_t i = 0
    cdef list items = list(value)
    put_varint(out, len(items))
    try:
        for i in range(len(items)):
            put_any(out, items[i])
    except Exception:
        leave_trail(out, str(i))
        raise
    return 0


cdef int put_pairs(Buffer out, object value) except -1:
    cdef list items = list(value.items())
    put_varint(out, len(items))
    key = None
    try:
        for key, item in items:
            put_any(out, key)
            put_any(out, item)
    except Exception:
        leave_trail(out, str(key))
        raise
    return 0


cdef object read_any(Reader* reader):
    """The inverse of put_any."""
    need(reader, 1)
    cdef uint8_t tag = reader.at[0]
    reader.at += 1
    if tag == NONE:
        return None
    if tag < FIRST_SCALAR:
        return tag == TRUE
    if tag < ANY_LIST:
        return (<Codec>SCALARS[tag - FIRST_SCALAR]).read_inline(reader)
    if tag > ANY_DICT:
        fail_corrupt("a value has an unknown tag")
    if reader.depth >= DEPTH_LIMIT:
        fail_depth()
    reader.depth += 1
    value = read_container(reader, tag)
    reader.depth -= 1
    return value


cdef object read_container(Reader* reader, uint8_t tag):
    cdef size_t count = 0
    cdef size_t i
    cdef list items = []
    read_size(reader, &count)
    for i in range(count):
        items.append((read_any(reader), read_any(reader)) if tag == ANY_DICT else read_any(reader))
    try:
        return items if tag == ANY_LIST else CONTAINERS[tag - ANY_LIST](items)
    except TypeError:
        fail_corrupt("an element of a set or a key of a dict has no hash")


cdef class Anything(Container):
    """A value of any of these kinds."""

    cdef int write_inline(self, Buffer out, object value) except -1:
        if self.check is not None:
            self.check.other(value)
        return put_any(out, value)

    cdef object read_inline(self, Reader* reader):
        return read_any(reader)
