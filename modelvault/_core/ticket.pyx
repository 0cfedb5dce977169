"""Places in the writers' queue, and the statement that most of them are for: as light as can be, there may be thousands at once."""

from time import monotonic

from cython cimport final
from libc.math cimport INFINITY

from modelvault._core.buffer cimport Buffer
from modelvault._core.pager cimport Pager
from modelvault._core.history cimport Write
from modelvault._core.table cimport Table


@final
cdef class Put:
    """A row to be stored in a table; one with the same primary key is replaced. A statement of `_queue`."""

    def __call__(self, Write write not None, bint wait):
        self.put(write, wait)

    cdef int put(self, Write write, bint wait) except -1:
        """Apply it to a write. Errors as Table.put."""
        self.table.check_definition(write)
        self.table.put_at(write.draft, write.roots, self.key, len(self.key), self.record, len(self.record), False, wait)
        return 0


cdef Put new_put(Table table, Buffer key, Buffer record):
    """The Put of a row that was encoded into these."""
    cdef Put put = Put.__new__(Put)
    put.table = table
    put.key = key.data[:key.size]
    put.record = record.data[:record.size]
    return put


@final
cdef class Ticket:
    """A place in the queue. Its states are explained in `_queue`."""

    def __init__(self, statement, owner=None):
        self.statement = statement
        self.owner = owner
        self.deadline = INFINITY

    def outcome(self):
        """What the statement returned or raised."""
        error, self.error = self.error, None
        if error is None:
            return self.result
        raise error


def apply_puts(list group not None, Py_ssize_t start, double until, Write write not None):
    """Apply the statements of a group from `start` on as long as they are Puts, until this monotonic time; how many were.

    It ends early behind one that failed, whose error is in its ticket, and where the write has grown large.
    """
    cdef Py_ssize_t number
    cdef Pager pager = write.draft.pager
    cdef Ticket ticket
    for number in range(start, len(group)):
        ticket = group[number]
        if type(ticket.statement) is not Put:
            return number - start
        ticket.error = None
        try:
            (<Put> ticket.statement).put(write, True)
        except BaseException as error:
            ticket.error = error
            return number + 1 - start
        if 2 * pager.draft_bytes > pager.cache_size or <double> monotonic() > until:
            return number + 1 - start
    return len(group) - start
