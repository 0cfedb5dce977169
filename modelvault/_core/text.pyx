"""Text and bytes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from modelvault._core.buffer cimport (
    FIELD_LIMIT, fail_corrupt, fail_short, is_ascii, need, put16, put_byte, put_bytes, read_size, take,
)
from modelvault._core.codec cimport fail_instance

from modelvault.errors import ModelVaultFormatError

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    object PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)
    bytes PyUnicode_AsUTF8String(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    bint PyUnicode_Check(object value)

cdef enum:
    SHORT = 32                  # bytes of texts that may be kept
    RECENT_BITS = 6
    RECENT = 1 << RECENT_BITS   # kept by a field
    TRIAL = 64                  # texts after which a field keeps on only if a third of them were met again
    MOST_WORTH = 1024
    PAUSE = 4096


cdef object new_text(const unsigned char* data, size_t size):
    """A str; stored bytes that are no UTF-8 are damage."""
    # 15 ns against 22 for PyUnicode_DecodeUTF8 on a name; shorter ones are shared singletons there.
    if size > 1 and is_ascii(data, size):
        text = PyUnicode_New(size, 127)
        memcpy(PyUnicode_DATA(text), data, size)
        return text
    try:
        return PyUnicode_DecodeUTF8(<const char*>data, size, NULL)
    except UnicodeDecodeError:
        fail_corrupt("a string is not UTF-8")


cdef int check_length(size_t size) except -1:
    """ModelVaultFormatError for more bytes than a field may have."""
    if size > FIELD_LIMIT:
        raise ModelVaultFormatError(f"format error: field length {size} exceeds maximum {<int>FIELD_LIMIT}")
    return 0


cdef int put_text_key(Buffer out, const unsigned char* data, size_t size, bint open) except -1:
    """Bytes as they are, or with zeros escaped and a terminator."""
    cdef const unsigned char* zero
    cdef size_t part
    while not open:
        zero = <const unsigned char*>memchr(data, 0, size)
        if zero == NULL:
            put_bytes(out, data, size)
            put16(take(out, 2), 0)
            return 0
        part = zero - data + 1
        put_bytes(out, data, part)
        put_byte(out, 0xFF)
        data += part
        size -= part
    return put_bytes(out, data, size)


cdef object read_text_key(Reader* reader, bint open):
    """The inverse of put_text_key, as bytes."""
    cdef const unsigned char* start = reader.at
    if open:
        reader.at = reader.end
        return start[:reader.end - start]
    cdef Buffer out = Buffer()
    while reader.at < reader.end:
        if reader.at[0] == 0:
            need(reader, 2)
            if reader.at[1] == 0:
                reader.at += 2
                return bytes(out)
            put_byte(out, 0)
            reader.at += 2
        else:
            put_byte(out, reader.at[0])
            reader.at += 1
    fail_short()


cdef class String(Raw):
    """Text as UTF-8; a subclass of str comes back as str.

    Short texts that come again and again are made once: a row with three tags of twenty takes a twelfth less memory, and
    memory is what a million rows cost most. A field whose texts are new each time is left alone.
    """

    def __dealloc__(self):
        cdef int i
        if self.recent != NULL:
            for i in range(RECENT):
                Py_XDECREF(self.recent[i])
            PyMem_Free(self.recent)

    cdef object short_text(self, const unsigned char* data, size_t size):
        """A str of 2 to SHORT bytes, perhaps one that was given before."""
        cdef PyObject** place
        cdef uint64_t first = 0, last = 0
        if self.pause:
            self.pause -= 1
            return new_text(data, size)
        if self.recent == NULL:
            self.recent = <PyObject**>PyMem_Calloc(RECENT, sizeof(PyObject*))
            if self.recent == NULL:
                raise MemoryError()
            self.worth = TRIAL
        if size >= 8:
            memcpy(&first, data, 8)
            memcpy(&last, data + size - 8, 8)
        else:
            memcpy(&first, data, size)
        first = (first ^ last * <uint64_t>0x9E3779B97F4A7C15 ^ size) * <uint64_t>0xD6E8FEB86659FD93
        place = self.recent + (first >> (64 - RECENT_BITS))
        if place[0] != NULL and <size_t>PyUnicode_GET_LENGTH(<object>place[0]) == size and memcmp(
                PyUnicode_DATA(<object>place[0]), data, size) == 0:
            self.worth = min(self.worth + 2, MOST_WORTH)
            return <object>place[0]
        text = new_text(data, size)
        self.worth -= 1
        if self.worth < 0:
            self.worth, self.pause = TRIAL, PAUSE
        if PyUnicode_IS_COMPACT_ASCII(text):
            Py_INCREF(text)
            Py_XDECREF(place[0])
            place[0] = <PyObject*>text
        return text

    cdef int write(self, Buffer out, object value) except -1:
        cdef Py_ssize_t size
        if not PyUnicode_Check(value):
            return fail_instance(value, "str")
        if PyUnicode_IS_COMPACT_ASCII(value):
            size = PyUnicode_GET_LENGTH(value)
            if size > FIELD_LIMIT:
                return check_length(size)
            memcpy(take(out, size), PyUnicode_DATA(value), size)
        else:
            # Not PyUnicode_AsUTF8: it would keep a second copy inside the user's string.
            encoded = PyUnicode_AsUTF8String(value)
            size = PyBytes_GET_SIZE(encoded)
            check_length(size)
            put_bytes(out, <const unsigned char*>PyBytes_AS_STRING(encoded), size)
        if self.check is not None:
            self.check.text(value, size)
        return 0

    cdef object read(self, Reader* reader):
        cdef const unsigned char* start = reader.at
        cdef size_t size = reader.end - start
        reader.at = reader.end
        return self.short_text(start, size) if 2 <= size <= SHORT else new_text(start, size)

    cdef object read_inline(self, Reader* reader):
        cdef size_t size = 0
        read_size(reader, &size)
        reader.at += size
        return self.short_text(reader.at - size, size) if 2 <= size <= SHORT else new_text(reader.at - size, size)

    cdef int key(self, Buffer out, object value, bint open) except -1:
        if not PyUnicode_Check(value):
            return fail_instance(value, "str")
        if PyUnicode_IS_COMPACT_ASCII(value):
            return put_text_key(out, <const unsigned char*>PyUnicode_DATA(value), PyUnicode_GET_LENGTH(value), open)
        encoded = PyUnicode_AsUTF8String(value)
        return put_text_key(
            out, <const unsigned char*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded), open)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_text_key(out, data, size, open)

    cdef object read_key(self, Reader* reader, bint open):
        encoded = read_text_key(reader, open)
        return new_text(<const unsigned char*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cdef bytes to_bytes(object value):
    """bytes, bytearray, memoryview, or a list of numbers from 0 to 255."""
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, (bytearray, memoryview, list, tuple)):
        return bytes(value)
    if isinstance(value, str):
        raise TypeError("Can't extract `str` to `Vec`: bytes expected")
    shown = "None" if value is None else type(value).__name__
    raise TypeError(f"'{shown}' is not an instance of 'Sequence': bytes expected")


cdef class Bytes(Raw):
    """Bytes, whatever they were given as."""

    cdef int write(self, Buffer out, object value) except -1:
        cdef bytes data = value if type(value) is bytes else to_bytes(value)
        cdef size_t size = PyBytes_GET_SIZE(data)
        check_length(size)
        put_bytes(out, <const unsigned char*>PyBytes_AS_STRING(data), size)
        if self.check is not None:
            self.check.text(data, size)
        return 0

    cdef object read(self, Reader* reader):
        cdef const unsigned char* start = reader.at
        reader.at = reader.end
        return start[:reader.end - start]

    cdef int key(self, Buffer out, object value, bint open) except -1:
        cdef bytes data = to_bytes(value)
        return put_text_key(out, <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), open)

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return put_text_key(out, data, size, open)

    cdef object read_key(self, Reader* reader, bint open):
        return read_text_key(reader, open)
