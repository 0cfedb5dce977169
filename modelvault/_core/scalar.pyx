"""Numbers, UUIDs, decimals and choices.

What a kind accepts, and the words it refuses with, are 0.16's where it had the kind.
"""

from enum import Enum

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from modelvault._core.buffer cimport (
    fail_corrupt, get16, get64, get64_big, need, put16, put64, put64_big, put_byte, put_bytes, take,
)
from modelvault._core.codec cimport fail_instance
from modelvault._core.slots cimport Slot, allocate, find_slot
from modelvault._core.text cimport check_length, new_text

from modelvault.errors import ModelVaultValidationError

cdef extern from "Python.h":
    bytes PyUnicode_AsUTF8String(object text)
    bint PyLong_Check(object value)
    bint PyFloat_CheckExact(object value)
    double PyFloat_AS_DOUBLE(object value)
    double PyFloat_AsDouble(object value) except? -1.0
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? 0xFFFFFFFFFFFFFFFF
    object PyNumber_Index(object value)

cdef uint64_t TOP = (<uint64_t>1) << 63
cdef uint64_t KEY_NAN = <uint64_t>0xFFF8000000000000


# Integers

cdef inline int64_t to_int64(object value, int* overflow) except? -1:
    """An integer, or what has __index__, as 64 bits; `overflow` is the sign of one that needs more."""
    if not PyLong_Check(value):
        value = PyNumber_Index(value)
    return PyLong_AsLongLongAndOverflow(value, overflow)


cdef int64_t to_uint64(object value) except? -1:
    """An integer from 0 to 2^64 - 1, as the bits of an int64."""
    cdef int overflow = 0
    if not PyLong_Check(value):
        value = PyNumber_Index(value)
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow < 0 or overflow == 0 and number < 0:
        raise OverflowError("can't convert negative int to unsigned")
    if overflow == 0:
        return number
    try:
        return <int64_t>PyLong_AsUnsignedLongLong(value)
    except OverflowError:
        raise OverflowError("int too big to convert: integers have at most 64 bits") from None


cdef object new_int(int64_t value, bint wide):
    return <uint64_t>value if wide else value


cdef int put_int_key(Buffer out, int64_t value, bint wide) except -1:
    """The one integer encoding of keys: a length byte around 80, then as few bytes as will do."""
    cdef bint negative = value < 0 and not wide
    cdef uint64_t size = -<uint64_t>value if negative else <uint64_t>value
    cdef uint64_t rest = size
    cdef int count = 0
    while rest:
        count += 1
        rest >>= 8
    cdef unsigned char* p = take(out, 1 + count)
    if negative:
        p[0] = <uint8_t>(0x80 - count)
        size = ~size
    else:
        p[0] = <uint8_t>(0x80 + count)
    while count:
        p[count] = <uint8_t>size
        size >>= 8
        count -= 1
    return 0


cdef int read_int_key(Reader* reader, int64_t* value) except -1:
    """The inverse of put_int_key; returns the wide bit."""
    need(reader, 1)
    cdef int count = reader.at[0] - 0x80
    cdef bint negative = count < 0
    cdef uint64_t size = 0
    cdef int i
    if negative:
        count = -count
    if count > 8:
        return fail_corrupt("no integer is that long")
    need(reader, 1 + count)
    for i in range(1, count + 1):
        size = size << 8 | (<uint8_t>~reader.at[i] if negative else reader.at[i])
    reader.at += 1 + count
    if negative and size > TOP:
        return fail_corrupt("a negative integer is out of range")
    value[0] = <int64_t>(-size if negative else size)
    return not negative and size >= TOP


cdef class Bool(Fixed):
    """True or False, nothing else."""

    def __cinit__(self):
        self.width = 1

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        if value is True:
            data[0] = 1
        elif value is False:
            data[0] = 0
        else:
            return fail_instance(value, "bool")
        if self.check is not None:
            self.check.other(value)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        if data[0] > 1:
            fail_corrupt("a bool is neither 0 nor 1")
        return data[0] == 1

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_byte(out, data[0])

    cdef object read_key(self, Reader* reader, bint open):
        return self.read_inline(reader)


cdef class Int64(Fixed):
    """Integers of 64 bits with sign."""

    def __cinit__(self):
        self.width = 8

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef int overflow = 0
        cdef int64_t number = to_int64(value, &overflow)
        if overflow:
            raise OverflowError("Python int too large to convert to C long: int64 ends at -2^63 and 2^63 - 1")
        if self.check is not None:
            self.check.integer(number, False)
        put64(data, <uint64_t>number)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return <int64_t>get64(data)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_int_key(out, <int64_t>get64(data), False)

    cdef object read_key(self, Reader* reader, bint open):
        cdef int64_t value = 0
        cdef bint wide = read_int_key(reader, &value)
        return new_int(value, wide)


cdef class UInt64(Fixed):
    """Integers of 64 bits without sign."""

    def __cinit__(self):
        self.width = 8

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef int64_t number = to_uint64(value)
        if self.check is not None:
            self.check.integer(number, number < 0)
        put64(data, <uint64_t>number)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return get64(data)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_int_key(out, <int64_t>get64(data), True)

    cdef object read_key(self, Reader* reader, bint open):
        cdef int64_t value = 0
        cdef bint wide = read_int_key(reader, &value)
        return new_int(value, wide)


cdef class Int(Fixed):
    """Integers from -2^63 to 2^64 - 1; the wide bit marks those from 2^63 on."""

    def __cinit__(self):
        self.width = 8
        self.wide = True

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef int overflow = 0
        cdef int64_t number = to_int64(value, &overflow)
        if overflow < 0:
            raise OverflowError("int too big to convert: integers have at most 64 bits, and end at -2^63")
        if overflow:
            number = to_uint64(value)
        if self.check is not None:
            self.check.integer(number, overflow > 0)
        put64(data, <uint64_t>number)
        return overflow

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return new_int(<int64_t>get64(data), wide)

    cdef int write_inline(self, Buffer out, object value) except -1:
        cdef unsigned char data[8]
        cdef bint wide = self.write_fixed(value, data)
        return put_int_key(out, <int64_t>get64(data), wide)

    cdef object read_inline(self, Reader* reader):
        cdef int64_t value = 0
        cdef bint wide = read_int_key(reader, &value)
        return new_int(value, wide)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_int_key(out, <int64_t>get64(data), wide)

    cdef int key_inline(self, Buffer out, Reader* reader) except -1:
        cdef int64_t value = 0
        cdef bint wide = read_int_key(reader, &value)
        return put_int_key(out, value, wide)

    cdef object read_key(self, Reader* reader, bint open):
        return self.read_inline(reader)


cdef class Float64(Fixed):
    """Floats, and what float() takes but text."""

    def __cinit__(self):
        self.width = 8

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef double number = PyFloat_AS_DOUBLE(value) if PyFloat_CheckExact(value) else PyFloat_AsDouble(value)
        if self.check is not None:
            self.check.real(number)
        memcpy(data, &number, 8)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        cdef double number
        memcpy(&number, data, 8)
        return number

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        cdef double number
        cdef uint64_t bits = get64(data)
        memcpy(&number, data, 8)
        if number != number:
            bits = KEY_NAN
        elif number == 0:
            bits = TOP
        else:
            bits = ~bits if bits & TOP else bits | TOP
        put64_big(take(out, 8), bits)
        return 0

    cdef object read_key(self, Reader* reader, bint open):
        cdef double number
        need(reader, 8)
        cdef uint64_t bits = get64_big(reader.at)
        bits = bits & ~TOP if bits & TOP else ~bits
        reader.at += 8
        memcpy(&number, &bits, 8)
        return number


# UUIDs

cdef object UUID = None         # until it is needed: the module takes 2 ms to import
cdef object UNKNOWN = None
cdef Slot UUID_INT = None
cdef Slot UUID_SAFE = None


cdef object uuid_class():
    """The class of UUIDs."""
    global UUID, UNKNOWN, UUID_INT, UUID_SAFE
    if UUID is None:
        import uuid

        UNKNOWN = uuid.SafeUUID.unknown
        UUID_INT, UUID_SAFE = find_slot(uuid.UUID, "int"), find_slot(uuid.UUID, "is_safe")
        UUID = uuid.UUID
    return UUID


cdef object new_uuid(const unsigned char* data):
    """A UUID without its constructor, which takes a microsecond to look at its arguments."""
    number = (<object>get64_big(data) << 64) | get64_big(data + 8)
    value = allocate(uuid_class())
    UUID_INT.fill(value, number)
    UUID_SAFE.fill(value, UNKNOWN)
    return value


cdef object to_uuid(object value):
    """A UUID, its text, or its 16 bytes as bytes or numbers."""
    if isinstance(value, (bytes, bytearray, memoryview, list, tuple)):
        data = bytes(value)
        if len(data) != 16:
            raise ValueError(f"uuid must be 16 bytes, not {len(data)}")
        return uuid_class()(bytes=data)
    return uuid_class()(value)


cdef class Uuid(Fixed):
    """UUIDs, and what 0.16 made them of: text, 16 bytes."""

    def __cinit__(self):
        self.width = 16

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        if not isinstance(value, uuid_class()):
            value = to_uuid(value)
        number = value.int
        put64_big(data, <uint64_t>(number >> 64))
        put64_big(data + 8, <uint64_t>(number & 0xFFFFFFFFFFFFFFFF))
        if self.check is not None:
            self.check.other(value)
        return 0

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return new_uuid(data)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_bytes(out, data, 16)

    cdef object read_key(self, Reader* reader, bint open):
        return self.read_inline(reader)


# Decimals

cdef object Decimal = None      # until it is needed: the module takes 2 ms to import


cdef object decimal_class():
    """The class of decimals."""
    global Decimal
    if Decimal is None:
        import decimal

        Decimal = decimal.Decimal
    return Decimal


cdef class Decimals(Raw):
    """Decimals as their text: every digit and the exponent come back."""

    cdef int write(self, Buffer out, object value) except -1:
        if not isinstance(value, decimal_class()):
            if not PyLong_Check(value):
                return fail_instance(value, "Decimal")
            value = Decimal(value)
        cdef bytes text = PyUnicode_AsUTF8String(Decimal.__str__(value))
        check_length(PyBytes_GET_SIZE(text))
        put_bytes(out, <const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if self.check is not None:
            self.check.other(value)
        return 0

    cdef object read(self, Reader* reader):
        cdef const unsigned char* start = reader.at
        reader.at = reader.end
        try:
            return decimal_class()(new_text(start, reader.end - start))
        except (ArithmeticError, ValueError):
            fail_corrupt("a decimal cannot be read")

    cdef int key(self, Buffer out, object value, bint open) except -1:
        cdef Buffer text = Buffer()
        self.write(text, value)
        return self.key_stored(out, text.data, text.size, False, open)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_decimal_key(out, data, size)

    cdef object read_key(self, Reader* reader, bint open):
        return read_decimal_key(reader)


cdef inline bint is_digit(uint8_t byte):
    return byte >= 48 and byte <= 57


cdef int put_decimal_key(Buffer out, const unsigned char* data, size_t size) except -1:
    """Class, exponent, digits, read off the text: zeros at either end do not count."""
    cdef bint negative = size > 0 and data[0] == b"-"
    cdef size_t i = 1 if negative else 0
    cdef size_t first = 0, last = 0, digits_end, at
    cdef int64_t exponent = 0, point = 0
    cdef bint pointed = False, found = False
    if i < size and (data[i] | 32) == b"i":
        return put_byte(out, 0 if negative else 4)
    if i < size and ((data[i] | 32) == b"n" or (data[i] | 32) == b"s"):
        return put_byte(out, 5)
    while i < size and (is_digit(data[i]) or data[i] == b"."):
        if data[i] == b".":
            pointed = True
        else:
            point += not pointed
            if data[i] != 48:
                if not found:
                    first, found = i, True
                last = i
        i += 1
    if not found:
        return put_byte(out, 2)
    if i < size and (data[i] | 32) == b"e":
        exponent = read_exponent(data + i + 1, size - i - 1)
    point += exponent - 1 - leading_zeros(data, size, first, negative)
    put_byte(out, 1 if negative else 3)
    at = out.size
    put_int_key(out, point, False)
    for i in range(first, last + 1):
        if is_digit(data[i]):
            put_byte(out, data[i] - 47)
    put_byte(out, 0)
    if negative:
        for i in range(at, out.size):
            out.data[i] = ~out.data[i]
    return 0


cdef int64_t leading_zeros(const unsigned char* data, size_t size, size_t first, bint negative):
    """Digits in front of the first that is not zero."""
    cdef size_t i
    cdef int64_t count = 0
    for i in range(1 if negative else 0, first):
        count += is_digit(data[i])
    return count


cdef int64_t read_exponent(const unsigned char* data, size_t size) except? -1:
    cdef bint negative = size > 0 and data[0] == b"-"
    cdef size_t i
    cdef int64_t value = 0
    if size > 20:
        return fail_corrupt("a decimal cannot be read")
    for i in range(size):
        if is_digit(data[i]):
            value = value * 10 + (data[i] - 48)
    return -value if negative else value


cdef object read_decimal_key(Reader* reader):
    """The decimal of a key: equal to the one it was made of, in its shortest form."""
    need(reader, 1)
    cdef uint8_t kind = reader.at[0]
    cdef uint8_t flip = 0xFF if kind == 1 else 0
    reader.at += 1
    if kind not in (1, 3):
        if kind > 5:
            fail_corrupt("a decimal key has an unknown class")
        return decimal_class()(("-Infinity", "", "0", "", "Infinity", "NaN")[kind])
    plain = bytes([reader.at[i] ^ flip for i in range(reader.end - reader.at)])
    cdef Reader inner
    cdef int64_t exponent = 0
    inner.at = <const unsigned char*>PyBytes_AS_STRING(plain)
    inner.end = inner.at + PyBytes_GET_SIZE(plain)
    read_int_key(&inner, &exponent)
    rest = plain[inner.at - <const unsigned char*>PyBytes_AS_STRING(plain):]
    digits = rest.partition(b"\0")[0]
    if len(digits) == len(rest) or not digits or max(digits) > 10:
        fail_corrupt("a decimal key cannot be read")
    reader.at = reader.end - (len(rest) - len(digits) - 1)
    text = "".join([chr(digit + 47) for digit in digits])
    return decimal_class()(f"{'-' if kind == 1 else ''}{text}E{exponent - len(text) + 1}")


# Choices

cdef class Choice(Fixed):
    """One of a list of values, stored as its place in the list."""

    def __cinit__(self, tuple values, tuple members, bint textual, tuple open_keys, tuple component_keys):
        self.width = 2
        self.values = values
        self.members = values if members is None else members
        self.textual = textual
        self.open_keys = open_keys
        self.component_keys = component_keys
        self.places = {}
        for i, value in enumerate(values):
            self.places.setdefault(value, []).append(i)

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        cdef Py_ssize_t i
        # Members and literals are singletons nearly always, and few.
        for i in range(min(len(self.members), 8)):
            if self.members[i] is value:
                put16(data, <uint16_t>i)
                return 0
        put16(data, <uint16_t>self.place(value))
        return 0

    cdef int place(self, object value) except -1:
        """The place of a member, a value, or an enum member that stands for a value."""
        for i, member in enumerate(self.members):
            if member is value:
                return i
        if isinstance(value, Enum) and (not self.textual or not isinstance(value, str)):
            value = self.fail(value) if self.textual else value.value
        if self.textual and not isinstance(value, str):
            return self.fail(value)
        try:
            found = self.places.get(value, ())
        except TypeError:
            found = ()
        for i in found:
            if type(self.values[i]) is type(value):
                return i
        for i in found:
            # A subclass is as good as its base; True is not 1.
            if isinstance(value, type(self.values[i])) and type(value) is not bool:
                return i
        return self.fail(value)

    cdef int fail(self, value) except -1:
        if self.textual and (not isinstance(value, str)):
            raise ValueError("expected string for enum")
        if not self.textual:
            raise ModelVaultValidationError(f"value must be one of {', '.join(map(repr, self.members))}")
        names = ", ".join(['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in self.values])
        raise ModelVaultValidationError(f"enum value must be one of [{names}]")

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        cdef size_t place = get16(data)
        if place >= <size_t>len(self.members):
            fail_corrupt("an enum has no such value")
        return self.members[place]

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        cdef size_t place = get16(data)
        if place >= <size_t>len(self.members):
            return fail_corrupt("an enum has no such value")
        cdef bytes key = (self.open_keys if open else self.component_keys)[place]
        return put_bytes(out, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))

    cdef object read_key(self, Reader* reader, bint open):
        cdef size_t left = reader.end - reader.at
        rest = reader.at[:left]
        for i, key in enumerate(self.open_keys if open else self.component_keys):
            if rest == key if open else rest.startswith(key):
                reader.at += len(key)
                return self.members[i]
        fail_corrupt("an enum has no such value")
