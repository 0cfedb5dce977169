"""Values made of values, except objects.

Python code may run while a value is written (a custom type's dump, an __index__) and change the container that is being
walked; so sizes are looked at again at every step, and a container that changed is refused.
"""

from cpython.list cimport PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport uint8_t

from modelvault._core.buffer cimport fail_corrupt, leave_trail, need, put_byte, put_varint, read_size
from modelvault._core.codec cimport Codec

from modelvault.errors import ModelVaultFormatError


cdef int fail_changed() except -1:
    raise RuntimeError("a container changed while it was being stored")


cdef int fail_kind(str kind, object value) except -1:
    """0.16's words, and what came instead."""
    shown = "None" if value is None else type(value).__name__
    raise ValueError(f"expected {kind} for {kind} type, not {shown}")


cdef class Optional(Container):
    """A value or None, inside a container."""

    def __cinit__(self, Codec item not None):
        self.item = item

    cdef int write_inline(self, Buffer out, object value) except -1:
        if value is None:
            return put_byte(out, 0)
        put_byte(out, 1)
        return self.item.write_inline(out, value)

    cdef object read_inline(self, Reader* reader):
        need(reader, 1)
        cdef uint8_t present = reader.at[0]
        reader.at += 1
        if present == 0:
            return None
        if present != 1:
            fail_corrupt("an optional is neither there nor absent")
        return self.item.read_inline(reader)


cdef class List(Container):
    """Lists; no other sequence is taken for one."""

    def __cinit__(self, Codec item not None):
        self.item = item

    cdef int write_inline(self, Buffer out, object value) except -1:
        cdef Py_ssize_t i = 0
        cdef list source
        if not isinstance(value, list):
            return fail_kind("list", value)
        source = value
        cdef Py_ssize_t count = PyList_GET_SIZE(source)
        if self.check is not None:
            self.check.size(count)
        put_varint(out, count)
        try:
            for i in range(count):
                if PyList_GET_SIZE(source) != count:
                    fail_changed()
                self.item.write_inline(out, source[i])
        except Exception:
            leave_trail(out, str(i))
            raise
        return 0

    cdef object read_inline(self, Reader* reader):
        cdef size_t count = 0
        cdef size_t i
        read_size(reader, &count)
        values = PyList_New(count)
        for i in range(count):
            value = self.item.read_inline(reader)
            Py_INCREF(value)
            PyList_SET_ITEM(values, i, value)
        return values


cdef class VarTuple(Container):
    """Tuples of any length."""

    def __cinit__(self, Codec item not None):
        self.item = item

    cdef int write_inline(self, Buffer out, object value) except -1:
        cdef Py_ssize_t i = 0
        if not isinstance(value, tuple):
            return fail_kind("tuple", value)
        if self.check is not None:
            self.check.size(len(<tuple>value))
        put_varint(out, len(<tuple>value))
        try:
            for i in range(len(<tuple>value)):
                self.item.write_inline(out, (<tuple>value)[i])
        except Exception:
            leave_trail(out, str(i))
            raise
        return 0

    cdef object read_inline(self, Reader* reader):
        cdef size_t count = 0
        cdef size_t i
        read_size(reader, &count)
        values = PyTuple_New(count)
        for i in range(count):
            value = self.item.read_inline(reader)
            Py_INCREF(value)
            PyTuple_SET_ITEM(values, i, value)
        return values


cdef class Set(Container):
    """Sets and frozensets, in whatever order they are walked; lists where the elements have no hash, as dicts have none."""

    def __cinit__(self, Codec item not None, bint frozen):
        self.item = item
        self.frozen = frozen

    cdef int write_inline(self, Buffer out, object value) except -1:
        if not isinstance(value, (set, frozenset)) and not (isinstance(value, list) and has_unhashable(value)):
            return fail_kind("frozenset" if self.frozen else "set", value)
        if self.check is not None:
            self.check.size(len(value))
        put_varint(out, len(value))
        try:
            # Iteration itself refuses a set that changes.
            for item in value:
                self.item.write_inline(out, item)
        except Exception:
            leave_trail(out, "*")
            raise
        return 0

    cdef object read_inline(self, Reader* reader):
        cdef size_t count = 0
        cdef size_t i
        read_size(reader, &count)
        cdef list values = []
        for i in range(count):
            values.append(self.item.read_inline(reader))
        try:
            return frozenset(values) if self.frozen else set(values)
        except TypeError:
            return values


cdef bint has_unhashable(list values):
    """Whether no set can be made of them."""
    try:
        set(values)
    except TypeError:
        return True
    return False


cdef class Tuple(Container):
    """Tuples of a fixed length, each place with its own kind."""

    def __cinit__(self, tuple items not None):
        self.items = items

    cdef int write_inline(self, Buffer out, object value) except -1:
        cdef Py_ssize_t i = 0
        if not isinstance(value, tuple):
            return fail_kind("tuple", value)
        if len(<tuple>value) != len(self.items):
            raise ValueError(f"expected a tuple of {len(self.items)}, not of {len(<tuple>value)}")
        if not self.items:
            return put_byte(out, 0)
        try:
            for i in range(len(self.items)):
                (<Codec>self.items[i]).write_inline(out, (<tuple>value)[i])
        except Exception:
            leave_trail(out, str(i))
            raise
        return 0

    cdef object read_inline(self, Reader* reader):
        cdef Py_ssize_t i
        if not self.items:
            need(reader, 1)
            reader.at += 1
            return ()
        values = PyTuple_New(len(self.items))
        for i in range(len(self.items)):
            value = (<Codec>self.items[i]).read_inline(reader)
            Py_INCREF(value)
            PyTuple_SET_ITEM(values, i, value)
        return values


cdef class Dict(Container):
    """Dicts in their order; lists of pairs where the keys have no hash, as those that are dicts have none."""

    def __cinit__(self, Codec key not None, Codec value not None):
        self.key_codec = key
        self.value_codec = value

    cdef int write_inline(self, Buffer out, object value) except -1:
        if not isinstance(value, dict) and not (isinstance(value, list) and has_unhashable_keys(value)):
            return fail_kind("dict", value)
        if self.check is not None:
            self.check.size(len(value))
        put_varint(out, len(value))
        key = None
        try:
            # Iteration itself refuses a dict that changes.
            for key, item in (<dict>value).items() if isinstance(value, dict) else value:
                self.key_codec.write_inline(out, key)
                self.value_codec.write_inline(out, item)
        except Exception:
            leave_trail(out, str(key))
            raise
        return 0

    cdef object read_inline(self, Reader* reader):
        cdef size_t count = 0
        cdef size_t i
        cdef dict values = {}
        read_size(reader, &count)
        for i in range(count):
            key = self.key_codec.read_inline(reader)
            item = self.value_codec.read_inline(reader)
            try:
                values[key] = item
            except TypeError:
                return read_pairs(self, reader, count - i - 1, [*values.items(), (key, item)])
        return values


cdef list read_pairs(Dict codec, Reader* reader, size_t count, list pairs):
    """These pairs, and so many more."""
    cdef size_t i
    for i in range(count):
        key = codec.key_codec.read_inline(reader)
        pairs.append((key, codec.value_codec.read_inline(reader)))
    return pairs


cdef bint has_unhashable_keys(list pairs):
    """Whether these are pairs that no dict can be made of."""
    try:
        dict(pairs)
    except TypeError:
        return all([isinstance(pair, tuple) and len(pair) == 2 for pair in pairs])
    except ValueError:
        return False
    return False


cdef class Union(Container):
    """One of several kinds, told apart by a byte."""

    def __cinit__(self, tuple items not None, tuple choosers not None):
        self.items = items
        self.choosers = choosers

    cdef int write_inline(self, Buffer out, object value) except -1:
        first = self.choose(value)
        if first is None:
            return self.attempt(out, value, range(len(self.items)))
        return self.attempt(out, value, (first,))

    cdef object choose(self, object value):
        """The member whose class is exactly the value's, else the first that takes it, else None."""
        cdef Py_ssize_t i
        for i in range(len(self.choosers)):
            if self.choosers[i] is type(value):
                return i
        for i in range(len(self.choosers)):
            chooser = self.choosers[i]
            if isinstance(value, chooser) if isinstance(chooser, type) else chooser is not None and chooser(value):
                return i
        return None

    cdef int attempt(self, Buffer out, object value, object places) except -1:
        """Write the value as the first of these members that can; the first error is the one to tell."""
        cdef size_t start = out.size
        cdef int depth = out.depth
        cdef list trail = out.trail
        failure = None
        for place in places:
            put_byte(out, place)
            try:
                return (<Codec>self.items[place]).write_inline(out, value)
            except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
                if failure is None:
                    failure, trail = error, out.trail
                out.size, out.depth, out.trail = start, depth, None
        out.trail = trail
        raise failure

    cdef object read_inline(self, Reader* reader):
        need(reader, 1)
        cdef uint8_t place = reader.at[0]
        reader.at += 1
        if place >= len(self.items):
            fail_corrupt("a union has no such member")
        return (<Codec>self.items[place]).read_inline(reader)


cdef class Custom(Codec):
    """A type that is dumped to, and loaded from, a value of another: laid out exactly as that one."""

    def __cinit__(self, Codec inner not None, dump, load):
        self.inner = inner
        self.dump = dump
        self.load = load
        self.width = inner.width
        self.wide = inner.wide

    cdef object loaded(self, object value):
        """What `load` makes of a stored value; that it makes nothing of it is an error of the record, not of the caller."""
        try:
            return self.load(value)
        except Exception as error:
            raise ModelVaultFormatError(f"format error: a stored value cannot be loaded: {error}") from error

    cdef int write_fixed(self, object value, unsigned char* data) except -1:
        return self.inner.write_fixed(self.dump(value), data)

    cdef object read_fixed(self, const unsigned char* data, bint wide):
        return self.loaded(self.inner.read_fixed(data, wide))

    cdef int write(self, Buffer out, object value) except -1:
        return self.inner.write(out, self.dump(value))

    cdef object read(self, Reader* reader):
        return self.loaded(self.inner.read(reader))

    cdef int write_inline(self, Buffer out, object value) except -1:
        return self.inner.write_inline(out, self.dump(value))

    cdef object read_inline(self, Reader* reader):
        return self.loaded(self.inner.read_inline(reader))

    cdef int key_stored(self, Buffer out, const unsigned char* data, size_t size, bint wide, bint open) except -1:
        return self.inner.key_stored(out, data, size, wide, open)

    cdef int key_inline(self, Buffer out, Reader* reader) except -1:
        return self.inner.key_inline(out, reader)
