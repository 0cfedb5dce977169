"""The pages of the file that are in memory, by number: an open-addressing hash table, which is also the clock.

The hand of the clock walks over the table's places. A page that was used since the hand passed stays for another turn;
one that was only read once goes, so a scan does not push out what is used.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cython cimport final
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    FIRST_BITS = 6              # 64 places


@final
cdef class Cache:
    """The table. It does not know a limit: its owner calls shrink."""

    def __cinit__(self):
        self.mask = (1 << FIRST_BITS) - 1
        self.shift = 64 - FIRST_BITS
        self.entries = <Entry*> PyMem_RawCalloc(1 << FIRST_BITS, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef size_t place
        if self.entries != NULL:
            for place in range(self.mask + 1):
                if self.entries[place].page != NULL:
                    Py_DECREF(<object> self.entries[place].page)
        PyMem_RawFree(self.entries)

    cdef int put(self, uint64_t number, uint64_t birth, size_t size, object page) except -1:
        """Add a page of `size` bytes, in place of another with its number."""
        cdef size_t place
        cdef Entry* entry
        if 2 * self.count > self.mask:
            self.grow()
        self.forget(number)
        place = self.home(number)
        while self.entries[place].page != NULL:
            place = (place + 1) & self.mask
        Py_INCREF(page)
        entry = &self.entries[place]
        entry.number = number
        entry.birth = birth
        entry.page = <PyObject*> page
        entry.size = <uint32_t> size
        entry.hot = 0
        self.count += 1
        self.bytes += size
        return 0

    cdef int forget(self, uint64_t number) except -1:
        """Take the page with this number out, if it is there."""
        cdef size_t place = self.home(number)
        while self.entries[place].page != NULL:
            if self.entries[place].number == number:
                return self.remove(place)
            place = (place + 1) & self.mask
        return 0

    cdef int shrink(self, size_t limit) except -1:
        """Turn the hand until the pages take at most `limit` bytes."""
        cdef Entry* entry
        while self.bytes > limit:
            self.hand &= self.mask
            entry = &self.entries[self.hand]
            if entry.page != NULL and not entry.hot:
                self.remove(self.hand)
                self.evictions += 1
            else:
                entry.hot = 0
                self.hand += 1
        return 0

    cdef int remove(self, size_t hole) except -1:
        """Empty a place, moving up whatever a search would no longer reach."""
        cdef Entry gone = self.entries[hole]
        cdef size_t place = hole
        while True:
            place = (place + 1) & self.mask
            if self.entries[place].page == NULL:
                break
            if ((place - self.home(self.entries[place].number)) & self.mask) >= ((place - hole) & self.mask):
                self.entries[hole] = self.entries[place]
                hole = place
        self.entries[hole].page = NULL
        self.count -= 1
        self.bytes -= gone.size
        Py_DECREF(<object> gone.page)
        return 0

    cdef int grow(self) except -1:
        """Double the table."""
        cdef Entry* old = self.entries
        cdef size_t count = self.mask + 1
        cdef size_t i, place
        cdef Entry* entries = <Entry*> PyMem_RawCalloc(2 * count, sizeof(Entry))
        if entries == NULL:
            raise MemoryError()
        self.mask = 2 * count - 1
        self.shift -= 1
        self.entries = entries
        for i in range(count):
            if old[i].page != NULL:
                place = self.home(old[i].number)
                while entries[place].page != NULL:
                    place = (place + 1) & self.mask
                entries[place] = old[i]
        PyMem_RawFree(old)
        return 0
