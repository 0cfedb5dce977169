"""Where a path leads in the bytes of a record, found without the GIL."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from modelvault._core.buffer cimport Buffer, fail_corrupt
from modelvault._core.codec cimport Codec
from modelvault._core.objects cimport MAX_FLAGS, Object, Part, Step, get_end
from modelvault._core.record cimport RecordCodec


cdef enum Found:
    DAMAGED = -1
    ABSENT = 0                  # None, or below an object that is None
    PRESENT = 1


cdef struct Hop:
    # From an object to the bytes of one of its fields.
    size_t heads[8]             # bytes in front of the data, by flags
    int32_t ends_at             # where the ends begin
    int32_t offset              # of a fixed field; -1: variable
    int32_t width
    int32_t end                 # number of a variable field's end
    int32_t null_byte
    int32_t wide_byte
    uint8_t null_mask
    uint8_t wide_mask
    bint many                   # the field holds many values
    bint holes                  # which may be None


cdef struct Span:
    # Bytes not yet read.
    const unsigned char* at
    const unsigned char* end


@final
cdef class Route:
    cdef readonly tuple path
    cdef RecordCodec record     # whose records these are
    cdef Hop* hops              # owned
    cdef Py_ssize_t count       # hops that these records have
    cdef list objects           # Object of each hop
    cdef list codecs            # of each hop, as a row shows it
    cdef bint missing           # the records are too old for the field, or for an object on the way
    cdef Codec leaf             # of one value: the field's, or its elements'; bare
    cdef Codec whole            # of the field; bare
    cdef object type            # Type of the field, None if it is missing
    cdef Route newest           # the same path in the newest version; None for that itself
    cdef bint many              # there may be several values
    cdef bint through           # because the path goes through a list of objects

    cdef int follow(self, Object root) except -1
    cdef Codec enter(self, Hop* hop, Codec codec)
    cdef int end_at(self, Codec codec) except -1
    cdef Step* step(self, Py_ssize_t i)
    cdef int stand_in(self, Buffer out, Part* part) except -1
    cdef object value(self)


cdef object unknown_path(tuple path)
cdef Codec element_of(Codec codec, bint* holes)
cdef int write_value(Step* step, object value, Buffer out, Part* part) except -1
cdef int aim(Hop* hop, Object place, Step* step) except -1


cdef inline int leave(int found) except -1:
    """Raise CorruptionError for DAMAGED."""
    if found < 0:
        fail_corrupt("a part reaches beyond its end")
        return -1
    return found


cdef inline int find(const Hop* hop, const unsigned char* data, size_t size, Part* part) noexcept nogil:
    """Where a field's bytes are in an object, as Object.find_part."""
    cdef const unsigned char* ends
    cdef size_t head, begin = 0, end
    if size < 1 or data[0] > MAX_FLAGS:
        return DAMAGED
    head = hop.heads[data[0]]
    if size < head:
        return DAMAGED
    if hop.null_mask and data[hop.null_byte] & hop.null_mask:
        return ABSENT
    part.wide = hop.wide_mask and data[hop.wide_byte] & hop.wide_mask
    if hop.offset >= 0:
        part.data = data + hop.offset
        part.size = hop.width
        return PRESENT
    ends = data + hop.ends_at
    end = get_end(ends, hop.end, data[0])
    if hop.end:
        begin = get_end(ends, hop.end - 1, data[0])
    if begin > end or end > size - head:
        return DAMAGED
    part.data = data + head + begin
    part.size = end - begin
    return PRESENT


cdef inline int take_varint(Span* span, uint64_t* value) noexcept nogil:
    """The next varint; DAMAGED if it is cut off or too large."""
    cdef uint64_t result = 0
    cdef unsigned int shift = 0
    cdef uint8_t byte
    while span.at < span.end:
        byte = span.at[0]
        span.at += 1
        if shift == 63 and byte > 1:
            return DAMAGED
        result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return PRESENT
        shift += 7
    return DAMAGED


cdef inline int take_size(Span* span, size_t* size) noexcept nogil:
    """A length or count: never more than the bytes that are left."""
    cdef uint64_t value = 0
    if take_varint(span, &value) < 0 or value > <uint64_t>(span.end - span.at):
        return DAMAGED
    size[0] = <size_t>value
    return PRESENT


cdef inline int take_present(Span* span) noexcept nogil:
    """The byte in front of an element that may be None."""
    cdef int present
    if span.at == span.end or span.at[0] > 1:
        return DAMAGED
    present = span.at[0]
    span.at += 1
    return present


cdef inline int take_part(Span* span, Part* part) noexcept nogil:
    """An element with its size in front: an object, a string."""
    cdef size_t size = 0
    if take_size(span, &size) < 0:
        return DAMAGED
    part.data = span.at
    part.size = size
    part.wide = False
    span.at += size
    return PRESENT
