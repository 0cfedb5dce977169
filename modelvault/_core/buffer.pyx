"""Bytes being written, bytes being read: the ground that keys and records stand on."""

from cython cimport freelist
from libc.stdlib cimport free, malloc, realloc

from modelvault.errors import CorruptionError, ModelVaultFormatError, ModelVaultValidationError


@freelist(8)
cdef class Buffer:
    """A growable byte string. Bytes in it move when it grows, so positions are kept as offsets.

    Most keys and records are short: they fit into the object itself, and making one takes no memory from the system.
    """

    def __cinit__(self):
        self.capacity = sizeof(self.first)
        self.data = self.first

    def __dealloc__(self):
        if self.data != self.first:
            free(self.data)

    def __bytes__(self) -> bytes:
        return self.data[:self.size]

    def __len__(self) -> int:
        return self.size

    cdef int grow(self, size_t more) except -1:
        """Make room for `more` bytes behind `size`."""
        cdef size_t capacity = self.capacity
        if more > RECORD_LIMIT or self.size + more > RECORD_LIMIT:
            raise ModelVaultFormatError(f"format error: record length exceeds maximum {<int>RECORD_LIMIT}")
        while capacity - self.size < more:
            capacity *= 2
        cdef bint moves = self.data == self.first
        cdef unsigned char* data = <unsigned char*>(malloc(capacity) if moves else realloc(self.data, capacity))
        if data == NULL:
            raise MemoryError()
        if moves:
            memcpy(data, self.first, self.size)
        self.data = data
        self.capacity = capacity
        return 0


cdef int leave_trail(Buffer out, str name) except -1:
    """A value could not be written: it stands in what has this name."""
    if out.trail is None:
        out.trail = []
    out.trail.append(name)
    return 0


cdef int fail_corrupt(str why) except -1:
    """Stored bytes are not what this schema writes."""
    raise CorruptionError(f"damaged record: {why}")


cdef int fail_short() except -1:
    """CorruptionError: the bytes end before what they hold."""
    return fail_corrupt("a part reaches beyond its end")


cdef int fail_depth() except -1:
    """CorruptionError: a value is nested more deeply than values may be."""
    return fail_corrupt(f"nested deeper than {<int>DEPTH_LIMIT} levels")


cdef int fail_deep_value() except -1:
    """A value to be written has too many levels, or contains itself."""
    raise ModelVaultValidationError(f"nested deeper than {<int>DEPTH_LIMIT} levels")


cdef int read_long_varint(Reader* reader, uint64_t* value) except -1:
    """A varint of any length; more than 64 bits, or cut off, is damage."""
    cdef uint64_t result = 0
    cdef unsigned int shift = 0
    cdef uint8_t byte
    while reader.at < reader.end:
        byte = reader.at[0]
        reader.at += 1
        if shift == 63 and byte > 1:
            break
        result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return 0
        shift += 7
    return fail_corrupt("a length is cut off or too large")
