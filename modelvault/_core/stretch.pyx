"""One range of a tree, a leaf at a time, in either direction."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython cimport final
from libc.stddef cimport size_t
from libc.string cimport memcmp, memcpy

from modelvault._core.buffer cimport Buffer, take
from modelvault._core.cursor cimport Cursor
from modelvault._core.node cimport node_compare, node_count, node_prefix, node_search, node_slots, node_suffix


@final
cdef class Stretch:
    """The leaves of one range of a tree, in either direction, each with the slots that lie in the range."""

    cdef int set(self, bytes low, bytes high) except -1:
        """Begin anew with the range low <= key < high; None: no bound."""
        self.low = low
        self.high = high
        self.begun = self.last = False
        self.start = self.end = 0
        return 0

    cdef bint next(self, Buffer position, bint behind, bint wait) except -1:
        """To the first leaf (`behind`: of what is behind the position), or to the next one; False at the end.

        ColdPage changes nothing.
        """
        cdef bint there
        if self.last:
            return False
        if not self.begun:
            there = self.seek(position, behind, wait)
            self.begun = True
        elif self.backward:
            there = self.cursor.prev_leaf(wait) == 1
        else:
            there = self.cursor.next_leaf(wait) == 1
        if not there:
            self.last = True
            return False
        self.measure()
        return self.start < self.end

    cdef bint seek(self, Buffer position, bint behind, bint wait) except -1:
        """To the first entry of the range that counts."""
        cdef Cursor cursor = self.cursor
        if behind and not self.ahead(self.high if self.backward else self.low, position):
            if self.backward:
                return cursor.seek_last_before(position.data, position.size, wait)
            if not cursor.seek(position.data, position.size, wait):
                return False
            return cursor.next(wait) if cursor.compare(position.data, position.size) == 0 else True
        if self.backward:
            if self.high is None:
                return cursor.last(wait)
            return cursor.seek_last_before(
                <const unsigned char*>PyBytes_AS_STRING(self.high), PyBytes_GET_SIZE(self.high), wait)
        if self.low is None:
            return cursor.first(wait)
        return cursor.seek(<const unsigned char*>PyBytes_AS_STRING(self.low), PyBytes_GET_SIZE(self.low), wait)

    cdef bint ahead(self, bytes bound, Buffer position) noexcept:
        """Whether the range's nearer bound is still to come, seen from the position."""
        if bound is None:
            return False
        cdef int order = compare_bytes(bound, position.data, position.size)
        return order <= 0 if self.backward else order > 0

    cdef int measure(self) except -1:
        """Which slots of this leaf lie in the range."""
        cdef const unsigned char* data = self.cursor.leaf.data
        cdef size_t page_size = self.cursor.pager.page_size
        cdef size_t count = node_count(data)
        cdef const unsigned char* bound
        cdef size_t size
        cdef bint found
        if self.backward:
            self.start, self.end = 0, self.cursor.index + 1
            if self.low is not None:
                bound, size = <const unsigned char*>PyBytes_AS_STRING(self.low), PyBytes_GET_SIZE(self.low)
                if node_compare(data, page_size, 0, bound, size) < 0:
                    self.start = min(node_search(data, page_size, bound, size, &found), self.end)
                    self.last = True
        else:
            self.start, self.end = self.cursor.index, count
            if self.high is not None:
                bound, size = <const unsigned char*>PyBytes_AS_STRING(self.high), PyBytes_GET_SIZE(self.high)
                if node_compare(data, page_size, count - 1, bound, size) >= 0:
                    self.end = max(node_search(data, page_size, bound, size, &found), self.start)
                    self.last = True
        return 0


cdef Stretch new_stretch(bint backward):
    """A stretch without a range."""
    cdef Stretch stretch = Stretch.__new__(Stretch)
    stretch.cursor = Cursor.__new__(Cursor)
    stretch.backward = backward
    stretch.last = True
    return stretch


cdef int compare_bytes(bytes left, const unsigned char* right, size_t size) noexcept:
    """Negative, 0 or positive."""
    cdef size_t length = PyBytes_GET_SIZE(left)
    cdef int order = memcmp(PyBytes_AS_STRING(left), right, min(length, size))
    return order if order else (length > size) - (length < size)


cdef int copy_key(Buffer out, const unsigned char* data, size_t page_size, size_t slot) except -1:
    """Append the key of a leaf's cell."""
    cdef size_t prefix = node_prefix(data), length = node_slots(data)[slot].length
    cdef unsigned char* place = take(out, prefix + length)
    memcpy(place, data + page_size - prefix, prefix)
    memcpy(place + prefix, node_suffix(data, slot), length)
    return 0
