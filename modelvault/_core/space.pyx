"""Free space: which pages of the file may be used again, and where the pages of a commit go.

The free tree is keyed by (generation that freed the pages, batch); a batch holds up to RUNS_PER_BATCH runs of
neighbouring pages. A commit takes from a few batches, each time from those behind the last ones, and adds its own at the
end, so it costs as much as it frees.

What a commit does, in this order:

    space = Space(draft, floor)          when the write begins, before its first savepoint
    (user trees change; if the write spills: space.supply(roots, pages), seal, draft.write_out())
    a value of the final size is put into the catalog for every changed tree, so that its pages are drafts
    space.prepare(roots)                 makes the free tree final and gives the file room; the last step that may fail
                                         for lack of it, and nothing has changed then
    seal the user trees, put their roots into the catalog, seal the catalog
    space.finish(roots)                  seals the free tree
    draft.write_out(), sync, write the meta with space.end and space.free_pages, sync
    pager.page_count = space.end, pager.free_pages = space.free_pages, draft.complete()

Before the meta is written, draft.rollback() and the old roots are all that is needed to undo it: the pages taken are
free in the old roots.

A page freed by generation N is used again by generation g if N <= g - 1 (so that what the newest meta names stays whole
until the next one is durable) and N <= floor, the lowest generation that any reader uses.

While the file is compacted (`ceiling`), free pages are taken from the beginning of the file, and `shorten` gives up the
last ones.
"""

import errno

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memset

from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Allocator, Draft
from modelvault._core.file cimport make_way_in_turn
from modelvault._core.format cimport FREE_TREE, META_COUNT, Root
from modelvault._core.pager cimport Pager, push
from modelvault._core.tree cimport Roots, tree_delete, tree_put
from modelvault._core.walk cimport tree_seal

from modelvault.errors import CorruptionError

cdef enum:
    KEY_SIZE = 12
    RUN_SIZE = 12
    RUNS_PER_BATCH = 64         # 768 bytes: a batch always stands in its leaf
    FEWEST_BATCHES = 8          # looked at before the file grows
    SCATTER_SHARE = 4           # the file grows rather than use scattered pages until a quarter of it is free
    MEND_SHARE = 2              # once half of it is free, small runs go first and large ones are kept
    RESERVE_PAGES = 16          # disk space behind the last page that only spend_reserve may use up
    MOST_GROWTH = 1 << 24       # bytes by which the file grows ahead of need
    MOST_ROUNDS = 24
    WINDOWS = 3                 # looks at different batches before giving up

cdef uint64_t MOST_PAGES = 0xFFFFFFFF   # in a run


cdef int append(Runs* runs, uint64_t first, uint64_t pages) except -1:
    """Add one run."""
    cdef size_t capacity
    cdef void* items
    if runs.count == runs.capacity:
        capacity = 2 * runs.capacity if runs.capacity else 64
        items = PyMem_RawRealloc(runs.items, capacity * sizeof(Run))
        if items == NULL:
            raise MemoryError()
        runs.items = <Run*> items
        runs.capacity = capacity
    runs.items[runs.count].first = first
    runs.items[runs.count].pages = pages
    runs.count += 1
    return 0


cdef int by_first(const void* a, const void* b) noexcept nogil:
    """In the order of the file."""
    cdef uint64_t x = (<const Run*> a).first, y = (<const Run*> b).first
    return (x > y) - (x < y)


cdef int by_size(const void* a, const void* b) noexcept nogil:
    """Smallest first, equals from the start of the file."""
    cdef uint64_t x = (<const Run*> a).pages, y = (<const Run*> b).pages
    return by_first(a, b) if x == y else (x > y) - (x < y)


cdef int by_falling_size(const void* a, const void* b) noexcept nogil:
    """Largest first."""
    return by_size(b, a)


cdef int join(Runs* runs) except -1:
    """Sort by place, join neighbours, drop empty runs. CorruptionError if a page is there twice."""
    cdef size_t i, kept = 0
    cdef Run* items = runs.items
    if runs.count:
        qsort(items, runs.count, sizeof(Run), by_first)
    for i in range(runs.count):
        if items[i].pages == 0:
            continue
        if kept and items[kept - 1].first + items[kept - 1].pages > items[i].first:
            raise CorruptionError(f"page {items[i].first} is free twice", page=items[i].first, tree=FREE_TREE)
        if (kept and items[kept - 1].first + items[kept - 1].pages == items[i].first
                and items[kept - 1].pages + items[i].pages <= MOST_PAGES):
            items[kept - 1].pages += items[i].pages
        else:
            items[kept] = items[i]
            kept += 1
    runs.count = kept
    return 0


cdef void put_big_endian(unsigned char* p, uint64_t value, size_t size) noexcept nogil:
    """The low `size` bytes of a number, so that keys sort by it."""
    while size:
        size -= 1
        p[size] = value & 0xFF
        value >>= 8


cdef uint64_t get_big_endian(const unsigned char* p, size_t size) noexcept nogil:
    """The reverse of put_big_endian."""
    cdef uint64_t value = 0
    cdef size_t i
    for i in range(size):
        value = value << 8 | p[i]
    return value


cdef void make_key(unsigned char* key, uint64_t generation, uint64_t batch) noexcept nogil:
    """The key of a batch, KEY_SIZE bytes."""
    put_big_endian(key, generation, 8)
    put_big_endian(key + 8, batch, 4)


cdef uint64_t batch_generation(const unsigned char* key, size_t size) except? 0:
    """The generation that freed a batch; CorruptionError for a key of another length."""
    if size != KEY_SIZE:
        raise CorruptionError(f"a key of the free tree has {size} bytes", tree=FREE_TREE)
    return get_big_endian(key, 8)


cdef int parse_batch(Runs* runs, const unsigned char* value, size_t size, uint64_t end) except -1:
    """Add the runs of a batch; CorruptionError for one outside of the file, which ends before page `end`."""
    cdef size_t offset
    cdef uint64_t first
    cdef uint32_t pages
    if size % RUN_SIZE:
        raise CorruptionError(f"a batch of the free tree has {size} bytes", tree=FREE_TREE)
    for offset in range(0, size, RUN_SIZE):
        memcpy(&first, value + offset, 8)
        memcpy(&pages, value + offset + 8, 4)
        if first < META_COUNT or first >= end or pages > end - first:
            raise CorruptionError(
                f"free pages {first} to {first + pages} are not in the file", page=first, tree=FREE_TREE)
        append(runs, first, pages)
    return 0


def copy_pieces(dict pieces not None):
    """A copy that shares no list with the original."""
    return {pages: list(firsts) for pages, firsts in pieces.items()}


cdef int put_runs(
        Draft draft, Root* root, uint64_t generation, uint64_t batch, const Run* runs, size_t count) except -1:
    """Make a batch of the free tree hold these runs; without any there is no batch."""
    cdef unsigned char key[KEY_SIZE]
    cdef bytearray value = bytearray(count * RUN_SIZE)
    cdef unsigned char* p = value
    cdef uint32_t pages
    cdef size_t i
    make_key(key, generation, batch)
    if count == 0:
        return tree_delete(draft, root, key, KEY_SIZE, True)
    for i in range(count):
        memcpy(p + i * RUN_SIZE, &runs[i].first, 8)
        pages = <uint32_t> runs[i].pages
        memcpy(p + i * RUN_SIZE + 8, &pages, 4)
    return tree_put(draft, root, key, KEY_SIZE, p, count * RUN_SIZE, True)


@final
cdef class Space(Allocator):
    """The allocator of one write: takes free pages, or room at the end of the file, and notes what the write freed.

    floor: the lowest generation that any reader uses, or the last committed one. spend_reserve: for writes that make
    room (deletes, compaction): they may use the last pages of a full disk.
    """

    def __init__(self, Draft draft not None, uint64_t floor, bint spend_reserve=False):
        self.draft = draft
        self.pager = draft.pager
        self.limit = min(floor, draft.generation - 1)
        self.end = draft.pager.page_count
        self.free_pages = draft.pager.free_pages
        self.ceiling = draft.pager.ceiling
        self.spend_reserve = spend_reserve
        self.pieces = {}
        self.spared = []
        draft.allocator = self

    def __dealloc__(self):
        PyMem_RawFree(self.singles.items)
        PyMem_RawFree(self.found.items)
        PyMem_RawFree(self.keys.items)
        PyMem_RawFree(self.starts.items)

    # What sealing asks

    cdef uint64_t take(self, uint64_t pages) except 0:
        """See Allocator. What prepare() has not counted comes from behind the end of the file."""
        cdef Run* run
        if pages > 1:
            return self.take_extent(pages)
        if self.available == 0:
            self.extend(RESERVE_PAGES)
        run = &self.singles.items[self.position]
        while self.used == run.pages:
            self.position += 1
            self.used = 0
            run += 1
        self.used += 1
        self.available -= 1
        return run.first + self.used - 1

    cdef uint64_t take_extent(self, uint64_t pages) except 0:
        """A piece of that length, else the head of the bulk, else room at the end."""
        firsts = self.pieces.get(pages)
        if firsts:
            return firsts.pop()
        if self.bulk.pages < pages:
            self.bulk = self.behind_end(pages)
        self.bulk.first += pages
        self.bulk.pages -= pages
        return self.bulk.first - pages

    cdef bint give_back(self, uint64_t number, uint64_t pages) except -1:
        """See Allocator. What was taken before an open savepoint is not, for it may come back."""
        if number < self.recyclable:
            return False
        if pages > 1:
            self.pieces.setdefault(pages, []).append(number)
        else:
            self.keep(number, 1)
        return True

    cdef object mark(self):
        """See Allocator."""
        result = (
            self.singles.count, self.position, self.used, self.available, self.end, self.bulk.first, self.bulk.pages,
            self.noted, self.batch, self.free_pages, self.recyclable, list(self.spared), copy_pieces(self.pieces),
        )
        self.recyclable = self.end
        return result

    cdef int rewind(self, object mark) except -1:
        """See Allocator. Places are given up, the room that the file got stays."""
        (self.singles.count, self.position, self.used, self.available, self.end, self.bulk.first, self.bulk.pages,
         self.noted, self.batch, self.free_pages, _, spared, pieces) = mark
        self.spared = list(spared)
        self.pieces = copy_pieces(pieces)
        self.recyclable = self.end
        return 0

    cdef int forget(self, object mark) except -1:
        """See Allocator."""
        self.recyclable = mark[10]
        return 0

    # What the engine asks

    def supply(self, Roots roots not None, uint64_t pages):
        """Have room for sealing `pages` single pages before the commit.

        OSError (ENOSPC), CorruptionError: the write must be rolled back.
        """
        if self.available < pages:
            self.acquire(roots.at(FREE_TREE), pages - self.available)

    def usable(self, Roots roots not None):
        """(pages, below): how many free pages may be used again, and how many of them stand below the ceiling."""
        cdef size_t i
        cdef uint64_t pages = 0, below = 0
        cdef Run* run
        self.load(roots.at(FREE_TREE), roots.at(FREE_TREE).entries)
        for i in range(self.found.count):
            run = &self.found.items[i]
            pages += run.pages
            if run.first < self.ceiling:
                below += min(run.pages, self.ceiling - run.first)
        return pages, below

    def shorten(self, Roots roots not None):
        """Let the file end before the free pages at its end; how many those were."""
        cdef Root* root = roots.at(FREE_TREE)
        cdef uint64_t before = self.end
        cdef Run* run
        self.load(root, root.entries)
        join(&self.found)
        while self.found.count:
            run = &self.found.items[self.found.count - 1]
            if run.first + run.pages != self.end:
                break
            self.end = run.first
            self.found.count -= 1
        if self.end < before:
            self.free_pages -= before - self.end
            self.store_all(root)
        return before - self.end

    def prepare(self, Roots roots not None, uint64_t log_pages=0):
        """Find a place for every draft of the write, and note in the free tree what the write takes and frees.

        log_pages: the length of a new log, which take_log then gives a place. From here to finish() no page may be made, copied or dropped. Raises OSError (ENOSPC), CorruptionError; the
        write must be rolled back then, and the file is as it was.
        """
        cdef Root* root = roots.at(FREE_TREE)
        cdef Draft draft = self.draft
        cdef unsigned char key[KEY_SIZE]
        cdef int rounds = 0
        if root.ref.number and self.batch == 0:
            # Makes drafts of the pages on the way to the end of the tree, so that what they free is known in time.
            make_key(key, draft.generation, 0)
            tree_put(draft, root, key, KEY_SIZE, key, 0, True)
        self.place_extents(root, log_pages)
        while True:
            rounds += 1
            if draft.single_pages > self.available:
                if rounds < MOST_ROUNDS:
                    self.acquire(root, draft.single_pages - self.available)
                else:
                    self.extend(draft.single_pages - self.available)
            elif draft.single_pages < self.available:
                self.spare_rest(draft.single_pages)
            elif self.noted < draft.freed.count or self.spared:
                self.note_freed(root)
            else:
                return

    def take_log(self, uint64_t log_pages):
        """The first page of the extent for a new log, for which prepare() has found the room."""
        return self.take_extent(log_pages) if log_pages else 0

    def finish(self, Roots roots not None):
        """Seal the free tree. AssertionError if the write did not use exactly what prepare() counted."""
        cdef Draft draft = self.draft
        tree_seal(draft, roots.at(FREE_TREE))
        if self.available or self.bulk.pages or any(self.pieces.values()) or draft.single_pages or draft.extent_pages:
            raise AssertionError(
                f"space: {self.available} + {self.bulk.pages} pages and pieces {self.pieces} are left;"
                f" {draft.single_pages} + {draft.extent_pages} are not sealed")

    # Taking

    cdef int keep(self, uint64_t first, uint64_t pages) except -1:
        """A run for single pages now belongs to this write."""
        self.available += pages
        return append(&self.singles, first, pages)

    cdef int acquire(self, Root* root, uint64_t pages) except -1:
        """Take single pages: together if free space or the end of the file has them so, scattered if much is free."""
        cdef Run run
        while True:
            if self.ceiling:
                pages = self.scatter(root, pages, by_first)
            elif self.free_share(MEND_SHARE):
                pages = self.scatter(root, pages, by_size)
            else:
                run = self.take_run(root, pages)
                if run.pages:
                    return self.keep(run.first, pages)
                if self.full or self.free_share(SCATTER_SHARE):
                    pages = self.scatter(root, pages, by_falling_size)
            if pages == 0:
                return 0
            try:
                return self.extend(pages)
            except OSError as error:
                self.look_everywhere(error)

    cdef int place_extents(self, Root* root, uint64_t log_pages) except -1:
        """Find a place for each draft of several pages: all together, or one by one where much is free."""
        cdef Run run
        wanted = []
        pieces = self.pieces
        self.pieces = {}
        for pages in self.draft.extents() + ([log_pages] if log_pages else []):
            if pieces.get(pages):
                self.pieces.setdefault(pages, []).append(pieces[pages].pop())
            else:
                wanted.append(pages)
        self.spared.extend((first, pages) for pages, firsts in pieces.items() for first in firsts)
        while wanted:
            if not self.free_share(MEND_SHARE) and not self.ceiling:
                self.bulk = self.take_run(root, sum(wanted))
                if self.bulk.pages:
                    break
            if self.full or self.ceiling or self.free_share(SCATTER_SHARE):
                wanted = [pages for pages in sorted(wanted) if not self.take_piece(root, pages)]
            try:
                self.bulk = self.behind_end(sum(wanted))
                break
            except OSError as error:
                self.look_everywhere(error)
        return 0

    cdef bint take_piece(self, Root* root, uint64_t pages) except -1:
        """Whether a free run of that length was found and taken."""
        cdef Run run = self.take_run(root, pages)
        if run.pages:
            self.pieces.setdefault(pages, []).append(run.first)
        return run.pages > 0

    cdef int look_everywhere(self, error) except -1:
        """The disk is full: from now on use whatever is free. Raises `error` if it is another one or that was tried."""
        if self.full or error.errno != errno.ENOSPC:
            raise error
        self.full = True
        return 0

    cdef Run take_run(self, Root* root, uint64_t pages) except *:
        """A free run of that length, or one of length 0."""
        cdef Run run
        cdef Py_ssize_t place
        cdef int windows
        for windows in range(WINDOWS):
            self.load(root, self.most_batches(root, pages))
            place = self.best_fit(pages)
            if place >= 0:
                run = self.cut(place, pages)
                self.store_batch_of(root, place)
                return run
            join(&self.found)
            place = self.best_fit(pages)
            if place >= 0:
                run = self.cut(place, pages)
                self.store_all(root)
                return run
            if self.starts.count >= root.entries:
                break
        run.first = 0
        run.pages = 0
        return run

    cdef int load(self, Root* root, uint64_t most) except -1:
        """Look at some batches that may be used, at most `most`: the next ones after those of the last look."""
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef unsigned char start[KEY_SIZE]
        cdef const unsigned char* key
        cdef const unsigned char* value
        cdef size_t size, value_size
        cdef int there = 0
        self.keys.count = 0
        self.starts.count = 0
        self.found.count = 0
        cursor.reset(self.pager, root)
        if root.entries > most:
            make_key(start, self.pager.hand_generation, self.pager.hand_batch)
            there = cursor.seek(start, KEY_SIZE, True)
            if there:
                key = cursor.key(&size)
                there = batch_generation(key, size) <= self.limit
        if not there:
            there = cursor.first(True)
        while there and self.starts.count < most:
            key = cursor.key(&size)
            if batch_generation(key, size) > self.limit:
                break
            push(&self.keys, get_big_endian(key, 8))
            push(&self.keys, get_big_endian(key + 8, 4))
            push(&self.starts, self.found.count)
            self.pager.hand_generation = get_big_endian(key, 8)
            self.pager.hand_batch = get_big_endian(key + 8, 4) + 1
            value = cursor.value(&value_size, True)
            parse_batch(&self.found, value, value_size, self.end)
            there = cursor.next(True)
        return 0

    cdef uint64_t most_batches(self, Root* root, uint64_t pages) noexcept:
        """How many batches to look at for so many pages."""
        return root.entries if self.full or self.ceiling else FEWEST_BATCHES + pages // 8

    cdef Py_ssize_t best_fit(self, uint64_t pages) noexcept:
        """The smallest run that holds them, or -1."""
        cdef Py_ssize_t best = -1
        cdef size_t i
        for i in range(self.found.count):
            if self.ceiling and self.found.items[i].first + pages > self.ceiling:
                continue
            if self.found.items[i].pages >= pages and (
                    best < 0 or self.found.items[i].pages < self.found.items[best].pages):
                best = i
        return best

    cdef bint free_share(self, uint64_t share) noexcept:
        """Whether at least 1 / share of the file is free."""
        return self.free_pages * share >= self.end

    cdef uint64_t scatter(self, Root* root, uint64_t pages, Order order) except? 0:
        """Take single pages wherever they are, from some of the batches; how many are still missing."""
        cdef int windows
        for windows in range(WINDOWS):
            self.load(root, self.most_batches(root, pages))
            join(&self.found)
            pages = self.cut_scattered(pages, order)
            self.store_all(root)
            if pages == 0:
                break
        return pages

    cdef Run cut(self, Py_ssize_t place, uint64_t pages) noexcept:
        """Take the first pages of a run that was found."""
        cdef Run* run = &self.found.items[place]
        cdef Run result
        result.first = run.first
        result.pages = pages
        run.first += pages
        run.pages -= pages
        self.free_pages -= pages
        return result

    cdef uint64_t cut_scattered(self, uint64_t pages, Order order) except? 0:
        """Take single pages from the joined runs that were found, in this order of runs; how many are still missing."""
        cdef uint64_t available
        cdef size_t i
        cdef Run part
        if self.found.count:
            qsort(self.found.items, self.found.count, sizeof(Run), order)
        for i in range(self.found.count):
            if pages == 0:
                break
            if self.ceiling and self.found.items[i].first >= self.ceiling:
                break       # they come in the order of the file
            available = self.found.items[i].pages
            if self.ceiling:
                available = min(available, self.ceiling - self.found.items[i].first)
            part = self.cut(i, min(pages, available))
            self.keep(part.first, part.pages)
            pages -= part.pages
        return pages

    cdef int store_batch_of(self, Root* root, size_t place) except -1:
        """Write the batch to which a run belongs; only as long as what was found is in order of batches."""
        cdef size_t index = 0
        cdef size_t start, end
        while index + 1 < self.starts.count and self.starts.items[index + 1] <= place:
            index += 1
        start = self.starts.items[index]
        end = self.starts.items[index + 1] if index + 1 < self.starts.count else self.found.count
        if self.found.items[place].pages == 0:
            self.found.items[place] = self.found.items[start]
            start += 1
        return self.store(root, index, start, end - start)

    cdef int store_all(self, Root* root) except -1:
        """Write what is left of the runs that were found to the batches that they came from, joined."""
        cdef size_t index, size, start = 0
        join(&self.found)
        for index in range(self.starts.count):
            size = min(<size_t> RUNS_PER_BATCH, self.found.count - start)
            self.store(root, index, start, size)
            start += size
        for index in range(start, self.found.count):    # only if a batch was longer than this version makes them
            self.spared.append((self.found.items[index].first, self.found.items[index].pages))
            self.free_pages -= self.found.items[index].pages
        return 0

    cdef int store(self, Root* root, size_t index, size_t start, size_t count) except -1:
        """Write found[start:start + count] to one of the batches that were looked at."""
        cdef uint64_t* key = self.keys.items + 2 * index
        return put_runs(self.draft, root, key[0], key[1], self.found.items + start, count)

    cdef int extend(self, uint64_t pages) except -1:
        """Take single pages at the end of the file."""
        cdef Run run = self.behind_end(pages)
        return self.keep(run.first, pages)

    cdef Run behind_end(self, uint64_t pages) except *:
        """Pages behind the last one of the file, which get their disk space now."""
        cdef Run run
        self.make_room(pages)
        run.first = self.end
        run.pages = pages
        self.end += pages
        return run

    cdef int make_room(self, uint64_t pages) except -1:
        """Give the file the disk space of that many pages more, ahead of need if possible; OSError changes nothing."""
        cdef uint64_t page_size = self.pager.page_size
        cdef uint64_t reserve = 0 if self.spend_reserve else RESERVE_PAGES * page_size
        cdef uint64_t needed = (self.end + pages) * page_size + reserve
        cdef uint64_t size = self.pager.file.size()
        cdef uint64_t growth = min(needed // 16, <uint64_t> MOST_GROWTH) // page_size * page_size
        if size >= needed:
            return 0
        try:
            self.pager.file.reserve(size, needed + growth - size)
        except OSError as error:
            if error.errno == errno.ENOSPC and growth:
                try:
                    self.pager.file.reserve(size, needed - size)
                    return 0
                except OSError:
                    pass
            self.restore_size(size)
            raise
        return 0

    def restore_size(self, uint64_t size):
        """Undo what a failed reservation did to the length of the file."""
        if self.pager.file.size() > size:
            self.pager.file.resize(size)

    # Giving

    cdef int spare_rest(self, uint64_t pages) except -1:
        """Keep `pages` single pages; note that the others, from the end, are free."""
        cdef Run* run
        cdef uint64_t part
        while self.available > pages:
            run = &self.singles.items[self.singles.count - 1]
            part = run.pages - (self.used if self.position + 1 == self.singles.count else 0)
            part = min(part, self.available - pages)
            run.pages -= part
            self.available -= part
            self.spared.append((run.first + run.pages, part))
            if run.pages == 0:
                self.singles.count -= 1
        return 0

    cdef int note_freed(self, Root* root) except -1:
        """Put what the write freed since the last time, and what it spared, into batches of its generation."""
        cdef Draft draft = self.draft
        cdef size_t start = 0, size, index
        self.found.count = 0
        for first, pages in self.spared:
            append(&self.found, first, pages)
        self.spared = []
        while self.noted < draft.freed.count:
            append(&self.found, draft.freed.items[self.noted], draft.freed.items[self.noted + 1])
            self.noted += 2
        join(&self.found)
        for index in range(self.found.count):
            self.free_pages += self.found.items[index].pages
        while start < self.found.count:
            size = min(<size_t> RUNS_PER_BATCH, self.found.count - start)
            put_runs(draft, root, draft.generation, self.batch, self.found.items + start, size)
            self.batch += 1
            start += size
        return 0


def free_runs(Pager pager not None, Roots roots not None, uint64_t page_count=0):
    """Every run of free pages, as (generation that freed it, first page, pages), in the order of the free tree.

    page_count: of the version of `roots`, if it is not the newest.
    """
    cdef Cursor cursor = Cursor.__new__(Cursor)
    cdef const unsigned char* key
    cdef const unsigned char* value
    cdef size_t size, value_size, i
    cdef uint64_t generation
    cdef Runs runs
    cdef int there
    cdef list result = []
    memset(&runs, 0, sizeof(Runs))
    cursor.reset(pager, roots.at(FREE_TREE))
    try:
        there = cursor.first(True)
        while there:
            make_way_in_turn()
            key = cursor.key(&size)
            generation = batch_generation(key, size)
            value = cursor.value(&value_size, True)
            runs.count = 0
            parse_batch(&runs, value, value_size, page_count or pager.page_count)
            for i in range(runs.count):
                result.append((generation, runs.items[i].first, runs.items[i].pages))
            there = cursor.next(True)
    finally:
        PyMem_RawFree(runs.items)
    return result


def check_space(uint64_t page_count, reached, runs):
    """CorruptionError unless every page of the file is a meta page, reached or free, and exactly one of them.

    reached: (first page, pages) of what the trees hold; runs: as free_runs gives them. Costs a byte for each page of the
    file: for tests and for its verification.
    """
    owners = bytearray(page_count)
    for page in range(META_COUNT):
        owners[page] = 1
    for first, pages in reached:
        claim(owners, first, pages, "reached")
    for _, first, pages in runs:
        claim(owners, first, pages, "free")
    lost = owners.count(0)
    if lost:
        page = owners.index(0)
        raise CorruptionError(f"{lost} pages are neither reached nor free, first {page}", page=page, tree=FREE_TREE)


def claim(bytearray owners not None, uint64_t first, uint64_t pages, str kind not None):
    """Note that pages have an owner; CorruptionError if one had an owner before, or does not exist."""
    cdef uint64_t page
    if first + pages > <uint64_t> len(owners):
        raise CorruptionError(
            f"page {first + pages - 1} is {kind} but not in the file of {len(owners)}", page=first, tree=FREE_TREE)
    for page in range(first, first + pages):
        if owners[page]:
            raise CorruptionError(f"page {page} is used twice; once it is {kind}", page=page, tree=FREE_TREE)
        owners[page] = 1
