"""What a thread waits for, and a task of asyncio or uvloop; the waking of many: a thousand tasks may wait for one commit."""

import threading
from collections import deque

from cython cimport final


@final
cdef class Flag:
    """What one thread waits for. A threading.Event stays locked if an interrupt comes while it is being set; this does not."""

    cdef object lock
    cdef bint done

    def __cinit__(self):
        self.lock = threading.Lock()
        self.lock.acquire()

    def set(self):
        """Let the thread go on; may be called again."""
        if not self.done:
            self.done = True
            self.lock.release()

    def is_set(self):
        """Was it set?"""
        return self.done

    def wait(self, seconds=None):
        """Return when it is set, or after so many seconds. An interrupt is raised."""
        if not self.done:
            if self.lock.acquire(True, -1 if seconds is None else seconds):
                self.lock.release()


@final
cdef class AsyncioWaiter:
    """A waiter for the task of this loop that makes it. See `Waiter` in `_runner`.

    `done` is set by the thread that wakes; the loop hears of it a little later, by `fire`.
    """

    cdef readonly object loop
    cdef public bint done
    cdef object future

    def __init__(self, loop):
        self.loop = loop

    def set(self):
        """Wake who waits, or will; from any thread."""
        self.done = True
        try:
            self.soon(self.fire)
        except RuntimeError:
            pass        # the loop is gone, and who waited with it

    def is_set(self):
        """Was it set?"""
        return self.done

    def soon(self, function, *args):
        """Have it called in the loop's thread; RuntimeError if the loop is gone."""
        self.loop.call_soon_threadsafe(function, *args)

    cpdef fire(self):
        """Wake the task; in the loop's thread."""
        self.done = True
        future = self.future
        if future is not None and not future.done():
            future.set_result(None)

    def wait(self, seconds=None):
        """Something to await until it is set, or for so many seconds."""
        future = self.loop.create_future()
        self.future = future
        if self.done:
            self.fire()
        return future if seconds is None else self._wait(future, seconds)

    async def _wait(self, future, double seconds):
        timer = self.loop.call_later(seconds, expire, future)
        try:
            await future
        finally:
            timer.cancel()


def expire(future):
    """Time is up for a future."""
    if not future.done():
        future.set_result(None)


@final
cdef class Wakes:
    """The tasks that are to be woken, in a line for each event loop: so many of a line in one turn of its loop, then others
    have their turn. That holds for all commits together: the next one may be over before all are awake who waited for the last.
    """

    cdef Py_ssize_t turn
    cdef object lock
    cdef dict lines     # of waiters, by their loop; a line is there while `fire` is on its way to it

    def __init__(self, Py_ssize_t turn):
        self.turn = turn
        self.lock = threading.Lock()
        self.lines = {}

    def wake(self, waiters):
        """Set all of these; from any thread."""
        cdef list begun = []
        with self.lock:
            for waiter in waiters:
                waiter.done = True
                line = self.lines.get(waiter.loop)
                if line is None:
                    line = self.lines[waiter.loop] = deque()
                    begun.append(waiter)
                line.append(waiter)
        for waiter in begun:
            self.send(waiter)

    cdef int send(self, waiter) except -1:
        """Have `fire` called in the loop of this waiter."""
        try:
            waiter.soon(self.fire, waiter.loop)
        except RuntimeError:    # the loop is gone, and who waited with it
            with self.lock:
                self.lines.pop(waiter.loop, None)
        return 0

    def fire(self, loop):
        """Wake those whose turn it is; in the loop's thread."""
        cdef list some = []
        with self.lock:
            line = self.lines[loop]
            while line and len(some) < self.turn:
                some.append(line.popleft())
            if not line:
                del self.lines[loop]
        for waiter in some:
            if type(waiter) is AsyncioWaiter:
                (<AsyncioWaiter> waiter).fire()
            else:
                waiter.fire()
        if line:
            self.send(line[0])
