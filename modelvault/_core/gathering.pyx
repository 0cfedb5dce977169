"""Entries of many stored rows on their way into new indexes: collected from the rows, sorted, and put in order.

The rows stay where they are. As in a `Batch`, neighbours follow one another into the same leaf.
"""

from cython cimport final
from libc.stddef cimport size_t

from modelvault._core.batch cimport Item, Pending
from modelvault._core.buffer cimport Buffer, put_bytes
from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Draft
from modelvault._core.file cimport make_way_when
from modelvault._core.table cimport Table, TableIndex, entry_at

cdef enum:
    ROWS = 64                   # between two looks at the clock
    OVERHEAD = sizeof(Item)     # bytes of an entry besides its own


@final
cdef class Gathering:
    """The entries of some rows in all indexes of a table. It is put once."""

    def __init__(self, Table table not None):
        self.table = table
        self.pending = [Pending() for _ in table.indexes]
        self.key = Buffer()

    @property
    def last(self):
        """The packed key of the row that came last."""
        return self.key.data[:self.key.size]

    def take(self, Cursor source not None, size_t most):
        """Collect the entries of at most `most` rows from the cursor on; how many there were. Lets other threads run."""
        cdef bint more = source.leaf is not None
        cdef size_t done = 0
        cdef double due = 0
        while more and done < most:
            self.add(source)
            more = source.next(True)
            done += 1
            if done % ROWS == 0:
                due = make_way_when(due)
        return done

    cdef int add(self, Cursor source) except -1:
        """Collect the entries of the row at the cursor."""
        cdef size_t length, size, entry_size, i, number = 0
        cdef const unsigned char* key = source.key(&length)
        cdef const unsigned char* record
        cdef const unsigned char* entry
        cdef TableIndex index
        self.key.size = 0
        put_bytes(self.key, key, length)
        record = source.value(&size, True)
        for index in self.table.indexes:
            index.collect(record, size, index.after)
            self.table.check_lengths(index, length)
            for i in range(index.after.count):
                entry = entry_at(index.after, i, &entry_size)
                (<Pending>self.pending[number]).add(
                    entry, entry_size, self.key.data, length, index.unique and not index.after.exempt)
                self.size += entry_size + length + OVERHEAD
            number += 1
        return 0

    def put(self, write not None, size_t steps):
        """Put all entries, in steps between which other threads run; waits for the disk.

        DuplicateKeyError if a unique value is taken: some entries are in the trees then, and the write has to go back to a
        savepoint.
        """
        cdef Draft draft = write.draft
        cdef TableIndex index
        cdef Pending pending
        cdef size_t number = 0, left
        cdef double due = 0
        for index in self.table.indexes:
            pending = self.pending[number]
            pending.order()
            while pending.at < pending.count:
                left = steps
                pending.put(self.table, index, draft, write.roots, &left, True)
                due = make_way_when(due)
                if write.is_large:
                    write.spill()
            number += 1
