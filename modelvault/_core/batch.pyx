"""Many rows on their way into a table: encoded one behind the other, then put with their index entries in order.

New rows go into the primary tree as they come. Their index entries are collected, sorted, and put last: neighbours follow one
another into the same leaf, which is found once, and leaves are left full. Measured for 100,000 rows with two indexes: see
docs/design.md, section 9. A row that replaces another one waits for the entries of those before it and is put by itself.

So a batch in the middle of its way has rows without entries. Nobody may look at the tables meanwhile: who puts a batch puts
all of it before anything else happens in that write, or goes back to a savepoint.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdlib cimport qsort
from libc.string cimport memcmp

from modelvault._core.buffer cimport get64_big, put_bytes
from modelvault._core.file cimport make_way_when
from modelvault._core.node cimport key_limit
from modelvault._core.pager cimport Page
from modelvault._core.table cimport entry_at
from modelvault._core.tree cimport ADD_FOUND, ADD_TAKEN, tree_add, tree_find


cdef int compare_items(const void* left, const void* right) noexcept nogil:
    """The order of two entries."""
    cdef const Item* a = <const Item*>left
    cdef const Item* b = <const Item*>right
    cdef int order
    if a.head != b.head:
        return 1 if a.head > b.head else -1
    order = memcmp(a.data, b.data, min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef uint64_t head_behind(const unsigned char* data, size_t size, size_t common) noexcept nogil:
    """Eight bytes behind the first `common`, padded with zeros."""
    cdef uint64_t head = 0
    cdef size_t i
    if size >= common + 8:
        return get64_big(data + common)
    for i in range(8):
        head = head << 8 | (data[common + i] if common + i < size else 0)
    return head


cdef class Pending:
    """Entries of one index that are not in its tree yet."""

    def __cinit__(self):
        self.bytes = Buffer()

    def __dealloc__(self):
        PyMem_Free(self.items)

    cdef int add(
            self, const unsigned char* entry, size_t size, const unsigned char* key, size_t length,
            bint alone) except -1:
        """One more entry, of the row with this primary key; alone: no other row may have it."""
        cdef size_t capacity, i = 0
        cdef void* items
        cdef Item* item
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 64
            items = PyMem_Realloc(self.items, capacity * sizeof(Item))
            if items == NULL:
                raise MemoryError()
            self.items = <Item*>items
            self.capacity = capacity
        if self.count == 0:
            self.common = size
        else:
            while i < min(self.common, size) and entry[i] == self.bytes.data[i]:
                i += 1
            self.common = i
        put_bytes(self.bytes, entry, size)
        put_bytes(self.bytes, key, length)
        item = &self.items[self.count]
        item.data = NULL
        item.entry = <uint32_t>size
        item.size = <uint32_t>(size + length)
        item.alone = alone
        self.count += 1
        return 0

    cdef int order(self) except -1:
        """Sort the entries, without the GIL."""
        cdef const unsigned char* data = self.bytes.data
        cdef Item* items = self.items
        cdef size_t count = self.count, common = self.common, i
        if self.ordered or count == 0:      # then there may be no memory to sort
            return 0
        with nogil:
            for i in range(count):
                items[i].data = data
                items[i].head = head_behind(data, items[i].size, common)
                data += items[i].size
            qsort(items, count, sizeof(Item), compare_items)
        self.ordered = True
        return 0

    cdef int put(
            self, Table table, TableIndex index, Draft draft, Roots roots, size_t* steps, bint wait) except -1:
        """Put entries into their tree, until `steps` are used up or all are there; they are in order.

        DuplicateKeyError if another row has one that is to be alone.
        """
        cdef const Item* item
        cdef Path path
        path.depth = 0
        while self.at < self.count and steps[0]:
            item = &self.items[self.at]
            if table.add_entry(
                    draft, roots, index, &path, item.data, item.size, item.entry, item.alone, wait) == ADD_TAKEN:
                raise violation(table, index, roots, item)
            self.at += 1
            steps[0] -= 1
        return 0

    cdef void clear(self) noexcept:
        self.bytes.size = 0
        self.count = self.at = 0
        self.ordered = False


cdef class Batch:
    """Encoded rows, and how far they have come. It is put into one table, once, or anew after `restart`."""

    def __cinit__(self):
        self.keys = Buffer()
        self.records = Buffer()
        self.pending = []

    def __dealloc__(self):
        PyMem_Free(self.ends)

    @property
    def size(self):
        """Bytes of the records."""
        return self.records.size

    # Filling

    def add(self, Face face not None, row, cls not None, check not None):
        """Encode one more row; `check` is asked about one that is no instance of `cls` itself. Raises what Face.encode does."""
        if type(row) is not cls:
            check(cls, row)
        self.append(face, row)

    cdef int append(self, Face face, object row) except -1:
        """Encode one more row."""
        self.room()
        self.keys.size = self.ends[self.count - 1].key if self.count else 0
        self.records.size = self.ends[self.count - 1].record if self.count else 0
        face.write(self.keys, self.records, row)
        self.ends[self.count].key = self.keys.size
        self.ends[self.count].record = self.records.size
        self.count += 1
        return 0

    def take(self, Face face not None, rows not None, size_t most, cls not None, check not None):
        """Encode at most `most` rows of an iterator, each before the next one is asked for; how many there were."""
        cdef size_t before = self.count
        for row in rows:
            if type(row) is not cls:
                check(cls, row)
            self.append(face, row)
            if self.count - before == most:
                break
        return self.count - before

    cdef int room(self) except -1:
        cdef size_t capacity
        cdef void* ends
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 64
            ends = PyMem_Realloc(self.ends, capacity * sizeof(Ends))
            if ends == NULL:
                raise MemoryError()
            self.ends = <Ends*>ends
            self.capacity = capacity
        return 0

    # Putting

    def restart(self):
        """Nothing of it is in the trees any more."""
        cdef Pending pending
        self.at = 0
        for pending in self.pending:
            pending.clear()

    def put(self, Table table not None, write not None, size_t steps, bint wait=True):
        """Do at most about `steps` puts of rows and entries; True when all are done. Ends early where `order` may come.

        Errors as Table.put, but some rows, or entries, may be in the trees: the write has to go back to a savepoint. After
        a ColdPage the call can be repeated.
        """
        cdef Draft draft = write.draft
        cdef Roots roots = write.roots
        cdef bint rows = self.at < self.count
        cdef Path path
        path.depth = 0
        table.check_definition(write)
        self.prepare(table)
        while self.at < self.count:
            if steps == 0:
                return False
            self.put_row(table, draft, roots, &path, self.at, wait)
            self.at += 1
            steps -= 1
        if rows and self.waiting():
            return False
        self.put_pending(table, draft, roots, &steps, wait)
        return self.waiting() == 0

    def put_all(self, Table table not None, write not None, size_t steps):
        """Put everything, in steps between which other threads run; waits for the disk. Errors as in put."""
        cdef double due = 0
        while not self.put(table, write, steps):
            due = make_way_when(due)
            if write.is_large:
                write.spill()

    def order(self):
        """Sort the entries that are yet to be put: worth another thread where there are many."""
        cdef Pending pending
        for pending in self.pending:
            pending.order()

    @property
    def unordered(self):
        """How many entries `order` would sort, once every row is in its place."""
        if self.at < self.count:
            return 0
        return sum([(<Pending>pending).count for pending in self.pending if not (<Pending>pending).ordered])

    cdef size_t waiting(self) except? 0:
        """Entries that are not in their trees."""
        cdef Pending pending
        cdef size_t count = 0
        for pending in self.pending:
            count += pending.count - pending.at
        return count

    cdef int prepare(self, Table table) except -1:
        while len(self.pending) < len(table.indexes):
            self.pending.append(Pending())
        return 0

    cdef int put_row(self, Table table, Draft draft, Roots roots, Path* path, size_t row, bint wait) except -1:
        """Put a row; keep its entries for later."""
        cdef size_t key_start = self.ends[row - 1].key if row else 0
        cdef size_t start = self.ends[row - 1].record if row else 0
        cdef const unsigned char* key = self.keys.data + key_start
        cdef const unsigned char* record = self.records.data + start
        cdef size_t length = self.ends[row].key - key_start, size = self.ends[row].record - start
        cdef size_t i, number, entry_size, steps = <size_t>-1
        cdef const unsigned char* entry
        cdef TableIndex index
        if length > key_limit(table.pager.page_size):
            raise table.too_long(length, "the primary key has")
        for index in table.indexes:
            index.collect(record, size, index.after)
            table.check_lengths(index, length)
        table.note(draft, roots, key, length, wait)
        if tree_add(draft, roots.at(table.tree), path, key, length, 0, record, size, wait) == ADD_FOUND:
            path.depth = 0
            self.put_pending(table, draft, roots, &steps, wait)
            table.put_at(draft, roots, key, length, record, size, False, wait)
            return 0
        draft.note_put(table.tree, key, length, record, size)
        number = 0
        for index in table.indexes:
            for i in range(index.after.count):
                entry = entry_at(index.after, i, &entry_size)
                (<Pending>self.pending[number]).add(
                    entry, entry_size, key, length, index.unique and not index.after.exempt)
            number += 1
        return 0

    cdef int put_pending(self, Table table, Draft draft, Roots roots, size_t* steps, bint wait) except -1:
        """Put entries, index by index, until `steps` are used up or all are in their trees."""
        cdef TableIndex index
        cdef Pending pending
        cdef size_t number = 0
        for index in table.indexes:
            pending = self.pending[number]
            number += 1
            if pending.count == 0:
                continue
            pending.order()
            pending.put(table, index, draft, roots, steps, wait)
            if pending.at < pending.count:
                return 0
            pending.clear()
        return 0


cdef object violation(Table table, TableIndex index, Roots roots, const Item* item):
    """The error for an entry that another row has."""
    cdef const unsigned char* record = NULL
    cdef size_t size = 0
    cdef Page page = tree_find(
        table.pager, roots.at(table.tree), item.data + item.entry, item.size - item.entry, True, &record, &size)
    return table.stray(index) if page is None else table.violation(index, record, size)
