"""The rows of a scan as columns."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.feed cimport Hit
from modelvault._core.scan cimport Sink
from modelvault._core.track cimport Way


@final
cdef class Sheet(Sink):
    # Owns `ways`.
    cdef list codecs            # from the oldest to the newest
    cdef list vectors
    cdef list tracks            # of each version, the newest first
    cdef const Way** ways
    cdef int* versions
    cdef Py_ssize_t count       # of them
    cdef size_t rows            # put since the last seal
    cdef size_t bytes           # of their records
    cdef size_t most_rows
    cdef size_t most_bytes
    cdef readonly size_t sealed # portions
    cdef readonly list ready    # of them, those that nobody has taken: (rows, Pieces)

    cdef int put_record(self, const unsigned char* record, size_t size) noexcept nogil
    cdef size_t put_hits(self, const Hit* hits, size_t count, int* found) noexcept nogil
    cdef int fail(self, int found, const unsigned char* record, size_t size) except -1
