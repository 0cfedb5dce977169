"""Conditions compiled to run over encoded records."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.asked cimport Asked
from modelvault._core.match cimport Node
from modelvault._core.objects cimport Part
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport Route, Span
from modelvault._core.scalar cimport Choice


cdef struct Script:
    # The nodes for the records of one schema version.
    int version
    Node* nodes
    int count


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
