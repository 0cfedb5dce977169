"""Conditions compiled to run over encoded records.

A Program holds, for each schema version, the condition as nodes (see `match`). Cheap tests come first; what needs Python objects is asked
only where the others have not decided.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint64_t
from libc.string cimport memset

from modelvault._core.asked cimport Asked, Group, build, is_container
from modelvault._core.buffer cimport Buffer, Reader, fail_corrupt, get16, get64_big, put_byte
from modelvault._core.codec cimport Codec
from modelvault._core.container cimport Tuple
from modelvault._core.leaf cimport CHOICE, DECIMAL, STRING, form_of
from modelvault._core.match cimport (
    ASK, BETWEEN, CONSTANT, DAMAGE, EVERY, GIVEN, INSIDE, LIKE, NEVER, NO, ONE_OF, ONE_TEXT, PREFIX, RANGE, SAME, SOME, SUFFIX, TABLE,
    UNDECIDED, YES, Pair, answer_plain, arrive, evaluate,
)
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport PRESENT, Hop, Route, find, leave, take_part, take_present, take_size
from modelvault._core.scalar cimport Choice

from modelvault.errors import ModelVaultQueryError

cdef dict TEXT_KINDS = {
    "startswith": PREFIX, "endswith": SUFFIX, "contains": INSIDE, "like": LIKE, "regex": ASK,
}


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
        cdef const Hop* hop
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
        elif asked.op in TEXT_KINDS:
            self.aim_text(node, asked)
        elif node.form < CHOICE:
            self.aim_pairs(node, asked)
        else:
            self.aim_range(node, asked)
        hop = &node.hops[0]
        node.plain = node.kind == BETWEEN and node.count == 1 and hop.offset >= 0 and not hop.many
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
            if asked.op in TEXT_KINDS:
                put_byte(out, asked.fits_value(value))
            else:
                known = newest.component_keys[newest.place(value)] if value in newest.values else codec.component_keys[i]
                put_byte(out, asked.fits_key(known))
        node.many = self.keep(bytes(out))
        return 0

    cdef int aim_text(self, Node* node, Asked asked) except -1:
        """A test of text that needs no order."""
        cdef bytes text = asked.tokens if asked.op == "like" else asked.keys[0]
        node.kind = TEXT_KINDS[asked.op]
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
        if script.nodes.plain:
            return answer_plain(script.nodes, record + 2, size - 2)
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
