"""The order of rows as bytes: one memcmp decides, and no two rows are alike.

A sort key is, for each term of the order, the component of an index entry (a tag, then a key: docs/format.md section 5), then the
primary key in its open form. Where the direction is descending, the bytes are complemented; a primary key of text then stands in
the form of a component, because what is complemented must end by itself.

So a sort key of ascending terms is the index entry of these fields, and None comes last, descending first.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from modelvault._core.anything cimport Anything
from modelvault._core.buffer cimport Reader, fail_corrupt, get16, put_byte, put_bytes
from modelvault._core.codec cimport Codec
from modelvault._core.container cimport Union
from modelvault._core.keys cimport NONE_TAG, VALUE_TAG
from modelvault._core.leaf cimport CHOICE, OTHER, form_of, free_key
from modelvault._core.objects cimport bare_codec
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport PRESENT, find, leave
from modelvault._core.scalar cimport Choice
from modelvault._core.text cimport Bytes, String, put_text_key, read_text_key

from modelvault.errors import CorruptionError, ModelVaultQueryError


cdef int complement(Buffer out, size_t start) except -1:
    """Turn the order of what was written since `start` around."""
    cdef size_t i
    for i in range(start, out.size):
        out.data[i] = ~out.data[i]
    return 0


cdef int put_key(Buffer out, bytes key) except -1:
    return put_bytes(out, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))


cdef int fail_order(tuple path) except -1:
    raise ModelVaultQueryError(f'query error: rows have no order by "{".".join(path)}": name a scalar field')


cdef class Term:
    """One term of an order, in the records of one schema version."""

    def __init__(self, Route route not None, bint desc):
        cdef Route newest = route if route.newest is None else route.newest
        cdef Buffer out
        cdef Part part
        self.route = route
        self.desc = desc
        self.form = form_of(newest.leaf)
        if newest.many or self.form == OTHER and not isinstance(newest.leaf, (Union, Anything)):
            fail_order(route.path)
        if route.missing:
            out = Buffer()
            found = route.stand_in(out, &part)
            self.constant = Term(newest, desc).constant_of(route.count, found, &part)
        elif self.form == CHOICE and form_of(route.leaf) == CHOICE:
            self.choices = choice_keys(route.leaf, newest.leaf)

    cdef bytes constant_of(self, Py_ssize_t i, int found, Part* part):
        """The component where hop `i` led to `part`, as a value of its own."""
        cdef Buffer out = Buffer()
        self.put_part(out, i, found, part)
        return bytes(out)

    cdef int put(self, Buffer out, const unsigned char* data, size_t size) except -1:
        """Append the component of an object."""
        cdef Part part
        cdef int found
        if self.route.count == 0:
            return put_key(out, self.constant)
        found = leave(find(&self.route.hops[0], data, size, &part))
        return self.put_part(out, 0, found, &part)

    cdef int put_part(self, Buffer out, Py_ssize_t i, int found, Part* part) except -1:
        """Append the component where hop `i` led to `part`."""
        while found == PRESENT:
            i += 1
            if i == self.route.count:
                if self.constant is not None:
                    return put_key(out, self.constant)
                return self.put_value(out, part)
            found = leave(find(&self.route.hops[i], part.data, part.size, part))
        return put_byte(out, NONE_TAG)

    cdef int put_value(self, Buffer out, const Part* part) except -1:
        """Append the component of the value in these bytes."""
        cdef Codec codec = self.route.whole
        cdef Reader reader
        if self.form == OTHER:
            reader.at, reader.end, reader.depth = part.data, part.data + part.size, 0
            return self.put_free(out, codec.read_fixed(part.data, part.wide) if codec.width else codec.read(&reader))
        put_byte(out, VALUE_TAG)
        if self.choices is None:
            return codec.key_stored(out, part.data, part.size, part.wide, False)
        if part.size < 2 or get16(part.data) >= <size_t>len(self.choices):
            return fail_corrupt("an enum has no such value")
        return put_key(out, self.choices[get16(part.data)])

    cdef int put_free(self, Buffer out, object value) except -1:
        """Append the component of a value without a key of its own."""
        if value is None:
            return put_byte(out, NONE_TAG)
        key = free_key(value)
        if key is None:
            return fail_order(self.route.path)
        put_byte(out, VALUE_TAG)
        return put_key(out, key)


cdef tuple choice_keys(Choice codec, Choice newest):
    """The keys of a version's values, by place, as the newest version has them."""
    return tuple([
        newest.component_keys[newest.place(value)] if value in newest.values else codec.component_keys[i]
        for i, value in enumerate(codec.values)])


cdef class SortKeys:
    """An order by `orders` (each with `path` and `desc`), then by the primary key; `codecs` from the oldest version to the newest.

    `desc` is the direction of the primary key; None: that of the last term. Raises ModelVaultQueryError for a path that the
    newest version does not have, and for one that leads to no scalar.
    """

    def __init__(self, codecs not None, orders not None, desc=None):
        cdef RecordCodec newest = codecs[len(codecs) - 1]
        cdef RecordCodec codec
        self.desc = bool(desc) if desc is not None else bool(orders) and orders[len(orders) - 1].desc
        self.textual = True
        if newest.primary is not None:
            primary = bare_codec(newest.root.codecs[newest.root.places[newest.primary]])
            self.textual = isinstance(primary, (String, Bytes))
        self.versions = []
        self.terms = []
        for codec in reversed(codecs):
            terms = []
            for order in orders:
                route = Route(newest, order.path)
                if codec is not newest:
                    route = Route(codec, order.path, route)
                terms.append(Term(route, order.desc))
            self.versions.append(codec.version)
            self.terms.append(terms)

    cdef list terms_of(self, const unsigned char* record, size_t size):
        """The terms for the schema version of a record."""
        cdef Py_ssize_t i
        if size >= 2:
            for i in range(len(self.versions)):
                if get16(record) == <int>self.versions[i]:
                    return self.terms[i]
        fail_corrupt("it is of no known schema version")

    cdef int write(
        self, Buffer out, const unsigned char* record, size_t size, const unsigned char* key, size_t key_size
    ) except -1:
        """Append the sort key of a row."""
        cdef Term term
        cdef size_t start
        for term in self.terms_of(record, size):
            start = out.size
            term.put(out, record + 2, size - 2)
            if term.desc:
                complement(out, start)
        start = out.size
        if not self.desc:
            return put_bytes(out, key, key_size)
        if self.textual:
            put_text_key(out, key, key_size, False)
        else:
            put_bytes(out, key, key_size)
        return complement(out, start)

    def key(self, bytes record not None, bytes key not None) -> bytes:
        """The sort key of a row: its record and its packed primary key. CorruptionError for a damaged record."""
        cdef Buffer out = Buffer()
        self.write(
            out, <const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record),
            <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return bytes(out)

    def parts(self, bytes key not None) -> tuple[list[bytes], bytes]:
        """(components, primary key) of a sort key: what an ascending index over these fields has for the row.

        CorruptionError for bytes that are no sort key of this order.
        """
        cdef bytes flipped = bytes([byte ^ 0xFF for byte in key])
        cdef const unsigned char* start
        cdef Reader reader
        cdef Term term
        cdef Py_ssize_t at = 0
        parts = []
        for term in self.terms[0]:
            source = flipped if term.desc else key
            start = <const unsigned char*>PyBytes_AS_STRING(source)
            reader.at, reader.end, reader.depth = start + at, start + PyBytes_GET_SIZE(source), 0
            skip_component(&reader, term)
            parts.append(source[at:reader.at - start])
            at = reader.at - start
        source = flipped if self.desc else key
        if not (self.desc and self.textual):
            return parts, source[at:]
        start = <const unsigned char*>PyBytes_AS_STRING(source)
        reader.at, reader.end, reader.depth = start + at, start + PyBytes_GET_SIZE(source), 0
        primary = read_text_key(&reader, False)
        if reader.at != reader.end:
            raise CorruptionError("damaged key: bytes are left behind its value")
        return parts, primary


cdef int skip_component(Reader* reader, Term term) except -1:
    """Go behind the component of a term."""
    if reader.at == reader.end or reader.at[0] not in (VALUE_TAG, NONE_TAG):
        return fail_corrupt("a sort key has an unknown tag")
    cdef bint present = reader.at[0] == VALUE_TAG
    reader.at += 1
    if not present:
        return 0
    if term.form == OTHER:
        fail_order(term.route.path)
    term.route.leaf.read_key(reader, False)
    return 0
