"""Rows as records: docs/format.md section 6."""

from libc.stddef cimport size_t

from modelvault._core.anything cimport Anything
from modelvault._core.buffer cimport Buffer, Reader, fail_corrupt, get16, put16, take
from modelvault._core.carried cimport carried
from modelvault._core.codec cimport Codec
from modelvault._core.constraint cimport compile_check
from modelvault._core.container cimport Custom, Dict, List, Optional, Set, Tuple, Union, VarTuple
from modelvault._core.keys cimport NOT_NUMBER, KeyCodec, check_finite, scalar_codec, which_finite
from modelvault._core.objects cimport GROUP, INNER, ROW, Object, Part, Role, bare_codec

from modelvault.errors import (
    CorruptionError, ModelVaultFormatError, ModelVaultQueryError, ModelVaultSchemaError, ModelVaultValidationError,
)

cdef enum:
    SPARE_LIMIT = 65536         # bytes of a buffer that is kept for the next record


# Compiling

cdef Codec compile_type(object type, list stack):
    """The codec of a type; `stack` holds the objects around it, outermost first."""
    cdef str kind = type.kind
    cdef Codec codec = scalar_codec(type)
    if codec is None:
        if kind == "object":
            return compile_object(type, stack, GROUP if type.group else INNER, None)
        if kind == "carried":
            return carried(compile_type(type.items[0], stack))
        if kind == "ref":
            return stack[len(stack) - 1 - type.values[0]]
        if kind == "custom":
            return compile_custom(type, stack)
        codec = compile_container(kind, type, stack)
    codec.check = compile_check(kind, type.constraints)
    return codec


cdef Codec compile_container(str kind, object type, list stack):
    cdef list items = [compile_type(item, stack) for item in type.items]
    if kind == "optional":
        return Optional(items[0])
    if kind == "list":
        return List(items[0])
    if kind == "set" or kind == "frozenset":
        return Set(items[0], kind == "frozenset")
    if kind == "vartuple":
        return VarTuple(items[0])
    if kind == "tuple":
        return Tuple(tuple(items))
    if kind == "dict":
        return Dict(items[0], items[1])
    if kind == "union":
        return Union(tuple(items), tuple(type.python or (None,) * len(items)))
    if kind == "any":
        return Anything()
    raise ModelVaultSchemaError(f"schema error: unknown type {kind}")


cdef Codec compile_custom(object type, list stack):
    cdef Codec inner = compile_type(type.items[0], stack) if type.items else Anything()
    if type.python is None:
        return inner
    return Custom(inner, type.python[0], type.python[1])


cdef Object compile_object(object type, list stack, Role role, str primary):
    cdef Object found = Object(tuple([field.name for field in type.fields]), role, primary)
    cdef list nullable = []
    stack.append(found)
    for field in type.fields:
        inner, outer, optional = unwrap(field.type)
        found.codecs.append(compile_type(inner, stack))
        found.outers.append(outer)
        found.fields.append(field)
        nullable.append(optional)
    stack.pop()
    found.lay_out(nullable)
    found.bind(type.python)
    if type.python is None:
        found.extras = type.extras
    return found


cdef tuple unwrap(object type):
    """The type that a field stores, the Custom around its optional (None if there is none), whether it may be None."""
    cdef list around = []
    inner = type
    while inner.kind == "custom" and inner.items:
        if inner.python is not None:
            around.append(inner.python)
        inner = inner.items[0]
    if inner.kind != "optional":
        return type, None, False
    outer = Custom(Anything(), *chained(around)) if around else None
    return inner.items[0], outer, True


def chained(pairs):
    """Several (dump, load), outermost first, as one."""
    def dump(value):
        for pair in pairs:
            value = pair[0](value)
        return value

    def load(value):
        for pair in reversed(pairs):
            value = pair[1](value)
        return value

    return dump, load


cdef bint is_foreign(object type) except -1:
    """Whether values of a type are made by functions that came with it: of a custom type, of private attributes."""
    if type.kind == "custom" and type.python is not None:
        return True
    if type.kind == "object" and type.python is not None and type.python.private_defaults is not None:
        return True
    for item in type.items:
        if is_foreign(item):
            return True
    for field in type.fields:
        if is_foreign(field.type):
            return True
    return False


# Errors

cdef object located(object error, list trail):
    """The error with the place where it happened, `trail` from the inside out; the same one if it says enough by itself."""
    path = "" if trail is None else ".".join(reversed(trail))
    if not path:
        return error
    cls = type(error)
    if cls is ModelVaultValidationError:
        return cls(f"validation error at {path}: {error}")
    if cls in (TypeError, ValueError, OverflowError, AttributeError, ModelVaultFormatError):
        return cls(f"{path}: {error}")
    if cls is UnicodeEncodeError:
        return cls(error.encoding, error.object, error.start, error.end, f"{error.reason} ({path})")
    return error


cdef class RecordCodec:
    """The records of one schema version, for one Python side.

    `type` is the object type of the rows, `version` goes into the records (1 to 65535), `primary` is the name of the primary
    key if its absence is to be told apart. Not for use by several threads without the GIL.
    """

    def __init__(self, type not None, int version, str primary=None):
        if not 0 <= version <= 0xFFFF:
            raise ModelVaultSchemaError(f"schema error: schema version {version} does not fit in 16 bits")
        self.version = version
        self.primary = primary
        self.root = compile_object(type, [], ROW, primary)
        self.foreign = is_foreign(type)
        self.spare = Buffer()

    cdef int write(self, Buffer out, object source) except -1:
        """Append a record."""
        cdef size_t start = out.size
        put16(take(out, 2), <unsigned short>self.version)
        out.depth = 0
        try:
            self.root.write(out, source)
        except Exception as error:
            out.size = start
            trail, out.trail = out.trail, None
            found = located(error, trail)
            if found is error:
                raise
            raise found.with_traceback(error.__traceback__) from error.__cause__
        return 0

    cdef int check_version(self, const unsigned char* data, size_t size) except -1:
        if size < 2 or get16(data) != self.version:
            return fail_corrupt(f"it is not of schema version {self.version}")
        return 0

    cdef object decode_at(self, const unsigned char* data, size_t size):
        """The row of a record."""
        cdef Reader reader
        self.check_version(data, size)
        reader.at, reader.end, reader.depth = data + 2, data + size, 0
        return self.root.read(&reader)

    def encode(self, source) -> bytes:
        """The record of a row: an instance of the model, or a dict by field names.

        Raises what 0.16 raised, with the field's path in front: ModelVaultValidationError for a broken constraint or a missing
        field, ModelVaultSchemaError for a missing primary key, TypeError, ValueError and OverflowError for wrong values.
        """
        cdef Buffer out = self.spare if self.spare is not None else Buffer()
        # A custom type's dump may encode another row.
        self.spare = None
        out.size = 0
        self.write(out, source)
        record = out.data[:out.size]
        if out.capacity <= SPARE_LIMIT:
            self.spare = out
        return record

    def decode(self, bytes data not None):
        """The row of a record of this version. Raises CorruptionError for anything else."""
        return self.decode_at(data, len(data))

    def read(self, bytes data not None, tuple path not None):
        """One field of a record by its path, the rest left alone; None where an object on the way is None.

        Raises ModelVaultQueryError for a path that does not exist, CorruptionError for damaged bytes.
        """
        cdef const unsigned char* start = data
        if not path:
            raise ModelVaultQueryError("path must have at least one segment")
        self.check_version(start, len(data))
        return self.root.read_part(start + 2, len(data) - 2, path, 0)


cdef class Shape:
    """What records are made into: rows, or some of their fields."""

    cdef object decode_at(self, const unsigned char* data, size_t size):
        """What is made of a record. CorruptionError."""
        raise TypeError("a shape makes records into something")

    def make(self, bytes record not None):
        """What is made of a record of any of its versions. CorruptionError."""
        return self.decode_at(record, len(record))


cdef class Face(Shape):
    """All schema versions of a collection as one Python side sees them; `codecs` from the oldest to the newest."""

    def __init__(self, codecs not None, str primary not None, str name=None):
        cdef RecordCodec codec
        self.codecs = tuple(codecs)
        self.newest = self.codecs[len(self.codecs) - 1]
        self.by_version = {}
        for codec in self.codecs:
            self.by_version[codec.version] = codec
            self.foreign |= codec.foreign
            if codec is not self.newest:
                codec.root.fill_from(self.newest.root)
        if primary not in self.newest.root.places:
            raise ModelVaultSchemaError(f'schema error: primary field "{primary}" not found as a top-level field')
        cdef Py_ssize_t place = self.newest.root.places[primary]
        self.primary_step = &self.newest.root.steps[place]
        self.keys = KeyCodec(
            self.newest.root.fields[place].type, True, "" if name is None else f'field "{primary}" of {name}')
        self.finite = which_finite(bare_codec(self.newest.root.codecs[place]))

    cdef int write(self, Buffer key, Buffer record, object source) except -1:
        """Append the primary key in its open form, and the record."""
        cdef Part part
        cdef size_t start = record.size
        cdef size_t key_start = key.size
        self.newest.write(record, source)
        if not self.newest.root.find_part(record.data + start + 2, record.size - start - 2, self.primary_step, &part):
            raise ModelVaultSchemaError("schema error: the primary key is None")
        (<Codec>self.primary_step.codec).key_stored(key, part.data, part.size, part.wide, True)
        if self.finite != NOT_NUMBER:
            check_finite(self.finite, key.data + key_start, key.size - key_start)
        return 0

    cdef object decode_at(self, const unsigned char* data, size_t size):
        """The row of a record of any of these versions."""
        cdef RecordCodec codec = self.newest
        if size < 2 or get16(data) != codec.version:
            codec = self.codec_of(data, size)
        return codec.decode_at(data, size)

    cdef RecordCodec codec_of(self, const unsigned char* data, size_t size):
        if size < 2 or get16(data) not in self.by_version:
            raise CorruptionError("damaged record: it is of no known schema version")
        return self.by_version[get16(data)]

    def encode(self, source) -> tuple[bytes, bytes]:
        """(primary key, record) of a row, in the newest version."""
        cdef Buffer key = Buffer()
        cdef Buffer record = Buffer()
        self.write(key, record, source)
        return key.data[:key.size], record.data[:record.size]

    def decode(self, bytes data not None):
        """The row of a record of any of these versions."""
        return self.decode_at(data, len(data))

    def read(self, bytes data not None, tuple path not None):
        """One field of a record of any of these versions, by its path."""
        return self.codec_of(data, len(data)).read(data, path)
