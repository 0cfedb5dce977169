"""Walking through one version of a tree in key order, both ways.

A cursor holds the pages that it stands on. Published versions never change, so it stays valid while writes go on; only
a write that changes its own trees must seek again.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from modelvault._core.format cimport PAGE_LEVEL, PAGE_SLOTS, REF_SIZE, Ref, Root
from modelvault._core.node cimport (
    branch_ref, key_limit, leaf_value, node_compare, node_count, node_prefix, node_search, node_slots, node_suffix,
)
from modelvault._core.pager cimport Page, Pager
from modelvault._core.tree cimport child_index, fetch, fetch_extent, tuple_root


@final
cdef class Cursor:
    """A place in the tree with this root, at first nowhere. Movements tell whether there is an entry to stand on.

    In Python they wait for the disk and raise CorruptionError or OSError; `entry` and the relative movements raise
    ValueError while the cursor is nowhere.

    pager: modelvault._core.pager.Pager; root: (number, birth, checksum, entries).
    """

    def __init__(self, Pager pager not None, tuple root not None):
        cdef Root value = tuple_root(root)
        self.reset(pager, &value)

    def __dealloc__(self):
        PyMem_RawFree(self.buffer)

    cdef int reset(self, Pager pager, const Root* root) except -1:
        """Leave for the tree with this root; nowhere in it."""
        if self.pager is not pager:
            PyMem_RawFree(self.buffer)
            self.buffer = <unsigned char*> PyMem_RawMalloc(key_limit(pager.page_size))
            if self.buffer == NULL:
                raise MemoryError()
            self.pager = pager
        self.root = root[0]
        return self.leave()

    cdef int leave(self) except -1:
        """Be nowhere; 0."""
        self.leaf = None
        self.extent = None
        self.branches = None
        self.index = 0
        return 0

    # Movements

    cdef int first(self, bint wait) except -1:
        """To the first entry."""
        if self.root.ref.number == 0:
            return self.leave()
        self.descend(0, &self.root.ref, -1, FIRST, NULL, 0, wait)
        self.index = 0
        return 1

    cdef int last(self, bint wait) except -1:
        """To the last entry."""
        if self.root.ref.number == 0:
            return self.leave()
        self.descend(0, &self.root.ref, -1, LAST, NULL, 0, wait)
        self.index = node_count(self.leaf.data) - 1
        return 1

    cdef int seek(self, const unsigned char* key, size_t size, bint wait) except -1:
        """To the first entry whose key is >= `key`."""
        cdef bint found
        if self.root.ref.number == 0:
            return self.leave()
        self.descend(0, &self.root.ref, -1, KEY, key, size, wait)
        self.index = node_search(self.leaf.data, self.pager.page_size, key, size, &found)
        return 1 if self.index < node_count(self.leaf.data) else self.next_leaf(wait)

    cdef int seek_last_before(self, const unsigned char* key, size_t size, bint wait) except -1:
        """To the last entry whose key is < `key`."""
        cdef bint found
        if self.root.ref.number == 0:
            return self.leave()
        self.descend(0, &self.root.ref, -1, KEY, key, size, wait)
        self.index = node_search(self.leaf.data, self.pager.page_size, key, size, &found)
        return self.prev(wait)

    cdef bint find_near(self, const unsigned char* key, size_t size, bint wait) except -1:
        """To the entry with this key; False without one, the cursor is then anywhere. Cheap for a key near the last one.

        It climbs from the leaf only as far as a branch of which the key surely is: one whose first and last child it misses.
        """
        cdef Py_ssize_t depth
        cdef size_t child = 0
        cdef bint found
        cdef Page page
        cdef Ref ref
        if self.leaf is None:
            if self.root.ref.number == 0:
                return False
            self.descend(0, &self.root.ref, -1, KEY, key, size, wait)
        elif self.branches:
            depth = len(self.branches)
            while depth > 0:
                depth -= 1
                page = <Page> self.branches[depth]
                child = child_index(page.data, self.pager.page_size, key, size)
                if depth == 0 or 0 < child < node_count(page.data) - 1:
                    break
            if depth + 1 < len(self.branches) or child != self.steps[depth]:
                memcpy(&ref, branch_ref(page.data, child), REF_SIZE)
                self.descend(depth + 1, &ref, page.data[PAGE_LEVEL] - 1, KEY, key, size, wait)
                self.steps[depth] = child
        self.index = node_search(self.leaf.data, self.pager.page_size, key, size, &found)
        return found

    cdef int next_leaf(self, bint wait) except -1:
        """To the first entry of the next leaf."""
        cdef Py_ssize_t depth = len(self.branches)
        cdef size_t step
        cdef Page page
        cdef Ref ref
        while depth > 0:
            depth -= 1
            page = <Page> self.branches[depth]
            step = self.steps[depth] + 1
            if step < node_count(page.data):
                memcpy(&ref, branch_ref(page.data, step), REF_SIZE)
                self.descend(depth + 1, &ref, page.data[PAGE_LEVEL] - 1, FIRST, NULL, 0, wait)
                self.steps[depth] = step
                self.index = 0
                return 1
        return self.leave()

    cdef int prev_leaf(self, bint wait) except -1:
        """To the last entry of the leaf before."""
        cdef Py_ssize_t depth = len(self.branches)
        cdef size_t step
        cdef Page page
        cdef Ref ref
        while depth > 0:
            depth -= 1
            if self.steps[depth]:
                page = <Page> self.branches[depth]
                step = self.steps[depth] - 1
                memcpy(&ref, branch_ref(page.data, step), REF_SIZE)
                self.descend(depth + 1, &ref, page.data[PAGE_LEVEL] - 1, LAST, NULL, 0, wait)
                self.steps[depth] = step
                self.index = node_count(self.leaf.data) - 1
                return 1
        return self.leave()

    cdef int descend(
            self, Py_ssize_t depth, const Ref* start, int level, Side side, const unsigned char* key, size_t size,
            bint wait) except -1:
        """Stand in the leaf below `start`, a page of this level under `depth` branches; errors change nothing."""
        cdef list branches
        cdef size_t steps[MAX_LEVEL + 1]
        cdef Py_ssize_t at = depth
        cdef Ref ref = start[0]
        cdef Page page = fetch(self.pager, &ref, level, wait)
        if level == 0 and depth == len(self.branches):
            self.leaf = page        # a leaf beside the last one, by far the most frequent case
            return 0
        level = page.data[PAGE_LEVEL]
        branches = self.branches[:depth] if depth else []
        while level:
            if side == KEY:
                steps[at] = child_index(page.data, self.pager.page_size, key, size)
            else:
                steps[at] = 0 if side == FIRST else node_count(page.data) - 1
            branches.append(page)
            memcpy(&ref, branch_ref(page.data, steps[at]), REF_SIZE)
            level -= 1
            at += 1
            page = fetch(self.pager, &ref, level, wait)
        memcpy(self.steps + depth, steps + depth, (at - depth) * sizeof(size_t))
        self.branches = branches
        self.leaf = page
        return 0

    # The entry

    cdef const unsigned char* key(self, size_t* size) noexcept:
        """The key of the entry, put together in the cursor's buffer: gone with the next call or the cursor."""
        cdef const unsigned char* data = self.leaf.data
        cdef size_t prefix = node_prefix(data)
        cdef size_t length = node_slots(data)[self.index].length
        memcpy(self.buffer, data + self.pager.page_size - prefix, prefix)
        memcpy(self.buffer + prefix, node_suffix(data, self.index), length)
        size[0] = prefix + length
        return self.buffer

    cdef int compare(self, const unsigned char* key, size_t size) noexcept:
        """The key of the entry against another: negative, 0 or positive."""
        return node_compare(self.leaf.data, self.pager.page_size, self.index, key, size)

    cdef bint begins_with(self, const unsigned char* key, size_t size) noexcept:
        """Whether the key of the entry begins with these bytes."""
        cdef const unsigned char* data = self.leaf.data
        cdef size_t prefix = node_prefix(data)
        cdef size_t first = min(prefix, size)
        if prefix + node_slots(data)[self.index].length < size:
            return False
        return (memcmp(data + self.pager.page_size - prefix, key, first) == 0
                and memcmp(node_suffix(data, self.index), key + first, size - first) == 0)

    cdef size_t value_size(self) noexcept:
        """Bytes of the entry's value."""
        cdef uint64_t tag
        leaf_value(self.leaf.data, self.index, &tag)
        return tag >> 1

    cdef const unsigned char* value(self, size_t* size, bint wait) except NULL:
        """The value of the entry; it stays while the cursor stands in this leaf, if long only until the next call."""
        cdef uint64_t tag
        cdef const unsigned char* place = leaf_value(self.leaf.data, self.index, &tag)
        size[0] = tag >> 1
        if tag & 1:
            self.extent = fetch_extent(self.pager, place, tag >> 1, wait)
            return self.extent.data + PAGE_SLOTS
        return place

    # What Python sees

    def to_first(self):
        """To the first entry."""
        return self.first(True) == 1

    def to_last(self):
        """To the last entry."""
        return self.last(True) == 1

    def to(self, bytes key not None):
        """To the first entry whose key is >= `key`."""
        return self.seek(<const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), True) == 1

    def to_last_before(self, bytes key not None):
        """To the last entry whose key is < `key`."""
        return self.seek_last_before(<const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), True) == 1

    def step(self):
        """To the next entry."""
        self.check_place()
        return self.next(True) == 1

    def step_back(self):
        """To the entry before."""
        self.check_place()
        return self.prev(True) == 1

    def entry(self):
        """(key, value) of the entry."""
        cdef const unsigned char* value
        cdef size_t key_size, value_size
        self.check_place()
        self.key(&key_size)
        value = self.value(&value_size, True)
        return (PyBytes_FromStringAndSize(<const char*> self.buffer, key_size),
                PyBytes_FromStringAndSize(<const char*> value, value_size))

    def entries(self, Py_ssize_t most):
        """[(key, value), ...] of up to `most` entries from here on; the cursor is at the entry behind them then, or nowhere."""
        cdef list found = []
        cdef bint more = self.leaf is not None
        while more and len(found) < most:
            found.append(self.entry())
            more = self.next(True) == 1
        return found

    cdef int check_place(self) except -1:
        """ValueError while the cursor is nowhere."""
        if self.leaf is None:
            raise ValueError("the cursor stands at no entry")
        return 0
