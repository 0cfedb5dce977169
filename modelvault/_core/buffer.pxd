"""Bytes being written, bytes being read: the ground that keys and records stand on."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>

    /* Little-endian hosts only, like the rest of the format. */
    static inline uint16_t mv_get16(const unsigned char *p) { uint16_t x; memcpy(&x, p, 2); return x; }
    static inline uint32_t mv_get32(const unsigned char *p) { uint32_t x; memcpy(&x, p, 4); return x; }
    static inline uint64_t mv_get64(const unsigned char *p) { uint64_t x; memcpy(&x, p, 8); return x; }
    static inline void mv_put16(unsigned char *p, uint16_t x) { memcpy(p, &x, 2); }
    static inline void mv_put32(unsigned char *p, uint32_t x) { memcpy(p, &x, 4); }
    static inline void mv_put64(unsigned char *p, uint64_t x) { memcpy(p, &x, 8); }

    static inline void mv_put32_big(unsigned char *p, uint32_t x) {
        for (int i = 3; i >= 0; i--) { p[i] = (unsigned char)x; x >>= 8; }
    }

    static inline void mv_put64_big(unsigned char *p, uint64_t x) {
        for (int i = 7; i >= 0; i--) { p[i] = (unsigned char)x; x >>= 8; }
    }

    static inline uint32_t mv_get32_big(const unsigned char *p) {
        uint32_t x = 0;
        for (int i = 0; i < 4; i++) x = x << 8 | p[i];
        return x;
    }

    static inline uint64_t mv_get64_big(const unsigned char *p) {
        uint64_t x = 0;
        for (int i = 0; i < 8; i++) x = x << 8 | p[i];
        return x;
    }

    static inline int mv_is_ascii(const unsigned char *p, size_t size) {
        uint64_t all = 0, word;
        const unsigned char *last = p + size - 8;
        if (size < 8) {
            while (size--) all |= *p++;
            return all < 0x80;
        }
        for (; p < last; p += 8) { memcpy(&word, p, 8); all |= word; }
        memcpy(&word, last, 8);
        return ((all | word) & 0x8080808080808080ULL) == 0;
    }
    """
    uint16_t get16 "mv_get16"(const unsigned char* p)
    uint32_t get32 "mv_get32"(const unsigned char* p)
    uint64_t get64 "mv_get64"(const unsigned char* p)
    void put16 "mv_put16"(unsigned char* p, uint16_t x)
    void put32 "mv_put32"(unsigned char* p, uint32_t x)
    void put64 "mv_put64"(unsigned char* p, uint64_t x)
    void put32_big "mv_put32_big"(unsigned char* p, uint32_t x)
    void put64_big "mv_put64_big"(unsigned char* p, uint64_t x)
    uint32_t get32_big "mv_get32_big"(const unsigned char* p)
    uint64_t get64_big "mv_get64_big"(const unsigned char* p)
    bint is_ascii "mv_is_ascii"(const unsigned char* p, size_t size)


cdef enum:
    DEPTH_LIMIT = 100               # objects and containers inside one another, in a value and in a record
    FIELD_LIMIT = 16777216          # bytes of one string, bytes or decimal value
    RECORD_LIMIT = 1073741824       # bytes of one record


@final
cdef class Buffer:
    # Owns `data`, unless it is `first`.
    cdef unsigned char first[256]
    cdef unsigned char* data
    cdef size_t size                # bytes written
    cdef size_t capacity
    cdef int depth                  # of the value being written
    cdef list trail                 # where it failed: names from the inside out; None: nowhere yet
    cdef int grow(self, size_t more) except -1


cdef struct Reader:
    # Bytes not yet read. They belong to someone else.
    const unsigned char* at
    const unsigned char* end
    int depth


cdef int leave_trail(Buffer out, str name) except -1
cdef int fail_corrupt(str why) except -1
cdef int fail_short() except -1
cdef int fail_depth() except -1
cdef int fail_deep_value() except -1
cdef int read_long_varint(Reader* reader, uint64_t* value) except -1


cdef inline unsigned char* take(Buffer out, size_t count) except NULL:
    """`count` more bytes, counted as written; the caller fills them before anything else is written."""
    if out.capacity - out.size < count:
        out.grow(count)
    cdef unsigned char* p = out.data + out.size
    out.size += count
    return p


cdef inline int put_byte(Buffer out, uint8_t value) except -1:
    take(out, 1)[0] = value
    return 0


cdef inline int put_bytes(Buffer out, const unsigned char* data, size_t size) except -1:
    cdef unsigned char* place = take(out, size)
    if size:                    # else there may be no data
        memcpy(place, data, size)
    return 0


cdef extern from * nogil:
    """
    #if defined(__GNUC__)
    #define mv_fetch(p) __builtin_prefetch(p)
    #else
    #define mv_fetch(p) ((void)(p))
    #endif
    """
    void fetch_line "mv_fetch"(const unsigned char* p)


cdef inline void fetch_lines(const unsigned char* start, int count) noexcept nogil:
    """Ask memory for so many lines of 64 bytes, which will be read soon. They may lie beyond what there is."""
    cdef int i
    for i in range(count):
        fetch_line(start + 64 * i)


cdef inline int put_varint(Buffer out, uint64_t value) except -1:
    cdef unsigned char* p = take(out, 10)
    cdef int count = 0
    while value >= 0x80:
        p[count] = <uint8_t>(value | 0x80)
        value >>= 7
        count += 1
    p[count] = <uint8_t>value
    out.size -= 9 - count
    return 0


cdef inline int need(Reader* reader, size_t count) except -1:
    """Check that `count` bytes are left."""
    if <size_t>(reader.end - reader.at) < count:
        return fail_short()
    return 0


cdef inline int read_varint(Reader* reader, uint64_t* value) except -1:
    if reader.at < reader.end and reader.at[0] < 0x80:
        value[0] = reader.at[0]
        reader.at += 1
        return 0
    return read_long_varint(reader, value)


cdef inline int read_size(Reader* reader, size_t* size) except -1:
    """A length or count: never more than the bytes that are left, since nothing takes less than a byte."""
    cdef uint64_t value = 0
    read_varint(reader, &value)
    if value > <uint64_t>(reader.end - reader.at):
        return fail_short()
    size[0] = <size_t>value
    return 0
