"""Asking encoded records: without the GIL, and without a Python object.

A condition is a flat array of nodes: a group (every, some) is followed by its parts, a test knows the hops to its field and what to
compare with. An answer has three values: a test that needs Python objects (a regular expression, a value of a union) is undecided,
which matters only where it would decide the whole.
"""

from libc.string cimport memchr, memcmp

from modelvault._core.leaf cimport CHOICE, load_fixed, load_inline
from modelvault._core.route cimport ABSENT, PRESENT, find, take_part, take_present, take_size


cdef inline int compare_text(const unsigned char* a, size_t a_size, const unsigned char* b, size_t b_size) noexcept nogil:
    cdef int order = memcmp(a, b, min(a_size, b_size))
    return order if order else (a_size > b_size) - (a_size < b_size)


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
    if node.plain:
        return answer_plain(node, data, size)
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
