"""What the next checkpoint will need, and commits that go to the log."""

from libc.stdint cimport uint64_t

from modelvault._core.draft cimport Draft
from modelvault._core.history cimport History, Write


cdef class Outlook:
    cdef readonly History history
    cdef public uint64_t reserved
    cdef public uint64_t spare
    cdef public bint watched
    cdef public bint unsynced
    cdef public bint synced
    cdef public double active

    cpdef uint64_t size_needed(self, Draft draft, uint64_t more=*)
    cpdef bint is_near(self)
    cpdef bint by_log(self, Write write) except -1
    cpdef int log(self, Write write, bytes record) except -1
