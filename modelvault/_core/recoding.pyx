"""Rows on their way from one schema into another: from a tree of the old one into a batch of the new one."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython cimport final
from libc.stddef cimport size_t
from libc.string cimport memcmp

from modelvault._core.batch cimport Batch
from modelvault._core.buffer cimport Buffer, put_byte, put_bytes
from modelvault._core.cursor cimport Cursor
from modelvault._core.file cimport make_way_when
from modelvault._core.index cimport Entries, IndexKeys
from modelvault._core.record cimport Face
from modelvault._core.table cimport TableIndex, same_entries

from modelvault.errors import ModelVaultSchemaError

cdef enum:
    ROWS = 32                   # between two looks at the clock


@final
cdef class Recoding:
    """What becomes of each row: it is decoded by `reading`, goes through `change`, and is encoded by `writing`.

    spare: for rows that `reading` raises OverflowError or ValueError for. settle: makes a row that cannot be encoded into
    one that perhaps can. The primary key must stay what it is.
    """

    def __init__(
            self, Face reading not None, Face writing not None, change not None, settle=None, Face spare=None):
        self.reading = reading
        self.writing = writing
        self.change = change
        self.settle = settle
        self.spare = spare
        self.key = Buffer()
        self.before = Entries()
        self.after = Entries()
        self.watch(())

    def watch(self, indexes not None):
        """Look whether rows keep their entries in some indexes, pairs of TableIndex and new IndexKeys: else `moved` is set."""
        self.watched = tuple(indexes)
        self.moved = False

    @property
    def last(self):
        """The packed key of the row that was at hand last."""
        return self.key.data[:self.key.size]

    def fill(self, Batch batch not None, Cursor source not None, size_t most):
        """Add what becomes of at most `most` rows from the cursor on; how many there were. Lets other threads run.

        It ends where a row has `moved`. Raises what a row raises: it is `last` then, and the batch has those before it.
        """
        cdef bint more = source.leaf is not None
        cdef size_t done = 0
        cdef double due = 0
        while more and done < most and not self.moved:
            self.add_at(batch, source)
            more = self.step(source)
            done += 1
            if done % ROWS == 0:
                due = make_way_when(due)
        return done

    def record(self, bytes key not None, bytes record not None):
        """What becomes of the record of the row with this packed key. Raises what the row raises."""
        cdef Batch alone = Batch()
        self.key.size = 0
        put_bytes(self.key, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        self.add(alone, <const unsigned char*> PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
        return alone.records.data[:alone.records.size]

    cdef int add_at(self, Batch batch, Cursor source) except -1:
        """Add what becomes of the row at the cursor."""
        cdef size_t size
        cdef const unsigned char* data = source.key(&size)
        cdef bytes copy
        self.key.size = 0
        put_bytes(self.key, data, size)
        data = source.value(&size, True)
        if source.leaf.stamp:               # a draft may change while decoding runs Python code
            copy = data[:size]
            return self.add(batch, <const unsigned char*> PyBytes_AS_STRING(copy), size)
        return self.add(batch, data, size)

    cdef int add(self, Batch batch, const unsigned char* record, size_t length) except -1:
        """Add what becomes of a record, whose key is in `key`."""
        cdef size_t start
        row = self.change(self.decode(record, length))
        self.append(batch, row)
        start = batch.ends[batch.count - 2].key if batch.count > 1 else 0
        cdef size_t size = batch.keys.size - start
        if size != self.key.size or memcmp(batch.keys.data + start, self.key.data, size):
            batch.count -= 1
            raise ModelVaultSchemaError("schema error: an upgrade cannot change a primary key")
        return self.compare(batch, record, length) if self.watched and not self.moved else 0

    cdef int compare(self, Batch batch, const unsigned char* record, size_t size) except -1:
        """See whether the newest row of the batch has the entries of the record that it comes from."""
        cdef size_t start = batch.ends[batch.count - 2].record if batch.count > 1 else 0
        cdef TableIndex index
        cdef IndexKeys keys
        for index, keys in self.watched:
            index.collect(record, size, self.before)
            keys.collect(batch.records.data + start, batch.records.size - start, self.after)
            self.moved |= not same_entries(self.before, self.after)
        return 0

    cdef object decode(self, const unsigned char* record, size_t size):
        """The row as it was."""
        try:
            return self.reading.decode_at(record, size)
        except (OverflowError, ValueError):
            if self.spare is None:
                raise
        return self.spare.decode_at(record, size)

    cdef int append(self, Batch batch, object row) except -1:
        """Add the new row."""
        try:
            return batch.append(self.writing, row)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            if self.settle is None:
                raise
        return batch.append(self.writing, self.settle(row))

    cdef bint step(self, Cursor source) except -1:
        """To the next row. Python code may have changed the leaf, if it is a draft of this very write."""
        if not source.leaf.stamp:
            return source.next(True)
        put_byte(self.key, 0)
        self.key.size -= 1
        return source.seek(self.key.data, self.key.size + 1, True)
