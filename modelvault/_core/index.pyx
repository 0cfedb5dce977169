"""Index entries straight from record bytes: no value becomes a Python object on the way.

A record has one entry in an index, or one for each distinct element when a path of the index leads to a list, set or
tuple. An index has at most one such path.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdlib cimport qsort
from libc.string cimport memcmp

from modelvault._core.buffer cimport Reader, fail_corrupt, need, put_byte, put_bytes, read_size
from modelvault._core.container cimport Custom, List, Optional, Set, VarTuple
from modelvault._core.keys cimport NONE_TAG, VALUE_TAG
from modelvault._core.objects cimport Object, bare_codec
from modelvault._core.codec cimport Codec, Fixed, Raw

from modelvault.errors import ModelVaultSchemaError


cdef struct Span:
    const unsigned char* data
    size_t size


cdef int compare(const void* left, const void* right) noexcept nogil:
    cdef const Span* a = <const Span*>left
    cdef const Span* b = <const Span*>right
    cdef int order = memcmp(a.data, b.data, min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef class Entries:
    """The index entries of one record, without the primary key behind them: sorted and distinct."""

    def __cinit__(self):
        self.bytes = Buffer()

    def __dealloc__(self):
        PyMem_Free(self.ends)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, size_t i) -> bytes:
        if i >= self.count:
            raise IndexError(i)
        cdef size_t start = self.ends[i - 1] if i else 0
        return self.bytes.data[start:self.ends[i]]

    cdef int close_entry(self) except -1:
        """What was written since the last entry is one."""
        cdef size_t* ends
        cdef size_t capacity
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 8
            ends = <size_t*>PyMem_Realloc(self.ends, capacity * sizeof(size_t))
            if ends == NULL:
                raise MemoryError()
            self.ends = ends
            self.capacity = capacity
        self.ends[self.count] = self.bytes.size
        self.count += 1
        return 0

    cdef int sort(self) except -1:
        """Put the entries in order, each once."""
        cdef size_t count = self.count, i, start = 0
        cdef Buffer sorted_bytes = Buffer()
        cdef Buffer old = self.bytes
        cdef Span* spans = <Span*>PyMem_Calloc(count, sizeof(Span))
        if spans == NULL:
            raise MemoryError()
        try:
            for i in range(count):
                spans[i].data = old.data + start
                spans[i].size = self.ends[i] - start
                start = self.ends[i]
            qsort(spans, count, sizeof(Span), compare)
            self.bytes = sorted_bytes
            self.count = 0
            for i in range(count):
                if i == 0 or compare(&spans[i - 1], &spans[i]):
                    put_bytes(sorted_bytes, spans[i].data, spans[i].size)
                    self.close_entry()
        finally:
            PyMem_Free(spans)
        return 0


cdef class Path:
    """A path of an index, resolved to places in the objects that it goes through.

    `newest`: the same path in the newest schema version. Where this version is too old for a field, the path ends
    early, and goes on in what stands in for the field.
    """

    def __cinit__(self, Object root not None, tuple path not None, Path newest=None):
        cdef Py_ssize_t i
        cdef Object place = root
        cdef Codec codec
        self.objects = []
        self.length = len(path)
        self.steps = <Step**>PyMem_Calloc(self.length + 1, sizeof(Step*))
        if self.steps == NULL:
            raise MemoryError()
        codec = root
        for i in range(self.length):
            if not isinstance(codec, Object) or path[i] not in (<Object>codec).places:
                if newest is None or newest.length != self.length or newest.missing:
                    raise ModelVaultSchemaError(f"schema error: index path does not match any field: {'.'.join(path)}")
                self.go_on(newest, i)
                return
            place = codec
            self.objects.append(place)
            self.steps[i] = &place.steps[<Py_ssize_t>place.places[path[i]]]
            codec = bare_codec(<Codec>self.steps[i].codec)
        self.resolve(codec, path)

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef int go_on(self, Path newest, Py_ssize_t known) except -1:
        """Records of this version lack the segment `known`: prepare what stands in for it, as the newest one stores it."""
        cdef Object place = newest.objects[known]
        cdef Step* step = newest.steps[known]
        cdef Buffer data = Buffer()
        cdef unsigned char fixed[16]
        self.missing = True
        self.length = known
        self.rest = newest
        self.codec, self.many, self.holes = newest.codec, newest.many, newest.holes
        value = place.fields[<Py_ssize_t>place.places[<object>step.name]].fill
        value = None if value is None else value()
        if step.outer != NULL and value is not None:
            value = (<Custom>step.outer).dump(value)
        if value is None:
            return 0
        if step.offset >= 0:
            self.stand_in_wide = (<Codec>step.codec).write_fixed(value, fixed)
            self.stand_in = fixed[:(<Codec>step.codec).width]
        else:
            (<Codec>step.codec).write(data, value)
            self.stand_in = data.data[:data.size]
        return 0

    cdef int resolve(self, Codec codec, tuple path) except -1:
        """Look into the container at the path's end, if there is one."""
        if isinstance(codec, (List, Set, VarTuple)):
            self.many = True
            codec = bare_codec(
                (<List>codec).item if isinstance(codec, List)
                else (<Set>codec).item if isinstance(codec, Set) else (<VarTuple>codec).item)
            if isinstance(codec, Optional):
                self.holes = True
                codec = bare_codec((<Optional>codec).item)
        if not isinstance(codec, (Fixed, Raw)) or isinstance(codec, Object):
            raise ModelVaultSchemaError(
                f"schema error: index path must resolve to a scalar field or a list of scalars: {'.'.join(path)}")
        self.codec = codec
        return 0

    cdef int find(self, const unsigned char* data, size_t size, Part* part) except -1:
        """Where the field's bytes are; returns 0 when it, or an object on the way, is None."""
        cdef Py_ssize_t i
        part.data, part.size = data, size
        for i in range(self.length):
            if not (<Object>self.objects[i]).find_part(part.data, part.size, self.steps[i], part):
                return 0
        return self.find_rest(part) if self.missing else 1

    cdef int find_rest(self, Part* part) except -1:
        """The same in what stands in for a field that these records are too old for."""
        cdef Py_ssize_t i
        if self.stand_in is None:
            return 0
        part.data, part.size, part.wide = self.stand_in, len(self.stand_in), self.stand_in_wide
        for i in range(self.length + 1, self.rest.length):
            if not (<Object>self.rest.objects[i]).find_part(part.data, part.size, self.rest.steps[i], part):
                return 0
        return 1


cdef class IndexKeys:
    """The entries of one index for the records of one schema version. `newest`: those for the newest version.

    Raises ModelVaultSchemaError for a path that leads to no scalar, and for two paths that lead to lists.
    """

    def __init__(self, RecordCodec codec not None, paths not None, IndexKeys newest=None):
        cdef Path path
        self.codec = codec
        self.paths = tuple(paths)
        self.compiled = []
        self.many = -1
        for i, segments in enumerate(self.paths):
            path = Path(codec.root, tuple(segments), None if newest is None else newest.compiled[i])
            self.compiled.append(path)
            if path.many:
                if self.many >= 0:
                    raise ModelVaultSchemaError("schema error: an index has at most one path to a list")
                self.many = i

    cdef int collect(self, const unsigned char* record, size_t size, Entries out) except -1:
        """Replace what is in `out` by this record's entries."""
        out.bytes.size = 0
        out.count = 0
        out.exempt = False
        self.codec.check_version(record, size)
        if self.many < 0:
            self.put_around(0, len(self.compiled), record + 2, size - 2, out)
            return out.close_entry()
        self.put_many(record + 2, size - 2, out)
        if out.count > 1:
            out.sort()
        return 0

    cdef int put_around(
        self, Py_ssize_t first, Py_ssize_t last, const unsigned char* data, size_t size, Entries out
    ) except -1:
        """The components of a run of paths."""
        cdef Py_ssize_t i
        for i in range(first, last):
            self.put_one(self.compiled[i], data, size, out)
        return 0

    cdef int put_one(self, Path path, const unsigned char* data, size_t size, Entries out) except -1:
        """The component of a path to a scalar."""
        cdef Part part
        if not path.find(data, size, &part):
            out.exempt = True
            return put_byte(out.bytes, NONE_TAG)
        put_byte(out.bytes, VALUE_TAG)
        return path.codec.key_stored(out.bytes, part.data, part.size, part.wide, False)

    cdef int put_many(self, const unsigned char* data, size_t size, Entries out) except -1:
        """An entry for each element; none where the container is empty or None."""
        cdef Path path = self.compiled[self.many]
        cdef Part part
        cdef Reader reader
        cdef size_t count = 0
        cdef size_t i
        cdef bint present
        if not path.find(data, size, &part):
            return 0
        reader.at, reader.end, reader.depth = part.data, part.data + part.size, 0
        read_size(&reader, &count)
        for i in range(count):
            self.put_around(0, self.many, data, size, out)
            present = True
            if path.holes:
                need(&reader, 1)
                present = reader.at[0]
                reader.at += 1
            if present:
                put_byte(out.bytes, VALUE_TAG)
                path.codec.key_inline(out.bytes, &reader)
            else:
                out.exempt = True
                put_byte(out.bytes, NONE_TAG)
            self.put_around(self.many + 1, len(self.compiled), data, size, out)
            out.close_entry()
        if reader.at != reader.end:
            return fail_corrupt("bytes are left behind a list")
        return 0

    def extract(self, bytes record not None) -> list:
        """The tagged components of each entry of a record, in key order."""
        cdef Entries found = Entries()
        self.collect(record, len(record), found)
        return [found[i] for i in range(found.count)]

    def exempt(self, bytes record not None) -> bool:
        """Whether a component is None, so that a unique index does not count the record."""
        cdef Entries found = Entries()
        self.collect(record, len(record), found)
        return found.exempt
