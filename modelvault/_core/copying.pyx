"""Copies of one version into another file: its pages as they are, or its entries written anew.

Pages keep their numbers in a copy, so what stands in the file is copied as bytes, in the order of the file, and checked
on the way (`PageCheck`). What a version has besides in memory is grafted onto it. Entries are poured, tree by tree.
"""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from modelvault._core.cursor cimport Cursor
from modelvault._core.draft cimport Draft
from modelvault._core.file cimport make_way_in_turn
from modelvault._core.format cimport (
    META_COUNT, OVERFLOW, PAGE_BIRTH, PAGE_CHECKSUM, PAGE_GARBAGE, PAGE_LEVEL, PAGE_NUMBER, PAGE_SLOTS, PAGE_TYPE,
    REF_SIZE, Ref, Root,
)
from modelvault._core.node cimport (
    branch_ref, leaf_value, node_count, node_damage, node_heap, node_is_leaf, node_validate,
)
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager, get_u64
from modelvault._core.space import free_runs
from modelvault._core.tree cimport Roots, fetch, fetch_extent, tree_put
from modelvault._core.xxh64 cimport xxh64


cdef enum:
    BREATH = 64         # entries after which other threads get a chance


def used_pages(Pager pager not None, Roots roots not None, uint64_t page_count, uint64_t log_page, uint64_t log_pages):
    """A byte for each page of the file: 1 for those that the trees reach, 0 for meta pages, free ones and the log's."""
    cdef bytearray used = bytearray(b"\1") * page_count
    used[:META_COUNT] = bytes(META_COUNT)
    used[log_page:log_page + log_pages] = bytes(log_pages)
    for _, first, pages in free_runs(pager, roots, page_count):
        used[first:first + pages] = bytes(pages)
    return used


cdef inline uint64_t mixed(const Ref* ref) noexcept nogil:
    """A reference as one number to add up."""
    return xxh64(<const unsigned char*> ref, REF_SIZE, 0)


@final
cdef class PageCheck:
    """Checks the pages of one checkpoint as they come by in the order of the file, in constant memory.

    Each has to hash to its checksum and to be sound in itself. That it is also the page which its parent refers to shows
    in the end: the references of all trees and the pages that came by add up to the same.
    """

    cdef Pager pager
    cdef uint64_t newest
    cdef uint64_t wanted
    cdef uint64_t found
    cdef uint64_t place         # of a damaged page, in pages from the beginning of the part
    cdef int code               # of its damage

    def __init__(self, Pager pager not None, Roots roots not None, uint64_t newest):
        """roots: of all trees of the checkpoint, which is generation `newest`."""
        cdef uint32_t tree
        self.pager = pager
        self.newest = newest
        for tree in range(roots.count):
            self.refer(&roots.items[tree].ref)

    cdef inline void refer(self, const Ref* ref) noexcept nogil:
        if ref.number:
            self.wanted += mixed(ref)

    def check(self, const unsigned char[::1] data not None, uint64_t first):
        """(pages, missing): how many pages from `first` on these bytes have whole, and how many the extent behind has.

        `missing` is 0 unless the bytes end inside an extent. CorruptionError for a damaged page.
        """
        cdef const unsigned char* start = &data[0]
        cdef uint64_t count = <size_t> data.shape[0] // self.pager.page_size, done = 0, pages = 0
        with nogil:
            while done < count:
                pages = self.check_page(start + done * self.pager.page_size, first + done, count - done)
                if pages == 0 or pages > count - done:
                    break
                done += pages
        if done < count and pages == 0:
            raise self.pager.damaged(first + done, node_damage(self.code) if self.code > 0 else "it is not the page that belongs there")
        return done, pages if done < count else 0

    cdef uint64_t check_page(self, const unsigned char* page, uint64_t number, uint64_t available) noexcept nogil:
        """The pages of the page or extent at `page`; 0 if it is damaged. More than there are: nothing was checked."""
        cdef size_t page_size = self.pager.page_size
        cdef uint64_t pages = 1
        cdef uint32_t length
        cdef Ref ref
        self.code = 0
        if page[PAGE_TYPE] == OVERFLOW:
            memcpy(&length, page + PAGE_GARBAGE, 4)
            pages = length
            if pages == 0 or pages != (<uint64_t> node_heap(page) + PAGE_SLOTS + page_size - 1) // page_size:
                return 0
            if pages > available:
                return pages
        ref.number = get_u64(page + PAGE_NUMBER)
        ref.birth = get_u64(page + PAGE_BIRTH)
        ref.checksum = get_u64(page + PAGE_CHECKSUM)
        if (ref.number != number or ref.birth > self.newest
                or xxh64(page + 8, pages * page_size - 8, self.pager.seed) != ref.checksum):
            return 0
        if page[PAGE_TYPE] != OVERFLOW:
            self.code = node_validate(page, page_size, False)
            if self.code:
                return 0
            self.refer_all(page)
        self.found += mixed(&ref)
        return pages

    cdef void refer_all(self, const unsigned char* page) noexcept nogil:
        """Note what a page refers to."""
        cdef const unsigned char* place
        cdef uint64_t tag
        cdef Ref ref
        cdef size_t i
        for i in range(node_count(page)):
            if node_is_leaf(page):
                place = leaf_value(page, i, &tag)
                if not tag & 1:
                    continue
            else:
                place = branch_ref(page, i)
            memcpy(&ref, place, REF_SIZE)
            self.refer(&ref)

    @property
    def whole(self):
        """Whether every page that is referred to came by, as it is referred to, and no other."""
        return self.wanted == self.found


# Grafting

def graft(Draft draft not None, Roots target not None, Pager source not None, Roots roots not None, uint64_t newest):
    """Make the trees of `target` those of `roots`, in a file that has the same pages up to the generation `newest`.

    What is younger, or a draft, is copied into drafts of `draft`; the catalog and the free tree stay. The version of
    `roots` must be pinned. May read pages.
    """
    cdef uint32_t tree
    cdef Root root
    for tree in range(2, roots.count):
        root = roots.items[tree]
        graft_page(draft, source, &root.ref, newest, -1)
        target[tree] = (root.ref.number, root.ref.birth, root.ref.checksum, root.entries)


cdef int graft_page(Draft draft, Pager source, Ref* ref, uint64_t newest, int level) except -1:
    """Let `ref` name a copy of what it names; unless that stands in both files."""
    cdef Page page, copy
    cdef unsigned char* place
    cdef uint64_t tag
    cdef Ref child
    cdef size_t i
    if ref.number == 0 or (not ref.number >> DRAFT_SHIFT and ref.birth <= newest):
        return 0
    page = fetch(source, ref, level, True)
    copy = copy_page(draft, page, ref)
    for i in range(node_count(copy.data)):
        if node_is_leaf(copy.data):
            place = <unsigned char*> leaf_value(copy.data, i, &tag)
            if not tag & 1:
                continue
            memcpy(&child, place, REF_SIZE)
            graft_extent(draft, source, &child, newest, place, tag >> 1)
        else:
            place = branch_ref(copy.data, i)
            memcpy(&child, place, REF_SIZE)
            graft_page(draft, source, &child, newest, copy.data[PAGE_LEVEL] - 1)
        memcpy(place, &child, REF_SIZE)
    return 0


cdef int graft_extent(
        Draft draft, Pager source, Ref* ref, uint64_t newest, const unsigned char* place, size_t length) except -1:
    """graft_page for the extent of a long value."""
    if ref.number >> DRAFT_SHIFT or ref.birth > newest:
        copy_page(draft, fetch_extent(source, place, length, True), ref)
    return 0


cdef Page copy_page(Draft draft, Page page, Ref* ref):
    """A draft with the content of a page; `ref` then names it."""
    cdef Page copy = draft.copy(page)
    ref.number = copy.number
    ref.birth = copy.serial
    ref.checksum = 0
    return copy


# Pouring

@final
cdef class Pour:
    """The entries of one tree of a pinned version on their way to a tree of another file, in key order."""

    cdef Cursor cursor
    cdef uint32_t tree
    cdef bint more

    def __init__(self, Pager source not None, Roots roots not None, uint32_t tree):
        self.cursor = Cursor.__new__(Cursor)
        self.cursor.reset(source, roots.at(tree))
        self.tree = tree
        self.more = self.cursor.first(True)

    def next(self, Draft draft not None, Roots target not None, size_t budget):
        """Put the next entries of about `budget` bytes; how many bytes they had, 0 at the end."""
        cdef const unsigned char* key
        cdef const unsigned char* value
        cdef size_t size, length, done = 0, count = 0
        while self.more and done < budget:
            count += 1
            if count % BREATH == 0:
                make_way_in_turn()
            value = self.cursor.value(&length, True)
            key = self.cursor.key(&size)
            tree_put(draft, target.at(self.tree), key, size, value, length, True)
            done += size + length + 1
            self.more = self.cursor.next(True)
        return done
