"""The short way of a read, and of a change: what can be done at once.

Most reads ask for one row, of the last commit, in pages that are in memory. For them this module is the whole way: a Python
method calls a `Shortcut` once, and gets the row, or LONG where anything is not as usual. Then the long way, which is
written in Python, finds out what it is. A key is packed before the newest version is looked at: from there on no code of the
user runs until the row's bytes are found. Nothing here waits, except that a thread which finds the turn to write free waits
for the disk: reading pages, and making its commit durable. No signal handler runs meanwhile, so nothing is torn.
"""

from cython cimport final
from libc.stddef cimport size_t
from libc.string cimport memcmp, memcpy

from modelvault._core.buffer cimport Buffer, put_byte, take
from modelvault._core.history cimport Version, Write
from modelvault._core.keys cimport NONE_TAG, VALUE_TAG
from modelvault._core.node cimport node_begins, node_count, node_prefix, node_search, node_slots, node_suffix
from modelvault._core.pager cimport Page
from modelvault._core.record cimport Face
from modelvault._core.table cimport Table, TableIndex
from modelvault._core.ticket cimport new_put
from modelvault._core.tree cimport Roots, tree_find, tree_leaf

from modelvault._core import LONG
from modelvault.errors import ColdPage, CorruptionError

cdef size_t ROOM_LIMIT = 65536     # bytes of a buffer that are kept for the next record


cdef class Gate:
    """What has to be asked before the short way is taken, of one open database."""

    cpdef bint concerns(self):
        """Whether what `alert` is about matters to the caller's reads."""
        return True


@final
cdef class Point:
    """Where the rows with one value of a field are found: in this index, or by primary key."""


@final
cdef class Shortcut:
    """The short way of one handle to its rows.

    era: the definitions that the table and the face were found in. cls: of the rows, whose `primary` attribute is their key, if
    they have attributes.
    points: (the index, None for the primary key; what packs a value) by path.
    """

    def __init__(
            self, Gate gate not None, dict era not None, Table table not None, Face face not None, cls not None,
            str primary not None, dict points not None):
        cdef Point point
        self.gate, self.era, self.table, self.face = gate, era, table, face
        self.cls, self.primary = cls, primary
        self.points = {}
        for path, (name, keys) in points.items():
            point = Point.__new__(Point)
            point.index = None if name is None else table.index(name)
            point.keys = keys
            self.points[path] = point

    cdef Buffer lend(self):
        """An empty buffer; whoever has it may put it back into `spare`."""
        cdef Buffer buffer = self.spare
        if buffer is None:
            return Buffer.__new__(Buffer)
        self.spare = None
        buffer.size = 0
        return buffer

    cdef object key_of(self, key):
        """The primary key of a key or instance."""
        if type(key) is not int and type(key) is not str and self.primary and isinstance(key, self.cls):
            return getattr(key, self.primary)
        return key

    cdef bint is_stale(self) except -1:
        """Whether the caller may know other definitions: what these codecs refuse may be right then."""
        cdef Gate gate = self.gate
        if gate.alert and gate.concerns():
            return True
        return gate.newest.latest.definitions is not self.era

    cdef Roots open(self):
        """The roots to look into; None: not by this way."""
        cdef Gate gate = self.gate
        cdef Version latest
        if gate.alert and gate.concerns():
            return None
        gate.credit -= 1
        if gate.credit < 0:
            return None
        latest = gate.newest.latest
        return latest.roots if latest.definitions is self.era else None

    cdef object row(self, Roots roots, const unsigned char* key, size_t size):
        """The row with this packed primary key, or None."""
        cdef const unsigned char* value
        cdef size_t length
        cdef Page page = tree_find(self.table.pager, roots.at(self.table.tree), key, size, False, &value, &length)
        if page is None:
            return None
        if page.stamp:
            return self.face.decode(value[:length])     # a draft may change while decoding runs Python code
        return self.face.decode_at(value, length)

    cdef object through(self, Roots roots, TableIndex index, Buffer entry):
        """The only row with this entry, or None; LONG if there may be several, or if the next leaf has to be asked."""
        cdef size_t page_size = self.table.pager.page_size, size = entry.size, at, prefix, rest
        cdef bint found
        cdef Page page = tree_leaf(self.table.pager, roots.at(index.tree), entry.data, size, False)
        if page is None:
            return None
        at = node_search(page.data, page_size, entry.data, size, &found)
        if at == node_count(page.data):
            return LONG
        if not node_begins(page.data, page_size, at, entry.data, size):
            return None
        if not index.unique or entry.data[0] == NONE_TAG:
            if at + 1 == node_count(page.data) or node_begins(page.data, page_size, at + 1, entry.data, size):
                return LONG
        # What stands behind the entry in this key is the primary key.
        prefix, rest = node_prefix(page.data), node_slots(page.data)[at].length
        entry.size = 0
        take(entry, prefix + rest)
        memcpy(entry.data, page.data + page_size - prefix, prefix)
        memcpy(entry.data + prefix, node_suffix(page.data, at), rest)
        row = self.row(roots, entry.data + size, prefix + rest - size)
        return LONG if row is None else row             # an index that is at odds with its table: the long way says so

    def get(self, key):
        """The row with this primary key, None if there is none, or LONG. What a bad key raises."""
        cdef Buffer packed
        cdef Roots roots
        if self.is_stale():
            return LONG
        packed = self.lend()
        self.face.keys.write(packed, self.key_of(key), True)
        try:
            roots = self.open()
            row = LONG if roots is None else self.row(roots, packed.data, packed.size)
        except (ColdPage, CorruptionError):
            return LONG
        self.spare = packed
        return row

    def one(self, tuple path not None, value):
        """The only row with this value at a path, None if there is none, or LONG."""
        cdef Point point = self.points.get(path)
        cdef Buffer packed
        cdef Roots roots
        if point is None or isinstance(value, (list, tuple, set, frozenset)):
            return LONG
        packed = self.lend()
        try:
            put_value(packed, point, value)
            roots = self.open()
            if roots is None:
                row = LONG
            elif point.index is None:
                row = self.row(roots, packed.data, packed.size)
            else:
                row = self.through(roots, point.index, packed)
        except (ColdPage, CorruptionError, TypeError, ValueError, OverflowError):
            return LONG
        self.spare = packed
        return row

    def some(self, tuple path not None, value, size_t most):
        """The rows with this value at a path, at most `most`, by primary key; or LONG."""
        cdef Point point = self.points.get(path)
        cdef Buffer packed
        cdef Roots roots
        cdef list rows
        if point is None or isinstance(value, (list, tuple, set, frozenset)):
            return LONG
        packed = self.lend()
        try:
            put_value(packed, point, value)
            roots = self.open()
            if roots is None:
                return LONG
            if point.index is None:
                row = self.row(roots, packed.data, packed.size)
                rows = [] if row is None else [row]
            else:
                rows = self.table.rows_at(roots, point.index, packed.data, packed.size, self.face, most, False)
        except (ColdPage, CorruptionError, TypeError, ValueError, OverflowError):
            return LONG
        self.spare = packed
        return rows

    # Changing. What runs code of the user comes first; between `enter` and `leave` none does.

    cdef bint changes(self):
        """Whether rows can be changed by this way: in memory, or in a file by threads."""
        cdef Gate gate = self.gate
        return not gate.read_only and (gate.volatile or gate.outlook is not None)

    cdef Write enter(self):
        """What to change rows through until `leave`, where nobody else writes. None, and no `leave`: not by this way."""
        if self.open() is None:
            return None
        return self.enter_memory() if self.gate.volatile else self.enter_file()

    cdef Write enter_memory(self):
        """`enter`: with the mutex held."""
        cdef Gate gate = self.gate
        cdef Write lane
        if not gate.mutex.acquire(False):
            return None
        try:
            lane = gate.newest.lane                     # `open` may have run Python code, and let others run
            if lane is None:
                lane = gate.newest.inline()
            if lane is not None and lane.definitions is self.era:
                return lane
        except BaseException:
            gate.mutex.release()
            raise
        gate.mutex.release()
        return None

    cdef Write enter_file(self):
        """`enter`: with the turn."""
        cdef Gate gate = self.gate
        cdef Write write
        if gate.strays or not gate.turn.try_enter(False):
            return None
        try:
            write = gate.newest.begin()
            if write.definitions is self.era:
                return write
            gate.newest.rollback(write)
        except BaseException:
            gate.turn.leave()
            raise
        gate.turn.leave()
        return None

    cdef bint commit(self, Write write) except -1:
        """Make what was changed the newest version; False: not by this way, and `leave` undoes it."""
        cdef Gate gate = self.gate
        if gate.volatile:
            write.draft.publish(gate.newest.newest_stamp())
            gate.newest.latest.sequence += 1
            return True
        if not gate.outlook.by_log(write):
            return False
        gate.turn.groups += 1
        gate.turn.statements += 1
        return True

    cdef int leave(self, Write write) except -1:
        """Let others write; what was not committed never was."""
        cdef Gate gate = self.gate
        if gate.volatile:
            gate.mutex.release()
            return 0
        try:
            if gate.newest.write is write:
                gate.newest.rollback(write)
        finally:
            gate.turn.leave()
        return 0

    def put(self, row):
        """Store a row: None. Where that is not possible on the spot the Put that stores it, to be committed, or LONG.

        What a bad row raises; DuplicateKeyError; what a commit raises.
        """
        cdef Gate gate = self.gate
        cdef Buffer key, record
        cdef Write write = None
        cdef bint done = False
        if type(row) is not self.cls or gate.read_only or self.is_stale():
            return LONG
        key, record = self.lend(), self.lend_room()
        self.face.write(key, record, row)
        if gate.volatile or gate.outlook is not None:
            write = self.enter()
        if write is not None:
            try:
                self.table.put_at(write.draft, write.roots, key.data, key.size, record.data, record.size, False, True)
                done = self.commit(write)
            finally:
                self.leave(write)
        if done:
            put = None
        elif gate.volatile or self.is_stale():          # the user's code may have changed them
            put = LONG
        else:
            put = new_put(self.table, key, record)
        self.spare, self.room = key, record
        return put

    cdef Buffer lend_room(self):
        """An empty buffer for a record; whoever has it may put it back into `room`."""
        cdef Buffer buffer = self.room
        self.room = None
        if buffer is None or buffer.capacity > ROOM_LIMIT:
            return Buffer.__new__(Buffer)
        buffer.size = 0
        return buffer

    def take(self, key):
        """(packed key, record, row) of a row to be changed and given to `exchange`; LONG as in get."""
        cdef Buffer packed
        cdef Roots roots
        cdef const unsigned char* value
        cdef size_t size
        cdef Page page
        if not self.changes() or self.is_stale():
            return LONG
        packed = self.lend()
        self.face.keys.write(packed, self.key_of(key), True)
        roots = self.open()
        if roots is None:
            return LONG
        try:
            page = tree_find(self.table.pager, roots.at(self.table.tree), packed.data, packed.size, False, &value, &size)
        except (ColdPage, CorruptionError):
            return LONG
        if page is None:
            return LONG
        record = value[:size]
        name = packed.data[:packed.size]
        self.spare = packed
        return name, record, self.face.decode(record)

    def exchange(self, bytes key not None, bytes before not None, row):
        """Store the row in place of the record `before`; whether that was done. Not where LONG would be the answer of another
        method, nor if the record is another one by now, or the row's key. Raises what put does.
        """
        cdef Buffer packed, record
        cdef Write write
        cdef bint done = False
        if self.is_stale():
            return False
        packed, record = self.lend(), self.lend_room()
        self.face.write(packed, record, row)
        if packed.size != <size_t> len(key) or memcmp(packed.data, <const unsigned char*> key, packed.size):
            return False
        write = self.enter()
        if write is None:
            return False
        try:
            if self.table.exchange_at(
                    write.draft, write.roots, packed.data, packed.size, before, record.data, record.size):
                done = self.commit(write)
        finally:
            self.leave(write)
        self.spare, self.room = packed, record
        return done

    def remove(self, key):
        """Delete the row with this primary key; whether it was there, or LONG. What a bad key raises; what a commit raises."""
        cdef Buffer packed
        cdef Write write
        cdef bint there, done
        if not self.changes() or self.is_stale():
            return LONG
        packed = self.lend()
        self.face.keys.write(packed, self.key_of(key), True)
        write = self.enter()
        if write is None:
            return LONG
        try:
            there = self.table.delete_at(write.draft, write.roots, packed.data, packed.size, True)
            done = self.commit(write) if there else True
        finally:
            self.leave(write)
        self.spare = packed
        return there if done else LONG


cdef int put_value(Buffer packed, Point point, value) except -1:
    """Append what rows with this value are found by: a primary key, or the entry of an index."""
    if point.index is None:
        return point.keys.write(packed, value, True)
    if value is None:
        return put_byte(packed, NONE_TAG)
    put_byte(packed, VALUE_TAG)
    return point.keys.write(packed, value, False)
