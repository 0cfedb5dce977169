"""Conditions compiled to run over encoded records: without the GIL, and without making Python objects.

A Program holds, for each schema version, the condition as a flat array of nodes: a group (every, some) is followed by its parts, a
test knows the hops to its field and what to compare with. Cheap tests come first. An answer has three values: a test that needs
Python objects (a regular expression, a value of a union) is undecided, which matters only where it would decide the whole.

Values are compared by their keys (docs/format.md section 5): of a fixed width as pairs of numbers, text as bytes. What has no
key, as the values of unions do, is compared by `free_key`, in which numbers of all kinds are one.
"""

import re
from enum import Enum

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.string cimport memchr, memcmp, memset

from modelvault._core.anything cimport Anything
from modelvault._core.buffer cimport Reader, fail_corrupt, get16, get64_big, put16, put64_big, put_byte, take
from modelvault._core.codec cimport Codec
from modelvault._core.container cimport List, Set, Tuple, Union, VarTuple
from modelvault._core.keys cimport KeyCodec
from modelvault._core.leaf cimport (
    BYTES, CHOICE, DECIMAL, OTHER, STRING, Value, form_of, free_key, load_fixed, load_inline, same_domain,
)
from modelvault._core.objects cimport Object
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport ABSENT, DAMAGED, PRESENT, find, leave, take_part, take_present, take_size
from modelvault._core.scalar cimport Bytes, Choice, String

from modelvault.errors import ModelVaultQueryError

cdef enum Kind:
    CONSTANT                    # `absent` is the answer
    EVERY
    SOME
    NEVER                       # no value fits
    GIVEN                       # any value has the same answer
    BETWEEN                     # a pair
    ONE_OF                      # one of many pairs, in order
    TABLE                       # a choice, by its place
    SAME                        # text
    RANGE                       # text
    ONE_TEXT                    # one of many texts, in order
    PREFIX
    SUFFIX
    INSIDE
    LIKE
    ASK                         # needs Python

cdef enum:
    DEPTH = 200                 # groups inside one another
    ANY_ONE = 256               # tokens of like: one character, any number of characters
    ANY_MANY = 257

cdef dict TEXT_OPS = {
    "startswith": PREFIX, "endswith": SUFFIX, "contains": INSIDE, "like": LIKE, "regex": ASK,
}

cdef int NESTED_COST = 4
cdef int MANY_COST = 20
cdef int ASK_COST = 1000


# Matching: nothing below touches a Python object

cdef inline int compare_text(const unsigned char* a, size_t a_size, const unsigned char* b, size_t b_size) noexcept nogil:
    cdef int order = memcmp(a, b, min(a_size, b_size))
    return order if order else (a_size > b_size) - (a_size < b_size)


cdef inline bint at_least(const Pair* low, const Value* value) noexcept nogil:
    return value.major > low.major or (value.major == low.major and value.minor >= low.minor)


cdef inline bint at_most(const Pair* high, const Value* value) noexcept nogil:
    return value.major < high.major or (value.major == high.major and value.minor <= high.minor)


cdef bint is_one_of(const Node* node, const Value* value) noexcept nogil:
    """Whether a pair is in the node's list."""
    cdef const Pair* pairs = <const Pair*>node.many
    cdef size_t low = 0, high = node.many_count, middle
    while low < high:
        middle = (low + high) // 2
        if at_least(&pairs[middle], value):
            if at_most(&pairs[middle], value):
                return True
            low = middle + 1
        else:
            high = middle
    return False


cdef bint is_one_text(const Node* node, const Value* value) noexcept nogil:
    """Whether a text is in the node's list."""
    cdef const Span* spans = <const Span*>node.many
    cdef size_t low = 0, high = node.many_count, middle
    cdef int order
    while low < high:
        middle = (low + high) // 2
        order = compare_text(value.data, value.size, spans[middle].at, spans[middle].end - spans[middle].at)
        if order == 0:
            return True
        if order > 0:
            low = middle + 1
        else:
            high = middle
    return False


cdef bint is_inside(const unsigned char* data, size_t size, const unsigned char* part, size_t length) noexcept nogil:
    """Whether `part` is somewhere in the data."""
    cdef const unsigned char* end
    if length == 0:
        return True
    if length > size:
        return False
    end = data + (size - length + 1)
    while True:
        data = <const unsigned char*>memchr(data, part[0], end - data)
        if data == NULL:
            return False
        if memcmp(data, part, length) == 0:
            return True
        data += 1
        if data == end:
            return False


cdef inline size_t after_character(const unsigned char* data, size_t size, size_t at) noexcept nogil:
    """Behind the UTF-8 character that begins at `at`."""
    at += 1
    while at < size and data[at] & 0xC0 == 0x80:
        at += 1
    return at


cdef bint is_like(const unsigned char* data, size_t size, const uint16_t* tokens, size_t count) noexcept nogil:
    """Whether a text fits a pattern of tokens: on a mismatch the last ANY_MANY takes one character more."""
    cdef size_t at = 0, token = 0, again_at = 0, again_token = 0
    cdef bint again = False
    while at < size:
        if token < count and tokens[token] == ANY_MANY:
            token += 1
            again, again_token, again_at = True, token, at
        elif token < count and tokens[token] == ANY_ONE:
            at = after_character(data, size, at)
            token += 1
        elif token < count and tokens[token] == data[at]:
            at += 1
            token += 1
        elif again:
            again_at = after_character(data, size, again_at)
            at, token = again_at, again_token
        else:
            return False
    while token < count and tokens[token] == ANY_MANY:
        token += 1
    return token == count


cdef int judge(const Node* node, const Value* value) noexcept nogil:
    """The answer for one value."""
    if node.kind == BETWEEN:
        return at_least(&node.low, value) and at_most(&node.high, value)
    if node.kind == SAME:
        return value.size == node.text_size and memcmp(value.data, node.text, value.size) == 0
    if node.kind == TABLE:
        if value.minor >= node.many_count:
            return DAMAGE
        return (<const unsigned char*>node.many)[value.minor]
    if node.kind == RANGE:
        return (
            (node.text == NULL or compare_text(value.data, value.size, node.text, node.text_size) >= 0)
            and (node.end == NULL or compare_text(value.data, value.size, node.end, node.end_size) < 0))
    if node.kind == PREFIX:
        return value.size >= node.text_size and memcmp(value.data, node.text, node.text_size) == 0
    if node.kind == SUFFIX:
        return (
            value.size >= node.text_size
            and memcmp(value.data + (value.size - node.text_size), node.text, node.text_size) == 0)
    if node.kind == INSIDE:
        return is_inside(value.data, value.size, node.text, node.text_size)
    if node.kind == LIKE:
        return is_like(value.data, value.size, <const uint16_t*>node.many, node.many_count)
    if node.kind == ONE_OF:
        return is_one_of(node, value)
    if node.kind == ONE_TEXT:
        return is_one_text(node, value)
    return node.given


cdef int judge_each(const Node* node, int i, const Part* part) noexcept nogil:
    """The answer for any of the elements of a container that hop `i` led to."""
    cdef const Hop* hop = &node.hops[i]
    cdef Span span
    cdef Part inner
    cdef Value value
    cdef size_t count = 0, k
    cdef int answer
    if i + 1 == node.count and node.kind == NEVER and not hop.holes:
        return NO
    span.at, span.end = part.data, part.data + part.size
    if take_size(&span, &count) < 0:
        return DAMAGE
    for k in range(count):
        answer = take_present(&span) if hop.holes else PRESENT
        if answer == ABSENT:
            answer = node.absent
        elif answer == PRESENT:
            if i + 1 < node.count:
                if take_part(&span, &inner) < 0:
                    return DAMAGE
                answer = follow(node, i + 1, inner.data, inner.size)
            elif load_inline(node.form, &span, &value) < 0:
                return DAMAGE
            else:
                answer = judge(node, &value)
        if answer != NO:
            return answer
    return NO if span.at == span.end else DAMAGE


cdef int arrive(const Node* node, int i, int found, Part* part) noexcept nogil:
    """The answer of a test whose hop `i` led to `part`."""
    cdef Value value
    while found == PRESENT:
        if node.hops[i].many:
            return judge_each(node, i, part)
        i += 1
        if i == node.count:
            if node.form > CHOICE:
                value.data, value.size = part.data, part.size
            elif load_fixed(node.form, part.data, part.wide, &value) < 0:
                return DAMAGE
            return judge(node, &value)
        found = find(&node.hops[i], part.data, part.size, part)
    return DAMAGE if found < 0 else node.absent


cdef inline int follow(const Node* node, int i, const unsigned char* data, size_t size) noexcept nogil:
    """The answer of a test, from the object in front of hop `i` on."""
    cdef Part part
    cdef int found = find(&node.hops[i], data, size, &part)
    return arrive(node, i, found, &part)


cdef int evaluate(const Node* nodes, int i, const unsigned char* data, size_t size) noexcept nogil:
    """The answer of a node for the object of a row."""
    cdef const Node* node = &nodes[i]
    cdef int stop, answer, part
    if node.kind > SOME:
        if node.kind == ASK:
            return UNDECIDED
        answer = follow(node, 0, data, size)
    elif node.kind == CONSTANT:
        answer = node.absent
    else:
        stop = node.kind == SOME
        answer = not stop
        i += 1
        while i < node.next:
            part = evaluate(nodes, i, data, size)
            if part == stop or part == DAMAGE:
                answer = part
                break
            if part == UNDECIDED:
                answer = part
            i = nodes[i].next
    return answer ^ 1 if node.negated and answer >= 0 and answer <= 1 else answer


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


cdef class Question:
    """A test that needs Python, in the records of one schema version."""

    def __init__(self, Route route not None, Asked asked not None):
        self.route = route
        self.asked = asked

    cdef int ask(self, const unsigned char* data, size_t size) except -1:
        """The answer for the object of a row."""
        cdef Part part
        cdef int found = leave(find(&self.route.hops[0], data, size, &part))
        return self.answer(0, found, &part)

    cdef int answer(self, Py_ssize_t i, int found, Part* part) except -1:
        """The answer where hop `i` led to `part`."""
        while found == PRESENT:
            if self.route.hops[i].many and not (self.asked.whole and i + 1 == self.route.count):
                return self.answer_each(i, part)
            i += 1
            if i == self.route.count:
                return self.fits(part)
            found = leave(find(&self.route.hops[i], part.data, part.size, part))
        return self.asked.absent

    cdef int answer_each(self, Py_ssize_t i, const Part* part) except -1:
        """The answer for any of the elements of a container."""
        cdef Span span
        cdef Part inner
        cdef size_t count = 0, k
        cdef int found, answer = NO
        span.at, span.end = part.data, part.data + part.size
        leave(take_size(&span, &count))
        for k in range(count):
            found = leave(take_present(&span)) if self.route.hops[i].holes else PRESENT
            if not found:
                answer = self.asked.absent
            elif i + 1 < self.route.count:
                leave(take_part(&span, &inner))
                found = leave(find(&self.route.hops[i + 1], inner.data, inner.size, &inner))
                answer = self.answer(i + 1, found, &inner)
            else:
                answer = self.fits_inline(&span)
            if answer:
                return answer
        return NO if span.at == span.end else fail_corrupt("bytes are left behind a list")

    cdef int fits(self, const Part* part) except -1:
        """The answer for the value in these bytes."""
        cdef Codec codec = self.route.whole
        cdef Reader reader
        cdef Buffer key
        if self.by_key():
            key = Buffer()
            codec.key_stored(key, part.data, part.size, part.wide, False)
            return self.asked.fits_key(bytes(key))
        reader.at, reader.end, reader.depth = part.data, part.data + part.size, 0
        value = codec.read_fixed(part.data, part.wide) if codec.width else codec.read(&reader)
        return self.fits_value(value)

    cdef int fits_inline(self, Span* span) except -1:
        """The answer for the next element."""
        cdef Reader reader
        cdef Buffer key
        reader.at, reader.end, reader.depth = span.at, span.end, 0
        if self.by_key():
            key = Buffer()
            self.route.leaf.key_inline(key, &reader)
            span.at = reader.at
            return self.asked.fits_key(bytes(key))
        value = self.route.leaf.read_inline(&reader)
        span.at = reader.at
        return self.fits_value(value)

    cdef bint by_key(self):
        """Whether keys compare, so that no value has to be made."""
        return not self.asked.whole and self.asked.form == DECIMAL and form_of(self.route.leaf) == DECIMAL

    cdef bint fits_value(self, object value) except -1:
        if value is None:
            return self.asked.absent
        if self.asked.never:
            return False
        if isinstance(self.route.leaf, Tuple) and self.asked.values and not is_container(self.asked.values[0]):
            for item in value:
                if self.asked.absent if item is None else self.asked.fits_value(item):
                    return True
            return False
        return self.asked.fits_value(value)


cdef class Program:
    """A condition, ready to be asked of the records of all these schema versions; `codecs` from the oldest to the newest.

    Owns its nodes. Paths and values are checked here: ModelVaultQueryError for a path that the newest version does not have and for a test
    that its field cannot answer, and what a value of the wrong type raises in a key.
    """

    def __init__(self, codecs not None, condition not None):
        cdef RecordCodec newest
        cdef Py_ssize_t i
        self.codecs = tuple(codecs)
        self.kept = []
        self.questions = []
        self.complete = True
        newest = self.codecs[len(self.codecs) - 1]
        tree = build(newest, condition, False, 0)
        self.scripts = <Script*>PyMem_Calloc(len(self.codecs), sizeof(Script))
        if self.scripts == NULL:
            raise MemoryError()
        for i in range(len(self.codecs)):
            self.count = i + 1
            self.compile(&self.scripts[i], self.codecs[len(self.codecs) - 1 - i], tree)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyMem_Free(self.scripts[i].nodes)
        PyMem_Free(self.scripts)

    cdef int compile(self, Script* script, RecordCodec record, object tree) except -1:
        """The nodes for the records of one schema version."""
        script.version = record.version
        script.nodes = <Node*>PyMem_Calloc(nodes_of(tree), sizeof(Node))
        if script.nodes == NULL:
            raise MemoryError()
        return self.emit(script, record, tree)

    cdef int emit(self, Script* script, RecordCodec record, object part) except -1:
        """Append the nodes of a condition."""
        cdef Node* node = &script.nodes[script.count]
        script.count += 1
        if isinstance(part, Asked):
            self.emit_test(node, record, part)
        else:
            node.kind = EVERY if (<Group>part).kind == "Every" else SOME
            node.negated = (<Group>part).negated
            for inner in (<Group>part).parts:
                self.emit(script, record, inner)
        node.next = script.count
        return 0

    cdef int emit_test(self, Node* node, RecordCodec record, Asked asked) except -1:
        """A test in the records of one schema version."""
        cdef Route route = asked.route
        cdef Buffer out
        cdef Part part
        cdef Node newest
        cdef int found, answer
        if record is not route.record:
            route = Route(record, asked.path, asked.route)
        if not route.missing:
            self.aim(node, route, asked)
            node.negated = asked.negated
            return 0
        # What stands in for the field is asked once.
        out = Buffer()
        memset(&newest, 0, sizeof(Node))
        found = route.stand_in(out, &part)
        self.aim(&newest, asked.route, asked)
        if newest.kind == ASK:
            answer = (<Question>self.questions[newest.question]).answer(route.count, found, &part)
        else:
            answer = leave(arrive(&newest, <int>route.count, found, &part))
        node.negated = asked.negated
        node.kind, node.absent = CONSTANT, answer
        if route.count:
            self.kept.append(route)
            node.kind, node.absent, node.given = GIVEN, asked.absent, answer
            # The objects that the hops lead to are passed over like text.
            node.hops, node.count, node.form = route.hops, <int>route.count, STRING
        return 0

    cdef int aim(self, Node* node, Route route, Asked asked) except -1:
        """Fill a node: where to go, what to compare."""
        self.kept.append(route)
        node.hops, node.count, node.form = route.hops, <int>route.count, form_of(route.leaf)
        node.absent = asked.absent
        node.question = -1
        if asked.in_python(route):
            node.kind = ASK
            node.question = <int>len(self.questions)
            self.questions.append(Question(route, asked))
            self.complete = False
        elif asked.never:
            node.kind = NEVER
        elif node.form == CHOICE:
            self.aim_choice(node, route.leaf, asked)
        elif asked.op in TEXT_OPS:
            self.aim_text(node, asked)
        elif node.form < CHOICE:
            self.aim_pairs(node, asked)
        else:
            self.aim_range(node, asked)
        return 0

    cdef int aim_choice(self, Node* node, Choice codec, Asked asked) except -1:
        """The answer for each place in a list of values."""
        cdef Choice newest = asked.route.leaf
        cdef Buffer out = Buffer()
        cdef Py_ssize_t i
        node.kind = TABLE
        node.many_count = len(codec.values)
        for i in range(len(codec.values)):
            value = codec.values[i]
            if asked.op in TEXT_OPS:
                put_byte(out, asked.fits_value(value))
            else:
                known = newest.component_keys[newest.place(value)] if value in newest.values else codec.component_keys[i]
                put_byte(out, asked.fits_key(known))
        node.many = self.keep(bytes(out))
        return 0

    cdef int aim_text(self, Node* node, Asked asked) except -1:
        """A test of text that needs no order."""
        cdef bytes text = asked.tokens if asked.op == "like" else asked.keys[0]
        node.kind = TEXT_OPS[asked.op]
        node.text = self.keep(text)
        node.text_size = PyBytes_GET_SIZE(text)
        node.many, node.many_count = node.text, node.text_size // 2
        return 0

    cdef int aim_pairs(self, Node* node, Asked asked) except -1:
        """A comparison of pairs: an interval, or a list."""
        cdef list keys = asked.keys
        cdef bytes joined
        node.kind = BETWEEN
        node.high.major = node.high.minor = <uint64_t>-1
        if asked.op == "in":
            joined = native_pairs(sorted(set(keys)))
            node.kind, node.many = ONE_OF, self.keep(joined)
            node.many_count = PyBytes_GET_SIZE(joined) // sizeof(Pair)
        if asked.op in ("eq", "ge", "gt", "between"):
            read_pair(keys[0], &node.low)
        if asked.op in ("eq", "le", "lt", "between"):
            read_pair(keys[len(keys) - 1], &node.high)
        if asked.op == "gt":
            node.low.minor += 1
            node.low.major += node.low.minor == 0
            if node.low.major == 0 and node.low.minor == 0:
                node.kind = NEVER
        if asked.op == "lt":
            if node.high.major == 0 and node.high.minor == 0:
                node.kind = NEVER
            node.high.major -= node.high.minor == 0
            node.high.minor -= 1
        return 0

    cdef int aim_range(self, Node* node, Asked asked) except -1:
        """A comparison of text: from here on, and in front of there."""
        cdef list keys = asked.keys
        cdef bytes last = keys[len(keys) - 1]
        node.kind = RANGE
        if asked.op == "in":
            return self.aim_texts(node, sorted(set(keys)))
        if asked.op in ("eq", "ge", "gt", "between"):
            first = keys[0] + b"\0" if asked.op == "gt" else keys[0]
            node.text, node.text_size = self.keep(first), PyBytes_GET_SIZE(first)
        if asked.op == "eq":
            node.kind = SAME
        elif asked.op in ("le", "lt", "between"):
            if asked.op != "lt":
                last += b"\0"
            node.end, node.end_size = self.keep(last), PyBytes_GET_SIZE(last)
        return 0

    cdef int aim_texts(self, Node* node, list texts) except -1:
        """A list of texts, in order."""
        cdef bytes joined = PyBytes_FromStringAndSize(NULL, len(texts) * sizeof(Span))
        cdef Span* spans = <Span*>self.keep(joined)
        cdef Py_ssize_t i
        for i in range(len(texts)):
            spans[i].at = self.keep(texts[i])
            spans[i].end = spans[i].at + len(texts[i])
        node.kind, node.many, node.many_count = ONE_TEXT, spans, len(texts)
        return 0

    cdef const unsigned char* keep(self, bytes data) except NULL:
        """The bytes, for as long as the Program lives."""
        self.kept.append(data)
        return <const unsigned char*>PyBytes_AS_STRING(data)

    # Asking

    cdef const Script* script(self, const unsigned char* record, size_t size) noexcept nogil:
        """The nodes for a record; NULL if it is of no known schema version."""
        cdef int version, i
        if size < 2:
            return NULL
        version = get16(record)
        for i in range(self.count):
            if self.scripts[i].version == version:
                return &self.scripts[i]
        return NULL

    cdef int match(self, const unsigned char* record, size_t size) noexcept nogil:
        """YES, NO, UNDECIDED when only Python can tell, DAMAGE when that is in the way."""
        cdef const Script* script = self.script(record, size)
        if script == NULL:
            return DAMAGE
        return evaluate(script.nodes, 0, record + 2, size - 2)

    cdef int decide(self, const unsigned char* record, size_t size) except -1:
        """YES or NO. CorruptionError for a damaged record."""
        cdef const Script* script = self.script(record, size)
        if script == NULL:
            return fail_corrupt("it is of no known schema version")
        return self.settle(script.nodes, 0, record + 2, size - 2)

    cdef int settle(self, const Node* nodes, int i, const unsigned char* data, size_t size) except -1:
        """The answer of a node, asking Python where it has to be asked."""
        cdef const Node* node = &nodes[i]
        cdef int stop, answer = evaluate(nodes, i, data, size)
        if answer != UNDECIDED:
            return leave(answer)
        if node.kind == ASK:
            return (<Question>self.questions[node.question]).ask(data, size) ^ node.negated
        stop = node.kind == SOME
        i += 1
        while i < node.next:
            if self.settle(nodes, i, data, size) == stop:
                return stop ^ node.negated
            i = nodes[i].next
        return 1 ^ stop ^ node.negated

    def test(self, bytes record not None) -> bool:
        """Whether the condition holds for a record. CorruptionError for a damaged one."""
        return self.decide(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record)) == YES

    def verdict(self, bytes record not None) -> int:
        """What is known without Python: 1 yes, 0 no, 2 undecided, -1 damaged."""
        cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(record)
        cdef size_t size = PyBytes_GET_SIZE(record)
        cdef int answer
        with nogil:
            answer = self.match(start, size)
        return answer


cdef Py_ssize_t nodes_of(object part) except -1:
    """How many nodes a condition takes."""
    if isinstance(part, Asked):
        return 1
    return 1 + sum([nodes_of(inner) for inner in (<Group>part).parts])


cdef int read_pair(bytes key, Pair* pair) except -1:
    pair.major = get64_big(<const unsigned char*>PyBytes_AS_STRING(key))
    pair.minor = get64_big(<const unsigned char*>PyBytes_AS_STRING(key) + 8)
    return 0


cdef bytes native_pairs(list keys):
    """Pairs as an array."""
    cdef bytes joined = PyBytes_FromStringAndSize(NULL, len(keys) * sizeof(Pair))
    cdef Pair* pairs = <Pair*>PyBytes_AS_STRING(joined)
    cdef Py_ssize_t i
    for i in range(len(keys)):
        read_pair(keys[i], &pairs[i])
    return joined
