"""Several keys looked for in one tree, side by side.

What the entries of an index lead to lies far apart, and memory takes longer to answer than all that is done with a row here. So
each step is done for all keys, and asks memory for what the next one needs.
"""

from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from modelvault._core.buffer cimport Buffer, fetch_line, fetch_lines, put_bytes
from modelvault._core.format cimport PAGE_LEVEL, PAGE_SLOTS, REF_SIZE, Ref, Root
from modelvault._core.node cimport branch_ref, leaf_value, node_search, node_slots
from modelvault._core.pager cimport DRAFT_SHIFT, Page, Pager
from modelvault._core.tree cimport child_index, fetch, fetch_extent

from modelvault.errors import ColdPage

cdef enum:
    MOST_LONG = 1 << 23         # bytes of long values held at a time


@final
cdef class Lookup:
    """Keys of one tree, in any order, and what `find` found of them."""

    def __cinit__(self):
        self.keys = Buffer()
        self.leaves, self.extents = [], []

    cdef int clear(self) except -1:
        """Be without keys."""
        self.count = self.keys.size = 0
        self.leaves.clear()
        self.extents.clear()
        return 0

    cdef int add(self, const unsigned char* key, size_t size) except -1:
        """One more key, at most SIDE_BY_SIDE in all."""
        cdef Sought* sought = self.sought + self.count
        sought.key, sought.size, sought.value = self.keys.size, size, NULL
        put_bytes(self.keys, key, size)
        self.count += 1
        return 0

    cdef size_t find(self, Pager pager, const Root* root, bint wait) except? 0:
        """Look for the keys. What was found holds for so many of them, from the first on.

        Fewer than all: the next one would have to be waited for, or their values are very long. ColdPage if it is the first.
        """
        cdef size_t count
        if root.ref.number == 0:
            return self.count
        count = self.descend(pager, root, wait)
        count = self.find_leaves(pager, count, wait)
        return self.find_values(pager, count, wait)

    cdef size_t descend(self, Pager pager, const Root* root, bint wait) except? 0:
        """Find the references of the leaves."""
        cdef Ref first = root.ref
        cdef Page top = fetch(pager, &first, -1, wait), page
        cdef int level
        cdef size_t i = 0
        cdef Sought* sought
        try:
            for i in range(self.count):
                sought = self.sought + i
                sought.ref = first
                page, level = top, top.data[PAGE_LEVEL]
                while level:
                    memcpy(&sought.ref, branch_ref(page.data, child_index(
                        page.data, pager.page_size, self.keys.data + sought.key, sought.size)), REF_SIZE)
                    level -= 1
                    if level:
                        page = fetch(pager, &sought.ref, level, wait)
                expect(pager, &sought.ref)
        except ColdPage:
            if i == 0:
                raise
            return i
        return self.count

    cdef size_t find_leaves(self, Pager pager, size_t count, bint wait) except? 0:
        """Find the leaves, and ask for their slots and their common prefix."""
        cdef Page page
        cdef size_t i = 0
        try:
            for i in range(count):
                page = pager.find(&self.sought[i].ref, wait)
                if not page.checked:
                    page = fetch(pager, &self.sought[i].ref, 0, wait)
                fetch_lines(page.data, 6)
                fetch_line(page.data + pager.page_size - 1)
                self.leaves.append(page)
        except ColdPage:
            if i == 0:
                raise
            return i
        return count

    cdef size_t find_values(self, Pager pager, size_t count, bint wait) except? 0:
        """Find the cells, ask for all of them, and then look into them."""
        cdef Page page
        cdef Sought* sought
        cdef uint64_t tag
        cdef bint there
        cdef size_t i = 0, held = 0
        for i in range(count):
            sought, page = self.sought + i, <Page>self.leaves[i]
            if page.data[PAGE_LEVEL]:
                fetch(pager, &sought.ref, 0, wait)      # which raises what that is
            sought.slot = node_search(page.data, pager.page_size, self.keys.data + sought.key, sought.size, &there)
            if there:
                sought.value = page.data + node_slots(page.data)[sought.slot].offset
                fetch_lines(sought.value, 4)
        try:
            for i in range(count):
                if held > MOST_LONG:
                    return i
                sought, page = self.sought + i, <Page>self.leaves[i]
                self.extents.append(None)
                if sought.value == NULL:
                    continue
                sought.value = leaf_value(page.data, sought.slot, &tag)
                sought.length = tag >> 1
                if tag & 1:
                    held += self.read_extent(pager, sought, wait)
        except ColdPage:
            if i == 0:
                raise
            return i
        return count

    cdef size_t read_extent(self, Pager pager, Sought* sought, bint wait) except? 0:
        """Read a value that lies outside of its leaf; its size."""
        cdef Page extent = fetch_extent(pager, sought.value, sought.length, wait)
        self.extents[len(self.extents) - 1] = extent
        sought.value = extent.data + PAGE_SLOTS
        return extent.size


cdef inline void expect(Pager pager, const Ref* ref) noexcept:
    """Ask memory for what `Pager.find` will look at."""
    if ref.number >> DRAFT_SHIFT:
        fetch_line(<const unsigned char*>pager.drafts[ref.number & ~(<uint64_t>1 << DRAFT_SHIFT)])
    else:
        fetch_line(<const unsigned char*>(pager.cache.entries + pager.cache.home(ref.number)))
