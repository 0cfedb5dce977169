"""One collection in bytes: its primary tree and its index trees, kept in step.

The primary tree holds records by primary key. An index tree holds, for each entry that a record gives, the entry followed by the
primary key, with an empty value; so a row that moves, moves its entries, and an entry always leads to its row.

A change looks first and changes then: constraints of uniqueness are asked, and every page is brought into memory, before the
first tree is touched. With wait=False a ColdPage comes before any change, and the call can be repeated.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from modelvault._core.buffer cimport Buffer, get16, get32, put32, put_bytes, take
from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Draft
from modelvault._core.entry cimport EntryShape
from modelvault._core.file cimport make_way_in_turn
from modelvault._core.format cimport PAGE_LEVEL, REF_SIZE, Ref, Root
from modelvault._core.index cimport Entries, IndexKeys
from modelvault._core.lookup cimport SIDE_BY_SIDE, Lookup, Sought
from modelvault._core.pager cimport Page, Pager
from modelvault._core.keys cimport KeyCodec
from modelvault._core.node cimport branch_ref, key_limit, leaf_value, node_count, node_search
from modelvault._core.record cimport Face, Shape
from modelvault._core.tree cimport (
    ADD_FAILED, ADD_TAKEN, ADD_UNSURE, ADDED, Added, Path, Roots, child_index, fetch, tree_add, tree_delete, tree_find,
    tree_put,
)

from modelvault.errors import ColdPage, CorruptionError, DuplicateKeyError, ModelVaultSchemaError, StaleSchemaError

cdef enum:
    FEW_BYTES = 4000                # of the records of a few rows
    MOST_BYTES = 1 << 17            # of those that are read at once
    MOST_ROWS = 256                 # that are read at once
    CHECKED = 64                    # rows between two looks at the clock


cdef class TableIndex:
    """One index: its tree, and what takes its entries out of records, by schema version."""

    def __init__(self, str name not None, uint32_t tree, bint unique, dict extractors not None):
        self.name = name
        self.tree = tree
        self.unique = unique
        self.extractors = extractors
        self.newest_version = max(extractors, default=-1)
        self.newest = extractors.get(self.newest_version)
        self.shape = EntryShape(self.newest) if extractors else None
        self.before = Entries()
        self.after = Entries()

    cdef Cursor lend_cursor(self):
        """A cursor that nobody uses; whoever has it may put it back into `cursor`."""
        cdef Cursor cursor = self.cursor
        self.cursor = None
        return Cursor.__new__(Cursor) if cursor is None else cursor

    cdef Lookup lend_lookup(self):
        """A lookup without keys, in the same way."""
        cdef Lookup lookup = self.lookup
        self.lookup = None
        return Lookup.__new__(Lookup) if lookup is None else lookup

    cdef IndexKeys extractor(self, const unsigned char* record, size_t size):
        """The IndexKeys for the schema version of a record."""
        if size >= 2 and get16(record) == self.newest_version:
            return self.newest
        if size < 2 or get16(record) not in self.extractors:
            raise CorruptionError(f"damaged record: it is of no known schema version, index {self.name}", tree=self.tree)
        return self.extractors[get16(record)]

    cdef int collect(self, const unsigned char* record, size_t size, Entries out) except -1:
        """The entries of a record; of none for NULL."""
        if record == NULL:
            out.count = out.bytes.size = 0
            return 0
        return self.extractor(record, size).collect(record, size, out)

    cdef object values(self, const unsigned char* record, size_t size):
        """What a record has at the index's path, a tuple for several paths."""
        cdef IndexKeys extractor = self.extractor(record, size)
        found = tuple([extractor.codec.read(record[:size], path) for path in extractor.paths])
        return found[0] if len(found) == 1 else found


cdef class Table:
    """One collection. `indexes`: (name, tree id, unique, {schema version: IndexKeys}) of each index. `primary`: the primary key's codec.

    It holds no state of its own: methods are given the roots of the version to read, or the write to change.
    """

    def __init__(self, Pager pager not None, str name not None, uint32_t tree, KeyCodec primary not None, indexes=()):
        self.pager = pager
        self.name = name
        self.tree = tree
        self.primary = primary
        self.indexes = tuple([TableIndex(*index) for index in indexes])
        self.careful = tuple(
            [index for index in self.indexes if (<TableIndex>index).unique]
            + [index for index in self.indexes if not (<TableIndex>index).unique])
        self.spare = Buffer()
        self.joined = Buffer()
        self.definition = None

    # Reading

    def get(self, Roots roots not None, key, Face face not None, bint wait=True):
        """The row with this primary key as `face` shows it, or None. ColdPage, CorruptionError, and what a bad key raises."""
        cdef Buffer packed = self.lend()
        cdef const unsigned char* value
        cdef size_t size
        cdef Page page
        face.keys.write(packed, key, True)
        page = tree_find(self.pager, roots.at(self.tree), packed.data, packed.size, wait, &value, &size)
        self.spare = packed
        if page is None:
            return None
        if page.stamp:
            return face.decode(value[:size])    # a draft may change while decoding runs Python code
        return face.decode_at(value, size)

    def record(self, Roots roots not None, bytes key not None, bint wait=True):
        """The record of the row with this packed primary key, or None."""
        cdef const unsigned char* start = <const unsigned char*> PyBytes_AS_STRING(key)
        cdef const unsigned char* value
        cdef size_t size
        cdef Page page = tree_find(
            self.pager, roots.at(self.tree), start, PyBytes_GET_SIZE(key), wait, &value, &size)
        return None if page is None else value[:size]

    cdef Buffer lend(self):
        """An empty buffer; whoever has it may put it back into `spare`."""
        cdef Buffer buffer = self.spare
        if buffer is None:
            return Buffer()
        self.spare = None
        buffer.size = 0
        return buffer

    def count(self, Roots roots not None):
        """How many rows there are."""
        return roots.at(self.tree).entries

    cdef list rows_at(
            self, Roots roots, TableIndex index, const unsigned char* entry, size_t length, Shape shape, size_t most, bint wait):
        """The rows with this entry in an index, at most `most`, by primary key: for few of them what `get` is for one.

        Everything is read before the first row is made, so that no code of the user runs between. ColdPage where rows are many
        or long, too: they are better read in slices.
        """
        cdef Cursor cursor = index.lend_cursor()
        cdef Lookup lookup = index.lend_lookup()
        cdef Buffer records = Buffer.__new__(Buffer)        # each behind its size
        cdef const unsigned char* key
        cdef size_t size, at = 0, count = 0
        cdef list found = []
        take(records, FEW_BYTES)
        records.size = 0
        cursor.reset(self.pager, roots.at(index.tree))
        cdef bint more = cursor.seek(entry, length, wait)
        while more and count < most and cursor.begins_with(entry, length):
            if count == MOST_ROWS:
                raise ColdPage("many rows")
            if lookup.count == SIDE_BY_SIDE:
                self.copy_rows(roots, index, lookup, records, wait)
            key = cursor.key(&size)
            lookup.add(key + length, size - length)
            count += 1
            more = cursor.next(wait)
        self.copy_rows(roots, index, lookup, records, wait)
        cursor.leave()
        index.cursor, index.lookup = cursor, lookup
        while at < records.size:
            size = get32(records.data + at)
            found.append(shape.decode_at(records.data + at + 4, size))
            at += 4 + size
        return found

    cdef int copy_rows(self, Roots roots, TableIndex index, Lookup lookup, Buffer records, bint wait) except -1:
        """Append the records of the rows with these keys, which entries of an index have."""
        cdef Sought* sought
        cdef size_t i
        if lookup.find(self.pager, roots.at(self.tree), wait) < lookup.count:
            raise ColdPage("long records")
        for i in range(lookup.count):
            sought = lookup.sought + i
            if sought.value == NULL:
                raise self.stray(index)
            if records.size + sought.length > MOST_BYTES:
                raise ColdPage("long records")
            put32(take(records, 4), <uint32_t>sought.length)
            put_bytes(records, sought.value, sought.length)
        lookup.clear()
        return 0

    def keys(self, Roots roots not None, str index not None, bytes prefix not None, bint wait=True):
        """The primary keys, as bytes, of the rows whose entries in an index begin with `prefix`."""
        cdef TableIndex found = self.index(index)
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef list keys = []
        cursor.reset(self.pager, roots.at(found.tree))
        cdef bint more = cursor.seek(
            <const unsigned char*> PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix), wait)
        while more and cursor.begins_with(<const unsigned char*> PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix)):
            keys.append(key_of(cursor)[len(prefix):])
            more = cursor.next(wait)
        return keys

    cdef TableIndex index(self, str name):
        cdef TableIndex index
        for index in self.indexes:
            if index.name == name:
                return index
        raise KeyError(name)

    # Changing

    def put(self, write not None, bytes key not None, bytes record not None, bint create=False, bint wait=True):
        """Insert, or replace the row with this primary key; whether one was replaced. create: it must not be there.

        DuplicateKeyError for a key that is taken, and for a value that another row has in a unique index. Nothing has changed when it
        raises anything but MemoryError, or the OSError or CorruptionError of a page that was read meanwhile.
        """
        self.check_definition(write)
        return self.put_at(
            write.draft, write.roots, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
            <const unsigned char*> PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), create, wait)

    def exchange(self, write not None, bytes key not None, bytes before not None, bytes record not None):
        """Replace the record of the row with this primary key, if it is still `before`; whether it was. Errors as in put."""
        self.check_definition(write)
        return self.exchange_at(
            write.draft, write.roots, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), before,
            <const unsigned char*> PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))

    cdef bint exchange_at(
            self, Draft draft, Roots roots, const unsigned char* start, size_t length, bytes before,
            const unsigned char* data, size_t size) except -1:
        """exchange, of bytes."""
        cdef const unsigned char* old = NULL
        cdef size_t old_size = 0
        cdef Page page = tree_find(self.pager, roots.at(self.tree), start, length, True, &old, &old_size)
        if page is None or old_size != <size_t> len(before) or memcmp(old, PyBytes_AS_STRING(before), old_size):
            return False
        self.put_at(draft, roots, start, length, data, size, False, True)
        return True

    cdef bint put_at(
            self, Draft draft, Roots roots, const unsigned char* start, size_t length, const unsigned char* data,
            size_t size, bint create, bint wait) except -1:
        """put, of bytes."""
        cdef const unsigned char* old = NULL
        cdef size_t old_size = 0
        cdef Page page = tree_find(self.pager, roots.at(self.tree), start, length, wait, &old, &old_size)
        if page is not None and create:
            raise self.taken(start[:length])
        if length > key_limit(self.pager.page_size):
            raise self.too_long(length, "the primary key has")
        if page is None and wait:
            return self.put_new(draft, roots, start, length, data, size)
        self.note(draft, roots, start, length, wait)
        self.plan(roots, start, length, old if page is not None else NULL, old_size, data, size, wait)
        put_sure(draft, roots, self.tree, start, length, data, size, wait)
        self.apply(draft, roots, start, length, wait)
        return page is not None

    cdef bint put_new(
            self, Draft draft, Roots roots, const unsigned char* key, size_t length, const unsigned char* record,
            size_t size) except -1:
        """put_at for a key that is not there, where every page may be waited for: False.

        Each tree is gone down once. Entries come first, those of unique indexes before the others: one that is taken is
        found when nothing has changed, or when what has is easily taken back.
        """
        cdef TableIndex index
        cdef Path path
        cdef Added added
        cdef size_t i
        for index in self.indexes:
            index.collect(record, size, index.after)
            self.check_lengths(index, length)
        self.note(draft, roots, key, length, True)
        for index in self.careful:
            for i in range(index.after.count):
                self.join(index.after, i, key, length)
                path.depth = 0
                added = self.add_entry(
                    draft, roots, index, &path, self.joined.data, self.joined.size, self.joined.size - length,
                    index.unique and not index.after.exempt, True)
                if added == ADD_TAKEN:
                    self.take_back(draft, roots, index, i, key, length)
                    raise self.violation(index, record, size)
        path.depth = 0
        tree_add(draft, roots.at(self.tree), &path, key, length, 0, record, size, True)
        draft.note_put(self.tree, key, length, record, size)
        return False

    cdef Added add_entry(
            self, Draft draft, Roots roots, TableIndex index, Path* path, const unsigned char* data, size_t size,
            size_t entry, bint alone, bint wait) except ADD_FAILED:
        """Put an entry, of `entry` bytes with the primary key behind; ADD_TAKEN if it is to be alone and is not."""
        cdef Added added = tree_add(
            draft, roots.at(index.tree), path, data, size, entry if alone else 0, data, 0, wait)
        cdef Cursor cursor
        if added == ADD_UNSURE:
            cursor = Cursor.__new__(Cursor)
            cursor.reset(self.pager, roots.at(index.tree))
            if cursor.seek(data, entry, wait) and cursor.begins_with(data, entry):
                return ADD_TAKEN
            added = tree_add(draft, roots.at(index.tree), path, data, size, 0, data, 0, wait)
        if added == ADDED:
            draft.note_put(index.tree, data, size, data, 0)
        return added

    cdef int take_back(
            self, Draft draft, Roots roots, TableIndex failed, size_t done, const unsigned char* key,
            size_t length) except -1:
        """Delete the entries that put_new had put when one of `failed`, the number `done`, was taken."""
        cdef TableIndex index
        cdef size_t i
        for index in self.careful:
            for i in range(done if index is failed else index.after.count):
                self.join(index.after, i, key, length)
                delete_sure(draft, roots, index.tree, self.joined.data, self.joined.size, True)
            if index is failed:
                break
        return 0

    def delete(self, write not None, bytes key not None, bint wait=True):
        """Delete the row with this primary key; whether it was there. Errors as in put."""
        self.check_definition(write)
        return self.delete_at(
            write.draft, write.roots, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), wait)

    cdef bint delete_at(
            self, Draft draft, Roots roots, const unsigned char* start, size_t length, bint wait) except -1:
        """delete, of bytes."""
        cdef const unsigned char* old = NULL
        cdef size_t old_size = 0
        cdef Page page = tree_find(self.pager, roots.at(self.tree), start, length, wait, &old, &old_size)
        if page is None:
            return False
        self.note(draft, roots, start, length, wait)
        self.plan(roots, start, length, old, old_size, NULL, 0, wait)
        delete_sure(draft, roots, self.tree, start, length, wait)
        self.apply(draft, roots, start, length, wait)
        return True

    cdef int check_definition(self, write) except -1:
        """StaleSchemaError if the collection's definition is no longer the one that this table was made for."""
        if self.definition is not None and (<dict> write.definitions).get(self.name) is not self.definition:
            raise StaleSchemaError(
                f"schema error: the schema of {self.name} changed while this waited to be written: nothing was written, "
                "do it again")
        return 0

    cdef int note(self, Draft draft, Roots roots, const unsigned char* key, size_t length, bint wait) except -1:
        """Put the key of a row that is about to change into the journal, if there is one; more keys than change do no harm."""
        if self.journal:
            put_sure(draft, roots, self.journal, key, length, key, 0, wait)
        return 0

    cdef int plan(
            self, Roots roots, const unsigned char* key, size_t length, const unsigned char* old, size_t old_size,
            const unsigned char* record, size_t size, bint wait) except -1:
        """Collect the entries before and after a change in each index, and see that nothing stands in its way.

        old, record: NULL for none. The scratch space belongs to the indexes: there is one write at a time.
        """
        cdef TableIndex index
        for index in self.indexes:
            index.collect(old, old_size, index.before)
            index.collect(record, size, index.after)
            index.same = same_entries(index.before, index.after)
            if index.same:
                continue
            self.check_lengths(index, length)
            if index.unique and not index.after.exempt:
                self.check_unique(roots, index, record, size, wait)
            if not wait:
                self.touch(roots, index, index.before, key, length)
                self.touch(roots, index, index.after, key, length)
        return 0

    cdef int check_lengths(self, TableIndex index, size_t length) except -1:
        """ModelVaultSchemaError for an entry that, with a primary key of `length` bytes, is longer than a page can take."""
        cdef size_t i, size
        for i in range(index.after.count):
            entry_at(index.after, i, &size)
            if size + length > key_limit(self.pager.page_size):
                raise self.too_long(size + length, f'a value in the index "{index.name}" has, with the primary key,')
        return 0

    cdef int check_unique(
            self, Roots roots, TableIndex index, const unsigned char* record, size_t size, bint wait) except -1:
        """DuplicateKeyError if an entry that comes is there already, for another row."""
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef const unsigned char* entry
        cdef size_t i, length
        cursor.reset(self.pager, roots.at(index.tree))
        for i in range(index.after.count):
            entry = entry_at(index.after, i, &length)
            if has_entry(index.before, entry, length):
                continue
            if cursor.seek(entry, length, wait) and cursor.begins_with(entry, length):
                raise self.violation(index, record, size)
        return 0

    cdef int touch(self, Roots roots, TableIndex index, Entries entries, const unsigned char* key, size_t length) except -1:
        """ColdPage unless the paths to these entries are in memory."""
        cdef const unsigned char* value
        cdef size_t i, size
        for i in range(entries.count):
            self.join(entries, i, key, length)
            tree_find(self.pager, roots.at(index.tree), self.joined.data, self.joined.size, False, &value, &size)
        return 0

    cdef int join(self, Entries entries, size_t i, const unsigned char* key, size_t length) except -1:
        """Put an entry and the primary key into `joined`."""
        cdef size_t size
        cdef const unsigned char* entry = entry_at(entries, i, &size)
        self.joined.size = 0
        put_bytes(self.joined, entry, size)
        return put_bytes(self.joined, key, length)

    cdef int apply(self, Draft draft, Roots roots, const unsigned char* key, size_t length, bint wait) except -1:
        """Bring the index trees in step with what `plan` collected."""
        cdef TableIndex index
        cdef const unsigned char* entry
        cdef size_t i, size
        for index in self.indexes:
            if index.same:
                continue
            for i in range(index.before.count):
                entry = entry_at(index.before, i, &size)
                if not has_entry(index.after, entry, size):
                    self.join(index.before, i, key, length)
                    delete_sure(draft, roots, index.tree, self.joined.data, self.joined.size, wait)
            for i in range(index.after.count):
                entry = entry_at(index.after, i, &size)
                if not has_entry(index.before, entry, size):
                    self.join(index.after, i, key, length)
                    put_sure(draft, roots, index.tree, self.joined.data, self.joined.size, key, 0, wait)
        return 0

    # Errors

    def taken(self, bytes key):
        """The error for a primary key that is there already."""
        value = self.primary.unpack(key)
        return DuplicateKeyError(
            f"schema error: duplicate primary key: {self.name} already has a row with the key {value!r}",
            collection=self.name, key=value)

    cdef object violation(self, TableIndex index, const unsigned char* record, size_t size):
        """The error for a value that another row has in a unique index."""
        value = index.values(record, size)
        return DuplicateKeyError(
            f"schema error: unique index violation: another row of {self.name} has the value {value!r} in the index "
            f'"{index.name}"', collection=self.name, index=index.name, key=value)

    cdef object too_long(self, size_t size, str what):
        """The error for a key that no page can take."""
        cdef size_t page_size = self.pager.page_size
        return ModelVaultSchemaError(
            f"schema error: {self.name}: {what} {size} bytes; the limit is {key_limit(page_size)} "
            f"(page size {page_size} / 4 - 64: a new file may have larger pages)")

    def stray(self, TableIndex index):
        """The error for an index entry without a row."""
        return CorruptionError(f"index {index.name} of {self.name} has an entry without a row", tree=index.tree)

    # Estimating

    def estimate(self, Roots roots not None, str index, bytes low, bytes high, bint wait=True):
        """About how many entries of an index, of rows for None, there are with low <= key < high; None is an open end.

        It looks at the two paths down the tree, no statistics are stored. Exact if both end in one leaf. ColdPage as everywhere.
        """
        cdef Root* root = roots.at(self.tree if index is None else self.index(index).tree)
        if root.ref.number == 0 or (low is not None and high is not None and low >= high):
            return 0
        if low is None and high is None:
            return root.entries
        return min(root.entries, <uint64_t>(0.5 + entries_between(self.pager, root, low, high, wait)))

    def density(self, Roots roots not None, str index, bint wait=True):
        """About how many entries of an index, rows for None, there are to a page, as the first leaf has it; 0 if one leaf has them all.

        A long row has pages of its own. ColdPage as everywhere.
        """
        cdef Root* root = roots.at(self.tree if index is None else self.index(index).tree)
        cdef Page page
        cdef uint64_t tag
        cdef size_t i, pages = 1
        cdef int level
        if root.ref.number == 0:
            return 0
        page = fetch(self.pager, &root.ref, -1, wait)
        if page.data[PAGE_LEVEL] == 0:
            return 0
        for level in range(page.data[PAGE_LEVEL] - 1, -1, -1):
            page = child_of(self.pager, page, 0, level, wait)
        for i in range(node_count(page.data)):
            leaf_value(page.data, i, &tag)
            pages += tag & 1
        return <double>node_count(page.data) / pages

    # Looking after itself

    def check(self, Roots roots not None):
        """Compare rows and indexes, both ways: each row's entries are there, and there are no others. CorruptionError."""
        cdef TableIndex index
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef const unsigned char* value
        cdef size_t size
        cdef dict expected = {index.name: 0 for index in self.indexes}
        cursor.reset(self.pager, roots.at(self.tree))
        cdef bint more = cursor.first(True)
        cdef uint64_t rows = 0
        while more:
            rows += 1
            if rows % CHECKED == 0:
                make_way_in_turn()
            key = key_of(cursor)
            value = cursor.value(&size, True)
            for index in self.indexes:
                index.collect(value, size, index.after)
                expected[index.name] += index.after.count
                self.check_entries(roots, index, key)
            more = cursor.next(True)
        for index in self.indexes:
            if roots.at(index.tree).entries != expected[index.name]:
                raise self.stray(index)

    cdef int check_entries(self, Roots roots, TableIndex index, bytes key) except -1:
        """CorruptionError unless the index has all the entries in its `after`."""
        cdef const unsigned char* value
        cdef size_t i, size
        for i in range(index.after.count):
            self.join(index.after, i, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            if tree_find(
                    self.pager, roots.at(index.tree), self.joined.data, self.joined.size, True, &value, &size) is None:
                raise CorruptionError(f"a row of {self.name} has no entry in the index {index.name}", tree=index.tree)
        return 0


cdef double entries_between(Pager pager, const Root* root, bytes low, bytes high, bint wait) except -1:
    """Table.estimate for a tree that is not empty. Children between the paths count as their parent's average."""
    cdef Page first = fetch(pager, &root.ref, -1, wait)
    cdef Page last = first
    cdef double found = 0
    cdef double share = root.entries        # below `first`, and about as many below `last`
    cdef size_t start, end
    cdef int level = first.data[PAGE_LEVEL]
    while True:
        start, end = place_in(pager, first, low, 0), place_in(pager, last, high, node_count(last.data))
        if level == 0:
            return found + (<double>end - <double>start if first is last else <double>(node_count(first.data) - start + end))
        share /= node_count(first.data)
        if first is not last:
            found += share * (node_count(first.data) - 1 - start + end)
        elif end > start:
            found += share * (end - start - 1)
        level -= 1
        first, last = child_of(pager, first, start, level, wait), child_of(pager, last, end, level, wait)


cdef size_t place_in(Pager pager, Page page, bytes key, size_t otherwise) except? 0:
    """The child of a branch, or the place in a leaf, where a key belongs; for None the other one, of a branch the last child at most."""
    cdef const unsigned char* data = page.data
    cdef bint found
    if key is None:
        return min(otherwise, node_count(data) - (data[PAGE_LEVEL] != 0))
    if data[PAGE_LEVEL]:
        return child_index(data, pager.page_size, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    return node_search(
        data, pager.page_size, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), &found)


cdef Page child_of(Pager pager, Page page, size_t index, int level, bint wait):
    """A child of a branch, which must have this level."""
    cdef Ref ref
    memcpy(&ref, branch_ref(page.data, index), REF_SIZE)
    return fetch(pager, &ref, level, wait)


cdef const unsigned char* entry_at(Entries entries, size_t i, size_t* size) noexcept:
    """One of the entries of a record."""
    cdef size_t start = entries.ends[i - 1] if i else 0
    size[0] = entries.ends[i] - start
    return entries.bytes.data + start


cdef bint same_entries(Entries a, Entries b) noexcept:
    """Whether two records have the same entries."""
    if a.count != b.count or a.bytes.size != b.bytes.size:
        return False
    return a.count == 0 or (        # then there may be no bytes to look at
        memcmp(a.bytes.data, b.bytes.data, a.bytes.size) == 0
        and (a.count == 1 or memcmp(a.ends, b.ends, a.count * sizeof(size_t)) == 0))


cdef bint has_entry(Entries entries, const unsigned char* entry, size_t size) noexcept:
    """Whether an entry is among those of a record, which are few or in order: a binary search."""
    cdef size_t low = 0, high = entries.count, middle, length
    cdef const unsigned char* other
    cdef int order
    while low < high:
        middle = (low + high) // 2
        other = entry_at(entries, middle, &length)
        order = memcmp(entry, other, min(size, length))
        if order == 0 and size == length:
            return True
        if order > 0 or (order == 0 and size > length):
            low = middle + 1
        else:
            high = middle
    return False


cdef bytes key_of(Cursor cursor):
    """The key at the cursor."""
    cdef size_t size
    cdef const unsigned char* key = cursor.key(&size)
    return key[:size]


cdef int put_sure(
        Draft draft, Roots roots, uint32_t tree, const unsigned char* key, size_t length,
        const unsigned char* value, size_t size, bint wait) except -1:
    """tree_put in the middle of a change, noted for the log: a page that left memory since it was looked at is read again."""
    draft.note_put(tree, key, length, value, size)
    try:
        return tree_put(draft, roots.at(tree), key, length, value, size, wait)
    except ColdPage:
        return tree_put(draft, roots.at(tree), key, length, value, size, True)


cdef int delete_sure(
        Draft draft, Roots roots, uint32_t tree, const unsigned char* key, size_t length, bint wait) except -1:
    """tree_delete in the same way."""
    draft.note_delete(tree, key, length)
    try:
        return tree_delete(draft, roots.at(tree), key, length, wait)
    except ColdPage:
        return tree_delete(draft, roots.at(tree), key, length, True)
