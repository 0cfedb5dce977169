"""Objects: rows, and the models, dataclasses and dicts inside them.

An Object is compiled for one layout and one Python side. Writing walks the fields once: from the instance's `__dict__`
(Pydantic), its attributes (dataclasses), or a dict. Reading fills a copy of a template dict, whose keys are then all in
place, and hangs it into an instance made without its constructor. A key-sharing dict spoils the attribute cache of 3.11+.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memmove, memset

from modelvault._core.anything cimport ANY_DICT, ANY_LIST, put_items, put_pairs, read_container
from modelvault._core.buffer cimport (
    DEPTH_LIMIT, RECORD_LIMIT, fail_corrupt, fail_depth, fail_short, leave_trail, need, put16, put32, put_byte, take,
)
from modelvault._core.codec cimport enter
from modelvault._core.container cimport Custom, Dict, List, Optional, Set, Tuple, Union, VarTuple
from modelvault._core.slots cimport (
    allocate, copy_set, fill_place, find_slot, is_container, is_plain, keeps_values_inline, places_of, same_set, set_dict,
    small_set, track,
)

from modelvault.errors import ModelVaultQueryError, ModelVaultSchemaError, ModelVaultValidationError

cdef extern from "Python.h":
    int PyDict_Next(object source, Py_ssize_t* position, PyObject** key, PyObject** value)
    PyObject* PyDict_GetItemWithError(object source, PyObject* key) except? NULL
    int PyDict_SetItem(object target, PyObject* key, object value) except -1
    object PyDict_Copy(object source)
    object PyObject_GenericGetDict(object instance, void* context)
    object PyObject_GetAttr(object instance, PyObject* name)
    bint PyObject_RichCompareBool(object left, object right, int how) except -1
    int Py_EQ

cdef enum:
    # How a source is read
    BY_NAME = 0                 # a dict by field names
    BY_ATTRIBUTE = 1            # an instance's __dict__
    BY_GETATTR = 2              # an instance

    # Parts of a tail
    FIELDS_SET = 1
    EXTRAS = 2
    PRIVATES = 4
    OTHER_SET = 8


cdef class Object(Raw):
    """An object's layout and its Python side. The compiler fills `codecs`, `outers` and `fields`, then calls lay_out and bind."""

    def __cinit__(self, tuple names not None, Role role, str primary):
        self.names = self.attributes = names
        self.role = role
        self.primary = primary
        self.count = len(names)
        self.codecs = []
        self.outers = []
        self.fields = []
        self.fills = []
        self.places = {name: i for i, name in enumerate(names) if name}
        self.steps = <Step*>PyMem_Calloc(self.count + 1, sizeof(Step))
        if self.steps == NULL:
            raise MemoryError()

    def __dealloc__(self):
        PyMem_Free(self.steps)

    # Compiling

    cdef int lay_out(self, list nullable) except -1:
        """Give every field its place; `nullable` says for each whether it may be None."""
        cdef Py_ssize_t i
        cdef int bit = 0
        cdef int offset
        cdef Step* step
        cdef Codec codec
        for i in range(self.count):
            codec = self.codecs[i]
            step = &self.steps[i]
            step.codec = <PyObject*>codec
            step.outer = <PyObject*>self.outers[i] if self.outers[i] is not None else NULL
            step.name = <PyObject*>self.names[i]
            if nullable[i]:
                step.null_byte, step.null_mask = 1 + bit // 8, 1 << bit % 8
                bit += 1
            if codec.wide:
                step.wide_byte, step.wide_mask = 1 + bit // 8, 1 << bit % 8
                bit += 1
        offset = 1 + (bit + 7) // 8
        for i in range(self.count):
            codec = self.codecs[i]
            step = &self.steps[i]
            step.offset = step.end = -1
            if codec.width:
                step.offset = offset
                offset += codec.width
            else:
                step.end = self.variable
                self.variable += 1
        self.ends_at = offset
        for i in range(MAX_FLAGS + 1):
            self.heads[i] = offset + ((self.variable + (i & TAILED != 0)) << (i & END_BITS))
            if i & END_BITS == END_BITS:
                self.heads[i] = RECORD_LIMIT + 1
        return 0

    cdef int bind(self, object shape) except -1:
        """Set up the Python side: `shape` is a Shape, or None for dicts."""
        cdef Py_ssize_t i
        if shape is not None and shape.style == "whole":
            self.whole, self.extras, self.tracks = shape.cls, shape.extras, shape.tracks
        if shape is None or self.whole is not None or shape.style == "typeddict":
            # A name that is empty is that of a field which newer versions do not have: it is passed over.
            self.attributes = tuple([name or None for name in self.names])
            self.template = dict.fromkeys(self.places if shape is not None and self.whole is None else sorted(self.places))
            self.all_set = set(self.places)
        else:
            self.attributes = tuple(shape.attributes)
            self.template = dict.fromkeys([name for name in self.attributes if name is not None])
            self.bind_class(shape)
        for i in range(self.count):
            self.steps[i].attribute = <PyObject*>self.attributes[i] if self.attributes[i] is not None else NULL
        return self.find_places()

    cdef int find_places(self) except -1:
        """Note where copies of the template have each field's value, and what new instances get as their fields-set."""
        cdef Py_ssize_t i
        cdef dict places = dict(zip(self.template, places_of(self.template)))
        for i in range(self.count):
            self.steps[i].place = places.get(self.attributes[i], 0)
        if self.all_set is not None:
            self.given_set = small_set(self.all_set)
        return 0

    cdef int bind_class(self, object shape) except -1:
        """The Python side of a class."""
        self.cls = shape.cls
        self.pydantic = shape.style == "pydantic"
        self.direct = is_plain(shape.cls)
        self.inline = keeps_values_inline(shape.cls)
        self.uses_dict = shape.uses_dict
        self.extras = shape.extras
        self.privates = shape.privates
        self.private_defaults = shape.private_defaults
        self.all_set = set(self.template)
        if self.pydantic:
            self.set_slot = find_slot(shape.cls, "__pydantic_fields_set__")
            self.extra_slot = find_slot(shape.cls, "__pydantic_extra__")
            self.private_slot = find_slot(shape.cls, "__pydantic_private__")
        if not self.uses_dict:
            self.slots = [None if name is None else find_slot(shape.cls, name) for name in self.attributes]
        return 0

    cdef int fill_from(self, Object newest) except -1:
        """Records of this layout lack the fields that only `newest` has: note what stands in for them."""
        cdef Py_ssize_t i
        self.fills = []
        self.filled = True
        for i in range(newest.count):
            if newest.names[i] in self.places:
                fill_inside(self.codecs[self.places[newest.names[i]]], newest.codecs[i])
            elif newest.attributes[i] is not None:
                self.fills.append((newest.attributes[i], newest.fields[i], newest.steps[i].null_mask != 0))
                self.all_set.discard(newest.attributes[i])
        if self.cls is None and self.fills:
            names = set(self.places).union(
                [name for name, field, optional in self.fills if optional or field.fill is not None])
            self.template = dict.fromkeys(sorted(names))
        return self.find_places()

    # Writing

    cdef int write(self, Buffer out, object source) except -1:
        cdef int how = self.source_kind(source)
        cdef Py_ssize_t at = -1
        cdef object values = source
        cdef tuple tail = None
        if how == BY_ATTRIBUTE:
            values = PyObject_GenericGetDict(source, NULL)
        if self.pydantic and how != BY_NAME:
            tail = self.pydantic_tail(source)
        elif self.whole is not None and isinstance(source, self.whole):
            tail = self.whole_tail(source)
        elif self.extras and how != BY_GETATTR:
            tail = self.extra_tail(values, how)
        enter(out)
        try:
            self.write_fields(out, values, how, &at, tail)
        except Exception:
            if how == BY_NAME:
                self.explain(source, at)
            if at >= 0:
                leave_trail(out, self.names[at])
            raise
        out.depth -= 1
        return 0

    cdef int source_kind(self, object source) except -1:
        """How to read this source; raises for one that is no such object."""
        if self.cls is not None and type(source) is not self.cls and not isinstance(source, dict):
            self.check_subclass(source)
        if self.cls is None or (isinstance(source, dict) and type(source) is not self.cls):
            if isinstance(source, dict):
                return BY_NAME
            if self.role == ROW:
                raise TypeError(f"argument 'row': '{type(source).__name__}' object is not an instance of 'dict'")
            words = "object type" if self.role == INNER else "nested object"
            raise ValueError(f"expected dict for {words}, not {type(source).__name__}")
        # Asking for the __dict__ of a dataclass would make one: 3.11+ keeps the attributes without.
        return BY_ATTRIBUTE if self.pydantic or self.extras else BY_GETATTR

    cdef int check_subclass(self, object source) except -1:
        """Take an instance of a subclass that has no more fields; what it has besides would be lost."""
        if not isinstance(source, self.cls):
            raise TypeError(f"'{type(source).__name__}' object is not an instance of '{self.cls.__name__}'")
        cdef object cls = type(source)
        known = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "__dataclass_fields__", ())
        more = [name for name in known if name not in self.attributes and name not in self.names]
        if more:
            raise TypeError(
                f"'{cls.__name__}' object cannot be stored as '{self.cls.__name__}': {', '.join(more)} would be lost")
        return 0

    cdef tuple pydantic_tail(self, object source):
        """What a Pydantic instance carries besides its fields, None if that is nothing."""
        unset = self.set_slot.get(source)
        if unset is not None and (
                same_set(unset, self.all_set) or same_set(unset, self.given_set) or PyObject_RichCompareBool(unset, self.all_set, Py_EQ)):
            unset = None
        extra = self.extra_slot.get(source) if self.extras else None
        private = self.private_slot.get(source) if self.privates else None
        if unset is None and not extra and private is None:
            return None
        return (unset, extra or None, private)

    cdef tuple whole_tail(self, object source):
        """What a Whole has besides its fields, None if that is nothing."""
        cdef tuple extra = self.extra_tail(source, BY_NAME) if self.extras else None
        unset, private = source.set, source.private
        if unset is not None and PyObject_RichCompareBool(unset, self.all_set, Py_EQ):
            unset = None
        if unset is None and extra is None and private is None:
            return None
        return (unset, None if extra is None else extra[1], private)

    cdef tuple extra_tail(self, object values, int how):
        """The keys that are no fields, of a dataclass's dict or of a dict in place of an instance."""
        known = self.names if how == BY_NAME else self.attributes
        if self.pydantic and how == BY_ATTRIBUTE:
            return None
        extra = {key: value for key, value in values.items() if key not in known}
        if how == BY_NAME and not all([isinstance(key, str) for key in extra]):
            self.check_names(extra)
        return (None, extra, None) if extra else None

    cdef int write_fields(self, Buffer out, object source, int how, Py_ssize_t* at, tuple tail) except -1:
        """Head, data, tail. `at` follows the field that is being written, -1 for none."""
        cdef size_t start = out.size
        cdef int ends = self.variable + (tail is not None)
        cdef size_t head = self.heads[TAILED if tail is not None else 0]
        cdef size_t ends_at = start + self.ends_at
        cdef size_t data_at = start + head
        cdef size_t most = 0xFF         # what an end can say
        cdef Py_ssize_t i, position = 0, found = 0
        cdef PyObject* key
        cdef PyObject* next_key = NULL
        cdef PyObject* item = NULL
        cdef Step* step
        memset(take(out, head), 0, head)
        if tail is not None:
            out.data[start] = TAILED
        for i in range(self.count):
            step = &self.steps[i]
            at[0] = i
            key = step.name if how == BY_NAME else step.attribute
            if how == BY_GETATTR:
                value = self.attribute_of(source, i, at)
            elif key != NULL and PyDict_Next(source, &position, &next_key, &item) and next_key == key:
                # Nearly always the fields stand in the dict in their order.
                value = <object>item
                found += 1
            else:
                item = PyDict_GetItemWithError(source, key) if key != NULL else NULL
                if item == NULL:
                    value = self.absent(i, how, at)
                else:
                    value = <object>item
                    found += 1
            if step.outer != NULL:
                value = (<Custom>step.outer).dump(value)
            if value is None and step.null_mask:
                out.data[start + step.null_byte] |= step.null_mask
            elif step.offset >= 0:
                if (<Codec>step.codec).write_fixed(value, out.data + start + step.offset):
                    out.data[start + step.wide_byte] |= step.wide_mask
            else:
                (<Codec>step.codec).write(out, value)
            if step.end >= 0:
                if out.size - data_at > most:
                    most = widen(out, start, self.ends_at, ends, step.end, &data_at)
                put_end(out.data + ends_at, step.end, out.size - data_at, most)
        at[0] = -1
        if how == BY_NAME and not self.extras and found != len(<dict>source):
            self.check_names(source)
        if tail is not None:
            self.put_tail(out, tail)
            if out.size - data_at > most:
                most = widen(out, start, self.ends_at, ends, ends - 1, &data_at)
            put_end(out.data + ends_at, ends - 1, out.size - data_at, most)
        return 0

    cdef object attribute_of(self, object source, Py_ssize_t i, Py_ssize_t* at):
        if self.steps[i].attribute == NULL:
            return self.absent(i, BY_GETATTR, at)
        try:
            return PyObject_GetAttr(source, self.steps[i].attribute)
        except AttributeError:
            return self.absent(i, BY_GETATTR, at)

    cdef object absent(self, Py_ssize_t i, int how, Py_ssize_t* at):
        """What stands for a field that the source does not have: its default, None, an empty group; or an error."""
        found, value = default_of(self.fields[i])
        if found:
            return value
        if self.steps[i].null_mask:
            return None
        if isinstance(self.codecs[i], Object) and (<Object>self.codecs[i]).role == GROUP:
            return {}
        at[0] = -1
        name = self.names[i]
        if how == BY_NAME and self.role == INNER:
            raise ValueError(f'missing object field "{name}"')
        if how == BY_NAME and self.role == GROUP:
            raise ValueError(f'missing field "{name}"')
        if name == self.primary:
            raise ModelVaultSchemaError(f'schema error: insert row missing primary key field "{name}"')
        at[0] = i
        raise ModelVaultValidationError("missing field")

    cdef int explain(self, object source, Py_ssize_t at) except -1:
        """A field failed: complain first of keys that are no fields, and of None in an object as 0.16 does."""
        if not self.extras:
            self.check_names(source)
        if at >= 0 and self.role == INNER and source.get(self.names[at], at) is None:
            raise ValueError(f'unexpected None for required field "{self.names[at]}"') from None
        return 0

    cdef int check_names(self, object source) except -1:
        for key in source:
            if not isinstance(key, str):
                raise TypeError(f"'{type(key).__name__}' object is not an instance of 'str': field names are") from None
            if key not in self.places:
                words = "unknown field" if self.role == ROW else "unknown field in object:"
                raise ValueError(f'{words} "{key}"') from None
        return 0

    cdef int put_tail(self, Buffer out, tuple tail) except -1:
        """Fields-set, extras and private attributes, as far as there are any."""
        cdef size_t start = out.size
        unset, extra, private = tail
        put_byte(out, 0)
        cdef int mask = 0
        if unset is not None:
            mask |= FIELDS_SET
            if self.put_fields_set(out, unset):
                mask |= OTHER_SET
        if extra is not None:
            mask |= EXTRAS
            put_pairs(out, extra)
        if private is not None:
            mask |= PRIVATES
            put_pairs(out, private)
        out.data[start] = mask
        return 0

    cdef bint put_fields_set(self, Buffer out, object unset) except -1:
        """A bitmap of the fields that were set, then the names that are no fields; returns whether there are such."""
        cdef Py_ssize_t i
        cdef Py_ssize_t size = (self.count + 7) // 8
        cdef size_t start = out.size
        memset(take(out, size), 0, size)
        for i in range(self.count):
            if self.attributes[i] in unset:
                out.data[start + i // 8] |= 1 << i % 8
        # In order, so that the bytes are the same in every process.
        others = sorted([name for name in unset if name not in self.all_set], key=str)
        if not others:
            return False
        put_items(out, others)
        return True

    # Reading

    cdef object read(self, Reader* reader):
        cdef Reader tail
        cdef object target
        if reader.depth >= DEPTH_LIMIT:
            fail_depth()
        reader.depth += 1
        tail.depth = reader.depth
        if self.cls is None or self.uses_dict:
            target = PyDict_Copy(self.template)
        else:
            target = self.new()
        self.read_fields(reader, target, &tail)
        if self.fills:
            self.fill(target)
        reader.at = reader.end
        if self.pydantic:
            return self.new_pydantic(target, &tail)
        if self.whole is not None:
            return self.new_whole(target, &tail)
        if tail.at != NULL:
            target = self.add_extras(target, self.read_tail(&tail)[1])
        if self.cls is None or not self.uses_dict:
            return target
        instance = self.new()
        set_dict(instance, target, self.inline)
        return instance

    cdef object new(self):
        return allocate(self.cls) if self.direct else self.cls.__new__(self.cls)

    cdef int read_fields(self, Reader* reader, object target, Reader* tail) except -1:
        """Put the fields into a dict or an instance; `tail.at` is NULL when there is no tail."""
        cdef const unsigned char* data = reader.at
        cdef size_t size = reader.end - reader.at
        cdef Reader inner
        cdef Step* step
        cdef Py_ssize_t i
        cdef const unsigned char* ends
        cdef size_t end, limit
        cdef bint into_dict = self.slots is None, holds = False
        if size < 1 or data[0] > MAX_FLAGS or size < self.heads[data[0]]:
            return fail_short()
        cdef int flags = data[0]
        inner.depth = reader.depth
        inner.end = data + self.heads[data[0]]
        limit = size - self.heads[data[0]]
        ends = data + self.ends_at
        for i in range(self.count):
            step = &self.steps[i]
            if step.end >= 0:
                inner.at = inner.end
                end = get_end(ends, step.end, flags)
                inner.end = data + (size - limit) + end
                if end > limit or inner.end < inner.at:
                    return fail_short()
            if step.attribute == NULL:
                continue
            if step.null_mask and data[step.null_byte] & step.null_mask:
                value = None
            elif step.offset >= 0:
                value = (<Codec>step.codec).read_fixed(
                    data + step.offset, step.wide_mask and data[step.wide_byte] & step.wide_mask)
            else:
                value = (<Codec>step.codec).read(&inner)
            if step.outer != NULL:
                value = (<Custom>step.outer).loaded(value)
            if into_dict and step.place:
                fill_place(target, step.place, value)
                holds = holds or is_container(value)
            elif into_dict:
                PyDict_SetItem(target, step.attribute, value)
            else:
                (<Slot>self.slots[i]).fill(target, value)
        if holds:
            track(target)
        tail.at = NULL
        if data[0] & TAILED:
            tail.at = inner.end
            end = get_end(ends, self.variable, flags)
            inner.end = data + (size - limit) + end
            if end > limit or inner.end < tail.at:
                return fail_short()
            tail.end = inner.end
        if inner.end != reader.end:
            return fail_corrupt("bytes are left behind an object")
        return 0

    cdef object new_pydantic(self, object values, Reader* tail):
        """The instance of a model around its `__dict__`."""
        cdef set fields_set
        cdef object extra = {} if self.extras else None
        cdef object private = None
        if tail.at != NULL:
            fields_set, extra, private = self.read_tail(tail)
        else:
            fields_set = copy_set(self.given_set)
        private = self.filled_privates(private) if self.privates else None
        instance = self.new()
        set_dict(instance, values, self.inline)
        self.set_slot.fill(instance, fields_set)
        # A RootModel has class attributes, which are None, in front of these slots.
        if extra is not None or self.extra_slot.offset:
            self.extra_slot.fill(instance, extra)
        if private is not None or self.private_slot.offset:
            self.private_slot.fill(instance, private)
        return instance

    cdef object new_whole(self, object target, Reader* tail):
        """A row as a dict, a Whole if there is more to it."""
        cdef object fields_set = None, extra = None, private = None
        if tail.at != NULL:
            fields_set, extra, private = self.read_tail(tail)
            target = self.add_extras(target, extra)
        elif not self.tracks or len(self.places) == len(self.template):
            return target
        found = self.whole(target)
        found.set = set(self.places) if fields_set is None else fields_set
        found.private = private
        return found

    cdef object filled_privates(self, object stored):
        """Private attributes: those stored, and the defaults of those that were not."""
        if self.private_defaults is None:
            return {} if stored is None else stored
        if stored is None:
            return self.private_defaults()
        if self.private_names is None:
            self.private_names = frozenset(self.private_defaults())
        # A row may be older than an attribute.
        return stored if self.private_names <= stored.keys() else self.private_defaults() | stored

    cdef tuple read_tail(self, Reader* tail):
        """Fields-set, extras (a dict where the model allows them), private attributes or None."""
        cdef Py_ssize_t i
        cdef Py_ssize_t size = (self.count + 7) // 8
        cdef int mask
        cdef const unsigned char* bits
        cdef set fields_set
        extra, private = {} if self.extras else None, None
        need(tail, 1)
        mask = tail.at[0]
        tail.at += 1
        if mask > 15:
            fail_corrupt("a tail has unknown parts")
        if mask & FIELDS_SET:
            need(tail, size)
            bits = tail.at
            tail.at += size
            fields_set = set()
            for i in range(self.count):
                if bits[i // 8] & (1 << i % 8) and self.attributes[i] is not None:
                    fields_set.add(self.attributes[i])
        else:
            fields_set = set(self.all_set or ())
        if mask & OTHER_SET:
            fields_set.update(read_container(tail, ANY_LIST))
        if mask & EXTRAS:
            found = read_pairs(tail)
            extra = found if self.extras or not self.pydantic else None
        if mask & PRIVATES:
            private = read_pairs(tail)
        if tail.at != tail.end:
            fail_corrupt("bytes are left behind a tail")
        return (fields_set, extra, private)

    cdef object add_extras(self, object target, object extra):
        """Extras beside the fields of a dataclass's dict or of a row as a dict, where there may be any."""
        if not extra or not self.extras or self.slots is not None:
            return target
        target.update(extra)
        return target if self.cls is not None else dict(sorted(target.items()))

    cdef int fill(self, object target) except -1:
        """Stand-ins for the fields that this record is too old for."""
        for name, field, optional in self.fills:
            found, value = fill_of(field, optional)
            if not found:
                continue
            if self.slots is not None:
                find_slot(self.cls, name).fill(target, value)
            elif value is not None or self.cls is not None:
                target[name] = value
        return 0

    # Parts

    cdef int find_part(self, const unsigned char* data, size_t size, Step* step, Part* part) except -1:
        """Where a field's bytes are; returns 0 when it is None."""
        cdef const unsigned char* ends
        cdef size_t begin = 0, end
        if size < 1 or data[0] > MAX_FLAGS or size < self.heads[data[0]]:
            return fail_short()
        if step.null_mask and data[step.null_byte] & step.null_mask:
            return 0
        part.wide = step.wide_mask and data[step.wide_byte] & step.wide_mask
        if step.offset >= 0:
            part.data = data + step.offset
            part.size = (<Codec>step.codec).width
            return 1
        ends = data + self.ends_at
        end = get_end(ends, step.end, data[0])
        if step.end:
            begin = get_end(ends, step.end - 1, data[0])
        if begin > end or end > size - self.heads[data[0]]:
            return fail_short()
        part.data = data + self.heads[data[0]] + begin
        part.size = end - begin
        return 1

    cdef object read_part(self, const unsigned char* data, size_t size, tuple path, Py_ssize_t depth):
        """The value at `path[depth:]`, nothing else decoded; None where an object on the way is None."""
        cdef Part part
        cdef Reader reader
        cdef Step* step
        if path[depth] not in self.places:
            return self.read_fill(path, depth)
        step = &self.steps[<Py_ssize_t>self.places[path[depth]]]
        cdef bint present = self.find_part(data, size, step, &part)
        value = None
        if depth + 1 < len(path):
            codec = bare_codec(<object>step.codec)
            if not isinstance(codec, Object):
                raise ModelVaultQueryError(f'unknown field path: {".".join(path)}')
            return (<Object>codec).read_part(part.data, part.size, path, depth + 1) if present else None
        if present and step.offset >= 0:
            value = (<Codec>step.codec).read_fixed(part.data, part.wide)
        elif present:
            reader.at, reader.end, reader.depth = part.data, part.data + part.size, depth
            value = (<Codec>step.codec).read(&reader)
        return value if step.outer == NULL else (<Custom>step.outer).loaded(value)


    cdef object read_fill(self, tuple path, Py_ssize_t depth):
        """What stands in at a path for a field that this layout is too old for."""
        for name, field, optional in self.fills:
            if field.name == path[depth]:
                return fill_of(field, optional)[1] if depth + 1 == len(path) else None
        raise ModelVaultQueryError(f'unknown field path: {".".join(path)}')


cdef Codec bare_codec(Codec codec):
    """The codec without custom types around it."""
    while isinstance(codec, Custom):
        codec = (<Custom>codec).inner
    return codec


cdef int fill_inside(Codec mine, Codec newest) except -1:
    """fill_from for the objects inside a field."""
    mine, newest = bare_codec(mine), bare_codec(newest)
    if isinstance(newest, Optional):
        newest = bare_codec((<Optional>newest).item)
    if isinstance(mine, Optional):
        mine = bare_codec((<Optional>mine).item)
    if isinstance(mine, Object) and isinstance(newest, Object):
        return 0 if (<Object>mine).filled else (<Object>mine).fill_from(newest)
    if isinstance(mine, List) and isinstance(newest, List):
        return fill_inside((<List>mine).item, (<List>newest).item)
    if isinstance(mine, VarTuple) and isinstance(newest, VarTuple):
        return fill_inside((<VarTuple>mine).item, (<VarTuple>newest).item)
    if isinstance(mine, Set) and isinstance(newest, Set):
        return fill_inside((<Set>mine).item, (<Set>newest).item)
    if isinstance(mine, Dict) and isinstance(newest, Dict):
        fill_inside((<Dict>mine).key_codec, (<Dict>newest).key_codec)
        return fill_inside((<Dict>mine).value_codec, (<Dict>newest).value_codec)
    if isinstance(mine, Tuple) and isinstance(newest, Tuple):
        for inner, outer in zip((<Tuple>mine).items, (<Tuple>newest).items):
            fill_inside(inner, outer)
    if isinstance(mine, Union) and isinstance(newest, Union):   # the newest may have more members, behind those of mine
        for inner, outer in zip((<Union>mine).items, (<Union>newest).items):
            fill_inside(inner, outer)
    return 0


cdef tuple fill_of(object field, bint optional):
    """(True, what rows that are older than the field have in its place), (False, None) if there is nothing."""
    if field.fill is not None:
        return True, field.fill()
    if optional:
        return True, None
    return default_of(field)


cdef tuple default_of(object field):
    """(True, the default) of a field, (False, None) if it has none. The mark for none is an enum member of that name."""
    if field.factory is not None:
        return True, field.factory()
    if getattr(field.default, "name", None) == "MISSING" and type(field.default).__name__ == "Missing":
        return False, None
    return True, field.default


cdef dict read_pairs(Reader* reader):
    """A dict of `any` values without its tag."""
    return read_container(reader, ANY_DICT)


cdef inline void put_end(unsigned char* ends, int number, size_t end, size_t most) noexcept:
    """Write an end, in the width in which the greatest is `most`."""
    if most == 0xFF:
        ends[number] = <uint8_t>end
    elif most == 0xFFFF:
        put16(ends + 2 * number, <unsigned short>end)
    else:
        put32(ends + 4 * number, <uint32_t>end)


cdef size_t widen(Buffer out, size_t start, int ends_at, int ends, int done, size_t* data_at) except 0:
    """Make the ends of an object wide enough for the data, of which `done` are known; the greatest that they can say then."""
    cdef int before = out.data[start], after = 1 if out.size - data_at[0] <= 0xFFFF else 2
    cdef size_t most = 0xFFFF if after == 1 else <size_t>0xFFFFFFFF
    cdef size_t more = ends * ((1 << after) - (1 << (before & END_BITS)))
    cdef size_t size = out.size - data_at[0]
    cdef unsigned char* p
    take(out, more)
    p = out.data + start + ends_at
    memmove(out.data + data_at[0] + more, out.data + data_at[0], size)
    # From the last down: what is overwritten was read before.
    while done:
        done -= 1
        put_end(p, done, get_end(p, done, before), most)
    out.data[start] = (before & TAILED) | after
    data_at[0] += more
    return most
