"""The ways from the records of a schema version to columns.

The columns are those of the newest version's types; each version has ways of its own to them. What a version is too old for is put
there as the newest one stores it. Values without columns (of any type, of unions, objects inside themselves) stay bytes until
they are sealed. As nobody knows where such a value ends inside a container, a container of them is one of them as a whole.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT64_MAX, INT64_MIN

from modelvault._core.buffer cimport Buffer, put64
from modelvault._core.container cimport Dict, Optional, Tuple
from modelvault._core.leaf cimport (
    BOOL, BYTES, CHOICE, DATE, DECIMAL, DELTA, FLOAT, INT, INT64, OTHER, STAMP, STRING, TIME, UINT64, UUID, Value, form_of,
    load_int_key, width_of,
)
from modelvault._core.objects cimport bare_codec, fill_of
from modelvault._core.route cimport (
    ABSENT, DAMAGED, PRESENT, Span, aim, element_of, find, take_part, take_present, take_size, unknown_path, write_value,
)
from modelvault._core.scalar cimport Choice
from modelvault._core.vector cimport (
    ARRAYS, BLOBS, CODES, DATES, FLAGS, FULL, LISTS, LONGS, MAPS, NUMERALS, REALS, SPANS, STAMPS, STRUCTS, TEXTS, THINGS, TIMES,
    UNSIGNED, UUIDS, Kind, new_vector, put_count, put_null, put_present, put_scalar, put_thing,
)

cdef dict PLAIN = {
    BOOL: FLAGS, INT64: LONGS, INT: LONGS, UINT64: UNSIGNED, FLOAT: REALS, UUID: UUIDS, STAMP: STAMPS, TIME: TIMES, DATE: DATES,
    DELTA: SPANS, STRING: TEXTS, BYTES: BLOBS, DECIMAL: NUMERALS,
}


# Columns of types

cdef Codec inside(Codec codec):
    """The codec without customs and the optional around it."""
    codec = bare_codec(codec)
    return bare_codec((<Optional>codec).item) if isinstance(codec, Optional) else codec


cdef Vector vector_of(Codec codec, str path, list around):
    """The empty column of a type. around: the objects that this lies in."""
    codec = inside(codec)
    kind = form_of(codec)
    if kind == CHOICE:
        return choice_vector(codec, path)
    if kind != OTHER:
        return new_vector(<Kind><int>PLAIN[kind], path)
    if isinstance(codec, Object):
        return object_vector(codec, path, around)
    if isinstance(codec, Tuple):
        return tuple_vector(codec, path, around)
    if isinstance(codec, Dict) and not isinstance(bare_codec((<Dict>codec).key_codec), Optional):
        return nested(MAPS, path, [
            vector_of((<Dict>codec).key_codec, path, around), vector_of((<Dict>codec).value_codec, path, around)])
    cdef bint holes = False
    element = element_of(codec, &holes)
    if element is not None:
        return nested(LISTS, path, [vector_of(element, path, around)])
    return new_vector(THINGS, path)


cdef Vector nested(Kind kind, str path, list inner, size_t length=1):
    """A column of columns; of THINGS if one inside is."""
    cdef Vector vector
    for vector in inner:
        if vector.vec.kind == THINGS:
            return new_vector(THINGS, path)
    vector = new_vector(kind, path, length)
    vector.hold(inner)
    return vector


cdef Vector choice_vector(Choice codec, str path):
    """Codes of strings, or of integers of 64 bits; else there is no column."""
    cdef Vector vector
    integers = [type(value) is int and INT64_MIN <= value <= INT64_MAX for value in codec.values]
    if not all(integers) and not all([isinstance(value, str) for value in codec.values]):
        return new_vector(THINGS, path)
    vector = new_vector(CODES, path)
    vector.values = codec.values
    return vector


cdef Vector object_vector(Object place, str path, list around):
    """A struct of the fields that the Python side has."""
    cdef Vector vector
    cdef Py_ssize_t i
    if place in around:
        return new_vector(THINGS, path)
    names = [place.names[i] for i in range(place.count) if place.names[i] and place.steps[i].attribute != NULL]
    if not names:
        return new_vector(THINGS, path)
    around.append(place)
    inner = [vector_of(place.codecs[place.places[name]], f"{path}.{name}", around) for name in names]
    around.pop()
    vector = new_vector(STRUCTS, path)
    vector.names = tuple(names)
    vector.hold(inner)
    return vector


cdef Vector tuple_vector(Tuple codec, str path, list around):
    """A list of one length where all places have one scalar type, else a struct of "0", "1", and so on."""
    cdef Vector vector
    forms = {form_of(inside(item)) for item in codec.items}
    if len(forms) == 1 and not forms & {CHOICE, OTHER}:
        return nested(ARRAYS, path, [vector_of(codec.items[0], path, around)], len(codec.items))
    if not codec.items:
        return new_vector(THINGS, path)
    names = [str(i) for i in range(len(codec.items))]
    inner = [vector_of(item, f"{path}.{name}", around) for name, item in zip(names, codec.items)]
    vector = nested(STRUCTS, path, inner)
    vector.names = tuple(names)
    return vector


cdef Vector vector_of_path(Object place, tuple path, Py_ssize_t at):
    """The empty column of the path behind its segment `at`; a list where the path goes through a list."""
    cdef bint holes = False
    cdef Vector vector
    name = path[at]
    if name not in place.places:
        raise unknown_path(path)
    codec = place.codecs[place.places[name]]
    if at + 1 == len(path):
        return vector_of(codec, ".".join(path), [])
    element = element_of(codec, &holes)
    inner = inside(codec) if element is None else element
    if not isinstance(inner, Object):
        raise unknown_path(path)
    vector = vector_of_path(inner, path, at + 1)
    if element is None:
        return vector
    around = new_vector(LISTS, vector.path)
    around.hold([vector])
    return around


# Ways to them

cdef class Track:
    """A way, with what it owns."""

    def __cinit__(self):
        self.kept = []

    def __dealloc__(self):
        PyMem_Free(self.way.codes)
        PyMem_Free(self.way.members)
        PyMem_Free(self.way.inner)

    cdef int hold(self, list inner) except -1:
        """Take the ways of the parts."""
        cdef Py_ssize_t i
        self.kept += inner
        self.way.inner = <Way**>PyMem_Calloc(len(inner) + 1, sizeof(Way*))
        if self.way.inner == NULL:
            raise MemoryError()
        self.way.inners = len(inner)
        for i in range(len(inner)):
            self.way.inner[i] = &(<Track>inner[i]).way
        return 0

    cdef int set_codes(self, tuple stored, tuple known) except -1:
        """The places of the known values by those of the stored ones."""
        cdef Py_ssize_t i
        places = {(type(value), value): i for i, value in enumerate(known)}
        self.way.codes = <int32_t*>PyMem_Calloc(len(stored) + 1, sizeof(int32_t))
        if self.way.codes == NULL:
            raise MemoryError()
        self.way.choices = <uint32_t>len(stored)
        for i in range(len(stored)):
            self.way.codes[i] = places[type(stored[i]), stored[i]]
        return 0

    cdef int set_members(self, Object place, Object fresh, list paths, Py_ssize_t at, list vectors) except -1:
        """The fields of an object that lead on to columns: the paths behind their segment `at`."""
        cdef Member* member
        cdef Py_ssize_t i, number
        cdef Track track
        self.way.turn = FIELDS
        self.way.members = <Member*>PyMem_Calloc(len(paths) + 1, sizeof(Member))
        if self.way.members == NULL:
            raise MemoryError()
        self.way.count = len(paths)
        for i in range(len(paths)):
            path = paths[i]
            member = &self.way.members[i]
            number = place.places.get(path[at], -1)
            if number < 0:
                self.set_missing(member, fresh, fresh.places[path[at]], path, at, vectors[i])
                continue
            aim(&member.hop, place, &place.steps[number])
            track = track_behind(place, number, fresh, fresh.places[path[at]], path, at, vectors[i])
            member.way = &track.way
            self.kept.append(track)
        return 0

    cdef int set_missing(
            self, Member* member, Object fresh, Py_ssize_t number, tuple path, Py_ssize_t at, Vector vector) except -1:
        """What stands in for a field that the records are too old for: its fill, None, or its default."""
        cdef Buffer fill = Buffer()
        cdef Track track = track_behind(fresh, number, fresh, number, path, at, vector)
        _, value = fill_of(fresh.fields[number], fresh.steps[number].null_mask != 0)
        member.missing = True
        member.filled = write_value(&fresh.steps[number], value, fill, &member.fill) == PRESENT
        member.way = &track.way
        self.kept += [fill, track]
        return 0


cdef Track track_of_row(Object place, Object fresh, list paths, list vectors):
    """The way of a record to the columns of some paths. fresh: the rows in the newest version."""
    cdef Track track = Track()
    track.set_members(place, fresh, paths, 0, vectors)
    return track


cdef Track track_behind(
        Object place, Py_ssize_t number, Object fresh, Py_ssize_t other, tuple path, Py_ssize_t at, Vector vector):
    """The way from a field, which the path leads to with its segment `at`, to the column of the path."""
    cdef Track track, step
    cdef bint holes = False
    cdef Codec codec = place.codecs[number], newest = fresh.codecs[other]
    if at + 1 == len(path):
        track = track_of(codec, newest, vector)
        if track.way.turn == THING:
            track.way.reader = <uint32_t>len(vector.readers)
            vector.readers.append(bare_codec(codec))
        return track
    element = element_of(codec, &holes)
    step = Track()
    if element is None:
        step.way.vec = &vector.vec
        step.set_members(inside(codec), inside(newest), [path], at + 1, [vector])
        return step
    track = Track()
    track.way.turn, track.way.vec = ITEMS, &vector.vec
    step.way.vec, step.way.holes = vector.vec.inner[0], holes
    step.set_members(element, element_of(newest, &holes), [path], at + 1, [vector.inner[0]])
    track.hold([step])
    return track


cdef Track track_of(Codec codec, Codec newest, Vector vector):
    """The way from the values of a codec to a column; `newest`: the codec that the column was made for."""
    cdef Track track = Track(), inner
    cdef Way* way = &track.way
    cdef bint holes = False
    way.vec = &vector.vec
    way.holes = isinstance(bare_codec(codec), Optional)
    codec, newest = inside(codec), inside(newest)
    way.form = form_of(codec)
    if vector.vec.kind == THINGS:
        way.turn = THING
    elif vector.vec.kind < LISTS:
        way.turn = SCALAR
        if vector.vec.kind == CODES:
            track.set_codes((<Choice>codec).values, vector.values)
    elif isinstance(codec, Object):
        way.whole = True
        track.set_members(codec, newest, [(name,) for name in vector.names], 0, vector.inner)
    elif isinstance(codec, Tuple):
        way.turn = PLACES
        columns = vector.inner if vector.vec.kind == STRUCTS else vector.inner * len((<Tuple>codec).items)
        track.hold([
            track_of(item, fresh, column) for item, fresh, column
            in zip((<Tuple>codec).items, (<Tuple>newest).items, columns)])
    elif isinstance(codec, Dict):
        way.turn = ITEMS
        track.hold([
            track_of((<Dict>codec).key_codec, (<Dict>newest).key_codec, vector.inner[0]),
            track_of((<Dict>codec).value_codec, (<Dict>newest).value_codec, vector.inner[1])])
    else:
        way.turn = ITEMS
        newest = element_of(newest, &holes)
        inner = track_of(element_of(codec, &holes), newest, vector.inner[0])
        inner.way.holes = holes
        track.hold([inner])
    return track


# Along them

cdef int put_part(const Way* way, const Part* part) noexcept nogil:
    """The value of a field."""
    cdef Span span
    cdef int found
    if way.turn == SCALAR:
        return put_scalar(way.vec, way.form, way.codes, way.choices, part.data, part.size, part.wide)
    if way.turn == FIELDS:
        return put_object(way, part.data, part.size)
    if way.turn == THING:
        return put_thing(way.vec, way.reader, part.data, part.size)
    span.at, span.end = part.data, part.data + part.size
    found = put_items(way, &span)
    return DAMAGED if found > 0 and span.at != span.end else found


cdef int put_object(const Way* way, const unsigned char* data, size_t size) noexcept nogil:
    """The fields of an object."""
    cdef Part part
    cdef const Member* member
    cdef Py_ssize_t i
    cdef int found
    if way.whole and put_present(way.vec) < 0:
        return FULL
    for i in range(way.count):
        member = &way.members[i]
        if member.missing:
            found = put_part(member.way, &member.fill) if member.filled else put_null(member.way.vec)
        else:
            found = find(&member.hop, data, size, &part)
            if found == PRESENT:
                found = put_part(member.way, &part)
            elif found == ABSENT:
                found = put_null(member.way.vec)
        if found < 0:
            return found
    return PRESENT


cdef int put_items(const Way* way, Span* span) noexcept nogil:
    """A container in its inline form."""
    cdef size_t count = 0, k
    cdef Py_ssize_t i
    cdef int found
    if way.turn == PLACES:
        if put_present(way.vec) < 0:
            return FULL
        count = 1
    elif take_size(span, &count) < 0:
        return DAMAGED
    for k in range(count):
        for i in range(way.inners):
            found = put_inline(way.inner[i], span)
            if found < 0:
                return found
    return put_count(way.vec, way.vec.inner[0].count) if way.turn == ITEMS else PRESENT


cdef int put_inline(const Way* way, Span* span) noexcept nogil:
    """A value inside a container."""
    cdef Part part
    cdef Value value
    cdef unsigned char data[8]
    cdef int found, width
    if way.holes:
        found = take_present(span)
        if found != PRESENT:
            return DAMAGED if found < 0 else put_null(way.vec)
    if way.turn == ITEMS or way.turn == PLACES:
        return put_items(way, span)
    if way.turn == FIELDS or way.form > CHOICE:
        return DAMAGED if take_part(span, &part) < 0 else put_part(way, &part)
    if way.form == INT:
        if load_int_key(span, &value) < 0:
            return DAMAGED
        put64(data, value.minor)
        return put_scalar(way.vec, INT, NULL, 0, data, 8, value.major and value.minor >> 63)
    width = width_of(way.form)
    if span.end - span.at < width:
        return DAMAGED
    span.at += width
    return put_scalar(way.vec, way.form, way.codes, way.choices, span.at - width, width, False)
