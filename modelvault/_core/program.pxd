"""Conditions compiled to run over encoded records."""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint64_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.leaf cimport Form
from modelvault._core.objects cimport Part
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport Hop, Route, Span
from modelvault._core.scalar cimport Choice


cdef enum Answer:
    DAMAGE = -1
    NO = 0
    YES = 1
    UNDECIDED = 2


cdef struct Pair:
    uint64_t major
    uint64_t minor


cdef struct Node:
    # A condition; the nodes of its parts follow it. Everything pointed to belongs to the Program.
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


cdef struct Script:
    # The nodes for the records of one schema version.
    int version
    Node* nodes
    int count


@final
cdef class Asked:
    cdef readonly tuple path
    cdef str op
    cdef Route route            # in the newest version
    cdef bint negated
    cdef bint absent            # the answer for None
    cdef bint never             # only None fits
    cdef bint whole             # the container is compared, not its elements
    cdef Form form              # of the values that `keys` were made of
    cdef list values            # as they are dumped
    cdef list keys
    cdef object pattern         # of a regex
    cdef bytes tokens           # of like
    cdef int cost

    cdef bint in_python(self, Route route)
    cdef int prepare(self, tuple values) except -1
    cdef int prepare_text(self, object value) except -1
    cdef int prepare_values(self, list values) except -1
    cdef int prepare_free(self, list values, list dumps) except -1
    cdef bint fits_key(self, bytes key) except -1
    cdef bint fits_value(self, object value) except -1
    cdef bint fits_text(self, object value) except -1


@final
cdef class Group:
    cdef str kind
    cdef bint negated
    cdef list parts
    cdef int cost


@final
cdef class Question:
    cdef Route route
    cdef Asked asked

    cdef int ask(self, const unsigned char* data, size_t size) except -1
    cdef int answer(self, Py_ssize_t i, int found, Part* part) except -1
    cdef int answer_each(self, Py_ssize_t i, const Part* part) except -1
    cdef int fits(self, const Part* part) except -1
    cdef int fits_inline(self, Span* span) except -1
    cdef bint by_key(self)
    cdef bint fits_value(self, object value) except -1


@final
cdef class Program:
    cdef readonly bint complete     # match never says UNDECIDED
    cdef readonly tuple codecs
    cdef Script* scripts            # owned, and so are their nodes; the newest version first
    cdef int count
    cdef list kept                  # what the nodes point to
    cdef list questions

    cdef int compile(self, Script* script, RecordCodec record, object tree) except -1
    cdef int emit(self, Script* script, RecordCodec record, object part) except -1
    cdef int emit_test(self, Node* node, RecordCodec record, Asked asked) except -1
    cdef int aim(self, Node* node, Route route, Asked asked) except -1
    cdef int aim_choice(self, Node* node, Choice codec, Asked asked) except -1
    cdef int aim_text(self, Node* node, Asked asked) except -1
    cdef int aim_pairs(self, Node* node, Asked asked) except -1
    cdef int aim_range(self, Node* node, Asked asked) except -1
    cdef int aim_texts(self, Node* node, list texts) except -1
    cdef const unsigned char* keep(self, bytes data) except NULL
    cdef const Script* script(self, const unsigned char* record, size_t size) noexcept nogil
    cdef int settle(self, const Node* nodes, int i, const unsigned char* data, size_t size) except -1

    cdef int match(self, const unsigned char* record, size_t size) noexcept nogil
    cdef int decide(self, const unsigned char* record, size_t size) except -1
