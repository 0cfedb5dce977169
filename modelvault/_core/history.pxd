"""The versions of a database, which follow one another."""

from cython cimport final
from libc.stdint cimport uint32_t, uint64_t

from modelvault._core.draft cimport Draft
from modelvault._core.log cimport Log
from modelvault._core.pager cimport Pager
from modelvault._core.space cimport Space
from modelvault._core.tree cimport Roots


@final
cdef class Version:
    cdef public Roots roots
    cdef public dict definitions        # of the collections, by name: another object after each change
    cdef public object meta
    cdef public uint64_t sequence
    cdef public uint64_t stamp
    cdef public Py_ssize_t pins
    cdef list unnoted                   # only grows while this checkpoint is the newest
    cdef Py_ssize_t unnoted_count


@final
cdef class Write:
    cdef readonly Version base
    cdef public Roots roots
    cdef readonly Draft draft
    cdef readonly object room
    cdef public Space space
    cdef public tuple start             # the catalog's and the free tree's root when it got its Space
    cdef public dict definitions
    cdef public uint32_t next_tree
    cdef public uint32_t next_collection
    cdef public bint waits


@final
cdef class Savepoint:
    cdef size_t mark                    # the draft's
    cdef Roots roots
    cdef bint had_space
    cdef dict definitions
    cdef uint32_t next_tree
    cdef uint32_t next_collection


cdef class History:
    cdef public Version latest          # may be read without the lock; changes in the writer's turn only
    cdef public object file
    cdef public Pager pager
    cdef public Log log
    cdef public object meta             # of the newest checkpoint, stored or not
    cdef public tuple next_ids          # of a tree and of a collection
    cdef public Write write             # the one that is open
    cdef public object lock             # held while the newest version is exchanged, or pinned
    cdef public dict pinned             # stamp of each pinned version -> its generation
    cdef public Write lane              # in memory: kept for `inline`; None: it has to find out
    cdef public object room             # gives a Write a Space; None in memory
    cdef public object poisoned         # the error that left the state of the file unknown, or None
    cdef public bint volatile           # a database in memory
    cdef public bint read_only
    cdef public bint closed
    cdef public bint forked             # a copy in a forked child

    cpdef Write inline(self)
    cpdef Write begin(self)
    cpdef int rollback(self, Write write) except -1
    cpdef int fail(self, Write write, error, bint unsure) except -1
    cpdef int publish(self, Write write, uint64_t sequence, meta) except -1
    cpdef uint64_t least_stamp(self)
    cpdef uint64_t newest_stamp(self)
    cpdef int reveal(self, Version version) except -1
