"""Rows that the entries of an index lead to, or that are made of the entries themselves."""

from cython cimport final
from libc.stddef cimport size_t
from libc.string cimport memcmp

from modelvault._core.buffer cimport Buffer, put_bytes
from modelvault._core.cover cimport DAMAGED_ENTRY, NEEDS_ROW, Cover
from modelvault._core.cursor cimport Cursor
from modelvault._core.feed cimport COUNT, ROWS, Feed, first_range
from modelvault._core.index cimport Entries, IndexKeys
from modelvault._core.lookup cimport SIDE_BY_SIDE, Lookup, Sought
from modelvault._core.pager cimport Page
from modelvault._core.program cimport Program
from modelvault._core.stretch cimport Stretch, compare_bytes, copy_key, new_stretch
from modelvault._core.table cimport Table
from modelvault._core.tree cimport Roots

from modelvault.errors import ColdPage


@final
cdef class EntryFeed(Feed):
    """Ranges of an index tree, in the order of the index; each entry leads to its row."""

    cdef int leave(self) except -1:
        Feed.leave(self)
        self.open = False
        self.leaf = None
        self.stretch.cursor.reset(self.pager, self.roots.at(self.index.tree))
        if self.cover is None:
            self.lookup.clear()
        else:
            self.cursor.reset(self.pager, self.roots.at(self.table.tree))
        self.range = first_range(self, self.ranges)
        return 0

    cdef int step(self, size_t want, size_t budget, bint wait, bint release) except -1:
        self.make_room(want)
        self.held.clear()
        if not self.reach(wait):
            self.ended = True
            return 0
        if self.program is None and not self.distinct and self.mode != ROWS:
            return self.take_entries(want, budget)
        if self.cover is not None:
            return self.take_covered(want, budget, wait)
        return self.take_rows(want, budget, wait)

    cdef bint reach(self, bint wait) except -1:
        """Have the stretch at an entry; False at the end of the last range. ColdPage changes nothing."""
        cdef Stretch stretch = self.stretch
        self.tree = self.index.tree
        while not self.open or stretch.start == stretch.end:
            if not self.open:
                if not 0 <= self.range < len(self.ranges):
                    return False
                low, high = <tuple>self.ranges[self.range]
                stretch.set(low, high)
                self.open = True
            if stretch.next(self.position, self.behind, wait):
                self.pages += 1
            else:
                self.open = False
                self.range += -1 if self.backward else 1
        return True

    cdef int pass_entries(self, size_t count) except -1:
        """Go on behind so many entries of this leaf."""
        cdef Stretch stretch = self.stretch
        self.examined += count
        if self.backward:
            stretch.end -= count
            return self.stand_at(stretch.cursor.leaf, stretch.end)
        stretch.start += count
        return self.stand_at(stretch.cursor.leaf, stretch.start - 1)

    cdef size_t read_entry(self, size_t slot) except 0:
        """Put an entry of this leaf into `joined`; where its primary key begins."""
        cdef size_t key_at
        self.joined.size = 0
        copy_key(self.joined, self.stretch.cursor.leaf.data, self.pager.page_size, slot)
        key_at = self.shape.key_at(self.joined.data, self.joined.size)
        if key_at == 0:
            raise self.no_entry()
        return key_at

    cdef object no_entry(self):
        """The error for an entry that cannot be read."""
        error = self.pager.damaged(
            self.stretch.cursor.leaf.number, f"a key in it is no entry of the index {self.index.name} of {self.table.name}")
        error.tree = self.index.tree
        return error

    cdef int take_entries(self, size_t want, size_t budget) except -1:
        """Take the entries of this leaf without a look at their rows."""
        cdef Stretch stretch = self.stretch
        cdef size_t count = min(stretch.end - stretch.start, want, budget), i, slot
        if self.mode == COUNT:
            self.matched += count
            return self.pass_entries(count)
        self.held.append(stretch.cursor.leaf)
        for i in range(min(count, self.capacity)):
            slot = stretch.end - 1 if self.backward else stretch.start
            self.add(stretch.cursor.leaf, slot, self.read_entry(slot), NULL, 0, 1)
            self.pass_entries(1)
        return 0

    cdef int take_rows(self, size_t want, size_t budget, bint wait) except -1:
        """Look at the rows of entries; ColdPage if the first of them would have to be waited for."""
        cdef size_t before = self.matched, looked = 0, most
        try:
            while True:
                most = min(want + before - self.matched - self.count, budget - looked, self.capacity - self.count)
                if most == 0 or not self.reach(wait):
                    break
                looked += self.take_some(most, wait)
        except ColdPage:
            if looked == 0:
                raise
        return 0

    cdef size_t take_some(self, size_t most, bint wait) except 0:
        """Look at the rows of some entries of this leaf, all together, since they lie far apart; of how many."""
        cdef Stretch stretch = self.stretch
        cdef Lookup lookup = self.lookup
        cdef size_t count = min(stretch.end - stretch.start, most, <size_t>SIDE_BY_SIDE), i, key_at
        lookup.clear()
        for i in range(count):
            key_at = self.read_entry(stretch.end - 1 - i if self.backward else stretch.start + i)
            lookup.add(self.joined.data + key_at, self.joined.size - key_at)
        self.tree = self.table.tree
        count = lookup.find(self.pager, self.roots.at(self.table.tree), wait)
        for i in range(count):
            self.take_row(i, stretch.end - 1 - i if self.backward else stretch.start + i)
        self.pass_entries(count)
        return count

    cdef int take_row(self, size_t i, size_t slot) except -1:
        """Note the row that was looked up for the entry in this slot, if it matches."""
        cdef Lookup lookup = self.lookup
        cdef Sought* sought = lookup.sought + i
        cdef Page leaf, extent
        cdef int verdict
        if sought.value == NULL:
            raise self.table.stray(self.index)
        leaf, extent = <Page>lookup.leaves[i], <Page>lookup.extents[i]
        self.pages += (leaf is not self.leaf) + (extent is not None)
        self.leaf = leaf
        verdict = self.judge(sought.value, sought.length)
        if verdict < 0:
            raise self.damaged_record(leaf)
        if verdict and (not self.distinct or self.is_first(sought.value, sought.length, self.read_entry(slot))):
            self.held.append(leaf)
            if extent is not None:
                self.held.append(extent)
            self.add(leaf, sought.slot, 0, sought.value, sought.length, verdict)
        return 0

    cdef int take_covered(self, size_t want, size_t budget, bint wait) except -1:
        """Look at entries, one after the other, as if they were rows."""
        cdef size_t i
        self.records.size = 0
        self.cover_entries(want, budget, wait)
        for i in range(self.count):
            self.hits[i].record = self.records.data + <size_t>self.hits[i].record
        return 0

    cdef int cover_entries(self, size_t want, size_t budget, bint wait) except -1:
        """take_covered, except that where records lie is known when all are made."""
        cdef Stretch stretch = self.stretch
        cdef size_t before = self.matched, slot = 0
        cdef Page leaf = None   # of the entry looked at last
        try:
            while budget and self.matched - before + self.count < want and self.count < self.capacity:
                if not self.reach(wait):
                    break
                self.cover_entry(stretch.end - 1 if self.backward else stretch.start, wait)
                leaf = stretch.cursor.leaf
                if self.backward:
                    stretch.end -= 1
                    slot = stretch.end
                else:
                    slot = stretch.start
                    stretch.start += 1
                self.examined += 1
                budget -= 1
        except ColdPage:
            if leaf is None:
                raise
        finally:
            if leaf is not None:
                self.stand_at(leaf, slot)
        return 0

    cdef int cover_entry(self, size_t slot, bint wait) except -1:
        """Note an entry of this leaf if its record matches."""
        cdef Buffer records = self.records
        cdef size_t key_at = self.read_entry(slot), start = records.size, size = 0
        cdef const unsigned char* row
        cdef int verdict = self.cover.write(records, self.joined.data, self.joined.size, NULL, 0, None)
        if verdict == NEEDS_ROW:
            row = self.row_of(key_at, &size, wait)
            verdict = self.cover.write(
                records, self.joined.data, self.joined.size, row, size, self.index.extractor(row, size))
        if verdict == DAMAGED_ENTRY:
            raise self.no_entry()
        verdict = self.judge(records.data + start, records.size - start)
        if verdict < 0:
            raise self.no_entry()
        if verdict:
            self.held.append(self.stretch.cursor.leaf)
            self.add(
                self.stretch.cursor.leaf, slot, key_at, <const unsigned char*>start, records.size - start, verdict)
        if verdict == 0 or (verdict == 1 and self.mode == COUNT):
            records.size = start
        return 0

    cdef const unsigned char* row_of(self, size_t key_at, size_t* size, bint wait) except NULL:
        """The record of the row that the entry in `joined` leads to."""
        cdef Cursor cursor = self.cursor
        cdef Page leaf = cursor.leaf, extent = cursor.extent
        cdef const unsigned char* record
        self.tree = self.table.tree
        if not cursor.find_near(self.joined.data + key_at, self.joined.size - key_at, wait):
            raise self.table.stray(self.index)
        record = cursor.value(size, wait)
        self.pages += (cursor.leaf is not leaf) + (cursor.extent is not extent)
        return record

    cdef bint is_first(self, const unsigned char* record, size_t size, size_t key_at) except -1:
        """Whether the entry in `joined` is the first of its record's entries that the ranges have.

        So a row is given once although nobody remembers which rows were given.
        """
        cdef IndexKeys extractor = self.index.extractor(record, size)
        cdef Buffer joined = self.joined
        cdef Buffer other = self.other
        cdef size_t i, at, start, length
        extractor.collect(record, size, self.scratch)
        for i in range(self.scratch.count):
            at = self.scratch.count - 1 - i if self.backward else i
            start = self.scratch.ends[at - 1] if at else 0
            length = self.scratch.ends[at] - start
            if length == key_at and memcmp(self.scratch.bytes.data + start, joined.data, length) == 0:
                return True
            other.size = 0
            put_bytes(other, self.scratch.bytes.data + start, length)
            put_bytes(other, joined.data + key_at, joined.size - key_at)
            if self.is_covered(other.data, other.size):
                return False
        raise self.table.stray(self.index)

    cdef bint is_covered(self, const unsigned char* entry, size_t size) except -1:
        """Whether an entry lies in one of the ranges."""
        cdef Py_ssize_t low = 0, high = len(self.ranges), middle
        cdef bytes bound
        while low < high:
            middle = (low + high) // 2
            bound = (<tuple>self.ranges[middle])[1]
            if bound is not None and compare_bytes(bound, entry, size) <= 0:
                low = middle + 1
            else:
                high = middle
        if low == len(self.ranges):
            return False
        bound = (<tuple>self.ranges[low])[0]
        return bound is None or compare_bytes(bound, entry, size) <= 0


cdef EntryFeed new_entry_feed(
        Table table, Roots roots, Program program, bint backward, str index, list ranges, bint distinct, Cover cover):
    """A feed from ranges of an index; KeyError for an unknown index. cover: its entries are all that is looked at."""
    cdef EntryFeed feed = EntryFeed.__new__(EntryFeed)
    feed.table, feed.pager, feed.roots, feed.program, feed.backward = table, table.pager, roots, program, backward
    feed.stretch = new_stretch(backward)
    feed.index = table.index(index)
    feed.shape = feed.index.shape
    feed.ranges, feed.distinct = ranges, distinct
    feed.joined = Buffer()
    feed.cover = cover
    if cover is None:
        feed.lookup = Lookup()
    else:
        feed.records, feed.cursor = Buffer(), Cursor.__new__(Cursor)
    if distinct:
        feed.scratch, feed.other = Entries(), Buffer()
    return feed
