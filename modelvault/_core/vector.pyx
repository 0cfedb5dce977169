"""Columns in the layout of Arrow, which grow value by value without the GIL.

A column is a bitmap of what is there, perhaps offsets, and values; nested ones have columns inside. `seal` gives all of it away as a
Piece, whose memory Arrow takes as it is, and the column begins anew. What a column cannot hold is UNFIT, never bent: integers from
2^63 on, times of day with a zone, naive and aware points in time together, spans beyond 64 bits of microseconds, decimals that need
more than 20 digits in front of the point or 18 behind it.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT32_MIN, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from modelvault._core.buffer cimport Reader, get16, get32, get64, is_ascii, put32, put64
from modelvault._core.codec cimport Codec
from modelvault._core.leaf cimport BOOL, BYTES, CHOICE, DATE, DECIMAL, FLOAT, STAMP, STRING, TIME, UINT64, UUID
from modelvault._core.route cimport DAMAGED, PRESENT

cdef enum:
    EPOCH_ORDINAL = 719163      # 1970-01-01
    LAST_ORDINAL = 3652059      # 9999-12-31
    LONG_SPAN = 106751990       # days whose microseconds surely fit in 64 bits
    SCALE = 18                  # digits of a decimal behind the point
    DIGITS = 38                 # of a decimal

cdef int64_t DAY = <int64_t>86400 * 1000000
cdef unsigned char[8] NOTHING

cdef tuple KINDS = (
    "bool", "int64", "uint64", "float64", "uuid", "timestamp", "date", "time", "timedelta", "decimal", "code", "string", "bytes",
    "object", "list", "map", "struct", "array",
)
cdef int[18] WIDTHS
WIDTHS[:] = [0, 8, 8, 8, 16, 8, 4, 8, 8, 16, 4, 0, 0, 0, 0, 0, 0, 0]

cdef tuple FAULTS = (
    "", "an integer from 2^63 on does not fit in int64",
    "a time of day with a zone has no type in Arrow",
    "naive and aware datetimes have no type in common",
    "a timedelta does not fit in 64 bits of microseconds",
    "a decimal has more than 20 digits in front of the point, or 18 behind it",
    "a decimal is NaN or infinite",
)


cdef str fault_text(Fault fault):
    """What is wrong with a value."""
    return FAULTS[<int>fault]


# Memory

cdef unsigned char* room(Heap* heap, size_t more) noexcept nogil:
    """So many bytes more, which the caller fills; NULL if there is no memory."""
    cdef size_t capacity = heap.capacity
    cdef unsigned char* data
    if heap.data == NULL or capacity - heap.size < more:
        capacity = max(2 * capacity, heap.size + more, <size_t>256)
        data = <unsigned char*>realloc(heap.data, capacity)
        if data == NULL:
            return NULL
        heap.data, heap.capacity = data, capacity
    data = heap.data + heap.size
    heap.size += more
    return data


cdef class Memory:
    """Bytes that a column gave away, as a buffer to read."""

    def __dealloc__(self):
        free(self.heap.data)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.heap.data if self.heap.size else NOTHING, self.heap.size, True, flags)

    def __len__(self):
        return self.heap.size


cdef Memory given_away(Heap* heap):
    """The bytes, which the heap no longer has."""
    cdef Memory memory = Memory.__new__(Memory)
    memory.heap = heap[0]
    memset(heap, 0, sizeof(Heap))
    return memory


# Putting values

cdef inline int put_bit(Heap* bits, size_t at, bint value) noexcept nogil:
    """A bit behind `at` others."""
    cdef unsigned char* fresh
    if at & 7 == 0:
        fresh = room(bits, 1)
        if fresh == NULL:
            return FULL
        fresh[0] = 0
    bits.data[at >> 3] |= <uint8_t>(value << (at & 7))
    return PRESENT


cdef int put_present(Vec* vec) noexcept nogil:
    """A value is there; it follows, or is that of the parts."""
    if vec.nulls and put_bit(&vec.valid, vec.count, True) < 0:
        return FULL
    vec.count += 1
    return PRESENT


cdef int put_absent(Vec* vec) noexcept nogil:
    """A value is None."""
    cdef unsigned char* bits
    cdef size_t size = (vec.count + 7) // 8
    if vec.nulls == 0 and size:
        bits = room(&vec.valid, size)
        if bits == NULL:
            return FULL
        memset(bits, 0xFF, size)
        if vec.count & 7:
            bits[size - 1] = <uint8_t>((1 << (vec.count & 7)) - 1)
    vec.nulls += 1
    if put_bit(&vec.valid, vec.count, False) < 0:
        return FULL
    vec.count += 1
    return PRESENT


cdef inline int put_offset(Vec* vec, size_t end) noexcept nogil:
    """Where the next value ends; a sheet is sealed long before this needs more than 31 bits."""
    cdef unsigned char* place
    if vec.offsets.size == 0:
        place = room(&vec.offsets, 4)
        if place == NULL:
            return FULL
        put32(place, 0)
    place = room(&vec.offsets, 4)
    if place == NULL:
        return FULL
    put32(place, <uint32_t>end)
    return PRESENT


cdef int put_null(Vec* vec) noexcept nogil:
    """None, in the parts too where they go along with the whole."""
    cdef unsigned char* place
    cdef Py_ssize_t i
    cdef size_t k
    cdef size_t count = vec.count
    if put_absent(vec) < 0:
        return FULL
    if vec.width:
        place = room(&vec.data, vec.width)
        if place == NULL:
            return FULL
        memset(place, 0, vec.width)
        return PRESENT
    if vec.kind == FLAGS:
        return put_bit(&vec.data, count, False)
    if vec.kind == LISTS or vec.kind == MAPS:
        return put_offset(vec, vec.inner[0].count)
    if vec.kind == STRUCTS or vec.kind == ARRAYS:
        for i in range(vec.inners):
            for k in range(vec.length):
                if put_null(vec.inner[i]) < 0:
                    return FULL
        return PRESENT
    return put_offset(vec, vec.data.size)


cdef int put_count(Vec* vec, size_t end) noexcept nogil:
    """A list or map, whose values in the inner columns end there."""
    return FULL if put_present(vec) < 0 else put_offset(vec, end)


cdef int put_bytes_of(Vec* vec, const unsigned char* data, size_t size) noexcept nogil:
    """Text or bytes."""
    cdef unsigned char* place = room(&vec.data, size)
    if place == NULL or put_present(vec) < 0:
        return FULL
    memcpy(place, data, size)
    if vec.kind == TEXTS and not is_ascii(data, size):
        vec.doubtful = True
    return put_offset(vec, vec.data.size)


cdef int put_thing(Vec* vec, uint32_t reader, const unsigned char* data, size_t size) noexcept nogil:
    """Stored bytes, and the number of what reads them."""
    cdef unsigned char* place = room(&vec.data, size + 4)
    if place == NULL or put_present(vec) < 0:
        return FULL
    put32(place, reader)
    memcpy(place + 4, data, size)
    return put_offset(vec, vec.data.size)


cdef int unfit(Vec* vec, Fault fault) noexcept nogil:
    vec.fault = fault
    return UNFIT


cdef int put_scalar(
        Vec* vec, Form form, const int32_t* codes, uint32_t choices, const unsigned char* data, size_t size,
        bint wide) noexcept nogil:
    """A stored value of a scalar kind. codes: of the places of a choice."""
    cdef unsigned char* place
    if form == STRING or form == BYTES:
        return put_bytes_of(vec, data, size)
    if form == BOOL:
        if data[0] > 1 or put_bit(&vec.data, vec.count, data[0]) < 0:
            return DAMAGED if data[0] > 1 else FULL
        return put_present(vec)
    place = room(&vec.data, vec.width)
    if place == NULL or put_present(vec) < 0:
        return FULL
    if form <= FLOAT:
        # 64 bits; of those without sign in a column with one, only what fits.
        if vec.kind == LONGS and (wide or (form == UINT64 and <int64_t>get64(data) < 0)):
            return unfit(vec, TOO_WIDE)
        memcpy(place, data, 8)
        return PRESENT
    if form == STAMP:
        return put_stamp(vec, place, data)
    if form == CHOICE:
        if get16(data) >= choices:
            return DAMAGED
        put32(place, <uint32_t>codes[get16(data)])
        return PRESENT
    if form == UUID:
        memcpy(place, data, 16)
        return PRESENT
    if form == DATE:
        if get32(data) - 1 >= <uint32_t>LAST_ORDINAL:
            return DAMAGED
        put32(place, get32(data) - <uint32_t>EPOCH_ORDINAL)
        return PRESENT
    if form == DECIMAL:
        return put_decimal(vec, place, data, size)
    return put_time(vec, place, data) if form == TIME else put_span(vec, place, data)


cdef inline bint is_naive(const unsigned char* data) noexcept nogil:
    """Whether a stored moment has no zone: that is -2^31 + fold then."""
    return <int32_t>(get32(data + 8) & ~<uint32_t>1) == INT32_MIN


cdef int put_stamp(Vec* vec, unsigned char* place, const unsigned char* data) noexcept nogil:
    """Microseconds since 1970, of UTC or of the clock on the wall."""
    cdef Zone zone = NAIVE if is_naive(data) else AWARE
    if vec.zone != zone:
        if vec.zone != UNKNOWN:
            return unfit(vec, MIXED)
        vec.zone = zone
    memcpy(place, data, 8)
    return PRESENT


cdef int put_time(Vec* vec, unsigned char* place, const unsigned char* data) noexcept nogil:
    """Microseconds since midnight."""
    if not is_naive(data):
        return unfit(vec, ZONED)
    if get64(data) >= <uint64_t>DAY:
        return DAMAGED
    memcpy(place, data, 8)
    return PRESENT


cdef int put_span(Vec* vec, unsigned char* place, const unsigned char* data) noexcept nogil:
    """Microseconds."""
    cdef int32_t days = <int32_t>get32(data)
    if get64(data + 4) >= <uint64_t>DAY:
        return DAMAGED
    if days < -LONG_SPAN or days > LONG_SPAN:
        return unfit(vec, TOO_LONG)
    put64(place, <uint64_t>(days * DAY + <int64_t>get64(data + 4)))
    return PRESENT


# Decimals: text as an integer of 128 bits, SCALE digits of it behind the point

cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return byte >= 48 and byte <= 57


cdef inline void append_digit(uint32_t* limbs, uint32_t digit) noexcept nogil:
    """Ten times the number, and a digit."""
    cdef uint64_t carry = digit
    cdef int i
    for i in range(4):
        carry += <uint64_t>limbs[i] * 10
        limbs[i] = <uint32_t>carry
        carry >>= 32


cdef int put_decimal(Vec* vec, unsigned char* place, const unsigned char* data, size_t size) noexcept nogil:
    """A decimal from its text: zeros at either end do not count."""
    cdef uint32_t[4] limbs
    cdef size_t i, start = 1 if size and data[0] == b"-" else 0
    cdef int64_t digits = 0, whole = -1, first = -1, last = -1, exponent = 0, power
    memset(limbs, 0, sizeof(limbs))
    if start == size or not is_digit(data[start]):
        return unfit(vec, NO_NUMBER) if start < size else DAMAGED
    i = start
    while i < size and (is_digit(data[i]) or data[i] == b"."):
        if data[i] == b".":
            whole = digits
        else:
            if data[i] != 48:
                last = digits
                if first < 0:
                    first = digits
            digits += 1
        i += 1
    if i < size and take_exponent(data + i, size - i, &exponent) < 0:
        return DAMAGED
    if first >= 0:
        power = (digits if whole < 0 else whole) - 1 - last + exponent + SCALE
        if power < 0 or last - first + 1 + power > DIGITS:
            return unfit(vec, TOO_PRECISE)
        append_digits(limbs, data + start, first, last)
        while power:
            append_digit(limbs, 0)
            power -= 1
    if start:
        negate(limbs)
    memcpy(place, limbs, 16)
    return PRESENT


cdef void append_digits(uint32_t* limbs, const unsigned char* text, int64_t first, int64_t last) noexcept nogil:
    """The digits from the first to the last that count."""
    cdef int64_t at = 0
    while at <= last:
        if text[0] != b".":
            if at >= first:
                append_digit(limbs, text[0] - 48)
            at += 1
        text += 1


cdef void negate(uint32_t* limbs) noexcept nogil:
    """The number with the other sign."""
    cdef uint64_t carry = 1
    cdef int i
    for i in range(4):
        carry += <uint32_t>~limbs[i]
        limbs[i] = <uint32_t>carry
        carry >>= 32


cdef int take_exponent(const unsigned char* text, size_t size, int64_t* exponent) noexcept nogil:
    """An exponent, as `E-7`; a large one is as good as any larger."""
    cdef bint negative
    cdef size_t i
    cdef int64_t value = 0
    if size < 3 or (text[0] | 32) != b"e" or (text[1] != b"-" and text[1] != b"+"):
        return DAMAGED
    negative = text[1] == b"-"
    for i in range(2, size):
        if not is_digit(text[i]):
            return DAMAGED
        if value < <int64_t>1 << 40:
            value = value * 10 + (text[i] - 48)
    exponent[0] = -value if negative else value
    return PRESENT


# Giving them away

cdef class Piece:
    """A part of a column, sealed: what an Arrow array is made of.

    `kind`, `path` for messages; `count` values, of which `nulls` are None; `buffers`: bitmap (None if all are there), then offsets,
    then values, as the kind has them; `inner`: the Pieces inside, of a struct called `names`, of an array `length` for each value.
    values: those that the codes of "code" are places of, and the values of "object" themselves. aware: of points in time, None if
    there was none yet. doubtful: text that is not only ASCII, and was not checked to be UTF-8.
    """


cdef Vector new_vector(Kind kind, str path, size_t length=1):
    """An empty column."""
    cdef Vector vector = Vector.__new__(Vector)
    vector.path = path
    vector.vec.kind = kind
    vector.vec.width = WIDTHS[<int>kind]
    vector.vec.length = length
    vector.readers, vector.inner = [], []
    return vector


cdef class Vector:
    """A growing column."""

    def __dealloc__(self):
        free(self.vec.valid.data)
        free(self.vec.offsets.data)
        free(self.vec.data.data)
        PyMem_Free(self.vec.inner)

    cdef int hold(self, list inner) except -1:
        """Take the columns of the parts."""
        cdef Py_ssize_t i
        self.inner = inner
        self.vec.inner = <Vec**>PyMem_Calloc(len(inner) + 1, sizeof(Vec*))
        if self.vec.inner == NULL:
            raise MemoryError()
        self.vec.inners = len(inner)
        for i in range(len(inner)):
            self.vec.inner[i] = &(<Vector>inner[i]).vec
        return 0

    cdef Vector faulty(self):
        """The column, itself or inside, that could not hold a value."""
        cdef Vector inner
        if self.vec.fault != FAULTLESS:
            return self
        for inner in self.inner:
            found = inner.faulty()
            if found is not None:
                return found
        return None

    cdef Piece seal(self):
        """What there is, given away."""
        cdef Piece piece = Piece.__new__(Piece)
        cdef Vec* vec = &self.vec
        cdef Vector inner
        cdef list buffers
        piece.kind, piece.path, piece.names = KINDS[<int>vec.kind], self.path, self.names
        piece.length, piece.count, piece.nulls = vec.length, vec.count, vec.nulls
        piece.values = self.things() if vec.kind == THINGS else self.values
        piece.aware = None if vec.zone == UNKNOWN else vec.zone == AWARE
        if (vec.kind >= TEXTS and vec.kind <= MAPS) and vec.offsets.size == 0:
            if room(&vec.offsets, 4) == NULL:
                raise MemoryError()
            put32(vec.offsets.data, 0)
        buffers = [given_away(&vec.valid) if vec.nulls else None]
        if vec.kind >= TEXTS and vec.kind <= MAPS:
            buffers.append(given_away(&vec.offsets))
        if vec.kind <= THINGS:
            buffers.append(given_away(&vec.data))
        piece.buffers = tuple(buffers)
        piece.inner = tuple([inner.seal() for inner in self.inner])
        piece.doubtful = vec.doubtful
        vec.count = vec.nulls = 0
        vec.doubtful = False
        return piece

    cdef list things(self):
        """The values of stored bytes, in Python; custom types as what they are stored as."""
        cdef Reader reader
        cdef Codec codec
        cdef size_t i, start, end
        cdef list found = []
        cdef const unsigned char* data = self.vec.data.data
        for i in range(self.vec.count):
            start, end = get32(self.vec.offsets.data + 4 * i), get32(self.vec.offsets.data + 4 * i + 4)
            if start == end:
                found.append(None)
                continue
            codec = self.readers[get32(data + start)]
            reader.at, reader.end, reader.depth = data + start + 4, data + end, 1
            found.append(codec.read_fixed(reader.at, False) if codec.width else codec.read(&reader))
        return found
