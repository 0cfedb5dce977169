"""Some fields of a record as Python values, the rest left alone.

Values are what a decoded row has at these paths: models, members of enums, what custom types load. A record that is too old for a
field has its default, else None.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from modelvault._core.buffer cimport Reader, fail_corrupt, get16
from modelvault._core.codec cimport Codec
from modelvault._core.container cimport Custom
from modelvault._core.objects cimport Part, Step, bare_codec, fill_of
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport element_of, find, leave, take_part, take_present, take_size


cdef object read_field(Step* step, const Part* part, bint present, int depth):
    """The value of a field as a row shows it."""
    cdef Reader reader
    cdef Codec codec = <Codec>step.codec
    value = None
    if present and step.offset >= 0:
        value = codec.read_fixed(part.data, part.wide)
    elif present:
        reader.at, reader.end, reader.depth = part.data, part.data + part.size, depth
        value = codec.read(&reader)
    return value if step.outer == NULL else (<Custom>step.outer).loaded(value)


# One path

cdef object read_path(Route route, Py_ssize_t i, const unsigned char* data, size_t size):
    """The value of a path from the object in front of hop `i` on."""
    cdef Part part
    cdef Step* step
    cdef bint present
    if i == route.count:
        return below(route.newest, i + 1, route.value())
    step = route.step(i)
    present = leave(find(&route.hops[i], data, size, &part))
    if i + 1 == len(route.path):
        return read_field(step, &part, present, <int>i + 1)
    if not present:
        return None
    if not route.hops[i].many:
        return read_path(route, i + 1, part.data, part.size)
    return read_each(route, i, &part)


cdef list read_each(Route route, Py_ssize_t i, const Part* part):
    """The values of a path behind a list that hop `i` led to."""
    cdef Span span
    cdef Part inner
    cdef size_t count = 0, k
    cdef list values = []
    span.at, span.end = part.data, part.data + part.size
    leave(take_size(&span, &count))
    for k in range(count):
        if route.hops[i].holes and not leave(take_present(&span)):
            values.append(None)
            continue
        leave(take_part(&span, &inner))
        values.append(read_path(route, i + 1, inner.data, inner.size))
    if span.at != span.end:
        fail_corrupt("bytes are left behind a list")
    return values


cdef object below(Route route, Py_ssize_t i, object value):
    """What a default has at the rest of a path; None below None."""
    if i == len(route.path) or value is None:
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [below(route, i, item) for item in value]
    return below(route, i + 1, part_of(value, route.objects[i], route.path[i]))


cdef object part_of(object value, Object place, str name):
    """A field of an object in Python: of an instance, else of a dict."""
    if isinstance(value, dict):
        return value.get(name)
    attribute = place.attributes[place.places[name]]
    return None if attribute is None else getattr(value, attribute, None)


# Several paths, nested as they are in the row

cdef dict grown(tuple paths):
    """The paths as a tree: name -> tree, None for a whole field. A path covers those below it."""
    cdef dict tree = {}
    for path in sorted(paths, key=len):
        place = tree
        for name in path[:len(path) - 1]:
            place = place.setdefault(name, {})
            if place is None:
                break
        else:
            place[path[len(path) - 1]] = None
    return tree


cdef Object inner_object(Codec codec, bint* many, bint* holes):
    """The object that a field holds, or the elements of its list are; None for any other field."""
    cdef Codec element = element_of(codec, holes)
    many[0] = element is not None
    codec = element if many[0] else bare_codec(codec)
    return codec if isinstance(codec, Object) else None


cdef class Branch:
    """The wanted fields of an object, in the records of one schema version."""

    def __init__(self, Object place not None, Object newest not None, dict tree not None):
        cdef bint many = False, holes = False
        self.place = place
        self.newest = newest
        self.picks = []
        for name in sorted(tree):
            number = place.places.get(name, -1)
            inner = tree[name]
            if inner is not None and number >= 0:
                fresh = inner_object(newest.codecs[newest.places[name]], &many, &holes)
                inner = Branch(inner_object(place.codecs[number], &many, &holes) or fresh, fresh, inner)
                (<Branch>inner).many, (<Branch>inner).holes = many, holes
            self.picks.append((number, name, inner))

    cdef dict pick(self, const unsigned char* data, size_t size, int depth):
        """The wanted fields of an object; below an object that is None there are none."""
        cdef dict found = {}
        cdef Part part
        cdef Py_ssize_t number
        cdef Step* step
        for number, name, inner in self.picks:
            if number < 0:
                self.add_default(found, name, inner)
                continue
            step = &self.place.steps[number]
            present = self.place.find_part(data, size, step, &part)
            if inner is None:
                found[name] = read_field(step, &part, present, depth)
            elif present:
                found[name] = (<Branch>inner).pick_part(&part, depth + 1)
        return found

    cdef object pick_part(self, const Part* part, int depth):
        """The wanted fields of the object in these bytes, or of each object of a list."""
        cdef Span span
        cdef Part inner
        cdef size_t count = 0, k
        cdef list found = []
        if not self.many:
            return self.pick(part.data, part.size, depth)
        span.at, span.end = part.data, part.data + part.size
        leave(take_size(&span, &count))
        for k in range(count):
            if self.holes and not leave(take_present(&span)):
                found.append(None)
                continue
            leave(take_part(&span, &inner))
            found.append(self.pick(inner.data, inner.size, depth))
        if span.at != span.end:
            fail_corrupt("bytes are left behind a list")
        return found

    cdef int add_default(self, dict found, str name, dict tree) except -1:
        """What stands in for a field that the record is too old for; nothing if it has no default and cannot be None."""
        cdef bint many = False, holes = False
        cdef Py_ssize_t number = self.newest.places[name]
        given, value = fill_of(self.newest.fields[number], self.newest.steps[number].null_mask != 0)
        if not given:
            return 0
        if tree is None:
            found[name] = value
        elif value is not None:
            found[name] = pruned(value, inner_object(self.newest.codecs[number], &many, &holes), tree)
        return 0


cdef object pruned(object value, Object place, dict tree):
    """The wanted fields of an object in Python."""
    cdef bint many = False, holes = False
    cdef dict found = {}
    if value is None:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        return [pruned(item, place, tree) for item in value]
    for name in sorted(tree):
        part = part_of(value, place, name)
        if tree[name] is None:
            found[name] = part
        elif part is not None:
            found[name] = pruned(part, inner_object(place.codecs[place.places[name]], &many, &holes), tree[name])
    return found


cdef class Columns(Shape):
    """The values at `paths` in the records of these schema versions; `codecs` from the oldest to the newest.

    As the shape of rows it makes tuples of values, or with `nested` dicts.

    Raises ModelVaultQueryError for a path that the newest version does not have.
    """

    def __init__(self, codecs not None, paths not None, bint nested=False):
        cdef RecordCodec newest = codecs[len(codecs) - 1]
        cdef RecordCodec codec
        self.nested = nested
        self.paths = tuple([tuple(path) for path in paths])
        self.versions, self.routes, self.branches = [], [], []
        fresh = [Route(newest, path) for path in self.paths]
        tree = grown(self.paths)
        for codec in reversed(codecs):
            routes = fresh if codec is newest else [Route(codec, route.path, route) for route in fresh]
            self.versions.append(codec.version)
            self.routes.append(routes)
            self.branches.append(Branch(codec.root, newest.root, tree))

    cdef Py_ssize_t version_of(self, const unsigned char* record, size_t size) except -1:
        """The place of the record's schema version."""
        cdef Py_ssize_t i
        if size >= 2:
            for i in range(len(self.versions)):
                if get16(record) == <int>self.versions[i]:
                    return i
        return fail_corrupt("it is of no known schema version")

    cdef object decode_at(self, const unsigned char* data, size_t size):
        return self.pick(data, size) if self.nested else self.read(data, size)

    cdef tuple read(self, const unsigned char* record, size_t size):
        """The values, one for each path: None below None, a list where the path goes through a list."""
        cdef list routes = self.routes[self.version_of(record, size)]
        return tuple([read_path(route, 0, record + 2, size - 2) for route in routes])

    cdef dict pick(self, const unsigned char* record, size_t size):
        """A dict with these fields only, nested as in the row; nothing below an object that is None."""
        cdef Branch branch = self.branches[self.version_of(record, size)]
        return branch.pick(record + 2, size - 2, 1)

    def values(self, bytes record not None) -> tuple:
        """The values, one for each path: None below None, a list where the path goes through a list. CorruptionError."""
        return self.read(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))

    def project(self, bytes record not None) -> dict:
        """A dict with these fields only, nested as in the row; nothing below an object that is None. CorruptionError."""
        return self.pick(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
