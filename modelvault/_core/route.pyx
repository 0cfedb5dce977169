"""Where a path leads in the bytes of a record, found without the GIL.

A Route is a path resolved in one schema version: a hop for each segment. A path may end in a container of values, or go
through lists of objects; then there may be several values. Where a version is too old for a field, the route ends early,
and what the newest version puts there stands in for it.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free

from modelvault._core.buffer cimport put_bytes
from modelvault._core.container cimport Custom, List, Optional, Set, VarTuple
from modelvault._core.objects cimport MAX_FLAGS, bare_codec, fill_of

from modelvault.errors import ModelVaultQueryError


cdef object unknown_path(tuple path):
    return ModelVaultQueryError(f'query error: unknown field path "{".".join(path)}"')


cdef Codec element_of(Codec codec, bint* holes):
    """The codec of a container's elements, and whether they may be None; None for what is no container of one kind."""
    codec = bare_codec(codec)
    if isinstance(codec, List):
        codec = bare_codec((<List>codec).item)
    elif isinstance(codec, Set):
        codec = bare_codec((<Set>codec).item)
    elif isinstance(codec, VarTuple):
        codec = bare_codec((<VarTuple>codec).item)
    else:
        return None
    holes[0] = isinstance(codec, Optional)
    return bare_codec((<Optional>codec).item) if holes[0] else codec


cdef int aim(Hop* hop, Object place, Step* step) except -1:
    """Let a hop lead from an object to one of its fields."""
    cdef int flags
    for flags in range(MAX_FLAGS + 1):
        hop.heads[flags] = place.heads[flags]
    hop.ends_at = place.ends_at
    hop.offset, hop.end, hop.width = step.offset, step.end, (<Codec>step.codec).width
    hop.null_byte, hop.null_mask = step.null_byte, step.null_mask
    hop.wide_byte, hop.wide_mask = step.wide_byte, step.wide_mask
    return 0


cdef class Route:
    """A path in the records of one schema version. `newest`: the same path in the newest version, None when this is that.

    Raises ModelVaultQueryError for a path that the newest version does not have.
    """

    def __cinit__(self, RecordCodec record not None, tuple path not None, Route newest=None):
        if not path:
            raise ModelVaultQueryError("query error: path must have at least one segment")
        self.record = record
        self.path = path
        self.newest = newest
        self.objects = []
        self.codecs = []
        self.hops = <Hop*>PyMem_Calloc(len(path), sizeof(Hop))
        if self.hops == NULL:
            raise MemoryError()
        self.follow(record.root)

    def __dealloc__(self):
        PyMem_Free(self.hops)

    cdef int follow(self, Object root) except -1:
        """Resolve the segments one by one."""
        cdef Object place = root
        cdef Codec codec = root
        cdef Step* step
        cdef Py_ssize_t i
        for i in range(len(self.path)):
            if i:
                codec = self.enter(&self.hops[i - 1], codec)
            if not isinstance(codec, Object) or self.path[i] not in (<Object>codec).places:
                if self.newest is None:
                    raise unknown_path(self.path)
                self.missing = True
                return 0
            place = codec
            step = &place.steps[<Py_ssize_t>place.places[self.path[i]]]
            aim(&self.hops[i], place, step)
            self.objects.append(place)
            codec = <Codec>step.codec
            self.codecs.append(codec)
            self.count = i + 1
        self.type = place.fields[<Py_ssize_t>place.places[self.path[self.count - 1]]].type
        return self.end_at(bare_codec(codec))

    cdef Codec enter(self, Hop* hop, Codec codec):
        """The codec of what a segment leads to: of an object, or of the objects in a list."""
        cdef bint holes = False
        cdef Codec element = element_of(codec, &holes)
        if element is None:
            return bare_codec(codec)
        hop.many, hop.holes = True, holes
        self.many = self.through = True
        return element

    cdef int end_at(self, Codec codec) except -1:
        """Look into the container at the path's end, if there is one."""
        cdef Hop* hop = &self.hops[self.count - 1]
        cdef bint holes = False
        self.whole = codec
        self.leaf = element_of(codec, &holes)
        if self.leaf is None:
            self.leaf = codec
            return 0
        hop.many, hop.holes = True, holes
        self.many = True
        return 0

    cdef Step* step(self, Py_ssize_t i):
        """The Step of a hop."""
        cdef Object place = self.objects[i]
        return &place.steps[<Py_ssize_t>place.places[self.path[i]]]

    cdef object value(self):
        """What a decoded row has for the first field that these records are too old for: its fill, None, or its default."""
        cdef Object place = self.newest.objects[self.count]
        cdef Py_ssize_t number = place.places[self.path[self.count]]
        found, value = fill_of(place.fields[number], place.steps[number].null_mask != 0)
        return value if found else None

    cdef int stand_in(self, Buffer out, Part* part) except -1:
        """The same as bytes, as the newest version stores it: ABSENT for None, and for a default that cannot be stored."""
        return write_value(self.newest.step(self.count), self.value(), out, part)


cdef int write_value(Step* step, object value, Buffer out, Part* part) except -1:
    """Append the bytes of a field's value; ABSENT for None, and for a value that cannot be stored."""
    cdef unsigned char fixed[16]
    cdef size_t start = out.size
    if value is None:
        return ABSENT
    try:
        if step.outer != NULL:
            value = (<Custom>step.outer).dump(value)
        if step.offset >= 0:
            part.wide = (<Codec>step.codec).write_fixed(value, fixed)
            put_bytes(out, fixed, (<Codec>step.codec).width)
        else:
            part.wide = False
            (<Codec>step.codec).write(out, value)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        out.size = start
        out.depth = 0
        out.trail = None
        return ABSENT
    part.data = out.data + start
    part.size = out.size - start
    return PRESENT
