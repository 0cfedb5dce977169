"""One turn at a time."""


cpdef enum:
    # Ticket.state
    WAITING = 0
    GRANTED = 1
    TAKEN = 2
    DONE = 3


cdef class Turn:
    cdef public object mutex        # held for moments, and never while anything waits; what is below changes under it
    cdef public object line         # tickets of who waits, the first one first
    cdef public object holder       # who has the turn, if it said so
    cdef public bint busy           # somebody has it
    cdef public bint by_thread      # statements are for the writer's thread: passing the turn on takes more, `pass_on`
    cdef public Py_ssize_t groups   # commits, and statements that they were for
    cdef public Py_ssize_t statements

    cpdef bint try_enter(self, bint wait=*) except -1
    cpdef int leave(self) except -1
    cdef int pass_turn(self) except -1


cdef object seize(lock)
