"""Records made of index entries, for queries that need nothing but what an index has.

An entry has the components of its index and the primary key. A Cover writes those as a record of version 0, whose objects have no
other fields; whatever reads records then reads it: programs, orders, columns, sums. So a query is carried out on an index as it is
on rows, and no row is looked at.

What a key leaves out cannot be told from it. `_ways.Covered` says which values are exact here. Of moments only what is compared is:
they come without their zone. One kind is mended entry by entry: a float's key does not have the sign of a zero nor the bits
of a NaN, so for such an entry the row is asked (NEEDS_ROW).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cython cimport final
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from modelvault._core.buffer cimport get32_big, get64_big, put16, put32, put64, put_bytes, take
from modelvault._core.codec cimport Codec
from modelvault._core.index cimport Path
from modelvault._core.leaf cimport (
    BOOL, CHOICE, DATE, DELTA, FLOAT, INT, INT64, STAMP, TIME, UINT64, UUID, form_of, width_of,
)
from modelvault._core.objects cimport Step, bare_codec
from modelvault._core.record cimport RecordCodec
from modelvault._core.scalar cimport Choice

cdef enum:
    WIDE_ENDS = 1               # the flags of these objects: ends of two bytes, for a key is shorter than 2^16


@final
cdef class Cover:
    """The records of an index: `codec` says which fields they have, each at a path of the index or the primary key.

    `keys` are the index's, of any schema version. ValueError for a field that no component has.
    """

    def __init__(self, RecordCodec codec not None, IndexKeys keys not None):
        cdef dict numbers = {path: i for i, path in enumerate(keys.paths)}
        self.paths = keys.paths
        self.shape = EntryShape(keys)
        self.primary = len(self.paths)
        self.choices = [None] * (self.primary + 1)
        numbers[(codec.primary,)] = self.primary
        self.parts = <Part*>PyMem_Calloc(self.primary + 1, sizeof(Part))
        self.fields = <Field*>PyMem_Calloc(fields_below(codec.root), sizeof(Field))
        self.frames = <Frame*>PyMem_Calloc(fields_below(codec.root), sizeof(Frame))
        if self.parts == NULL or self.fields == NULL or self.frames == NULL:
            raise MemoryError()
        self.lay_out(codec.root, numbers, ())

    def __dealloc__(self):
        PyMem_Free(self.parts)
        PyMem_Free(self.fields)
        PyMem_Free(self.frames)

    cdef int lay_out(self, Object place, dict numbers, tuple path) except -1:
        """Set up the frame of an object, and of those in it; its number."""
        cdef int number = self.count, i, first = self.used
        cdef Frame* frame = self.frames + number
        cdef Field* field
        cdef Step* step
        cdef Codec codec
        self.count += 1
        self.used += <int>place.count
        frame.first, frame.count = first, <int>place.count
        frame.head, frame.ends_at = place.heads[WIDE_ENDS], place.ends_at
        for i in range(frame.count):
            field, step = self.fields + first + i, place.steps + i
            codec = bare_codec(<Codec>step.codec)
            field.offset, field.end, field.width = step.offset, step.end, (<Codec>step.codec).width
            field.null_byte, field.null_mask = step.null_byte, step.null_mask
            field.wide_byte, field.wide_mask = step.wide_byte, step.wide_mask
            here = path + (place.names[i],)
            if isinstance(codec, Object):
                field.part = -1
                field.frame = self.lay_out(codec, numbers, here)
                continue
            if here not in numbers:
                raise ValueError(f"the index does not have {'.'.join(here)}")
            field.part = numbers[here]
            field.form = form_of(codec)
            if field.form == CHOICE:
                self.choices[field.part] = (
                    (<Choice>codec).open_keys if field.part == self.primary else (<Choice>codec).component_keys)
        return number

    cdef int write(
        self, Buffer out, const unsigned char* entry, size_t size, const unsigned char* record, size_t record_size,
        IndexKeys extractor
    ) except -2:
        """Append the record of an entry: 1, or NEEDS_ROW, or DAMAGED_ENTRY, when nothing is appended.

        record, extractor: its row, and the index's paths in rows of that version; NULL and None as long as it is not needed.
        """
        cdef size_t start = out.size, key_at = self.shape.mark(entry, size, self.parts)
        cdef int found
        if key_at == 0:
            return DAMAGED_ENTRY
        self.parts[self.primary].data, self.parts[self.primary].size = entry + key_at, size - key_at
        put16(take(out, 2), 0)
        found = self.write_frame(out, self.frames, record, record_size, extractor)
        if found != 1:
            out.size = start
        return found

    cdef int write_frame(
        self, Buffer out, const Frame* frame, const unsigned char* record, size_t record_size, IndexKeys extractor
    ) except -2:
        """Append an object."""
        cdef size_t start = out.size
        cdef unsigned char* place = take(out, frame.head)
        cdef const Field* field
        cdef const Part* part
        cdef int i, found = 1
        memset(place, 0, frame.head)
        place[0] = WIDE_ENDS
        for i in range(frame.first, frame.first + frame.count):
            field = self.fields + i
            part = self.parts + field.part
            if field.part < 0:
                found = self.write_frame(out, self.frames + field.frame, record, record_size, extractor)
            elif part.data == NULL:
                if field.null_mask == 0:
                    return DAMAGED_ENTRY
                out.data[start + field.null_byte] |= field.null_mask
            elif field.form == CHOICE:
                found = self.write_choice(field.part, out.data + start + field.offset)
            elif field.offset >= 0:
                place = out.data + start
                found = write_number(field, part, place)
                if found == NEEDS_ROW and field.part == self.primary:
                    found = 1   # which zero it is does not matter where keys are compared
                elif found == NEEDS_ROW and record != NULL:
                    found = copy_number(field, extractor, record, record_size, place)
            else:
                found = put_text(out, part, field.part == self.primary)
            if found != 1:
                return found
            if field.end >= 0:
                put16(out.data + start + frame.ends_at + 2 * field.end, <unsigned short>(out.size - start - frame.head))
        return 1

    cdef int write_choice(self, int part, unsigned char* place) except -2:
        """The place of an enum's value."""
        cdef const Part* found = self.parts + part
        cdef tuple keys = self.choices[part]
        cdef Py_ssize_t i
        cdef bytes key
        for i in range(len(keys)):
            key = keys[i]
            if <size_t>PyBytes_GET_SIZE(key) == found.size and memcmp(PyBytes_AS_STRING(key), found.data, found.size) == 0:
                put16(place, <unsigned short>i)
                return 1
        return DAMAGED_ENTRY

    def record(self, bytes entry not None, bytes row=None, IndexKeys extractor=None):
        """The record of an entry; None where its row is needed and not given, and for bytes that are no entry."""
        cdef Buffer out = Buffer()
        cdef const unsigned char* place = NULL
        if row is not None:
            place = <const unsigned char*>PyBytes_AS_STRING(row)
        cdef int found = self.write(
            out, <const unsigned char*>PyBytes_AS_STRING(entry), PyBytes_GET_SIZE(entry), place,
            0 if row is None else PyBytes_GET_SIZE(row), extractor)
        return bytes(out) if found == 1 else None


cdef Py_ssize_t fields_below(Object place) except 0:
    """The fields of an object and of all objects in it; at least 1."""
    cdef Py_ssize_t count = 1 + place.count
    for codec in place.codecs:
        codec = bare_codec(codec)
        if isinstance(codec, Object):
            count += fields_below(codec)
    return count


cdef int write_number(const Field* field, const Part* part, unsigned char* place) noexcept nogil:
    """A value of fixed width as records have it, from its key, in the object at `place`; 1, NEEDS_ROW or DAMAGED_ENTRY."""
    cdef const unsigned char* key = part.data
    cdef unsigned char* data = place + field.offset
    if not has_size(field.form, part):
        return DAMAGED_ENTRY
    if field.form == INT or field.form == INT64 or field.form == UINT64:
        return write_integer(field, part, place)
    if field.form == FLOAT:
        return write_float(get64_big(key), data)
    if field.form == DATE:
        put32(data, get32_big(key))
    elif field.form == DELTA:
        put32(data, get32_big(key) ^ <uint32_t>1 << 31)
        put64(data + 4, get64_big(key + 4))
    elif field.form == STAMP or field.form == TIME:
        put64(data, get64_big(key) ^ <uint64_t>1 << 63)
        put32(data + 8, 0 if key[8] else <uint32_t>1 << 31)
    elif field.form == BOOL or field.form == UUID:
        memcpy(data, key, field.width)
    else:
        return DAMAGED_ENTRY
    return 1


cdef bint has_size(Form form, const Part* part) noexcept nogil:
    """Whether a key of a value of fixed width is as long as it must be."""
    if form == INT or form == INT64 or form == UINT64:
        return 0 < part.size <= 9 and (part.data[0] == 0x7F + part.size or part.data[0] == 0x81 - part.size)
    if form == STAMP or form == TIME:
        return part.size == 9
    return part.size == <size_t>width_of(form)


cdef int write_integer(const Field* field, const Part* part, unsigned char* place) noexcept nogil:
    """The inverse of scalar.put_int_key."""
    cdef int count = part.data[0] - 0x80, i
    cdef bint negative = count < 0
    cdef uint64_t size = 0
    for i in range(1, (-count if negative else count) + 1):
        size = size << 8 | (part.data[i] ^ (0xFF if negative else 0))
    put64(place + field.offset, -size if negative else size)
    if field.wide_mask and not negative and size >> 63:
        place[field.wide_byte] |= field.wide_mask
    return 1


cdef int write_float(uint64_t bits, unsigned char* data) noexcept nogil:
    """The inverse of Float64's keys, where they have one."""
    bits = bits ^ <uint64_t>1 << 63 if bits >> 63 else ~bits
    if bits == 0 or bits & <uint64_t>0x7FFFFFFFFFFFFFFF > <uint64_t>0x7FF0000000000000:
        return NEEDS_ROW
    put64(data, bits)
    return 1


cdef int copy_number(
    const Field* field, IndexKeys extractor, const unsigned char* record, size_t size, unsigned char* place
) except -2:
    """A value of fixed width as the row has it."""
    cdef Part part
    if not (<Path>extractor.compiled[field.part]).find(record + 2, size - 2, &part) or <int32_t>part.size != field.width:
        return DAMAGED_ENTRY
    memcpy(place + field.offset, part.data, part.size)
    return 1


cdef int put_text(Buffer out, const Part* part, bint open) except -1:
    """Append text from its key."""
    cdef const unsigned char* at = part.data
    cdef const unsigned char* end = at + part.size - (0 if open else 2)
    cdef const unsigned char* zero
    while not open:
        zero = <const unsigned char*>memchr(at, 0, end - at)
        if zero == NULL:
            break
        put_bytes(out, at, zero + 1 - at)
        at = zero + 2
    put_bytes(out, at, end - at)
    return 1
