"""Where the rows of a scan come from.

A feed takes steps. Each step looks at some rows under the GIL or, where many records lie in leaves side by side, gathers the
leaves first and tests all their records without it: a GIL taken and released for each leaf would cost more than the tests, and
two scans would only hand it to one another. What a step found is in `hits`; the pages stay until the next step.

The position is the key of the row looked at last, and whatever else a feed knows can be thrown away (`leave`): it finds its
place again by that key. So a step may stop at any row, for want of a page or because it has enough, and go on in other roots.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from modelvault._core.buffer cimport Buffer, fetch_lines, take
from modelvault._core.cursor cimport Cursor
from modelvault._core.format cimport PAGE_SLOTS
from modelvault._core.node cimport leaf_value, node_slots
from modelvault._core.pager cimport Page
from modelvault._core.program cimport Program
from modelvault._core.stretch cimport Stretch, compare_bytes, copy_key, new_stretch
from modelvault._core.table cimport Table
from modelvault._core.tree cimport Roots, fetch_extent

from modelvault.errors import ColdPage

cdef enum:
    FIRST_WINDOW = 256          # rows tested in one go; twice as many the next time
    LAST_WINDOW = 16384
    MOST_LEAVES = 256           # in a window
    MOST_HITS = 1024            # in a step
    MOST_LONG = 1 << 23         # bytes of long values held by a step

    LONG_VALUE = 3              # beside the answers of Program.match: the record lies elsewhere
    DAMAGED = -1

    AHEAD = 6                   # rows between the one that is tested and the one whose record memory is asked for


# What feeds have in common

cdef class Feed:
    """Rows in steps. A subclass says where they come from."""

    def __cinit__(self):
        self.position = Buffer()
        self.held = []

    def __dealloc__(self):
        PyMem_RawFree(self.hits)

    cdef int leave(self) except -1:
        """Let go of all pages, and begin again at the position."""
        self.held.clear()
        self.count = 0
        return 0

    cdef int step(self, size_t want, size_t budget, bint wait, bint release) except -1:
        """Look at up to `budget` rows until `want` of them are in `hits` or counted in `matched`; fewer is no end.

        ColdPage is raised only if nothing was found. release: the GIL may go.
        """
        raise TypeError("a feed needs a source")

    cdef int make_room(self, size_t want) except -1:
        """Let hits take so many rows."""
        cdef void* hits
        self.count = 0
        want = min(want, <size_t>MOST_HITS)
        if want > self.capacity:
            hits = PyMem_RawRealloc(self.hits, want * sizeof(Hit))
            if hits == NULL:
                raise MemoryError()
            self.hits = <Hit*>hits
            self.capacity = want
        return 0

    cdef int stand_at(self, Page leaf, size_t slot) except -1:
        """The row or entry looked at last is this one."""
        self.position.size = 0
        self.behind = True
        return copy_key(self.position, leaf.data, self.pager.page_size, slot)

    cdef int add(
            self, Page leaf, size_t slot, size_t key_at, const unsigned char* record, size_t size, int verdict) except -1:
        """Note a row, unless it only has to be counted."""
        if self.mode == COUNT and verdict == 1:
            self.matched += 1
            return 0
        cdef Hit* hit = self.hits + self.count
        hit.leaf, hit.slot, hit.key_at = <PyObject*>leaf, slot, key_at
        hit.record, hit.size, hit.undecided = record, size, verdict == 2
        self.count += 1
        return 0

    cdef int judge(self, const unsigned char* record, size_t size) except -2:
        """What the program says of a record."""
        return 1 if self.program is None else self.program.match(record, size)

    cdef object damaged_record(self, Page leaf):
        """The error for a record that the program cannot read."""
        error = self.pager.damaged(leaf.number, f"a record of {self.table.name} in it, or a long one that it refers to, cannot be read")
        error.tree = self.table.tree
        return error


# From the primary tree

@final
cdef class RowFeed(Feed):
    """Ranges and single keys of the primary tree, in the order of the keys."""

    def __cinit__(self):
        self.rows = FIRST_WINDOW

    def __dealloc__(self):
        PyMem_RawFree(self.window.leaves)

    cdef int feed(self, list points, list ranges) except -1:
        """Set what it goes through; of that, what is behind the position counts."""
        self.points = points
        self.ranges = ranges
        self.ended = False
        return self.leave()

    cdef int leave(self) except -1:
        Feed.leave(self)
        self.window.count = self.window.at = 0
        self.open = False
        self.stretch.cursor.reset(self.pager, self.roots.at(self.table.tree))
        self.cursor.reset(self.pager, self.roots.at(self.table.tree))
        self.range = first_range(self, self.ranges)
        self.point = first_point(self)
        return 0

    cdef int step(self, size_t want, size_t budget, bint wait, bint release) except -1:
        self.make_room(want)
        if self.window.at == self.window.count:
            self.held.clear()
            self.window.count = self.window.at = 0
            if self.is_range_next():
                self.gather(want, budget, wait)
            elif self.has_points():
                return self.find_points(want, budget, wait)
            else:
                self.ended = True
                return 0
        self.window.want, self.window.budget = want, budget
        return self.test(wait, release)

    cdef bint has_points(self) noexcept:
        """Whether a point is left."""
        return 0 <= self.point < len(self.points)

    cdef bint is_range_next(self) except -1:
        """Whether a range comes next, and no point."""
        cdef bytes bound
        if not 0 <= self.range < len(self.ranges):
            return False
        if not self.has_points():
            return True
        bound = self.ranges[self.range][1 if self.backward else 0]
        if bound is None:
            return True
        return bound > self.points[self.point] if self.backward else bound <= self.points[self.point]

    cdef int find_points(self, size_t want, size_t budget, bint wait) except -1:
        """Look up single keys."""
        cdef bytes key
        cdef size_t before = self.matched
        cdef Py_ssize_t first = self.point
        while budget and self.matched - before + self.count < want and self.count < self.capacity:
            if not self.has_points() or (self.ranges and self.is_range_next()):
                break
            key = self.points[self.point]
            try:
                self.find_point(key, wait)
            except ColdPage:
                if self.point == first:
                    raise
                break
            self.position.size = 0
            memcpy(take(self.position, PyBytes_GET_SIZE(key)), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            self.behind = True
            self.point += -1 if self.backward else 1
            self.examined += 1
            budget -= 1
        return 0

    cdef bint find_point(self, bytes key, bint wait) except -1:
        """Note the row with this key, if it is there and matches."""
        cdef Cursor cursor = self.cursor
        cdef const unsigned char* record = NULL
        cdef size_t size = 0
        cdef int verdict
        cdef Page leaf = cursor.leaf, extent = cursor.extent
        if not cursor.find_near(<const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), wait):
            return False
        if self.mode == ROWS or self.program is not None:
            record = cursor.value(&size, wait)
        self.pages += (cursor.leaf is not leaf) + (cursor.extent is not extent)
        verdict = self.judge(record, size)
        if verdict < 0:
            raise self.damaged_record(cursor.leaf)
        if verdict:
            self.held.append(cursor.leaf)
            if cursor.extent is not None:
                self.held.append(cursor.extent)
            if self.mode == ROWS:
                fetch_lines(record + 64, 2)    # the rest of what is decoded when all of this step are found
            self.add(cursor.leaf, cursor.index, 0, record, size, verdict)
        return True

    cdef int gather(self, size_t want, size_t budget, bint wait) except -1:
        """Fill the window with leaves of the range, about as many as will be looked at."""
        cdef Stretch stretch = self.stretch
        cdef Window* window = &self.window
        cdef Leaf* leaf
        cdef size_t found = 0, rows = self.rows
        if self.program is None:
            rows = LAST_WINDOW if self.mode == COUNT else want
        else:
            self.rows = min(2 * rows, <size_t>LAST_WINDOW)
        rows = min(rows, budget)
        if window.leaves == NULL:
            window.leaves = <Leaf*>PyMem_RawMalloc(MOST_LEAVES * sizeof(Leaf))
            if window.leaves == NULL:
                raise MemoryError()
        if not self.open:
            low, high = <tuple>self.ranges[self.range]
            stretch.set(low, high)
            self.open = True
        try:
            while found < rows and window.count < MOST_LEAVES and stretch.next(self.position, self.behind, wait):
                leaf = window.leaves + window.count
                leaf.page, leaf.data = <PyObject*>stretch.cursor.leaf, stretch.cursor.leaf.data
                leaf.start, leaf.end = stretch.start, stretch.end
                self.held.append(stretch.cursor.leaf)
                window.count += 1
                self.pages += 1
                found += stretch.end - stretch.start
        except ColdPage:
            if window.count == 0:
                raise
        if stretch.last:
            self.open = False
            self.range += -1 if self.backward else 1
        return 0

    cdef int test(self, bint wait, bint release) except -1:
        """Go through the window until it has what it wants."""
        cdef Window* window = &self.window
        cdef Program program = self.program
        cdef size_t held = 0
        cdef int outcome
        window.hits, window.capacity, window.found = self.hits, self.capacity, 0
        window.matched = window.examined = 0
        window.backward, window.mode, window.last = self.backward, self.mode, NULL
        try:
            while True:
                if program is None:
                    outcome = take_rows(window)
                elif release and not held:
                    with nogil:
                        outcome = test_rows(window, program)
                else:
                    outcome = test_rows(window, program)
                if outcome != LONG_VALUE or held > MOST_LONG:
                    break
                # The rest of this step keeps the GIL: where one value is long, the next ones are.
                try:
                    held += self.take_long(wait)
                except ColdPage:
                    if window.examined == 0:
                        raise
                    break
        finally:
            self.finish()
        if outcome == DAMAGED:
            raise self.damaged_record(<Page>window.leaves[window.at].page)
        return 0

    cdef size_t take_long(self, bint wait) except 0:
        """Judge the row that the window stands at, whose value is long; bytes of the value."""
        cdef Window* window = &self.window
        cdef Leaf* leaf = window.leaves + window.at
        cdef uint64_t tag
        cdef const unsigned char* place = leaf_value(leaf.data, leaf_slot(window, leaf), &tag)
        cdef Page extent = fetch_extent(self.pager, place, tag >> 1, wait)
        cdef int verdict = self.judge(extent.data + PAGE_SLOTS, tag >> 1)
        if verdict < 0:
            raise self.damaged_record(<Page>leaf.page)
        if verdict:
            self.held.append(extent)
        pass_row(window, leaf, extent.data + PAGE_SLOTS, tag >> 1, verdict)
        self.pages += 1
        return tag >> 1

    cdef int finish(self) except -1:
        """Take over what a step made of the window."""
        cdef Window* window = &self.window
        self.count = window.found
        self.matched += window.matched
        self.examined += window.examined
        while window.at < window.count and window.leaves[window.at].start == window.leaves[window.at].end:
            window.at += 1
        if window.last != NULL:
            self.stand_at(<Page>window.last, window.last_slot)
        return 0


cdef inline size_t leaf_slot(const Window* window, const Leaf* leaf) noexcept nogil:
    """The row of this leaf that comes next."""
    return leaf.end - 1 if window.backward else leaf.start


cdef inline void pass_row(
        Window* window, Leaf* leaf, const unsigned char* record, size_t size, int verdict) noexcept nogil:
    """Go on behind the next row of this leaf, of which this was said."""
    cdef Hit* hit
    cdef size_t slot = leaf_slot(window, leaf)
    window.last, window.last_slot = leaf.page, slot
    window.examined += 1
    window.budget -= 1
    if window.backward:
        leaf.end -= 1
    else:
        leaf.start += 1
    if verdict == 0:
        return
    window.want -= 1
    if verdict == 1 and window.mode == COUNT:
        window.matched += 1
        return
    hit = window.hits + window.found
    hit.leaf, hit.slot, hit.key_at = leaf.page, slot, 0
    hit.record, hit.size, hit.undecided = record, size, verdict == 2
    window.found += 1


cdef inline Leaf* next_leaf(Window* window) noexcept nogil:
    """The leaf to go on in; NULL if there is nothing left to do."""
    if window.want == 0 or window.budget == 0 or window.found == window.capacity:
        return NULL
    while window.at < window.count:
        if window.leaves[window.at].start < window.leaves[window.at].end:
            return window.leaves + window.at
        window.at += 1
    return NULL


cdef int test_rows(Window* window, Program program) noexcept nogil:
    """Run the program over the window. LONG_VALUE and DAMAGED: it stands at such a row."""
    cdef Leaf* leaf
    cdef int outcome = 0
    while outcome == 0:
        leaf = next_leaf(window)
        if leaf == NULL:
            return 0
        outcome = test_leaf(window, leaf, program)
    return outcome


cdef int test_leaf(Window* window, Leaf* leaf, Program program) noexcept nogil:
    """Run the program over the rows of a leaf, until one of them matches or stands in the way.

    Of a row that does not match nothing is noted but that it was looked at: for all of them at once. Its record was asked for
    some rows before, as memory takes longer than all the rest.
    """
    cdef const unsigned char* record = NULL
    cdef uint64_t tag = 0
    cdef size_t left = min(leaf.end - leaf.start, window.budget), passed = 0, slot
    cdef int verdict = 0
    while passed < left:
        slot = leaf.end - 1 - passed if window.backward else leaf.start + passed
        if left - passed > AHEAD:
            fetch_lines(
                leaf.data + node_slots(leaf.data)[slot - AHEAD if window.backward else slot + AHEAD].offset, 2)
        record = leaf_value(leaf.data, slot, &tag)
        if tag & 1:
            verdict = LONG_VALUE
            break
        verdict = program.match(record, tag >> 1)
        if verdict:
            break
        passed += 1
    pass_rows(window, leaf, passed)
    if verdict == LONG_VALUE or verdict < 0:
        return verdict
    if verdict:
        pass_row(window, leaf, record, tag >> 1, verdict)
    return 0


cdef int take_rows(Window* window) noexcept nogil:
    """Take what is in the window. LONG_VALUE: it stands at such a row."""
    cdef Leaf* leaf
    cdef const unsigned char* record = NULL
    cdef uint64_t tag = 0
    while True:
        leaf = next_leaf(window)
        if leaf == NULL:
            return 0
        if window.mode == COUNT:
            count_rows(window, leaf)
            continue
        if window.mode == ROWS:
            record = leaf_value(leaf.data, leaf_slot(window, leaf), &tag)
            if tag & 1:
                return LONG_VALUE
        pass_row(window, leaf, record, tag >> 1, 1)


cdef inline void count_rows(Window* window, Leaf* leaf) noexcept nogil:
    """Count as many rows of this leaf as are wanted, and go on behind them."""
    cdef size_t count = min(leaf.end - leaf.start, window.want, window.budget)
    window.want -= count
    window.matched += count
    pass_rows(window, leaf, count)


cdef inline void pass_rows(Window* window, Leaf* leaf, size_t count) noexcept nogil:
    """Go on behind so many rows of this leaf."""
    if count == 0:
        return
    window.budget -= count
    window.examined += count
    if window.backward:
        leaf.end -= count
    else:
        leaf.start += count
    window.last, window.last_slot = leaf.page, leaf.end if window.backward else leaf.start - 1


cdef Py_ssize_t first_range(Feed feed, list ranges) except -2:
    """The first range that is not wholly before the feed's position."""
    cdef Py_ssize_t low = 0, high = len(ranges), middle
    cdef bytes bound
    cdef int order
    if not feed.behind:
        return high - 1 if feed.backward else 0
    while low < high:
        middle = (low + high) // 2
        bound = (<tuple>ranges[middle])[0 if feed.backward else 1]
        if bound is None:
            order = -1 if feed.backward else 1
        else:
            order = compare_bytes(bound, feed.position.data, feed.position.size)
        if order < 0 or (order == 0 and not feed.backward):
            low = middle + 1
        else:
            high = middle
    return low - 1 if feed.backward else low


cdef Py_ssize_t first_point(RowFeed feed) except -2:
    """The first of a feed's points behind its position."""
    cdef Py_ssize_t low = 0, high = len(feed.points), middle
    cdef int order
    if not feed.behind:
        return high - 1 if feed.backward else 0
    while low < high:
        middle = (low + high) // 2
        order = compare_bytes(<bytes>feed.points[middle], feed.position.data, feed.position.size)
        if order < 0 or (order == 0 and not feed.backward):
            low = middle + 1
        else:
            high = middle
    return low - 1 if feed.backward else low


cdef RowFeed new_row_feed(Table table, Roots roots, Program program, bint backward):
    """A feed from the primary tree, yet without points and ranges."""
    cdef RowFeed feed = RowFeed.__new__(RowFeed)
    feed.table, feed.pager, feed.roots, feed.program, feed.backward = table, table.pager, roots, program, backward
    feed.tree = table.tree
    feed.stretch = new_stretch(backward)
    feed.cursor = Cursor.__new__(Cursor)
    feed.points, feed.ranges = [], []
    return feed
