"""What a commit left behind, what a write changes, and who knows the newest."""

from libc.stdint cimport uint64_t

from modelvault._core.pager cimport Draft
from modelvault._core.tree cimport Roots


cdef class State:
    cdef public Roots roots
    cdef public dict definitions    # of the collections, by name: another object after each change
    cdef public uint64_t sequence   # how many commits there were


cdef class Change(State):
    cdef public Draft draft


cdef class Newest:
    cdef public State latest
    cdef public Change lane         # in memory: kept for `inline`; None: it has to find out

    cpdef Change inline(self)
