"""The log: what makes a small commit durable with one write and one sync. docs/format.md section 7.

It is a ring of records in one extent. Each record has the changes of one commit, tree by tree, and the checksum of the
record before it; so it is valid in one place of one history only, and nothing has to be erased. The meta says where
the first record is that its trees do not contain.

Replay goes on as long as the next record is whole. What it stops at is the end, or a commit that was never acknowledged; if a
later record says that the missing one was durable, it is damage.

What this is not: it knows nothing of drafts that others see, nor of when to make a checkpoint.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from modelvault._core.draft cimport Draft
from modelvault._core.file cimport make_way
from modelvault._core.format cimport CATALOG_TREE, FIRST_TREE
from modelvault._core.pager cimport get_u32, get_u64, set_u32, set_u64
from modelvault._core.tree cimport Roots, tree_delete, tree_put
from modelvault._core.xxh64 cimport xxh64

from modelvault._core.meta import MOST_TREES as _MOST_TREES
from modelvault.errors import ColdPage, CorruptionError

cdef enum:
    # A record's header.
    CHECKSUM = 0
    SEQUENCE = 8
    CHAIN = 16
    DURABLE = 24
    LENGTH = 32
    NEXT_TREE = 36
    NEXT_COLLECTION = 40
    HEADER = 48
    CHANGES = 512       # repeated in a row, at 2 us each, before other threads may run
    SHARE = 2           # a record may take this part of the log
    SMALL = 524288      # bytes that a log may have in any file
    SECTOR = 512        # where records begin: what is durable is never written again, and none shares a sector with it

cdef uint64_t NOWHERE = <uint64_t> -1

RECORD_SHARE = SHARE
SMALL_LOG = SMALL
LOG_HEADER = HEADER


cdef inline size_t aligned(size_t size) noexcept nogil:
    """Whole sectors that hold so many bytes."""
    return (size + SECTOR - 1) // SECTOR * SECTOR


@final
cdef class Log:
    """The log of a file (a modelvault._core.file.File) as a Meta describes it."""

    def __init__(self, file not None, meta not None):
        self.file = file
        self.seed = meta.seed
        self.move(meta)
        self.sequence = self.durable = meta.sequence
        self.chain = meta.log_chain

    def move(self, meta not None):
        """Go on in the extent that this meta names, at its `log_start`."""
        self.first = meta.log_page
        self.pages = meta.log_pages
        self.offset = self.first * meta.page_size
        self.capacity = self.pages * meta.page_size
        self.tail = self.head = meta.log_start

    def release(self, uint64_t position):
        """What stands before this position is in the trees of a stored meta: the space may be used again."""
        self.tail = position

    @property
    def used(self):
        """Bytes that a checkpoint would make free."""
        return self.head - self.tail

    @property
    def is_full(self):
        """Whether it is time for a checkpoint: three quarters are used."""
        return 4 * (self.head - self.tail) > 3 * self.capacity

    @property
    def start(self):
        """Where in the extent the next record goes if it fits there."""
        return self.head % self.capacity if self.capacity else 0

    @property
    def record_limit(self):
        """Bytes of changes that one record may have."""
        return self.most()

    cdef size_t most(self) noexcept:
        """See record_limit."""
        return self.capacity // SHARE - HEADER if self.capacity else 0

    cpdef size_t draft_limit(self):
        """Bytes of changes that a commit may have to go to this log, or to a longer one the next time."""
        return max(self.most(), <size_t> SMALL // SHARE)

    # Writing

    cpdef bytes pack(self, Draft draft, entries, uint32_t next_tree, uint32_t next_collection):
        """The record of a write and of the catalog entries that it makes ((key, value) in bytes); None if it is too long."""
        cdef size_t size, limit = self.most()
        cdef unsigned char* data
        cdef bytes record
        for key, value in entries:
            draft.note_put(CATALOG_TREE, key, len(key), value, len(value))
        size = HEADER + draft.record.count
        if draft.record_limit == 0 or size > limit:
            return None
        record = PyBytes_FromStringAndSize(NULL, aligned(size))
        data = <unsigned char*> PyBytes_AS_STRING(record)
        memset(data, 0, HEADER)
        set_u64(data + SEQUENCE, self.sequence + 1)
        set_u64(data + CHAIN, self.chain)
        set_u64(data + DURABLE, self.durable)
        set_u32(data + LENGTH, <uint32_t> size)
        set_u32(data + NEXT_TREE, next_tree)
        set_u32(data + NEXT_COLLECTION, next_collection)
        if draft.record.count:      # else there may be no items
            memcpy(data + HEADER, draft.record.items, draft.record.count)
        memset(data + size, 0, aligned(size) - size)
        set_u64(data + CHECKSUM, xxh64(data + 8, aligned(size) - 8, self.seed))
        return record

    cdef uint64_t place(self, size_t size) noexcept:
        """The position for a record of that many bytes; NOWHERE if a checkpoint has to make room first."""
        cdef uint64_t position = self.head
        if size > self.capacity:
            return NOWHERE
        if position % self.capacity + size > self.capacity:
            position += self.capacity - position % self.capacity
        return position if position + size - self.tail <= self.capacity else NOWHERE

    cpdef bint has_room(self, bytes record):
        """Whether `append` has a place for the record."""
        return self.place(PyBytes_GET_SIZE(record)) != NOWHERE

    cdef bint fills(self, bytes record) noexcept:
        """Whether it will be time for a checkpoint behind the record, or `append` has no place for it now."""
        cdef size_t size = PyBytes_GET_SIZE(record)
        cdef uint64_t position = self.place(size)
        return position == NOWHERE or 4 * (position + size - self.tail) > 3 * self.capacity

    cpdef int append(self, bytes record, bint sync) except -1:
        """Write a record, and return when it is durable if `sync`; the caller has asked has_room.

        OSError: nobody knows what of it is in the file. True in `error.harmless`, if it is there: none of it is durable.
        """
        cdef uint64_t position = self.place(PyBytes_GET_SIZE(record))
        if sync:
            self.file.write_through(self.offset + position % self.capacity, record)
        else:
            self.file.write_at(self.offset + position % self.capacity, [record])
        self.advance(record, position)
        if sync:
            self.durable = self.sequence
        return 0

    cpdef int erase(self, bytes record) except -1:
        """Spoil the header of a record whose `append` failed; once, and an error here changes nothing more."""
        cdef uint64_t position = self.place(PyBytes_GET_SIZE(record))
        try:
            self.file.write_at(self.offset + position % self.capacity, [bytes(HEADER)])
        except OSError:
            pass
        return 0

    def synced(self, uint64_t sequence):
        """The commits up to this one are durable."""
        self.durable = max(self.durable, sequence)

    def skip(self, uint64_t sequence):
        """The last commit went past the log."""
        self.sequence = sequence

    cdef int advance(self, const unsigned char* record, uint64_t position) except -1:
        """The record at a position is the last one now."""
        self.head = position + aligned(get_u32(record + LENGTH))
        self.sequence = get_u64(record + SEQUENCE)
        self.chain = get_u64(record + CHECKSUM)
        return 0

    # Reading

    cdef bytes load(self, uint64_t place, bint wait):
        """The next record if it is whole and stands at that place of the extent, else None. ColdPage without `wait`."""
        cdef const unsigned char* header
        cdef size_t size
        data = self.file.read_at(self.offset + place, min(<uint64_t> HEADER, self.capacity - place), wait)
        if data is None:
            raise ColdPage("the log")
        if len(data) < HEADER:
            return None
        header = data
        size = get_u32(header + LENGTH)
        if (get_u64(header + SEQUENCE) != self.sequence + 1 or get_u64(header + CHAIN) != self.chain
                or size < HEADER or size > self.capacity - place or aligned(size) > self.capacity - place):
            return None
        data = self.file.read_at(self.offset + place, aligned(size), wait)
        if data is None:
            raise ColdPage("the log")
        header = data
        if <size_t> len(data) < aligned(size) or get_u32(header + LENGTH) != size:
            return None
        return data if xxh64(header + 8, aligned(size) - 8, self.seed) == get_u64(header + CHECKSUM) else None

    def next(self, bint wait=True):
        """(record, position) of the next record, or None at the end. ColdPage without `wait`."""
        cdef uint64_t position = self.head
        if self.capacity == 0:
            return None
        record = self.load(position % self.capacity, wait)
        if record is None and position % self.capacity:
            position += self.capacity - position % self.capacity
            record = self.load(0, wait)
        return None if record is None else (record, position)

    def reach(self):
        """The sequence of the last whole record that follows, or of the last one that was applied."""
        cdef uint64_t head = self.head, sequence = self.sequence, chain = self.chain
        try:
            while True:
                found = self.next()
                if found is None:
                    return self.sequence
                self.advance(found[0], found[1])
        finally:
            self.head, self.sequence, self.chain = head, sequence, chain

    def go_on(self, bytes record not None, uint64_t position):
        """Look behind the record that `next` has found there."""
        self.advance(record, position)

    def replay(self, Draft draft not None, Roots roots not None, limit=None):
        """Apply all records that follow, up to commit `limit`; (entries of the catalog as (key, value or None), next tree id, next collection id).

        The ids are None if there was no record. What was applied need not be durable: sync, and call `synced`. CorruptionError,
        and nothing applied, for a record that says what cannot be.
        """
        cdef const unsigned char* header
        cdef list entries = []
        cdef uint32_t tree
        cdef uint64_t head = self.head, sequence = self.sequence, chain = self.chain
        next_tree = next_collection = None
        try:
            while limit is None or self.sequence < limit:
                found = self.next()
                if found is None:
                    break
                record, position = found
                header = record
                next_tree, next_collection = get_u32(header + NEXT_TREE), get_u32(header + NEXT_COLLECTION)
                if not roots.count <= next_tree <= _MOST_TREES:
                    raise CorruptionError(f"{self.file.path}: a record of the log says that there are {next_tree} trees")
                for tree in range(<uint32_t> max(<size_t> FIRST_TREE, roots.count), <uint32_t> next_tree):
                    roots[tree] = (0, 0, 0, 0)
                self.apply(draft, roots, record, entries)
                self.advance(header, position)
        except BaseException:
            self.head, self.sequence, self.chain = head, sequence, chain
            raise
        return entries, next_tree, next_collection

    cdef int apply(self, Draft draft, Roots roots, bytes record, list entries) except -1:
        """Repeat the changes of one record."""
        cdef const unsigned char* at = <const unsigned char*> PyBytes_AS_STRING(record)
        cdef const unsigned char* end = at + get_u32(at + LENGTH)
        cdef const unsigned char* key
        cdef const unsigned char* value
        cdef uint64_t head, length, size, tree
        at += HEADER
        while at < end:
            self.applied += 1
            if self.applied % CHANGES == 0:
                make_way()
            at = read_varint(at, end, &head)
            at = read_bytes(at, end, &key, &length)
            value, size = NULL, 0
            if not head & 1:
                at = read_bytes(at, end, &value, &size)
            tree = head >> 1
            if tree == CATALOG_TREE:
                entries.append((key[:length], None if head & 1 else value[:size]))
            elif tree < FIRST_TREE or tree >= roots.count:
                fail_record()
            elif not head & 1:
                tree_put(draft, roots.at(<uint32_t> tree), key, length, value, size, True)
            elif not tree_delete(draft, roots.at(<uint32_t> tree), key, length, True):
                fail_record()
        return 0

    def torn(self):
        """Bytes of a record that was begun where the next one would be, and never finished; 0 if there is none.

        CorruptionError if a later record shows that it had been finished.
        """
        cdef const unsigned char* data
        cdef size_t size
        cdef uint64_t place, length
        if self.capacity == 0:
            return 0
        region = self.file.read_at(self.offset, self.capacity)
        data = region
        size = len(region)
        self.check_later(region)
        for place in (self.head % self.capacity, <uint64_t> 0):
            if place + HEADER <= size and get_u64(data + place + SEQUENCE) == self.sequence + 1:
                length = get_u32(data + place + LENGTH)
                if get_u64(data + place + CHAIN) == self.chain or 0 < length <= self.capacity:
                    return min(max(length, <uint64_t> HEADER), self.capacity)
        return 0

    def check_later(self, bytes region not None):
        """CorruptionError if the extent has a record which knows that the one missing here was durable."""
        cdef const unsigned char* data = region
        cdef size_t place, size = len(region), length
        cdef uint64_t sequence
        if size < HEADER:
            return
        for place in range(0, size - HEADER + 1, SECTOR):
            sequence = get_u64(data + place + SEQUENCE)
            if sequence <= self.sequence + 1 or sequence - self.sequence > self.capacity:
                continue
            length = aligned(get_u32(data + place + LENGTH))
            if (length < HEADER or length > size - place or get_u64(data + place + DURABLE) <= self.sequence
                    or xxh64(data + place + 8, length - 8, self.seed) != get_u64(data + place + CHECKSUM)):
                continue
            page = self.first + self.head % self.capacity // (self.capacity // self.pages)
            raise CorruptionError(
                f"page {page} of {self.file.path} is damaged: the log misses commit {self.sequence + 1}, which was durable"
                f" when commit {sequence} was made", page=page, path=self.file.path)


cdef int fail_record() except -1:
    """CorruptionError: a record says what cannot be."""
    raise CorruptionError("the log is damaged: a record says what cannot be")


cdef const unsigned char* read_varint(const unsigned char* at, const unsigned char* end, uint64_t* value) except NULL:
    """The varint at `at`; what follows it."""
    cdef int shift = 0
    value[0] = 0
    while at < end and shift < 64:
        value[0] |= <uint64_t> (at[0] & 0x7F) << shift
        at += 1
        if not (at - 1)[0] & 0x80:
            return at
        shift += 7
    fail_record()
    return NULL


cdef const unsigned char* read_bytes(
        const unsigned char* at, const unsigned char* end, const unsigned char** data, uint64_t* size) except NULL:
    """The bytes behind their length at `at`; what follows them."""
    at = read_varint(at, end, size)
    if size[0] > <uint64_t> (end - at):
        fail_record()
    data[0] = at
    return at + size[0]
