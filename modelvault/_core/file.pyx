"""The one door to the disk: reads, writes, syncs and locks of one file, which a test may replace by its own.

Nothing here knows what the bytes mean. Every OSError carries errno and the file's name.
"""

import errno
import os

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef class File:
    """What the pager and the engine ask of a file; subclasses do it.

    path: the name for messages. Offsets and sizes are bytes.
    """

    def __init__(self, path):
        self.path = path


cdef class DiskFile(File):
    """A file of the operating system."""

    cdef Py_ssize_t read_into(self, uint64_t offset, unsigned char* data, size_t size, bint wait) except -2:
        """Read up to `size` bytes (fewer at the end of the file only); -1 if that would have to wait for the disk."""
        return -1


cdef class MemoryFile(File):
    """A file in memory, for tests and snapshots: `data` is its content."""

    def __init__(self, data=b"", path=":memory:"):
        super().__init__(path)
        self.data = bytearray(data)

    def read_at(self, uint64_t offset, size_t size, bint wait=True):
        """Up to `size` bytes; fewer at the end of the file."""
        return bytes(memoryview(self.data)[offset:offset + size])

    def write_at(self, uint64_t offset, buffers):
        """Write the buffers one after another, growing the file if needed."""
        data = b"".join(buffers)
        if <uint64_t> len(self.data) < offset + <uint64_t> len(data):
            self.resize(offset + len(data))
        memoryview(self.data)[offset:offset + len(data)] = data

    def sync(self):
        """Nothing to do: there is no disk."""

    def resize(self, size_t size):
        """Cut the file or extend it with zeros."""
        if size < <size_t> len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def reserve(self, uint64_t offset, size_t size):
        """Make sure that a later write to this range finds room."""
        if offset + size > <size_t> len(self.data):
            self.resize(offset + size)

    def size(self):
        """Bytes."""
        return len(self.data)

    def close(self):
        """Nothing to do."""
