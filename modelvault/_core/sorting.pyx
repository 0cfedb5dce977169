"""Rows of a scan in another order, in bounded memory.

Rows come as bytes and stay bytes: each lies in one growing buffer behind its sort key, and is compared by the first eight bytes of
that, mostly, else by memcmp. With a limit only the best rows are kept, and once there are enough of them most of the others
are turned away by one comparison. What does not fit in memory is written to a file without a name, in sorted runs, and these are
merged when the rows are asked for.
"""

from time import monotonic

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort
from libc.string cimport memcmp, memcpy

from modelvault._core.buffer cimport Buffer, get32, get64_big, put32, put_bytes, take
from modelvault._core.feed cimport ROWS
from modelvault._core.order cimport SortKeys
from modelvault._core.record cimport Shape
from modelvault._core.scan cimport Collector, Scan, Sink, gc_off, gc_on

from modelvault._core.file import open_scratch
from modelvault.errors import ColdPage

cdef enum:
    MEMORY = 1 << 25            # bytes of rows kept
    LEAST_MEMORY = 1 << 14
    MOST_MEMORY = 1 << 29
    HEADER = 12                 # of a row: bytes of its sort key, of its primary key, of its record
    MUCH = 1 << 20              # bytes of rows, or of what points to them: then there is soon as much as may be kept
    CHUNK = 1 << 20             # bytes written at a time
    LEAST_BLOCK = 1 << 12       # bytes read at a time, of a run
    MOST_BLOCK = 1 << 18
    FEW_ROWS = 1 << 10          # sorted at once
    SPARE_ROWS = 64             # kept beyond the limit before the worst ones go
    PORTION = 64                # given between two looks at the clock

cdef size_t ENDLESS = <size_t>-1


cdef inline size_t row_size(const unsigned char* row) noexcept nogil:
    """Bytes of a row with its header."""
    return HEADER + <size_t>get32(row) + get32(row + 4) + get32(row + 8)


cdef inline int compare_rows(const unsigned char* a, const unsigned char* b) noexcept nogil:
    """Two rows by their sort keys."""
    cdef size_t left = get32(a), right = get32(b)
    cdef int order = memcmp(a + HEADER, b + HEADER, min(left, right))
    return order if order else (left > right) - (left < right)


cdef int compare_items(const void* a, const void* b) noexcept nogil:
    cdef const Item* left = <const Item*>a
    cdef const Item* right = <const Item*>b
    if left.head != right.head:
        return 1 if left.head > right.head else -1
    return compare_rows(<const unsigned char*>left.place, <const unsigned char*>right.place)


cdef uint64_t head_of(const unsigned char* key, size_t size) noexcept nogil:
    """The first eight bytes of a sort key as a number, padded with zeros."""
    cdef unsigned char padded[8]
    if size >= 8:
        return get64_big(key)
    (<uint64_t*>padded)[0] = 0
    memcpy(padded, key, size)
    return get64_big(padded)


cdef size_t rows_of(const Item* items, size_t count, size_t most, size_t* size) noexcept nogil:
    """How many of these rows have at most so many bytes together, at least one; and how many they have."""
    cdef size_t i
    size[0] = row_size(<const unsigned char*>items[0].place)
    for i in range(1, count):
        if size[0] + row_size(<const unsigned char*>items[i].place) > most:
            return i
        size[0] += row_size(<const unsigned char*>items[i].place)
    return count


cdef size_t size_of(const Item* items, size_t count) noexcept nogil:
    """The bytes of these rows together."""
    cdef size_t i, size = 0
    for i in range(count):
        size += row_size(<const unsigned char*>items[i].place)
    return size


cdef void move_rows(Item* items, size_t count, unsigned char* to) noexcept nogil:
    """Copy rows one behind the other; their places are counted from there."""
    cdef unsigned char* at = to
    cdef size_t i, size
    for i in range(count):
        size = row_size(<const unsigned char*>items[i].place)
        memcpy(at, <const void*>items[i].place, size)
        items[i].place = at - to
        at += size


cdef inline bint is_late(double end, size_t passed) except -1:
    """Whether it is time to stop, asked of each row; the clock is looked at now and then. `end` 0: never."""
    return end and passed and passed % PORTION == 0 and <double>monotonic() >= end


cdef object row_of(const unsigned char* row, Shape shape):
    """A row in some shape, or (primary key, record)."""
    cdef const unsigned char* key = row + HEADER + get32(row)
    cdef const unsigned char* record = key + get32(row + 4)
    if shape is not None:
        return shape.decode_at(record, get32(row + 8))
    return key[:get32(row + 4)], record[:get32(row + 8)]


@final
cdef class Run:
    """Sorted rows in a file, one after the other; next() reads them block by block."""

    cdef bint next(self, bint wait) except -1:
        """To the next row; False behind the last. ColdPage: call it again."""
        if self.row != NULL:
            self.offset += row_size(self.row)
        self.row = NULL
        if self.at + self.offset >= self.end:
            self.block = None
            return False
        self.row = self.whole(row_size(self.whole(HEADER, wait)), wait)
        return True

    cdef const unsigned char* whole(self, size_t size, bint wait) except NULL:
        """The next `size` bytes in one piece."""
        cdef bytes block
        if self.block is None or <size_t>PyBytes_GET_SIZE(self.block) < self.offset + size:
            self.at += self.offset
            self.offset = 0
            self.block = None
            block = self.file.read_at(self.at, min(max(size, self.block_size), self.end - self.at), wait)
            if block is None:
                raise ColdPage("the temporary file of a sort")
            self.block = block
            if <size_t>PyBytes_GET_SIZE(self.block) < size:
                raise OSError(f"the temporary file of a sort is shorter than what was written to it: {self.file.path}")
        return <const unsigned char*>PyBytes_AS_STRING(self.block) + self.offset


@final
cdef class Sort(Sink):
    """The rows of a scan in an order, all or the first `limit`, of those behind the sort key `after`.

    `step` reads the scan in slices until it says True; `fetch` then gives the rows. memory: about the bytes of rows kept in memory, a
    limit's rows included; what is more goes to a file without a name, beside the database or in the system's directory for
    temporary files. OSError where that fails, as on a full disk. Any error but ColdPage ends the sort, as `close` does.
    """

    def __cinit__(self):
        self.rows, self.key, self.bar = Buffer(), Buffer(), Buffer()
        self.runs = []
        self.keyed = self.bare = True

    def __init__(self, Scan scan not None, SortKeys order not None, limit=None, bytes after=None, size_t memory=MEMORY):
        self.scan = scan
        self.order = order
        self.limit = ENDLESS if limit is None else limit
        self.after = after
        self.memory = min(max(memory, <size_t>LEAST_MEMORY), <size_t>MOST_MEMORY)

    def __dealloc__(self):
        PyMem_RawFree(self.items)

    # Reading

    def step(self, size_t budget=ENDLESS, bint wait=True, bint release=False):
        """Read on, at most `budget` rows of the scan, or sort what is `due`; whether that was all. wait, release: as in Scan."""
        if self.sorted or self.done:
            return True
        try:
            if self.is_due():
                self.tidy()
                return self.sorted
            if self.limit:
                self.scan.run(ROWS, self, ENDLESS, budget, wait, release)
            if self.limit == 0 or self.scan.done and self.count <= FEW_ROWS:
                self.finish()
        except ColdPage:
            raise
        except BaseException:
            self.close()
            raise
        return self.sorted

    @property
    def due(self):
        """Whether the next step sorts rows or writes them to the temporary file, and reads none: the GIL is hardly needed for that."""
        return not self.sorted and not self.done and self.is_due()

    cdef bint is_due(self) noexcept:
        """Whether all is read, or so much that it has to be put in order before more is."""
        if self.scan.done:
            return True
        if self.limit < ENDLESS // 2 and self.count > self.limit + self.limit // 2 + SPARE_ROWS:
            return True
        return self.count > FEW_ROWS and self.rows.size + self.count * sizeof(Item) > self.memory - self.memory // 8

    cdef int tidy(self) except -1:
        """Do what is due."""
        if self.scan.done:
            return self.finish()
        if self.count > self.limit:
            self.prune()
        if self.is_due():
            self.spill()
        return 0

    cdef int take(
            self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1:
        cdef unsigned char* row
        cdef size_t place
        self.key.size = 0
        self.order.write(self.key, record, size, key, key_size)
        if not self.is_wanted():
            return 0
        self.make_room(HEADER + self.key.size + key_size + size)
        place = self.rows.size
        row = take(self.rows, HEADER + self.key.size + key_size + size)
        put32(row, <uint32_t>self.key.size)
        put32(row + 4, <uint32_t>key_size)
        put32(row + 8, <uint32_t>size)
        row += HEADER
        memcpy(row, self.key.data, self.key.size)
        memcpy(row + self.key.size, key, key_size)
        memcpy(row + self.key.size + key_size, record, size)
        self.items[self.count].head = head_of(self.key.data, self.key.size)
        self.items[self.count].place = place
        self.count += 1
        return 0

    cdef bint is_wanted(self) noexcept:
        """Whether the row at hand may be among those asked for."""
        cdef Buffer key = self.key
        cdef size_t size
        cdef int order
        if self.barred:
            order = memcmp(key.data, self.bar.data, min(key.size, self.bar.size))
            if order > 0 or (order == 0 and key.size >= self.bar.size):
                return False
        if self.after is not None:
            size = PyBytes_GET_SIZE(self.after)
            order = memcmp(key.data, PyBytes_AS_STRING(self.after), min(key.size, size))
            return order > 0 or (order == 0 and key.size > size)
        return True

    cdef int make_room(self, size_t size) except -1:
        """Let one more row of so many bytes be kept."""
        cdef void* items
        cdef size_t capacity
        if self.limit < ENDLESS // 2 and self.count >= 2 * self.limit + SPARE_ROWS:
            self.prune()
        if self.count and self.rows.size + size + self.count * sizeof(Item) > self.memory:
            if self.count > self.limit:
                self.prune()
            if 2 * self.rows.size > self.memory or self.rows.size + size > self.memory:
                self.spill()
        if self.rows.capacity < self.memory and self.rows.size >= MUCH:
            # The rest at once, of which the system gives what is used: to double it now and then is to copy it.
            self.rows.grow(self.memory - self.rows.size)
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else SPARE_ROWS
            if self.count * sizeof(Item) >= MUCH:
                capacity = max(capacity, self.memory // (self.rows.size // self.count + sizeof(Item)))
            items = PyMem_RawRealloc(self.items, capacity * sizeof(Item))
            if items == NULL:
                raise MemoryError()
            self.items = <Item*>items
            self.capacity = capacity
        return 0

    cdef int arrange(self) except -1:
        """Sort the items; their places are then addresses."""
        cdef size_t i, data = <size_t>self.rows.data
        if self.count:
            with nogil:
                for i in range(self.count):
                    self.items[i].place += data
                qsort(self.items, self.count, sizeof(Item), compare_items)
        return 0

    cdef int prune(self) except -1:
        """Keep the best rows only. Whoever is not better than the worst of them need not be kept from now on."""
        cdef Buffer rows = Buffer()
        cdef const unsigned char* row
        cdef size_t size
        self.arrange()
        self.count = min(self.count, self.limit)
        if self.count and self.count == self.limit:
            row = <const unsigned char*>self.items[self.count - 1].place
            self.bar.size = 0
            put_bytes(self.bar, row + HEADER, get32(row))
            self.barred = True
        with nogil:
            size = size_of(self.items, self.count)
        take(rows, size)
        with nogil:
            move_rows(self.items, self.count, rows.data)
        self.rows = rows
        return 0

    cdef int spill(self) except -1:
        """Write the rows to the temporary file, as one run."""
        cdef bytes chunk
        cdef unsigned char* start
        cdef Run run = Run.__new__(Run)
        cdef size_t i = 0, size = 0, count
        if self.file is None:
            self.file = open_scratch(self.scan.table.pager.file)
        run.file, run.at = self.file, self.spilled
        self.arrange()
        while i < self.count:
            with nogil:
                count = rows_of(self.items + i, self.count - i, CHUNK, &size)
            chunk = PyBytes_FromStringAndSize(NULL, size)
            start = <unsigned char*>PyBytes_AS_STRING(chunk)
            with nogil:
                move_rows(self.items + i, count, start)
            self.file.write_at(self.spilled, [chunk])
            self.spilled += size
            i += count
        run.end = self.spilled
        self.runs.append(run)
        self.count = self.rows.size = 0
        return 0

    cdef int finish(self) except -1:
        """All is read: make ready to give it."""
        cdef size_t i
        cdef Run run
        self.sorted = True
        if not self.runs:
            self.arrange()
            return 0
        if self.count:
            self.spill()
        self.give_up_rows()
        for run in self.runs:
            run.block_size = min(max(<size_t>LEAST_BLOCK, self.memory // <size_t>len(self.runs)), <size_t>MOST_BLOCK)
            run.next(True)
        for i in range(len(self.runs) // 2, 0, -1):
            self.sink_down(i - 1)
        return 0

    # Giving

    def fetch(self, Shape shape, size_t count, bint wait=True):
        """The next rows, at most `count`, in this shape; without one (primary key, record) pairs.

        Fewer when the scan's `seconds` have passed. ColdPage: the disk would have to be waited for and `wait` is False. ValueError
        before `step` has said True.
        """
        cdef list found = []
        self.go_on(found, shape, count, wait)
        return found

    def skip(self, size_t count, bint wait=True):
        """Pass over the next `count` rows; how many were passed, which may be fewer as in fetch. Errors as in fetch."""
        return self.go_on(None, None, count, wait)

    cdef size_t go_on(self, list found, Shape shape, size_t count, bint wait) except? 0:
        """Append the next rows to `found`, unless it is None; how many there were."""
        cdef size_t passed
        cdef Collector collector
        cdef double end = 0
        if self.done:
            return 0
        if not self.sorted:
            raise ValueError("the rows are not sorted yet")
        count = min(count, self.limit)
        if self.scan.seconds:
            end = <double>monotonic() + self.scan.seconds
        collector = gc_off(min(count, <size_t>FEW_ROWS), self.handed, shape is not None and shape.foreign)
        try:
            passed = self.give_merged(found, shape, count, end, wait) if self.runs else self.give(found, shape, count, end)
        except ColdPage:
            raise
        except BaseException:
            self.close()
            raise
        finally:
            gc_on(collector)
        self.handed += passed
        if self.limit != ENDLESS:
            self.limit -= passed
        if self.limit == 0 or (self.given == self.count and not self.runs):
            self.close()
        return passed

    cdef size_t give(self, list found, Shape shape, size_t count, double end) except? 0:
        """Rows that are in memory, until a time."""
        cdef size_t passed = 0
        count = min(count, self.count - self.given)
        if found is None:
            self.given += count
            return count
        while passed < count and not is_late(end, passed):
            found.append(row_of(<const unsigned char*>self.items[self.given].place, shape))
            self.given += 1
            passed += 1
        return passed

    cdef size_t give_merged(self, list found, Shape shape, size_t count, double end, bint wait) except? 0:
        """Rows from the runs, the best of their first ones each time. ColdPage if that would be none."""
        cdef size_t passed = 0
        try:
            while passed < count and not is_late(end, passed):
                self.pass_given(wait)
                if not self.runs:
                    break
                if found is not None:
                    found.append(row_of((<Run>self.runs[0]).row, shape))
                self.stale = True
                passed += 1
            self.pass_given(wait)
        except ColdPage:
            if passed == 0:
                raise
        return passed

    cdef int pass_given(self, bint wait) except -1:
        """Have the best row of all that were not given in the first run; no run if there is none."""
        cdef list runs = self.runs
        if not self.stale:
            return 0
        if not (<Run>runs[0]).next(wait):
            runs[0] = runs[len(runs) - 1]
            runs.pop()
        self.stale = False
        return self.sink_down(0) if runs else 0

    cdef int sink_down(self, size_t i) except -1:
        """Put the run at this place of the heap where it belongs."""
        cdef list runs = self.runs
        cdef Run run = runs[i]
        cdef Run child
        cdef size_t count = len(runs), below = 2 * i + 1
        while below < count:
            child = runs[below]
            if below + 1 < count and compare_rows((<Run>runs[below + 1]).row, child.row) < 0:
                below += 1
                child = runs[below]
            if compare_rows(run.row, child.row) <= 0:
                break
            runs[i] = child
            i, below = below, 2 * below + 1
        runs[i] = run
        return 0

    cdef int give_up_rows(self) except -1:
        """Give up the memory of the rows. To give so much back takes the system milliseconds, so without the GIL."""
        cdef Buffer rows = self.rows
        cdef unsigned char* data = NULL if rows.data == rows.first else rows.data
        cdef Item* items = self.items
        rows.data, rows.capacity, rows.size = rows.first, sizeof(rows.first), 0
        self.items, self.capacity = NULL, 0
        with nogil:
            free(data)
            PyMem_RawFree(items)
        return 0

    def close(self):
        """Give up memory and temporary file; there are no more rows."""
        self.done = True
        self.runs = []
        self.give_up_rows()
        self.count = self.given = 0
        if self.file is not None:
            self.file.close()
            self.file = None
