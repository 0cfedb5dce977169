"""Asking encoded records."""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint64_t

from modelvault._core.leaf cimport Form, Value, load_fixed
from modelvault._core.objects cimport MAX_FLAGS, Part
from modelvault._core.route cimport Hop, Span


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


cdef enum Token:
    # Of a pattern of like, beside bytes.
    ANY_ONE = 256               # one character
    ANY_MANY = 257              # any number of characters


cdef enum Answer:
    DAMAGE = -1
    NO = 0
    YES = 1
    UNDECIDED = 2


cdef struct Pair:
    uint64_t major
    uint64_t minor


cdef struct Node:
    # A condition; the nodes of its parts follow it. Everything pointed to belongs to a Program.
    int kind
    bint negated
    int next                    # behind the last of its parts
    bint absent                 # the answer for None
    bint given                  # the answer for any value, of tests that look at none
    Form form
    const Hop* hops
    int count
    Pair low                    # both inclusive
    Pair high
    const unsigned char* text   # from here on, and in front of `end`; NULL: any
    size_t text_size
    const unsigned char* end
    size_t end_size
    const void* many            # the values of a list, the answers of a table, the tokens of a pattern
    size_t many_count
    int question                # which Question knows the answer
    bint plain                  # a pair, BETWEEN, in a field of fixed width of the row itself


cdef bint is_like(const unsigned char* data, size_t size, const uint16_t* tokens, size_t count) noexcept nogil
cdef int arrive(const Node* node, int i, int found, Part* part) noexcept nogil
cdef int evaluate(const Node* nodes, int i, const unsigned char* data, size_t size) noexcept nogil


cdef inline bint at_least(const Pair* low, const Value* value) noexcept nogil:
    return value.major > low.major or (value.major == low.major and value.minor >= low.minor)


cdef inline bint at_most(const Pair* high, const Value* value) noexcept nogil:
    return value.major < high.major or (value.major == high.major and value.minor <= high.minor)


cdef inline int answer_plain(const Node* node, const unsigned char* data, size_t size) noexcept nogil:
    """What `evaluate` says of a plain node: nearly all that is done for a row when a number is compared, so without a call."""
    cdef const Hop* hop = node.hops
    cdef Value value
    if size < 1 or data[0] > MAX_FLAGS or size < hop.heads[data[0]]:
        return DAMAGE
    if hop.null_mask and data[hop.null_byte] & hop.null_mask:
        return node.absent ^ node.negated
    if load_fixed(node.form, data + hop.offset, hop.wide_mask and data[hop.wide_byte] & hop.wide_mask, &value) < 0:
        return DAMAGE
    return (at_least(&node.low, &value) and at_most(&node.high, &value)) ^ node.negated
