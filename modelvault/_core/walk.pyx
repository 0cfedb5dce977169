"""Whole trees: sealing their drafts, checking every page, and a face for Python."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Draft
from modelvault._core.format cimport PAGE_LEVEL, REF_SIZE, Ref, Root
from modelvault._core.node cimport (
    Cell, branch_ref, leaf_value, node_count, node_damage, node_is_leaf, node_read, node_validate,
)
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager
from modelvault._core.tree cimport fetch, fetch_extent, root_tuple, tree_delete, tree_find, tree_put, tuple_root

from modelvault.errors import CorruptionError


# Sealing

cdef int tree_seal(Draft draft, Root* root) except -1:
    """Give every draft of the tree its place in the file, children before parents; root.ref is then final.

    No savepoint may be open. Costs O(drafts): below a sealed page there are none.
    """
    if root.ref.number >> DRAFT_SHIFT:
        seal_page(draft, &root.ref)
    return 0


cdef int seal_page(Draft draft, Ref* ref) except -1:
    """Seal a draft and all drafts below it; `ref` is then final."""
    cdef Page page = draft.pager.find(ref, False)
    cdef unsigned char* place
    cdef Ref child
    cdef size_t i
    if not page.number >> DRAFT_SHIFT:      # a checkpoint has done it
        return draft.settle_ref(page, ref)
    if node_is_leaf(page.data):
        seal_extents(draft, page)
    else:
        for i in range(node_count(page.data)):
            place = branch_ref(page.data, i)
            memcpy(&child, place, REF_SIZE)
            if child.number >> DRAFT_SHIFT:
                seal_page(draft, &child)
                memcpy(place, &child, REF_SIZE)
    return draft.seal(page, ref)


cdef int seal_extents(Draft draft, Page leaf) except -1:
    """Seal the drafts of a leaf's long values."""
    cdef const unsigned char* place
    cdef uint64_t tag
    cdef Ref ref
    cdef size_t i
    for i in range(node_count(leaf.data)):
        place = leaf_value(leaf.data, i, &tag)
        if tag & 1:
            memcpy(&ref, place, REF_SIZE)
            if ref.number >> DRAFT_SHIFT:
                seal_extent(draft, draft.pager.find_extent(&ref, tag >> 1, False), &ref)
                memcpy(<unsigned char*> place, &ref, REF_SIZE)
    return 0


cdef int seal_extent(Draft draft, Page extent, Ref* ref) except -1:
    """Seal the draft of a long value, unless a checkpoint has done it; `ref` is then final."""
    if not extent.number >> DRAFT_SHIFT:
        return draft.settle_ref(extent, ref)
    return draft.seal(extent, ref)


cdef int tree_spill(Draft draft, Root* root) except -1:
    """Seal the leaves and long values that no savepoint refers to, so that memory can be given back before the commit.

    Branches stay drafts. Call draft.write_out() before the tree is used again: what waits for it may leave the cache.
    """
    if root.ref.number >> DRAFT_SHIFT:
        spill_page(draft, &root.ref)
    return 0


cdef int spill_page(Draft draft, Ref* ref) except -1:
    """Spill the tree below a draft; `ref` is then final if it was a leaf that could be sealed."""
    cdef Page page = draft.pager.find(ref, False)
    cdef unsigned char* place
    cdef Ref child
    cdef size_t i
    if not draft.may_seal_early(page):      # what is below it is at least as old
        return 0
    if node_is_leaf(page.data):
        if not may_seal_extents(draft, page):
            return 0
        seal_extents(draft, page)
        return draft.seal(page, ref)
    for i in range(node_count(page.data)):
        place = branch_ref(page.data, i)
        memcpy(&child, place, REF_SIZE)
        if child.number >> DRAFT_SHIFT:
            spill_page(draft, &child)
            memcpy(place, &child, REF_SIZE)
    return 0


cdef bint may_seal_extents(Draft draft, Page leaf) except -1:
    """Whether no savepoint refers to the drafts of a leaf's long values."""
    cdef const unsigned char* place
    cdef uint64_t tag
    cdef Page extent
    cdef Ref ref
    cdef size_t i
    for i in range(node_count(leaf.data)):
        place = leaf_value(leaf.data, i, &tag)
        if tag & 1:
            memcpy(&ref, place, REF_SIZE)
            if ref.number >> DRAFT_SHIFT:
                extent = draft.pager.find_extent(&ref, tag >> 1, False)
                if extent.number >> DRAFT_SHIFT and not draft.may_seal_early(extent):
                    return False
    return True


# Dropping

cdef int tree_drop(Draft draft, Root* root) except -1:
    """Give up all pages of the tree, which is empty then; reads every page that is not in memory."""
    cdef Root old = root[0]
    memset(root, 0, sizeof(Root))
    if old.ref.number:
        drop_page(draft, &old.ref, -1)
    return 0


cdef int drop_page(Draft draft, const Ref* ref, int level) except -1:
    """Give up a page and what is below it."""
    cdef Page page = fetch(draft.pager, ref, level, True)
    cdef const unsigned char* place
    cdef uint64_t tag
    cdef Ref child
    cdef size_t i
    for i in range(node_count(page.data)):
        if node_is_leaf(page.data):
            place = leaf_value(page.data, i, &tag)
            if tag & 1:
                memcpy(&child, place, REF_SIZE)
                draft.drop(&child, draft.pager.extent_size(tag >> 1))
        else:
            memcpy(&child, branch_ref(page.data, i), REF_SIZE)
            drop_page(draft, &child, page.data[PAGE_LEVEL] - 1)
    return draft.drop(ref, draft.pager.page_size)


# Checking

cdef list tree_check(Pager pager, const Root* root, uint64_t newest):
    """Read the whole tree; (number, pages) of every page and extent. CorruptionError for whatever is wrong.

    newest: the generation that the tree belongs to. A page that a later one has sealed was a draft of this tree, and counts as
    one, whose numbers say nothing about the file.
    Checks each page, the levels, that keys lie between the separators above them, that nothing is reached twice, and
    the number of entries.
    """
    cdef Audit audit = Audit.__new__(Audit)
    audit.pager = pager
    audit.newest = newest
    audit.seen = set()
    audit.reached = []
    if root.ref.number:
        audit.visit(&root.ref, -1, None, None)
    if audit.entries != root.entries:
        raise CorruptionError(f"a tree has {audit.entries} entries and should have {root.entries}")
    return audit.reached


@final
cdef class Audit:
    # One walk of tree_check.
    cdef Pager pager
    cdef uint64_t newest
    cdef set seen
    cdef list reached
    cdef uint64_t entries

    cdef int visit(self, const Ref* ref, int level, bytes low, bytes high) except -1:
        """Check a page and what is below it; its keys must be >= low and < high, where these are given."""
        cdef Page page = fetch(self.pager, ref, level, True)
        cdef int code = node_validate(page.data, self.pager.page_size, page.number >> DRAFT_SHIFT != 0)
        cdef size_t count = node_count(page.data), i
        cdef bytes start, end
        cdef Ref child
        if code:
            raise self.pager.damaged(page.number, node_damage(code))
        self.reach(page)
        self.check_bounds(page, low, high)
        if node_is_leaf(page.data):
            self.entries += count
            return self.visit_extents(page)
        for i in range(count):
            start = key_bytes(page, i) if i else low
            end = key_bytes(page, i + 1) if i + 1 < count else high
            memcpy(&child, branch_ref(page.data, i), REF_SIZE)
            self.visit(&child, page.data[PAGE_LEVEL] - 1, start, end)
        return 0

    cdef int check_bounds(self, Page page, bytes low, bytes high) except -1:
        """CorruptionError unless a page's keys fit between the separators above it."""
        cdef size_t count = node_count(page.data), first = 0 if node_is_leaf(page.data) else 1
        if first < count and (
                low is not None and key_bytes(page, first) < low
                or high is not None and key_bytes(page, count - 1) >= high):
            raise self.pager.damaged(page.number, "its keys do not belong under its parent")
        return 0

    cdef int visit_extents(self, Page leaf) except -1:
        """Check the extents of a leaf's long values."""
        cdef const unsigned char* place
        cdef uint64_t tag
        cdef size_t i
        for i in range(node_count(leaf.data)):
            place = leaf_value(leaf.data, i, &tag)
            if tag & 1:
                self.reach(fetch_extent(self.pager, place, tag >> 1, True))
        return 0

    cdef int reach(self, Page page) except -1:
        """Note a page or extent, which must be a new one."""
        cdef uint64_t number
        if page.number in self.seen:
            raise self.pager.damaged(page.number, "it is reached twice")
        self.seen.add(page.number)
        number = page.number
        if page.birth > self.newest:
            number |= (<uint64_t> 1) << DRAFT_SHIFT
        self.reached.append((number, page.size // self.pager.page_size))
        return 0


cdef bytes key_bytes(Page page, size_t index):
    """The key of a cell."""
    cdef Cell cell
    node_read(page.data, page.size, index, &cell)
    return cell.prefix[:cell.prefix_size] + cell.suffix[:cell.suffix_size]


# What Python sees

@final
cdef class Tree:
    """One tree as a sorted mapping of bytes, for tests and tools.

    draft: the modelvault._core.pager.Draft that changes go to. root: (number, birth, checksum, entries); the attribute
    is always the current one. wait: whether to wait for the disk instead of raising ColdPage.
    """

    cdef readonly Draft draft
    cdef Root value
    cdef public bint wait

    def __init__(self, Draft draft not None, tuple root=(0, 0, 0, 0), bint wait=True):
        self.draft = draft
        self.value = tuple_root(root)
        self.wait = wait

    @property
    def root(self):
        """(number, birth, checksum, entries)."""
        return root_tuple(&self.value)

    @root.setter
    def root(self, tuple root not None):
        self.value = tuple_root(root)

    def __len__(self):
        return self.value.entries

    def get(self, bytes key not None):
        """The value of a key, or None."""
        cdef const unsigned char* value
        cdef size_t size
        cdef Page page = tree_find(
            self.draft.pager, &self.value, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
            self.wait, &value, &size)
        return None if page is None else PyBytes_FromStringAndSize(<const char*> value, size)

    def put(self, bytes key not None, bytes value not None):
        """Insert or replace; whether the key was there. ModelVaultSchemaError if it or the value is too long."""
        return tree_put(
            self.draft, &self.value, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
            <const unsigned char*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), self.wait) == 1

    def delete(self, bytes key not None):
        """Delete; whether the key was there."""
        return tree_delete(
            self.draft, &self.value, <const unsigned char*> PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
            self.wait) == 1

    def cursor(self):
        """A Cursor over the tree as it is."""
        return Cursor(self.draft.pager, self.root)

    def items(self, bytes start=b"", bint backward=False):
        """The entries from `start` on in key order, or from the last before `start` (b"": the end) downward."""
        cdef Cursor cursor = self.cursor()
        if backward:
            there = cursor.to_last_before(start) if start else cursor.to_last()
        else:
            there = cursor.to(start)
        while there:
            yield cursor.entry()
            there = cursor.step_back() if backward else cursor.step()

    def seal(self):
        """tree_seal."""
        tree_seal(self.draft, &self.value)

    def spill(self):
        """tree_spill."""
        tree_spill(self.draft, &self.value)

    def drop(self):
        """tree_drop."""
        tree_drop(self.draft, &self.value)

    def check(self, uint64_t newest=<uint64_t> -1):
        """tree_check."""
        return tree_check(self.draft.pager, &self.value, newest)
