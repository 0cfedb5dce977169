"""Order-preserving bytes of one value: docs/format.md section 5.

A value is first converted exactly as it would be for a record, then its stored form becomes the key; so the two can
never disagree, and an index entry made from a record's bytes is the one made from the value.
"""

from libc.stdint cimport uint8_t

from modelvault._core.buffer cimport Buffer, Reader, get64_big, put_byte
from modelvault._core.codec cimport Codec
from modelvault._core.scalar cimport (
    Bool, Choice, Decimals, Float64, Int, Int64, UInt64, Uuid, decimal_class, uuid_class,
)
from modelvault._core.temporal cimport Date, Time, TimeDelta, Timestamp
from modelvault._core.text cimport Bytes, String

import datetime

from modelvault.errors import CorruptionError, ModelVaultSchemaError, ModelVaultValidationError

cdef dict PLAIN = {
    "bool": Bool, "int64": Int64, "uint64": UInt64, "int": Int, "float64": Float64, "string": String, "bytes": Bytes,
    "uuid": Uuid, "date": Date, "time": Time, "timedelta": TimeDelta, "decimal": Decimals,
}

# Values of enums and literals: class, codec, tag among values of several kinds. bool before int, datetime before date.
cdef list VALUES = [
    (bool, Bool(), 0x10),
    (int, Int(), 0x20),
    (float, Float64(), 0x30),
    (str, String(), 0x40),
    (bytes, Bytes(), 0x50),
    (datetime.datetime, Timestamp(True), 0x70),
    (datetime.date, Date(), 0x80),
    (datetime.time, Time(), 0x90),
    (datetime.timedelta, TimeDelta(), 0xA0),
]


cdef tuple value_entry(object value):
    """Class, codec and tag of a value; None for what is no scalar."""
    for entry in VALUES:
        if isinstance(value, entry[0]):
            return entry
    if isinstance(value, uuid_class()):
        return uuid_class(), Uuid(), 0x60
    return (decimal_class(), Decimals(), 0xB0) if isinstance(value, decimal_class()) else None


cdef Codec scalar_codec(object type):
    """The codec of a scalar, enum or literal type, without its constraints; None for any other kind."""
    cdef str kind = type.kind
    if kind in PLAIN:
        return PLAIN[kind]()
    if kind == "timestamp":
        return Timestamp(type.python == "datetime")
    if kind == "enum" or kind == "literal":
        return choice_codec(type)
    return None


cdef Codec choice_codec(object type):
    cdef tuple values = tuple(type.values)
    cdef list found = []
    for value in values:
        entry = value_entry(value)
        if entry is None:
            raise ModelVaultSchemaError(f"schema error: {value!r} cannot be a value of an enum")
        found.append(entry)
    cdef bint mixed = len({entry[2] for entry in found}) > 1
    cdef list keys = [[], []]
    for open in (False, True):
        for value, entry in zip(values, found):
            keys[open].append(choice_key(value, entry[1], entry[2] if mixed else 0, open))
    cdef bint textual = type.kind == "enum" and all([isinstance(value, str) for value in values])
    return Choice(values, type.python, textual, tuple(keys[True]), tuple(keys[False]))


cdef bytes choice_key(object value, Codec codec, uint8_t tag, bint open):
    cdef Buffer out = Buffer()
    if tag:
        put_byte(out, tag)
    codec.key(out, value, open)
    return bytes(out)


cdef int check_finite(Finite which, const unsigned char* key, size_t size) except -1:
    """Refuse the key of a float64 or decimal that is NaN or infinite."""
    if which == FINITE_DECIMAL:
        # The class alone, and not that of zero.
        if size == 1 and key[0] != 2:
            raise ModelVaultValidationError("validation error: primary key decimal must be finite (not NaN or infinity)")
    elif size != 8 or get64_big(key) >= <unsigned long long>0xFFF0000000000000 or get64_big(key) == 0x000FFFFFFFFFFFFF:
        raise ModelVaultValidationError("validation error: primary key float must be finite (not NaN or infinity)")
    return 0


cdef Finite which_finite(Codec codec):
    """What keys of these values have to be asked."""
    if isinstance(codec, Float64):
        return FINITE_FLOAT
    return FINITE_DECIMAL if isinstance(codec, Decimals) else NOT_NUMBER


cdef class KeyCodec:
    """The keys of one scalar type. Optional and custom types count as what they hold.

    `finite=True` refuses NaN and infinities (ModelVaultValidationError). Values of the wrong type raise what they raise in a
    record: TypeError, ValueError or OverflowError; they name the `place`, if one is given. Constraints do not apply: asking for
    what cannot be there is no error.
    """

    def __init__(self, type not None, bint finite=False, str place=""):
        cdef list dumps = []
        self.place = place
        while type.kind == "optional" or type.kind == "custom" and type.items:
            if type.kind == "custom" and type.python is not None:
                dumps.append(type.python[0])
            type = type.items[0]
        self.codec = scalar_codec(type)
        if self.codec is None:
            raise ModelVaultSchemaError(f"schema error: a key must be a scalar, not {type.kind}")
        self.dumps = tuple(dumps)
        self.finite = which_finite(self.codec) if finite else NOT_NUMBER

    cdef int write(self, Buffer out, object value, bint open) except -1:
        """Append the open form, or the component without its tag."""
        cdef size_t start = out.size
        for dump in self.dumps:
            value = dump(value)
        try:
            self.codec.key(out, value, open)
        except (TypeError, ValueError, OverflowError) as error:
            if not self.place or type(error) not in (TypeError, ValueError, OverflowError, ModelVaultValidationError):
                raise                       # others have other arguments
            raise type(error)(f"{error}: {self.place}") from None
        if self.finite != NOT_NUMBER:
            check_finite(self.finite, out.data + start, out.size - start)
        return 0

    def pack(self, value) -> bytes:
        """The open form: the primary key, or the last part of an index entry."""
        cdef Buffer out = Buffer()
        self.write(out, value, True)
        return out.data[:out.size]

    def component(self, value) -> bytes:
        """The self-delimiting form, without the tag that stands in front of it in an index entry."""
        cdef Buffer out = Buffer()
        self.write(out, value, False)
        return out.data[:out.size]

    def tagged(self, value) -> bytes:
        """The component of an index entry with its tag; None has a tag only."""
        cdef Buffer out = Buffer()
        if value is None:
            put_byte(out, NONE_TAG)
        else:
            put_byte(out, VALUE_TAG)
            self.write(out, value, False)
        return out.data[:out.size]

    def unpack(self, const unsigned char[::1] data not None):
        """The value that pack() made these bytes of.

        What a key leaves out is lost: the zone of a moment (it comes back in UTC), zeros at the end of a decimal, the sign of
        a zero. A custom type's value stays as it was dumped.
        """
        cdef Reader reader
        cdef unsigned char empty = 0
        reader.at = &data[0] if data.shape[0] else &empty
        reader.end = reader.at + data.shape[0]
        reader.depth = 0
        value = self.codec.read_key(&reader, True)
        if reader.at != reader.end:
            raise CorruptionError("damaged key: bytes are left behind its value")
        return value
