"""The short way of a read: what memory answers at once."""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.buffer cimport Buffer
from modelvault._core.history cimport History
from modelvault._core.keys cimport KeyCodec
from modelvault._core.record cimport Face
from modelvault._core.table cimport Table, TableIndex
from modelvault._core.tree cimport Roots


cdef class Gate:
    cdef public int alert           # why an operation cannot take the short way; 0: it can
    cdef public Py_ssize_t credit   # operations left before others shall have a chance to run
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

    cdef Buffer lend(self)
    cdef Roots open(self)
    cdef object row(self, Roots roots, const unsigned char* key, size_t size)
    cdef object through(self, Roots roots, TableIndex index, Buffer entry)
