"""A walk over a tree that goes on behind damage, and leaves of which nobody knows where they belong.

For whoever has to say all that is wrong with a file, or to save what is left of it. Pages are read from the file, even
if the cache has them.
"""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from modelvault._core.file cimport make_way_in_turn
from modelvault._core.format cimport LEAF, META_COUNT, PAGE_BIRTH, PAGE_LEVEL, PAGE_SLOTS, PAGE_TYPE, REF_SIZE, Ref
from modelvault._core.node cimport (
    Cell, branch_ref, leaf_value, node_count, node_is_leaf, node_read, node_validate,
)
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager
from modelvault._core.tree cimport fetch, fetch_extent
from modelvault._core.xxh64 cimport xxh64

from modelvault.errors import CorruptionError


cdef enum:
    SMALL_CACHE = 1 << 20       # bytes


cdef bytes key_bytes(Page page, size_t page_size, size_t index):
    """The key of a cell."""
    cdef Cell cell
    node_read(page.data, page_size, index, &cell)
    return cell.prefix[:cell.prefix_size] + cell.suffix[:cell.suffix_size]


@final
cdef class Survey:
    """The leaves of one tree in key order. `damage` grows: (page, words, low, high) for each part that cannot be read.

    low and high are the keys between which that part lies, None where it has no bound; of one long value, its key twice.
    owners: a byte for each page of the file, 0 until a tree reaches it; what is reached a second time is damage too.
    newest: the generation of the tree: what was sealed later stands nowhere that counts.
    """

    cdef Pager pager            # for drafts, and what was sealed since
    cdef Pager disk             # for all that stands in the file
    cdef uint64_t newest
    cdef list stack             # what is still to be visited: (ref, level, low, high), the next one last
    cdef readonly bytearray owners
    cdef readonly list damage
    cdef readonly uint64_t entries
    cdef readonly uint64_t pages

    def __init__(self, Pager pager not None, tuple root not None, bytearray owners not None, uint64_t newest):
        self.pager = pager
        self.disk = Pager(pager.file, pager.page_size, SMALL_CACHE, pager.seed)
        self.newest = newest
        self.owners = owners
        self.damage = []
        self.stack = [(root[:3], -1, None, None)] if root[0] else []

    def next_leaf(self, bint values=True):
        """The entries of the next leaf that can be read, as (key, value): a list, None at the end.

        The value is None if it cannot be read, and empty unless `values` are asked for.
        """
        cdef Page page
        while self.stack:
            make_way_in_turn()
            ref, level, low, high = self.stack.pop()
            page = self.visit(ref, level, low, high)
            if page is None:
                continue
            if node_is_leaf(page.data):
                self.entries += node_count(page.data)
                return self.read_leaf(page, values)
            self.enter(page, low, high)
        return None

    cdef Page visit(self, tuple ref, int level, bytes low, bytes high):
        """The page that a ref names, if it is sound and belongs there; else None, and the damage is noted."""
        cdef Ref target
        cdef Page page
        target.number, target.birth, target.checksum = ref
        try:
            page = fetch(self.pager_of(&target), &target, level, True)
            self.reach(page)
            self.check_bounds(page, low, high)
        except CorruptionError as error:
            self.note(error, target.number, low, high)
            return None
        return page

    cdef Pager pager_of(self, const Ref* ref):
        """Where to look for a page."""
        return self.pager if ref.number >> DRAFT_SHIFT or ref.birth > self.newest else self.disk

    cdef int note(self, error, uint64_t number, bytes low, bytes high) except -1:
        self.damage.append((number if error.page is None else error.page, str(error), low, high))
        return 0

    cdef int reach(self, Page page) except -1:
        """Note that the tree has a page. CorruptionError if some tree has it already, or if it is not in the file."""
        cdef uint64_t pages = page.size // self.pager.page_size, number
        self.pages += pages
        if page.number >> DRAFT_SHIFT or page.birth > self.newest:
            return 0
        if page.number < META_COUNT or page.number + pages > <uint64_t> len(self.owners):
            raise self.pager.damaged(page.number, "it does not lie among the pages of trees")
        for number in range(page.number, page.number + pages):
            if self.owners[number]:
                raise self.pager.damaged(number, "it is reached twice")
            self.owners[number] = 1
        return 0

    cdef int check_bounds(self, Page page, bytes low, bytes high) except -1:
        """CorruptionError unless a page's keys fit between the separators above it."""
        cdef size_t page_size = self.pager.page_size
        cdef size_t count = node_count(page.data), first = 0 if node_is_leaf(page.data) else 1
        if first < count and (
                low is not None and key_bytes(page, page_size, first) < low
                or high is not None and key_bytes(page, page_size, count - 1) >= high):
            raise self.pager.damaged(page.number, "its keys do not belong under its parent")
        return 0

    cdef int enter(self, Page page, bytes low, bytes high) except -1:
        """Have the children of a branch visited next."""
        cdef size_t page_size = self.pager.page_size, count = node_count(page.data), i
        cdef list children = []
        cdef Ref ref
        start = low
        for i in range(count):
            end = key_bytes(page, page_size, i + 1) if i + 1 < count else high
            memcpy(&ref, branch_ref(page.data, i), REF_SIZE)
            children.append(((ref.number, ref.birth, ref.checksum), page.data[PAGE_LEVEL] - 1, start, end))
            start = end
        children.reverse()
        self.stack += children
        return 0

    cdef list read_leaf(self, Page page, bint values):
        """The entries of a leaf."""
        cdef const unsigned char* place
        cdef list found = []
        cdef uint64_t tag
        cdef Page extent
        cdef Ref ref
        cdef size_t i
        for i in range(node_count(page.data)):
            key = key_bytes(page, self.pager.page_size, i)
            place = leaf_value(page.data, i, &tag)
            value = b""
            if tag & 1:
                try:
                    memcpy(&ref, place, REF_SIZE)
                    extent = fetch_extent(self.pager_of(&ref), place, tag >> 1, True)
                    self.reach(extent)
                    if values:
                        value = extent.data[PAGE_SLOTS:PAGE_SLOTS + (tag >> 1)]
                except CorruptionError as error:
                    self.note(error, 0, key, key)
                    value = None
            elif values:
                value = place[:tag >> 1]
            found.append((key, value))
        return found


def estimate_pages(Pager pager not None, tuple root not None, bint wait=True):
    """About how many pages a tree has, those of long values included, from the pages on its two edges.

    Exact while the tree has one branch or none, and no long values. ColdPage, without `wait`. The pager's counters stay.
    """
    cdef uint64_t hits = pager.hits, misses = pager.misses, reads = pager.reads
    try:
        return pages_between_edges(pager, root, wait)
    finally:
        pager.hits, pager.misses, pager.reads = hits, misses, reads


cdef uint64_t pages_between_edges(Pager pager, tuple root, bint wait) except? 0:
    """See estimate_pages."""
    cdef double width = 1, pages = 1, long_pages = 0
    cdef size_t count
    cdef Page first, last
    cdef Ref ref
    if root[0] == 0:
        return 0
    ref.number, ref.birth, ref.checksum = root[:3]
    first = last = fetch(pager, &ref, -1, wait)
    while first.data[PAGE_LEVEL]:
        width *= <double> (node_count(first.data) + node_count(last.data)) / 2
        pages += width
        first, last = child_of(pager, first, 0, wait), child_of(pager, last, node_count(last.data) - 1, wait)
    count = node_count(first.data) + node_count(last.data)
    if count:
        long_pages = <double> (extent_pages(pager, first) + extent_pages(pager, last)) / count * <double> root[3]
    return <uint64_t> (pages + long_pages + 0.5)


cdef Page child_of(Pager pager, Page page, size_t index, bint wait):
    """A child of a branch."""
    cdef Ref ref
    memcpy(&ref, branch_ref(page.data, index), REF_SIZE)
    return fetch(pager, &ref, page.data[PAGE_LEVEL] - 1, wait)


cdef uint64_t extent_pages(Pager pager, Page leaf) noexcept:
    """How many pages the long values of a leaf have."""
    cdef uint64_t tag, pages = 0
    cdef size_t i
    for i in range(node_count(leaf.data)):
        leaf_value(leaf.data, i, &tag)
        if tag & 1:
            pages += pager.extent_size(tag >> 1) // pager.page_size
    return pages


def stray_leaf(Pager pager not None, const unsigned char[::1] data not None, uint64_t number):
    """(birth, [(key, value), ...]) of a page that nobody refers to, if it is a sound leaf, with what it has itself; else None.

    Long values are tried: those that cannot be read are None.
    """
    cdef const unsigned char* page = &data[0]
    cdef size_t page_size = pager.page_size, i
    cdef const unsigned char* place
    cdef uint64_t stored, birth, tag
    cdef list found = []
    cdef Page extent
    cdef Cell cell
    if <size_t> data.shape[0] < page_size or page[PAGE_TYPE] != LEAF:
        return None
    memcpy(&stored, page, 8)
    memcpy(&tag, page + 8, 8)
    memcpy(&birth, page + PAGE_BIRTH, 8)
    if tag != number or xxh64(page + 8, page_size - 8, pager.seed) != stored or node_validate(page, page_size, False):
        return None
    for i in range(node_count(page)):
        node_read(page, page_size, i, &cell)
        place = leaf_value(page, i, &tag)
        if tag & 1:
            try:
                extent = fetch_extent(pager, place, tag >> 1, True)
                value = extent.data[PAGE_SLOTS:PAGE_SLOTS + (tag >> 1)]
            except CorruptionError:
                value = None
        else:
            value = place[:tag >> 1]
        found.append((cell.prefix[:cell.prefix_size] + cell.suffix[:cell.suffix_size], value))
    return birth, found
