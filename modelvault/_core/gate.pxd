"""The short way of a read, and of a change in memory: what can be done at once."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.commit cimport Outlook
from modelvault._core.history cimport History, Write
from modelvault._core.keys cimport KeyCodec
from modelvault._core.record cimport Face
from modelvault._core.table cimport Table, TableIndex
from modelvault._core.tree cimport Roots
from modelvault._core.turn cimport Turn


cdef class Gate:
    cdef public int alert           # why an operation cannot take the short way; 0: it can
    cdef public Py_ssize_t credit   # operations left before others shall have a chance to run
    cdef public bint volatile       # a database in memory: changes may happen on the spot
    cdef public bint read_only
    cdef public object mutex        # held while somebody changes a database in memory, or looks at it at length
    cdef public Turn turn           # the turn to write
    cdef public Outlook outlook     # of a file, if the callers are threads, who commit on the spot; else None
    cdef public object strays       # versions that were pinned by who is gone
    cdef public History newest       # the engine, for C code: in Python an attribute of its own is three times as quick

    cpdef bint concerns(self)


@final
cdef class Point:
    cdef TableIndex index           # None: by primary key
    cdef KeyCodec keys


@final
cdef class Shortcut:
    cdef Gate gate
    cdef dict era
    cdef Table table
    cdef Face face
    cdef object cls
    cdef str primary
    cdef dict points                # path -> Point
    cdef Buffer spare               # lent to who looks for something; None while it is in use
    cdef Buffer room                # lent to who stores something, in the same way

    cdef Buffer lend(self)
    cdef object key_of(self, key)
    cdef Buffer lend_room(self)
    cdef bint changes(self)
    cdef Write enter(self)
    cdef Write enter_memory(self)
    cdef Write enter_file(self)
    cdef bint commit(self, Write write) except -1
    cdef int leave(self, Write write) except -1
    cdef bint is_stale(self) except -1
    cdef Roots open(self)
    cdef object row(self, Roots roots, const unsigned char* key, size_t size)
    cdef object through(self, Roots roots, TableIndex index, Buffer entry)
