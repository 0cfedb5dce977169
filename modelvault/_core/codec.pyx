"""What every kind of value can do: be written and read, in an object, inside a container, as a key.

Codecs are compiled once from the types of a schema; after that every call goes through the vtable of the right
class and no kind is looked at again. The three families below fill in what follows from the family alone.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove

from modelvault._core.buffer cimport (
    DEPTH_LIMIT,
    fail_corrupt,
    fail_deep_value,
    need,
    put_varint,
    read_size,
    take,
)

from modelvault.errors import ModelVaultSchemaError


cdef int fail_instance(object value, str name) except -1:
    """0.16's words for a value of the wrong type."""
    shown = "None" if value is None else type(value).__name__
    raise TypeError(f"'{shown}' object is not an instance of '{name}'")


cdef int enter(Buffer out) except -1:
    """One level deeper; leave with `out.depth -= 1`. After an error the depth is set back by whoever owns `out`."""
    out.depth += 1
    if out.depth > DEPTH_LIMIT:
        return fail_deep_value()
    return 0


cdef class Codec:
    """One kind of value. The base refuses what a kind has no form for."""

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        raise TypeError(f"{type(self).__name__} has no fixed form")

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        raise TypeError(f"{type(self).__name__} has no fixed form")

    cdef int write(self, Buffer out, object value) except -1:
        return self.write_inline(out, value)

    cdef object read(self, Reader* reader):
        value = self.read_inline(reader)
        if reader.at != reader.end:
            fail_corrupt("bytes are left behind a value")
        return value

    cdef int write_inline(self, Buffer out, object value) except -1:
        raise TypeError(f"{type(self).__name__} has no inline form")

    cdef object read_inline(self, Reader* reader):
        raise TypeError(f"{type(self).__name__} has no inline form")

    cdef int key(self, Buffer out, object value, bint open) except -1:
        raise ModelVaultSchemaError("a key must be a scalar (not a list, object or other container)")

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return self.key(out, None, open)

    cdef int key_inline(self, Buffer out, Reader* reader) except -1:
        return self.key(out, None, False)

    cdef object read_key(self, Reader* reader, bint open):
        raise ModelVaultSchemaError("a key must be a scalar (not a list, object or other container)")


cdef class Fixed(Codec):
    """Kinds of a fixed width, which is at most 16 bytes: inline they are the same bytes."""

    cdef int write_inline(self, Buffer out, object value) except -1:
        # Python code may run in write_fixed, but nobody else writes to `out`.
        self.write_fixed(value, take(out, self.width))
        return 0

    cdef object read_inline(self, Reader* reader):
        need(reader, self.width)
        reader.at += self.width
        return self.read_fixed(reader.at - self.width, False)

    cdef int key(self, Buffer out, object value, bint open) except -1:
        cdef unsigned char data[16]
        cdef bint wide = self.write_fixed(value, data)
        return self.key_stored(out, data, self.width, wide, open)

    cdef int key_inline(self, Buffer out, Reader* reader) except -1:
        need(reader, self.width)
        reader.at += self.width
        return self.key_stored(out, reader.at - self.width, self.width, False, False)


cdef class Raw(Codec):
    """Kinds of a variable width whose bytes do not tell their end: inline their size stands in front."""

    cdef int write_inline(self, Buffer out, object value) except -1:
        cdef size_t start = out.size
        take(out, 1)
        self.write(out, value)
        cdef size_t size = out.size - start - 1
        if size < 0x80:
            out.data[start] = <uint8_t>size
            return 0
        return spread(out, start, size)

    cdef object read_inline(self, Reader* reader):
        cdef Reader inner
        cdef size_t size = 0
        read_size(reader, &size)
        inner.at = reader.at
        inner.depth = reader.depth
        reader.at += size
        inner.end = reader.at
        return self.read(&inner)

    cdef int key_inline(self, Buffer out, Reader* reader) except -1:
        cdef size_t size = 0
        read_size(reader, &size)
        reader.at += size
        return self.key_stored(out, reader.at - size, size, False, False)


cdef int spread(Buffer out, size_t start, size_t size) except -1:
    """Widen the one byte left at `start` for a size that turned out to need more."""
    cdef size_t end = out.size
    put_varint(out, size)
    cdef size_t width = out.size - end
    cdef unsigned char prefix[10]
    memcpy(prefix, out.data + end, width)
    memmove(out.data + start + width, out.data + start + 1, size)
    memcpy(out.data + start, prefix, width)
    out.size = end + width - 1
    return 0


cdef class Container(Codec):
    """Kinds whose one form is the inline form."""
