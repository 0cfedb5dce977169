"""Conditions checked against the newest schema version of a collection, and converted to what is compared.

Values are compared by their keys (docs/format.md section 5): of a fixed width as pairs of numbers, text as bytes. What has no
key, as the values of unions do, is compared by `free_key`, in which numbers of all kinds are one.
"""

import re
from enum import Enum

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t

from modelvault._core.anything cimport Anything
from modelvault._core.buffer cimport Buffer, Reader, put16, put64_big, take
from modelvault._core.codec cimport Codec
from modelvault._core.container cimport List, Set, Tuple, Union, VarTuple
from modelvault._core.keys cimport KeyCodec
from modelvault._core.leaf cimport (
    BYTES, CHOICE, DECIMAL, OTHER, STRING, Value, form_of, free_key, load_fixed, same_domain,
)
from modelvault._core.match cimport ANY_MANY, ANY_ONE, is_like
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport Route, leave
from modelvault._core.text cimport Bytes, String

from modelvault.errors import ModelVaultQueryError

cdef enum:
    DEPTH = 200                 # groups inside one another

cdef frozenset OPERATORS = frozenset(
    ("eq", "ne", "lt", "le", "gt", "ge", "in", "between", "null", "startswith", "endswith", "contains", "like", "regex"))
cdef frozenset TEXT_OPS = frozenset(("startswith", "endswith", "contains", "like", "regex"))

cdef int NESTED_COST = 4
cdef int MANY_COST = 20
cdef int ASK_COST = 1000


# Values in Python

cdef Codec TEXT = String()
cdef Codec DATA = Bytes()


cdef bint same(object a, object b) except -1:
    """Whether two values that have no common key are equal."""
    left, right = free_key(a), free_key(b)
    if left is not None and right is not None:
        return left == right
    return bool(a == b)


cdef tuple stripped(object type):
    """A type without optional and custom around it, and the dumps of the custom ones, the outermost first."""
    cdef list dumps = []
    while type.kind in ("optional", "custom"):
        if type.kind == "custom" and type.python is not None:
            dumps.append(type.python[0])
        if not type.items:
            break
        type = type.items[0]
    return type, dumps


cdef bint is_container(object value):
    return isinstance(value, (list, tuple, set, frozenset))


# Compiling

cdef class Asked:
    """A test, checked and converted against the newest schema version.

    `keys` are the values as bytes that compare: the pair of a fixed form in 16 bytes, text, keys, or free keys.
    """

    def __init__(self, Route route not None, str op not None, tuple values not None):
        if op not in OPERATORS:
            raise ModelVaultQueryError(f'query error: there is no operator "{op}": {", ".join(sorted(OPERATORS))}')
        self.route = route
        self.path = route.path
        self.op = "eq" if op == "ne" else op
        self.negated = op == "ne"
        self.form = form_of(route.leaf)
        self.values = []
        self.keys = []
        self.prepare(values)
        self.cost = 1 + NESTED_COST * (len(self.path) - 1) + (self.form > CHOICE)
        if route.many:
            self.cost += MANY_COST
        if self.in_python(route):
            self.cost = ASK_COST

    cdef bint in_python(self, Route route):
        """Whether the test needs Python objects in these records."""
        cdef Form form = form_of(route.leaf)
        if self.never and not self.whole:
            # A union or `any` may hold None where the field itself may not be None.
            return form == OTHER and (
                route.hops[route.count - 1].holes or isinstance(route.leaf, (Union, Anything)))
        if form == CHOICE and form == self.form:
            return self.whole
        if self.whole or form == OTHER or form == DECIMAL or self.op == "regex":
            return True
        return not same_domain(form, self.form)

    cdef int prepare(self, tuple values) except -1:
        """Convert the values, or raise what is wrong with them."""
        cdef list rest = [value for value in values if value is not None]
        cdef bint listed = self.route.hops[self.route.count - 1].many
        cdef bint element = listed and self.op == "contains"
        if element:
            self.op = "eq"
        if self.op == "null" or self.op == "eq" or self.op == "in":
            self.absent = self.op == "null" or len(rest) < len(values)
            self.never = not rest
        elif len(rest) < len(values):
            raise ModelVaultQueryError(f'query error: {self.op} cannot compare "{".".join(self.path)}" with None')
        if self.op in TEXT_OPS:
            return self.prepare_text(rest[0])
        if listed and not element and rest and is_container(rest[0]) and self.op in ("eq", "in"):
            self.whole = True
            self.values = [round_trip(self.route.whole, alike(self.route.whole, value), False) for value in rest]
            return 0
        return self.prepare_values(rest)

    cdef int prepare_text(self, object value) except -1:
        """The operand of a test of text."""
        cdef Buffer out = Buffer()
        cdef bint plain = self.op in ("startswith", "endswith", "contains")
        if not (self.form == STRING or self.form == CHOICE or self.form == OTHER or self.form == BYTES and plain):
            raise ModelVaultQueryError(f'query error: {self.op} needs a string field, "{".".join(self.path)}" is none')
        self.values = [value]
        if self.op == "regex":
            try:
                self.pattern = re.compile(value)
            except re.error as error:
                raise ModelVaultQueryError(f"query error: invalid regular expression: {error}") from None
            return 0
        (TEXT if self.form != BYTES and not (self.form == OTHER and plain and isinstance(value, bytes)) else DATA).write(
            out, value)
        self.keys = [bytes(out)]
        if self.op == "like":
            self.tokens = like_tokens(self.keys[0])
        return 0

    cdef int prepare_values(self, list values) except -1:
        """The values of a comparison, converted as for a key."""
        cdef KeyCodec codec
        kind, dumps = stripped(self.route.type)
        if self.route.hops[self.route.count - 1].many:
            kind, dumps = stripped(kind.items[0])
        if self.form == OTHER:
            return self.prepare_free(values, dumps)
        codec = KeyCodec(kind)
        for value in values:
            for dump in dumps:
                value = dump(value)
            self.values.append(value)
            self.keys.append(comparable(codec.codec, self.form, value))
        return 0

    cdef int prepare_free(self, list values, list dumps) except -1:
        """Values of a type that has no key: compared by their free key, by equality if they have none."""
        cdef Codec codec = self.route.leaf
        cdef bint equality = self.op == "eq" or self.op == "in"
        for value in values:
            for dump in dumps:
                value = dump(value)
            if equality and (not isinstance(codec, Tuple) or is_container(value)):
                value = round_trip(codec, alike(codec, value), True)
            key = free_key(value)
            if key is None and not equality:
                raise ModelVaultQueryError(f'query error: "{".".join(self.path)}" has no order: compare one of its parts')
            self.values.append(value)
            self.keys.append(key)
        return 0

    cdef bint fits_key(self, bytes key) except -1:
        """Whether a comparison holds for a value with this key, of the same domain as `keys`."""
        return compare_keys(self.op, key, self.keys)

    cdef bint fits_value(self, object value) except -1:
        """Whether the test holds for a decoded value."""
        cdef list limits
        if isinstance(value, Enum):
            value = value.value
        if self.op == "regex":
            return isinstance(value, str) and self.pattern.search(value) is not None
        if self.op in TEXT_OPS:
            return self.fits_text(value)
        if self.op == "eq" or self.op == "in":
            for other in self.values:
                if same(value, other):
                    return True
            return False
        key = free_key(value)
        limits = [free_key(other) for other in self.values]
        for limit in limits:
            if key is None or limit is None or key[0] != limit[0]:
                return False
        return compare_keys(self.op, key, limits)

    cdef bint fits_text(self, object value) except -1:
        """Whether a test of text holds for a decoded value."""
        cdef bytes data
        wanted = self.values[0]
        if self.op == "like":
            if not isinstance(value, str):
                return False
            data = value.encode()
            return is_like(
                <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                <const uint16_t*>PyBytes_AS_STRING(self.tokens), PyBytes_GET_SIZE(self.tokens) // 2)
        if not isinstance(value, str if isinstance(wanted, str) else bytes):
            return False
        if self.op == "contains":
            return wanted in value
        return value.startswith(wanted) if self.op == "startswith" else value.endswith(wanted)


cdef bint compare_keys(str op, bytes key, list keys) except -1:
    """A comparison of keys."""
    if op == "eq" or op == "in":
        return key in keys
    if op == "between":
        return keys[0] <= key <= keys[1]
    if op == "lt":
        return key < keys[0]
    if op == "le":
        return key <= keys[0]
    return key > keys[0] if op == "gt" else key >= keys[0]


cdef object alike(Codec codec, object value):
    """A container as the class that the codec takes: the elements count, not how they were given."""
    if not is_container(value):
        return value
    if isinstance(codec, List):
        return list(value)
    if isinstance(codec, (VarTuple, Tuple)):
        return tuple(value)
    return set(value) if isinstance(codec, Set) else value


cdef object round_trip(Codec codec, object value, bint inlined):
    """A value as it would come out of a record."""
    cdef Buffer out = Buffer()
    cdef Reader reader
    if inlined:
        codec.write_inline(out, value)
    else:
        codec.write(out, value)
    reader.at, reader.end, reader.depth = out.data, out.data + out.size, 0
    return codec.read_inline(&reader) if inlined else codec.read(&reader)


cdef bytes comparable(Codec codec, Form form, object value):
    """A value in the form of `Asked.keys`."""
    cdef Buffer out = Buffer()
    cdef unsigned char fixed[16]
    cdef Value pair
    cdef bint wide
    if form < CHOICE:
        wide = codec.write_fixed(value, fixed)
        pair.minor = 0
        leave(load_fixed(form, fixed, wide, &pair))
        put64_big(take(out, 8), pair.major)
        put64_big(take(out, 8), pair.minor)
    elif form == STRING or form == BYTES:
        codec.write(out, value)
    else:
        codec.key(out, value, False)
    return bytes(out)


cdef bytes like_tokens(bytes pattern):
    """The tokens of a LIKE pattern, two bytes each. ModelVaultQueryError for an escape at the end."""
    cdef Buffer out = Buffer()
    cdef bint escaped = False
    cdef Py_ssize_t i
    cdef uint16_t token
    for i in range(len(pattern)):
        token = <unsigned char>pattern[i]
        if not escaped and token == 92:
            escaped = True
            continue
        if not escaped and token == 37:
            token = ANY_MANY
        elif not escaped and token == 95:
            token = ANY_ONE
        put16(take(out, 2), token)
        escaped = False
    if escaped:
        raise ModelVaultQueryError("query error: a like pattern must not end with a backslash: write \\\\ for one")
    return bytes(out)


cdef class Group:
    """Conditions of which every, or some, must hold; the cheapest first."""

    def __init__(self, str kind not None, bint negated, list parts not None):
        self.kind = kind
        self.negated = negated
        # One undecided part must not hide what a cheaper one decides.
        self.parts = sorted(parts, key=cost_of)
        self.cost = sum([cost_of(part) for part in parts])


def cost_of(part):
    """What a condition takes, roughly."""
    return (<Asked>part).cost if isinstance(part, Asked) else (<Group>part).cost


cdef object build(RecordCodec newest, object condition, bint negated, int depth):
    """The tree of a condition: Asked and Group."""
    cdef Asked asked
    cdef str kind = type(condition).__name__
    while kind == "Negation":
        negated = not negated
        condition = condition.part
        kind = type(condition).__name__
    if depth > DEPTH:
        raise ModelVaultQueryError(f"query error: conditions are nested deeper than {<int>DEPTH} levels")
    if kind == "Every" or kind == "Some":
        parts = [build(newest, part, False, depth + 1) for part in flattened(kind, condition)]
        return parts[0] if len(parts) == 1 and not negated else Group(kind, negated, parts)
    if kind != "Test":
        raise TypeError(f"'{kind}' object is not a condition")
    if condition.op == "in" and len({is_container(value) for value in condition.values}) > 1:
        parts = [Asked(Route(newest, condition.path), "eq", (value,)) for value in condition.values]
        return Group("Some", negated, parts)
    asked = Asked(Route(newest, condition.path), condition.op, condition.values)
    asked.negated ^= negated
    return asked


cdef list flattened(str kind, object condition):
    """The parts of a group, with the parts of groups of the same kind in their place."""
    cdef list parts = []
    cdef list waiting = [condition]
    while waiting:
        found = waiting.pop()
        if type(found).__name__ == kind:
            waiting.extend(reversed(found.parts))
        else:
            parts.append(found)
    return parts
