"""Trees whose pages are written closer together, or elsewhere, while what they hold stays as it is.

Both work on a span: some neighbouring children of one branch. A walk goes from span to span, level by level, and may be
left and taken up again at a key, with other writes in between.

Not here: which pages are free (space.pyx), and when the file gets shorter.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelvault._core.cells cimport (
    Measure, compare_cells, fill, measure_all, measure_next, measured, read_cells, refill, write_separator,
)
from modelvault._core.draft cimport Draft
from modelvault._core.file cimport make_way_in_turn
from modelvault._core.format cimport (
    BRANCH, FREE_TREE, LEAF, PAGE_LEVEL, PAGE_SLOTS, REF_SIZE, Ref, Root,
)
from modelvault._core.node cimport Cell, branch_ref, leaf_value, node_count, node_is_leaf, node_read, node_used
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager
from modelvault._core.space cimport Space
from modelvault._core.tree cimport Roots, child_index, fetch, fetch_extent


cdef enum:
    GAIN_SHARE = 8          # a span is packed if that saves this part of its pages


cdef Ref draft_ref(Page page) noexcept:
    cdef Ref ref
    ref.number = page.number
    ref.birth = page.serial
    ref.checksum = 0
    return ref


cdef bytes key_bytes(Page page, size_t page_size, size_t index):
    """The key of a cell."""
    cdef Cell cell
    node_read(page.data, page_size, index, &cell)
    return cell.prefix[:cell.prefix_size] + cell.suffix[:cell.suffix_size]


cdef size_t child_at(Page page, size_t page_size, bytes key) noexcept:
    """The child of a branch under which a key belongs; the first one for None."""
    return 0 if key is None else child_index(page.data, page_size, <const unsigned char*> key, len(key))


def height(Pager pager not None, Roots roots not None, uint32_t tree):
    """The level of a tree's root: 0 for a tree of one leaf, or without any page."""
    cdef Root* root = roots.at(tree)
    return fetch(pager, &root.ref, -1, True).data[PAGE_LEVEL] if root.ref.number else 0


@final
cdef class Span:
    # Children first to last - 1 of a branch; `next` is the key at which the span behind it begins, None at the end.
    cdef Page branch
    cdef size_t first
    cdef size_t last
    cdef bytes next


cdef Span find_span(Pager pager, const Root* root, int level, bytes start, size_t most):
    """The span of at most so many pages, below a branch of this level, that begins at a key; None: no such branch."""
    cdef size_t page_size = pager.page_size, index
    cdef Span span = Span.__new__(Span)
    cdef Page page
    cdef Ref ref
    if root.ref.number == 0:
        return None
    page = fetch(pager, &root.ref, -1, True)
    if page.data[PAGE_LEVEL] < level:
        return None
    while page.data[PAGE_LEVEL] > level:
        index = child_at(page, page_size, start)
        if index + 1 < node_count(page.data):
            span.next = key_bytes(page, page_size, index + 1)
        memcpy(&ref, branch_ref(page.data, index), REF_SIZE)
        page = fetch(pager, &ref, page.data[PAGE_LEVEL] - 1, True)
    span.branch = page
    span.first = child_at(page, page_size, start)
    span.last = min(node_count(page.data), span.first + most)
    if span.last < node_count(page.data):
        span.next = key_bytes(page, page_size, span.last)
    return span


cdef Page own(Draft draft, Ref* ref):
    """A page to change in place; `ref` then names it."""
    cdef Page page = draft.own(ref, True)
    page.checked = True
    return page


cdef Page own_branch(Draft draft, Root* root, int level, bytes start):
    """The branch of find_span, to be changed, and all above it."""
    cdef size_t page_size = draft.pager.page_size
    cdef Page page
    cdef unsigned char* place
    cdef Ref ref
    fetch(draft.pager, &root.ref, -1, True)
    page = own(draft, &root.ref)
    while page.data[PAGE_LEVEL] > level:
        place = branch_ref(page.data, child_at(page, page_size, start))
        memcpy(&ref, place, REF_SIZE)
        fetch(draft.pager, &ref, page.data[PAGE_LEVEL] - 1, True)
        page = own(draft, &ref)
        memcpy(place, &ref, REF_SIZE)
    return page


# Packing

def pack(Draft draft not None, Roots roots not None, uint32_t tree, int level, bytes start, size_t most):
    """Write the span of at most `most` pages below a branch of this level anew if it then has clearly fewer pages.

    Returns (where the next span begins or None, pages saved). Errors end the write.
    """
    cdef Root* root = roots.at(tree)
    cdef Span span = find_span(draft.pager, root, level, start, max(most, <size_t> 2))
    if span is None:
        return None, 0
    return span.next, pack_span(draft, root, level, start, span) if span.last - span.first > 1 else 0


cdef size_t pack_span(Draft draft, Root* root, int level, bytes start, Span span) except? 0:
    """Pack one span; pages saved."""
    cdef size_t page_size = draft.pager.page_size, count = span.last - span.first
    cdef size_t total = 0, used = 0, i
    cdef list children = []
    cdef Packer packer
    cdef Page page
    cdef Ref ref
    for i in range(span.first, span.last):
        memcpy(&ref, branch_ref(span.branch.data, i), REF_SIZE)
        page = fetch(draft.pager, &ref, level - 1, True)
        make_way_in_turn()
        children.append(page)
        total += node_count(page.data)
        used += node_used(page.data, page_size)
    if count - min(count, used // (page_size - PAGE_SLOTS) + 1) < max(<size_t> 1, count // GAIN_SHARE):
        return 0
    packer = Packer(page_size, level, total, count, node_count(span.branch.data))
    packer.read(draft.pager, span, children)
    if not packer.divide(count):
        return 0
    packer.write(draft, span)
    if not packer.fits():
        packer.undo(draft)
        return 0
    page = own_branch(draft, root, level, start)
    if not refill(page.data, page_size, level, packer.above, packer.above_count):
        raise MemoryError()
    for i in range(count):
        draft.drop(packer.old + i, page_size)
    return count - packer.parts


@final
cdef class Packer:
    # The cells of a span's children, and those that their branch will have. Owns all arrays; the pages belong to
    # others, who keep them.
    cdef size_t page_size
    cdef int level                  # of the branch
    cdef Cell* cells
    cdef size_t count
    cdef size_t* starts             # of the new pages, in cells
    cdef size_t parts               # new pages
    cdef Ref* old
    cdef Ref* fresh
    cdef unsigned char* keys        # their separators
    cdef Cell* above
    cdef size_t above_count

    def __init__(self, size_t page_size, int level, size_t total, size_t pages, size_t above):
        self.page_size = page_size
        self.level = level
        self.cells = <Cell*> PyMem_RawMalloc(total * sizeof(Cell))
        self.starts = <size_t*> PyMem_RawMalloc((pages + 1) * sizeof(size_t))
        self.old = <Ref*> PyMem_RawMalloc(pages * sizeof(Ref))
        self.fresh = <Ref*> PyMem_RawMalloc(pages * sizeof(Ref))
        self.keys = <unsigned char*> PyMem_RawMalloc(pages * (page_size // 4))
        self.above = <Cell*> PyMem_RawMalloc(above * sizeof(Cell))
        if NULL in (self.cells, self.starts, self.old, self.fresh, self.keys, self.above):
            raise MemoryError()

    def __dealloc__(self):
        PyMem_RawFree(self.cells)
        PyMem_RawFree(self.starts)
        PyMem_RawFree(self.old)
        PyMem_RawFree(self.fresh)
        PyMem_RawFree(self.keys)
        PyMem_RawFree(self.above)

    cdef int read(self, Pager pager, Span span, list children) except -1:
        """Describe the cells of all children, one behind the other. CorruptionError if they are not in order."""
        cdef Cell separator
        cdef size_t at, i
        cdef Page page
        for i in range(<size_t> len(children)):
            page = <Page> children[i]
            at = self.count
            self.count += read_cells(page.data, self.page_size, self.cells + at)
            memcpy(self.old + i, branch_ref(span.branch.data, span.first + i), REF_SIZE)
            if i == 0:
                continue
            if self.level > 1:      # the first cell of a branch has no key: its parent has
                node_read(span.branch.data, self.page_size, span.first + i, &separator)
                self.cells[at].prefix = separator.prefix
                self.cells[at].prefix_size = separator.prefix_size
                self.cells[at].suffix = separator.suffix
                self.cells[at].suffix_size = separator.suffix_size
            if (self.level == 1 or at > 1) and compare_cells(self.cells + at - 1, self.cells + at) >= 0:
                raise pager.damaged(page.number, "its keys do not belong behind those of the page before it")
        return 0

    cdef bint divide(self, size_t pages) noexcept:
        """Fill one page after the other; False unless fewer than so many are needed."""
        cdef Measure measure
        cdef size_t i, start = 0
        self.parts = 0
        while start < self.count:
            if self.parts + 1 >= pages:
                return False
            self.starts[self.parts] = start
            self.parts += 1
            measure = Measure(0, 0, 0, 0)
            i = start
            while i < self.count:
                measure_next(&measure, self.level == 1, self.cells + start, i - start)
                if measured(&measure) > self.page_size - PAGE_SLOTS:
                    break
                i += 1
            start = i
        self.starts[self.parts] = self.count
        return True

    cdef int write(self, Draft draft, Span span) except -1:
        """Make the new pages, and the cells of their branch."""
        cdef size_t before = node_count(span.branch.data), i
        cdef uint8_t level = self.level - 1
        cdef unsigned char* key
        cdef Cell* cell
        cdef Page page
        read_cells(span.branch.data, self.page_size, self.above)
        for i in range(before - span.last):
            self.above[span.first + self.parts + i] = self.above[span.last + i]
        self.above_count = before - (span.last - span.first) + self.parts
        for i in range(self.parts):
            page = draft.create(BRANCH if level else LEAF, level, self.page_size)
            page.checked = True
            fill(page.data, self.page_size, level, self.cells + self.starts[i], self.starts[i + 1] - self.starts[i])
            self.fresh[i] = draft_ref(page)
            cell = self.above + span.first + i
            if i:
                key = self.keys + i * (self.page_size // 4)
                cell.prefix = key
                cell.prefix_size = 0
                cell.suffix = key
                cell.suffix_size = write_separator(level == 0, self.cells, self.starts[i], key)
            cell.tag = 0
            cell.payload = <const unsigned char*> (self.fresh + i)
            cell.payload_size = REF_SIZE
            make_way_in_turn()
        return 0

    cdef bint fits(self) noexcept:
        """Whether the branch has room for its new cells; their keys may be longer than the old ones."""
        return measure_all(False, self.above, self.above_count) <= self.page_size - PAGE_SLOTS

    cdef int undo(self, Draft draft) except -1:
        """Give the new pages up."""
        cdef size_t i
        for i in range(self.parts):
            draft.drop(self.fresh + i, self.page_size)
        return 0


def lower(Draft draft not None, Roots roots not None, uint32_t tree):
    """Take the levels off a tree that have one page with one child; how many."""
    cdef Root* root = roots.at(tree)
    cdef size_t levels = 0
    cdef Page page
    cdef Ref ref
    if root.ref.number == 0:
        return 0
    page = fetch(draft.pager, &root.ref, -1, True)
    while page.data[PAGE_LEVEL] and node_count(page.data) == 1:
        memcpy(&ref, branch_ref(page.data, 0), REF_SIZE)
        page = fetch(draft.pager, &ref, page.data[PAGE_LEVEL] - 1, True)
        draft.drop(&root.ref, draft.pager.page_size)
        root.ref = ref
        levels += 1
    return levels


# Moving

def move(
        Draft draft not None, Roots roots not None, uint32_t tree, int level, bytes start, size_t most,
        uint64_t ceiling, bint extents):
    """Make drafts of the pages from number `ceiling` on, in the span of at most `most` pages below a branch of this level.

    Level 0 is the root itself. extents: of the long values instead, each of them only if free pages below the ceiling can take
    it. Returns (where the next span begins or None, pages to be moved). Errors end the write.
    """
    cdef Root* root = roots.at(tree)
    cdef Span span
    cdef Page page, branch = None
    cdef size_t moved = 0, i
    cdef Ref ref
    if level == 0:
        return None, move_page(draft, roots, &root.ref, -1, ceiling, extents)
    span = find_span(draft.pager, root, level, start, max(most, <size_t> 1))
    if span is None:
        return None, 0
    for i in range(span.first, span.last):
        memcpy(&ref, branch_ref(span.branch.data, i), REF_SIZE)
        make_way_in_turn()
        if not concerns(draft.pager, &ref, level - 1, ceiling, extents):
            continue
        if branch is None:
            branch = own_branch(draft, root, level, start)
        memcpy(&ref, branch_ref(branch.data, i), REF_SIZE)
        moved += move_page(draft, roots, &ref, level - 1, ceiling, extents)
        memcpy(branch_ref(branch.data, i), &ref, REF_SIZE)
    return span.next, moved


cdef inline bint is_high(const Ref* ref, uint64_t ceiling) noexcept nogil:
    return not ref.number >> DRAFT_SHIFT and ref.number >= ceiling


cdef bint concerns(Pager pager, const Ref* ref, int level, uint64_t ceiling, bint extents) except -1:
    """Whether a page, or with `extents` one of its long values, stands too high."""
    cdef const unsigned char* place
    cdef uint64_t tag
    cdef Page page
    cdef Ref extent
    cdef size_t i
    if not extents:
        return is_high(ref, ceiling)
    if level > 0:
        return False
    page = fetch(pager, ref, level, True)
    for i in range(node_count(page.data) if node_is_leaf(page.data) else 0):
        place = leaf_value(page.data, i, &tag)
        if tag & 1:
            memcpy(&extent, place, REF_SIZE)
            if is_high(&extent, ceiling):
                return True
    return False


cdef size_t move_page(Draft draft, Roots roots, Ref* ref, int level, uint64_t ceiling, bint extents) except? 0:
    """Make drafts of a page, or of its long values, where they stand too high; how many pages those had."""
    cdef uint64_t pages, moved = 0, tag
    cdef unsigned char* place
    cdef Page page, copy
    cdef Ref extent
    cdef size_t i
    if ref.number == 0 or not concerns(draft.pager, ref, level, ceiling, extents):
        return 0
    fetch(draft.pager, ref, level, True)
    page = own(draft, ref)
    if not extents:
        return 1
    for i in range(node_count(page.data)):
        place = <unsigned char*> leaf_value(page.data, i, &tag)
        if not tag & 1:
            continue
        memcpy(&extent, place, REF_SIZE)
        pages = draft.pager.extent_size(tag >> 1) // draft.pager.page_size
        if is_high(&extent, ceiling) and (<Space> draft.allocator).take_piece(roots.at(FREE_TREE), pages):
            copy = draft.copy(fetch_extent(draft.pager, place, tag >> 1, True))
            draft.drop(&extent, copy.size)
            extent = draft_ref(copy)
            memcpy(place, &extent, REF_SIZE)
            moved += pages
    return moved
