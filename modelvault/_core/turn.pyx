"""One turn at a time: what of it happens at once, and what must not be torn.

Waiting is written in Python (`_queue`). What stands here is compiled, so that a signal handler (Ctrl-C) runs before it or
after it: a turn that is taken is given back.
"""

import threading
from collections import deque

cdef int REPEATS = 8        # of what a signal handler interrupts with an exception


cdef class Turn:
    """The turn of one of many tasks and threads; see `_queue.Turns`, which adds waiting for it."""

    def __cinit__(self):
        self.mutex = threading.Lock()
        self.line = deque()

    cpdef bint try_enter(self, bint wait=True) except -1:
        """Take the turn if nobody has it; whether that was so. wait: for the mutex, if somebody has that."""
        cdef bint taken
        if not self.mutex.acquire(wait):
            return False
        taken, self.busy = self.busy, True
        self.mutex.release()
        return not taken

    cpdef int leave(self) except -1:
        """Pass the turn to who waits longest. It is done even if an interrupt is raised."""
        if self.by_thread:
            self.pass_on()
            return 0
        return self.pass_turn()

    def pass_on(self):
        """`leave`, on event loops: to be overridden."""
        self.pass_turn()

    cdef int pass_turn(self) except -1:
        """`leave`, to whatever waits."""
        ticket = None
        interrupted = seize(self.mutex)
        if self.line:
            ticket = self.line.popleft()
            ticket.state = GRANTED
            self.holder = ticket.owner
        else:
            self.busy = False
            self.holder = None
        self.mutex.release()
        if ticket is not None:
            interrupted = wake(ticket.waiter) or interrupted
        if interrupted is not None:
            raise interrupted
        return 0


cdef object seize(lock):
    """Acquire a lock, whatever comes; what interrupted that and is to be raised later, or None."""
    interrupted = None
    while True:
        try:
            lock.acquire()
            return interrupted
        except BaseException as error:
            interrupted = error


cdef object wake(waiter):
    """Set a waiter, whatever comes; what interrupted that and is to be raised later, or None."""
    cdef int number
    interrupted = None
    for number in range(REPEATS):
        try:
            waiter.set()
            break
        except BaseException as error:
            interrupted = error
    return interrupted
