"""Places in the writers' queue, and the statement that most of them are for."""

from cython cimport final

from modelvault._core.buffer cimport Buffer
from modelvault._core.history cimport Write
from modelvault._core.table cimport Table


@final
cdef class Put:
    cdef Table table
    cdef bytes key
    cdef bytes record

    cdef int put(self, Write write, bint wait) except -1


@final
cdef class Ticket:
    cdef public object statement    # None: the turn itself is wanted
    cdef public object owner
    cdef public object waiter       # None: nobody waits
    cdef public object result
    cdef public object error
    cdef public double deadline
    cdef public int state


cdef Put new_put(Table table, Buffer key, Buffer record)
