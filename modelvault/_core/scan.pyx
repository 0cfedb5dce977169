"""Carrying out one source of a query against one version of a table.

A source is a tuple:

* ("keys", (key, ...)): the rows with these packed primary keys, each once, in their order;
* ("rows", low, high): those with low <= key < high, None being an open end;
* ("entries", index, ((low, high), ...), distinct): those that the entries in these ranges lead to, in the order of the index.
  The ranges are ascending and disjoint. distinct: a row may have several entries there, and is given at the first;
* ("union", (source, ...)): the rows of any of them, each once, in the order of their primary keys.

A program sieves them. Results come in slices, so that nobody waits for long, on the caller's thread or on another.
"""

import gc
from time import monotonic

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from modelvault._core.buffer cimport Buffer, put_bytes
from modelvault._core.cover cimport Cover
from modelvault._core.entry_feed cimport new_entry_feed
from modelvault._core.feed cimport COUNT, KEYS, ROWS, Feed, Hit, Mode, RowFeed, new_row_feed
from modelvault._core.pager cimport Page
from modelvault._core.program cimport Program
from modelvault._core.record cimport Shape
from modelvault._core.stretch cimport copy_key
from modelvault._core.table cimport Table
from modelvault._core.tree cimport Roots

from modelvault.errors import ColdPage, CorruptionError

cdef extern from "Python.h":
    int PyGC_Disable()
    int PyGC_Enable()

cdef enum:
    MOST_KEYS = 1 << 15         # of a union, held at a time
    KEYS_READ = 1024            # in one go
    FEW_ROWS = 32               # made with the garbage collector on
    MANY_ROWS = 128             # made without it, and old when it is on again
    PORTION = 64                # made between two looks at the clock
    LOOKS = 2000000             # rows that are looked at in a second where their pages have to be read
    MOST_AGED = 1 << 18         # objects made old with them
    GENERATION = 700            # objects that a collection of the youngest leaves, at most
    OBJECTS = 8                 # of a row, about

cdef size_t ENDLESS = <size_t>-1
cdef object collections = 0         # full ones, by the time of
cdef size_t aged = 0                # so many objects were made old since, beside rows
cdef size_t ours = 0                # objects of rows that are young, from batches too small to be made old
cdef size_t before = 0              # young objects when the collector was stopped
cdef bint frozen = False            # the user froze objects


@final
cdef class Scan:
    """The rows of a source that a program lets pass, in slices. `backward` turns the order around.

    `after` resumes behind a position: the primary key of a row, or for entries the whole entry. `position` is that of the row
    looked at last, None before the first. `done`: there are no more. `examined` rows were looked at, `returned` passed.

    The methods that go on take a budget, the rows that they may look at, and give less than was asked for when it is used up, or when
    `seconds` have passed, if that is not 0: how long a row takes is known afterwards only. wait=False raises ColdPage where the disk
    would have to be waited for; nothing is lost, the call can be repeated. release=True lets the GIL go meanwhile; the version must be
    pinned. CorruptionError names page and tree.

    held: keys of a union in memory at a time; what its entries lead to beyond them is read again later. cover: for entries that
    lead to each row once; records are made of them, the program and all else is for those. Raises KeyError for an unknown index, ValueError for an unknown source.
    """

    def __init__(
            self, Table table not None, Roots roots not None, tuple source not None, Program program=None,
            bint backward=False, bytes after=None, Py_ssize_t held=MOST_KEYS, Cover cover=None):
        self.table = table
        self.program = program
        self.backward = backward
        self.done = self.standing = False
        self.returned = 0
        self.gathering = None
        self.key = Buffer()
        self.set_source(source, roots, cover)
        if self.gathering is not None:
            self.gathering.most = held
        if after is not None:
            put_bytes(self.feed.position, <const unsigned char*>PyBytes_AS_STRING(after), PyBytes_GET_SIZE(after))
            self.feed.behind = True

    cdef int set_source(self, tuple source, Roots roots, Cover cover) except -1:
        cdef str kind = source[0]
        cdef RowFeed feed
        if kind == "entries":
            _, index, ranges, distinct = source
            self.feed = new_entry_feed(
                self.table, roots, self.program, self.backward, index, list(ranges), distinct, cover)
            return 0
        feed = new_row_feed(self.table, roots, self.program, self.backward)
        self.feed = feed
        if kind == "rows":
            _, low, high = source
            feed.ranges = [(low, high)]
        elif kind == "keys":
            feed.points = sorted(set(source[1]))
        elif kind == "union":
            self.gathering = Gathering(self, *flatten(source))
        else:
            raise ValueError(f"unknown source {kind!r}")
        return 0

    @property
    def examined(self):
        """Rows and entries looked at."""
        return self.feed.examined

    @property
    def pages(self):
        """Leaves and long values looked into."""
        return self.feed.pages

    @property
    def position(self):
        """The primary key, for a source of entries the entry, looked at last; None before the first."""
        cdef Buffer position = self.feed.position
        return position.data[:position.size] if self.feed.behind else None

    def rebase(self, Roots roots not None):
        """Go on in other roots, behind the row looked at last."""
        self.feed.roots = roots
        self.standing = False
        self.feed.leave()
        if self.gathering is not None:
            self.gathering.begin()

    # Going on

    def fetch(
            self, Shape shape, size_t count, size_t budget=ENDLESS, bint wait=True, bint release=False, bint whole=False):
        """The next rows, at most `count`, in this shape; without one (primary key, record) pairs.

        whole: for who can use all rows only. ColdPage, or fewer rows, if there are more, and those are not made that were found last.
        """
        cdef RowSink sink = RowSink.__new__(RowSink)
        sink.shape, sink.keyed = shape, shape is None
        self.run(ROWS, sink, count, budget, wait, release, whole)
        return sink.rows

    def keys(self, size_t count, size_t budget=ENDLESS, bint wait=True, bint release=False):
        """The packed primary keys of the next rows, at most `count`. From entries without a program: no row is read."""
        cdef KeySink sink = KeySink.__new__(KeySink)
        sink.keyed = True
        self.run(KEYS, sink, count, budget, wait, release)
        return sink.keys

    def count(self, size_t budget=ENDLESS, bint wait=True, bint release=False):
        """How many of the next rows match; of all that are left if it is `done` then. Builds no rows."""
        return self.run(COUNT, None, ENDLESS, budget, wait, release)

    def skip(self, size_t count, size_t budget=ENDLESS, bint wait=True, bint release=False):
        """Pass over the next `count` matching rows; how many there were. Builds no rows."""
        return self.run(COUNT, None, count, budget, wait, release)

    cdef size_t run(
            self, Mode mode, Sink sink, size_t count, size_t budget, bint wait, bint release, bint whole=False) except? 0:
        """Find up to `count` rows and give them to the sink; how many there were."""
        cdef size_t found = 0, most = ENDLESS, look = ENDLESS, left
        cdef bytes start = self.position
        cdef double end = 0
        if self.busy:
            raise ValueError("this scan is going on already, in another thread or further out")
        if self.seconds:
            end = <double>monotonic() + self.seconds
            look = max(<size_t>(self.seconds * LOOKS), <size_t>1)
            if sink is not None and not sink.bare:
                most = PORTION
        self.busy = True
        try:
            while found < count + whole:
                left = min(budget, look)
                budget -= left
                if not self.go(mode, min(count - found + whole, most), &left, wait, release):
                    break
                if whole and self.feed.count > count - found:
                    raise ColdPage("more rows than shall be made")
                budget += left
                found += self.take(sink, found, wait, release)
                if end and <double>monotonic() >= end:
                    break
        except ColdPage:
            if not found:
                raise
        except CorruptionError as error:
            self.go_back(start)
            raise self.locate(error)
        except BaseException:
            self.go_back(start)
            raise
        finally:
            self.busy = False
            self.resume_gc()
            if not release or self.done:
                self.standing = False   # pages may change before the next slice
                self.feed.leave()
        self.returned += found
        return found

    cdef bint go(self, Mode mode, size_t want, size_t* budget, bint wait, bint release) except -1:
        """A step of the feed, its hits yet to be taken; False at the end, and when the budget is used up."""
        cdef Feed feed = self.feed
        cdef size_t before = feed.examined, cost = 0
        if self.done or budget[0] == 0:
            return False
        feed.count = feed.matched = 0
        if self.gathering is not None and not self.gathering.complete:
            cost = self.gathering.read(<RowFeed>feed, budget[0], wait, release)
            self.standing = False
        else:
            if not self.standing or feed.mode != mode:
                feed.mode = mode
                feed.leave()
                self.standing = True
            feed.step(want, budget[0], wait, release)
            if feed.ended:
                self.done = self.gathering is None or not self.gathering.go_on(<RowFeed>feed)
        budget[0] -= min(budget[0], feed.examined - before + cost)
        return True

    cdef int go_back(self, bytes position) except -1:
        """An error ended a slice: what was found is lost, so the next one begins where this one did."""
        cdef Buffer buffer = self.feed.position
        self.standing = self.done = False
        buffer.size = 0
        self.feed.behind = position is not None
        if position is not None:
            put_bytes(buffer, <const unsigned char*>PyBytes_AS_STRING(position), PyBytes_GET_SIZE(position))
        if self.gathering is not None:
            self.gathering.begin()
        return 0

    cdef object locate(self, object error):
        """The error with the page and the tree in which damage was found."""
        if error.tree is None:
            error.tree = self.feed.tree
        if error.page is None and self.page:
            error.page, error.tree = self.page, self.table.tree
        return error

    # What was found

    cdef size_t take(self, Sink sink, size_t before, bint wait, bint release) except? 0:
        """Give the hits of a step to the sink, if there is one; how many rows match. `before`: matched in this slice already."""
        cdef Feed feed = self.feed
        cdef size_t found = feed.matched
        if feed.count == 0:
            return found
        if not release and has_drafts(feed):
            self.copy_hits()
        if sink is not None and sink.whole:
            found += self.take_whole(sink, release)
            self.page = 0
            return found
        if sink is not None and not sink.bare:
            self.stop_gc(feed.count, self.returned + before, sink.foreign())
        found += self.take_hits(sink)
        self.page = 0
        if wait or (release and self.program is not None):
            self.resume_gc()    # the next step lets other threads run
        return found

    cdef int stop_gc(self, size_t rows, size_t given, bint foreign) except -1:
        """Keep the garbage collector from so many rows, those of a slice together: to stop it takes as long as to make ten of them."""
        global aged
        if self.collector == AGING:
            aged += rows if foreign else 0
            return 0
        self.resume_gc()
        self.collector = gc_off(rows, given, foreign)
        return 0

    cdef int resume_gc(self) except -1:
        """Let the garbage collector be as it was before the slice."""
        cdef Collector collector = self.collector
        self.collector = ON
        return gc_on(collector)

    cdef size_t take_hits(self, Sink sink) except? 0:
        cdef Feed feed = self.feed
        cdef Buffer key = self.key
        cdef Hit* hit
        cdef size_t i, found = 0
        for i in range(feed.count):
            hit = feed.hits + i
            self.page = page_of(hit)
            if hit.undecided and not self.program.decide(hit.record, hit.size):
                continue
            found += 1
            if sink is None:
                continue
            if hit.leaf == NULL:
                sink.take(hit.key, hit.key_size, hit.record, hit.size)
            elif sink.keyed:
                key.size = 0
                copy_key(key, (<Page>hit.leaf).data, self.table.pager.page_size, hit.slot)
                sink.take(key.data + hit.key_at, key.size - hit.key_at, hit.record, hit.size)
            else:
                sink.take(NULL, 0, hit.record, hit.size)
        return found

    cdef size_t take_whole(self, Sink sink, bint release) except? 0:
        """Give the hits to a sink that takes them all at once."""
        cdef Hit* hits = self.feed.hits
        cdef size_t i, found = 0
        for i in range(self.feed.count):
            self.page = page_of(hits + i)
            if not hits[i].undecided or self.program.decide(hits[i].record, hits[i].size):
                hits[found] = hits[i]
                found += 1
        sink.at = 0
        try:
            return sink.take_all(hits, found, release)
        except CorruptionError:
            self.page = page_of(hits + sink.at)
            raise

    cdef int copy_hits(self) except -1:
        """Move the hits into a buffer of their own: their pages may change while Python code runs."""
        cdef Feed feed = self.feed
        cdef Buffer copies = Buffer()
        cdef const unsigned char* place
        cdef Hit* hit
        cdef size_t i, start
        for i in range(feed.count):
            hit = feed.hits + i
            start = copies.size
            copy_key(copies, (<Page>hit.leaf).data, self.table.pager.page_size, hit.slot)
            hit.key_size = copies.size - start - hit.key_at
            put_bytes(copies, hit.record, hit.size)
        place = copies.data
        for i in range(feed.count):
            hit = feed.hits + i
            hit.page = (<Page>hit.leaf).number
            hit.leaf = NULL
            hit.key = place + hit.key_at
            hit.record = hit.key + hit.key_size
            place = hit.record + hit.size
        self.copies = copies
        self.standing = False
        return 0


cdef Collector gc_off(size_t rows, size_t given, bint foreign) except COLLECTOR_FAILED:
    """Stop the garbage collector, unless it is off or the rows are few. foreign: making them runs code of the user's.

    Fresh rows hold no garbage, but while a list of them grows they would be searched for it again and again: of 4.9 us for each of
    100,000 models the collector took 2.9, and in the end it searched them all at once, a second for a million. So many rows become old
    together with what else is young; that was looked at before, which takes some microseconds. A long answer may come in small
    parts, on an event loop: so rows count with those that were `given` by it before.

    What was left alive may be garbage later, and then waits for a full collection. So that this one comes, no more than MOST_AGED such
    objects are moved until then: what was young, and rows of types with code of the user's. What a user froze stays
    frozen. To count it takes as long as it is much: where there is some, nobody counts until then either.
    """
    global aged, before, collections, frozen, ours
    cdef size_t young, older
    if rows + given <= FEW_ROWS:
        if not foreign:
            ours += OBJECTS * rows
        return ON
    if not gc.isenabled():
        return ON
    if rows + given >= MANY_ROWS:
        if gc.get_stats()[2]["collections"] != collections:
            collections = gc.get_stats()[2]["collections"]
            aged, frozen = 0, False
        frozen = frozen or gc.get_freeze_count() > 0
        if not frozen and aged <= MOST_AGED:
            young, older, _ = gc.get_count()
            young += GENERATION * older
            aged += young - min(young, ours) + (rows if foreign else 0)
            ours = 0
            gc.collect(0)
            PyGC_Disable()
            return AGING
    before = ENDLESS if foreign else gc.get_count()[0]
    PyGC_Disable()
    return OFF


cdef int gc_on(Collector collector) except -1:
    """Undo gc_off, given its result.

    Freezing and unfreezing moves what is young to the oldest generation without a look at it, and without its being counted
    there: rows hasten no full collection.
    """
    global ours
    cdef size_t young
    if collector == AGING:
        gc.freeze()
        gc.unfreeze()
    elif collector == OFF:
        young = gc.get_count()[0]
        ours += young - min(young, before)
    if collector != ON:
        PyGC_Enable()
    return 0


cdef class Sink:
    """What rows are made into, one after the other."""

    cdef int take(
            self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1:
        """Take a row. Without `keyed` there is no key."""
        raise TypeError("a sink takes rows in its own way")

    cdef bint foreign(self) noexcept:
        """Whether rows that it takes become something by code of the user's."""
        return False

    cdef size_t take_all(self, Hit* hits, size_t count, bint release) except? 0:
        """Take rows of which none is undecided; their pages stay as they are meanwhile, with `release` without the GIL too."""
        raise TypeError("a sink takes rows in its own way")


@final
cdef class RowSink(Sink):
    """Rows in some shape, or (primary key, record) pairs."""

    def __cinit__(self):
        self.rows = []

    cdef int take(
            self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1:
        if self.shape is not None:
            self.rows.append(self.shape.decode_at(record, size))
        else:
            self.rows.append((key[:key_size], record[:size]))
        return 0

    cdef bint foreign(self) noexcept:
        return self.shape is not None and self.shape.foreign


@final
cdef class KeySink(Sink):
    """Primary keys."""

    def __cinit__(self):
        self.bare = True
        self.keys = []

    cdef int take(
            self, const unsigned char* key, size_t key_size, const unsigned char* record, size_t size) except -1:
        self.keys.append(key[:key_size])
        return 0


cdef uint64_t page_of(const Hit* hit) noexcept:
    """The number of the page that a hit lies in."""
    return hit.page if hit.leaf == NULL else (<Page>hit.leaf).number


cdef bint has_drafts(Feed feed) noexcept:
    """Whether a hit lies in a page that may be changed in place."""
    cdef size_t i
    for i in range(feed.count):
        if (<Page>feed.hits[i].leaf).stamp:
            return True
    return False


# Unions

cdef tuple flatten(tuple source):
    """(entries sources, points, ranges) of a union and of those in it."""
    cdef list entries = [], points = [], ranges = []
    for part in source[1]:
        if part[0] == "union":
            more, keys, spans = flatten(part)
            entries += more
            points += keys
            ranges += spans
        elif part[0] == "keys":
            points += part[1]
        elif part[0] == "rows":
            ranges.append((part[1], part[2]))
        else:
            entries.append(part)
    return entries, points, ranges


cdef list joined_ranges(list ranges):
    """The same keys in ranges that are ascending and disjoint."""
    cdef list found = []
    cdef object start = None
    cdef object end = b""
    for low, high in sorted([(low or b"", high) for low, high in ranges], key=first_of):
        if high is not None and low >= high:
            continue
        if start is None or (end is not None and low > end):
            if start is not None:
                found.append((start, end))
            start, end = low, high
        elif end is not None and (high is None or high > end):
            end = high
    if start is not None:
        found.append((start, end))
    return found


cdef list distinct(list keys):
    """Each of some sorted keys once."""
    cdef list found = []
    last = None
    for key in keys:
        if key != last:
            found.append(key)
            last = key
    return found


def first_of(tuple pair):
    """The first of two."""
    return pair[0]


cdef list points_outside(list points, list ranges):
    """The points that lie in none of the ranges; both ascending."""
    cdef list found = []
    cdef Py_ssize_t i = 0
    for key in points:
        while i < len(ranges) and ranges[i][1] is not None and ranges[i][1] <= key:
            i += 1
        if i == len(ranges) or key < ranges[i][0]:
            found.append(key)
    return found


@final
cdef class Gathering:
    """The primary keys that entries lead to, brought into their order: no more at a time than memory shall hold.

    If there are more, those nearest to the position are kept, up to a horizon; the others are read again when the scan gets there.
    """

    def __init__(self, Scan scan not None, list entries not None, list points not None, list ranges not None):
        self.table, self.backward = scan.table, scan.backward
        self.entries = entries
        self.points = points
        self.ranges = joined_ranges(ranges)
        self.begin()

    cdef int begin(self) except -1:
        """Read everything anew, from the position on."""
        self.complete = False
        self.waiting = None
        self.runs = []
        self.held = 0
        self.horizon = None
        return 0

    cdef size_t read(self, RowFeed feed, size_t budget, bint wait, bint release) except? 0:
        """Look at up to `budget` entries; `complete` when that was all. Then the feed has its points and ranges.

        What it took beside that, in entries: bringing keys into order.
        """
        cdef Scan scan
        cdef size_t examined
        if self.waiting is None:
            self.waiting = [
                Scan(self.table, feed.roots, source, None, self.backward) for source in self.entries]
            self.admit(feed, self.points)
        while self.waiting and budget:
            scan = self.waiting[len(self.waiting) - 1]
            examined, pages = scan.feed.examined, scan.feed.pages
            try:
                self.admit(feed, scan.keys(KEYS_READ, budget, wait, release))
            finally:
                examined = scan.feed.examined - examined
                feed.examined += examined
                feed.pages += scan.feed.pages - <size_t>pages
            budget -= min(budget, examined)
            if scan.done:
                self.waiting.pop()
        if self.waiting:
            return 0
        if self.merge(1):
            self.hand_over(feed)
        return self.held

    cdef int admit(self, RowFeed feed, list keys) except -1:
        """Keep the keys that lie between the position and the horizon."""
        if feed.behind:
            position = feed.position.data[:feed.position.size]
            keys = [key for key in keys if (key < position if self.backward else key > position)]
        if self.horizon is not None:
            keys = [key for key in keys if (key >= self.horizon if self.backward else key <= self.horizon)]
        self.runs.append(sorted(keys, reverse=self.backward))
        self.held += len(keys)
        while len(self.runs) > 1 and len(self.runs[len(self.runs) - 2]) <= 2 * len(self.runs[len(self.runs) - 1]):
            self.merge(len(self.runs) - 1)
        if self.held > 2 * self.most:
            while not self.merge(1):
                pass
            kept = distinct(self.runs.pop())[:self.most]
            self.runs.append(kept)
            self.held = len(kept)
            if self.held == self.most:
                self.horizon = kept[self.held - 1]
        return 0

    cdef bint merge(self, Py_ssize_t most) except -1:
        """Make one of the last two runs, unless there are at most so many; whether there are then.

        Python's sort sees that the two are sorted, so no call takes longer than to go once through both.
        """
        if len(self.runs) > most:
            last = self.runs.pop()
            self.runs[len(self.runs) - 1] += last
            self.runs[len(self.runs) - 1].sort(reverse=self.backward)
        return len(self.runs) <= most

    cdef int hand_over(self, RowFeed feed) except -1:
        """Everything was read: the feed can go."""
        ranges = self.ranges
        if self.horizon is not None:
            if self.backward:
                ranges = [(max(low, self.horizon), high) for low, high in ranges if high is None or high > self.horizon]
            else:
                end = self.horizon + b"\0"
                ranges = [(low, end if high is None else min(high, end)) for low, high in ranges if low < end]
        keys = distinct(self.runs.pop() if self.runs else [])
        if self.backward:
            keys.reverse()
        feed.feed(points_outside(keys, ranges) if ranges else keys, ranges)
        self.complete = True
        return 0

    cdef bint go_on(self, RowFeed feed) except -1:
        """The feed is at its end: whether there is more beyond the horizon, which then begins to be read."""
        cdef bytes horizon = self.horizon
        if horizon is None:
            return False
        feed.position.size = 0
        put_bytes(feed.position, <const unsigned char*>PyBytes_AS_STRING(horizon), PyBytes_GET_SIZE(horizon))
        feed.behind = True
        self.begin()
        return True
