"""The one door to the disk: reads, writes, syncs and locks of one file, which a test may replace by its own.

Nothing here knows what the bytes mean. Every OSError carries errno and the file's name. The pager skips the Python
methods only when the file is exactly a DiskFile, so a subclass sees every operation.

Locks are OFD byte-range locks far beyond any data (docs/format.md section 8): the kernel drops them when the last
descriptor of this open file goes, also after kill -9, and they exclude other handles of the same process too. One byte
belongs to the writer; each reader process holds a shared byte at SNAPSHOTS + generation for a snapshot it uses; and the
length of the writer's lock at PUBLISHED says how many commits others may see.
"""

import errno
import io
import os
import stat
from time import monotonic

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from modelvault.errors import LockedError

cdef extern from "file.h" nogil:
    int EAGAIN, EACCES, EINVAL, EOPNOTSUPP, ENOSYS
    int close(int fd)
    int HOLD_NOTHING, HOLD_SHARED, HOLD_ALONE
    int posix_memalign(void** memory, size_t alignment, size_t size)
    Py_ssize_t file_read(int fd, unsigned char* data, size_t size, uint64_t offset)
    Py_ssize_t file_read_cached(int fd, unsigned char* data, size_t size, uint64_t offset)
    int file_write(int fd, iovec* parts, size_t count, uint64_t offset)
    int file_write_direct(int fd, const unsigned char* data, size_t size, uint64_t offset)
    int file_open_direct(const char* path)
    int file_sync(int fd)
    int file_reserve(int fd, uint64_t offset, uint64_t size)
    int file_resize(int fd, uint64_t size)
    int file_link(const char* descriptor, const char* path)
    int file_lock(int fd, uint64_t offset, int kind)
    int file_hold(int fd, uint64_t base, uint64_t count)
    void file_pause()
    void file_rest(long nanoseconds)
    double file_clock()
    int file_unhold(int fd, uint64_t base)
    long long file_held(int fd, uint64_t base, uint64_t most)
    long long file_locked(int fd, uint64_t low, uint64_t high)

cdef enum:
    MISSES = 4          # in a row, after which the system's cache is asked one time of ASK only
    ASK = 16
    BLOCK = 4096        # what memory has to be aligned to, to be written past the system's cache

cdef bint WINDOWS = os.name == "nt"
# For every file that is opened: it stays in this process, and its bytes are what they are.
cdef int PRIVATE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)

cdef double SLICE = 0.0015      # seconds for which other threads wait for the GIL
cdef double REST = 0.0045       # seconds for which they have it then, if they want it: less than one call in a hundred waits
cdef double turn_ends = 0       # when whoever works has to make way: long work is many calls, from one thread to another
cdef double WAITED = 0.00001    # seconds of waiting for it that say that somebody runs

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

cdef uint64_t WRITER = (<uint64_t> 1) << 62
cdef uint64_t SNAPSHOTS = ((<uint64_t> 1) << 62) + ((<uint64_t> 1) << 32)
cdef uint64_t PUBLISHED = ((<uint64_t> 1) << 62) + ((<uint64_t> 1) << 61)
cdef uint64_t LAST_GENERATION = ((<uint64_t> 1) << 60) - 1
cdef uint64_t LAST_COMMIT = ((<uint64_t> 1) << 60) - 1


cdef int make_way() except -1:
    """Let other threads run: for work that holds the GIL for longer than an event loop should wait.

    A thread that waits for the GIL is woken up when it is given up, and finds it taken again unless that takes a moment.
    """
    with nogil:
        file_pause()
    return 0


cdef double make_way_when(double due) except -1:
    """Make way if that is due, by the monotonic clock; when it is due next. 0 begins, or goes on where a call just before ended.

    Others get longer than they waited, if there are any. The first thing that a thread does after it got the GIL finds cold
    caches: with short pauses too much of what it does would be a first thing.
    """
    global turn_ends
    cdef double now = monotonic()
    cdef double moment = 0
    if due == 0:        # who called waits in a moment, and is not taken for somebody who runs
        due = max(turn_ends, now + SLICE / 5) if now < turn_ends + REST else now + SLICE
    if now >= due:
        with nogil:
            file_pause()
            moment = file_clock()
        if file_clock() - moment > WAITED:
            with nogil:
                file_rest(<long> (1e9 * REST))
        due = monotonic() + SLICE
    turn_ends = due
    return due


cpdef bint is_full(error) except -1:
    """Whether an error says that the disk has no room."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


cdef int make_way_in_turn() except -1:
    """`make_way_when` for one of many short calls: they are one piece of work, and make way when that is due.

    Giving the GIL up and taking it again at once, as reading a page from the system's cache does, is worse than keeping it:
    whoever waits is woken up each time, finds it taken, and begins anew to wait for the 5 ms after which it would be his.
    """
    make_way_when(turn_ends)
    return 0


cdef class File:
    """What the pager and the engine ask of a file. Offsets and sizes are bytes; `path` is the name for messages.

    A file that no other handle can open needs no locks: those methods do nothing here.
    """

    def __init__(self, path):
        self.path = path

    def read_at(self, uint64_t offset, size_t size, bint wait=True):
        """Up to `size` bytes, fewer at the end of the file only; None without `wait` if the disk would have to move."""
        raise io.UnsupportedOperation("read_at")

    def write_at(self, uint64_t offset, buffers):
        """Write all of the bytes-like objects, one behind the other, growing the file if needed."""
        raise io.UnsupportedOperation("write_at")

    def sync(self):
        """Return when everything written is on the medium. After an error its state is unknown: do not try again."""
        raise io.UnsupportedOperation("sync")

    def write_through(self, uint64_t offset, bytes data not None):
        """Write whole sectors (offset and length are multiples of 512), and return when they are on the medium.

        After an error do not try again. True in `error.harmless`, if it is there: none of it was made durable.
        """
        try:
            self.write_at(offset, [data])
        except OSError as error:
            error.harmless = True
            raise
        self.sync()

    def resize(self, uint64_t size):
        """Cut the file, or extend it with zeros."""
        raise io.UnsupportedOperation("resize")

    def reserve(self, uint64_t offset, uint64_t size):
        """Give the range its disk space, growing the file if needed; OSError ENOSPC if there is not enough."""
        raise io.UnsupportedOperation("reserve")

    def size(self):
        """Bytes in the file."""
        raise io.UnsupportedOperation("size")

    def close(self):
        """Release the file and its locks; may be called again."""

    def twin(self):
        """A second handle whose sync reports what failed to reach the medium, whatever this one's has reported already.

        The system tells each open file of a write error once. It is this handle itself where there is only one.
        """
        return self

    @property
    def identity(self):
        """(device, inode): the same for every name of the file; None where no other handle can open it."""
        return None

    def lock_writer(self):
        """Become the file's only writer until close; LockedError if another handle is."""

    def unlock_writer(self):
        """Be the writer no longer. A reader's locks stay, so whoever goes on reading takes them before."""

    def publish(self, uint64_t sequence):
        """As the writer: let other processes see the commits up to this one."""

    def published(self):
        """The last commit that the writer in another handle lets others see; None: there is no writer, look yourself."""

    def lock_snapshot(self, uint64_t generation):
        """Tell writers that a reader uses this generation. Not counted: one unlock ends it."""

    def unlock_snapshot(self, uint64_t generation):
        """The generation is no longer used."""

    def oldest_snapshot(self, uint64_t low, uint64_t high):
        """The lowest generation from `low` to `high` that a reader in another handle uses, or None."""


cdef class DiskFile(File):
    """A file of the operating system, opened at once: FileNotFoundError, IsADirectoryError and so on."""

    def __cinit__(self):
        self.descriptor = self.direct = -1

    def __init__(self, path, bint read_only=False, int descriptor=-1):
        """descriptor: an open one to take over, instead of opening `path`."""
        super().__init__(path)
        self.read_only = read_only
        self.no_wait = True
        self.descriptor = descriptor
        if descriptor < 0:
            check_name(path)
            self.descriptor = os.open(path, PRIVATE | (os.O_RDONLY if read_only else os.O_RDWR))
        mode = os.fstat(self.descriptor).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            self.close()
            raise OSError(code, os.strerror(code) if stat.S_ISDIR(mode) else "Not a regular file", path)

    def __dealloc__(self):
        if self.descriptor >= 0:
            close(self.descriptor)
        if self.direct >= 0:
            close(self.direct)
        free(self.aligned)

    @classmethod
    def create(cls, path, content):
        """A new file with this content: after a crash it is there with all of it, or not at all. FileExistsError.

        The file gets its name only when the content is on the medium; the caller has the writer's lock by then.
        """
        check_new_name(path)
        target = os.path.realpath(path)
        directory = os.path.dirname(target)
        if WINDOWS:
            return cls.create_named(path, target, content)
        descriptor, temporary = open_unnamed(directory, path)
        file = cls(path, descriptor=descriptor)
        try:
            file.lock_writer()
            file.write_at(0, [content])
            file.sync()
            name_file(descriptor if temporary is None else temporary, target, path)
            file.sync_directory()
        except BaseException:
            file.close()
            raise
        finally:
            if temporary is not None:
                os.unlink(temporary)
        return file

    @classmethod
    def create_named(cls, path, target, content):
        """`create` where an open file cannot change its name. A crash may leave a part of the content: the engine
        begins again with a file that has no more than that."""
        try:
            descriptor = os.open(target, os.O_RDWR | PRIVATE | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        file = cls(path, descriptor=descriptor)
        try:
            file.lock_writer()
            file.write_at(0, [content])
            file.sync()
        except BaseException:
            file.close()
            os.unlink(target)
            raise
        return file

    def twin(self):
        if type(self) is not DiskFile:
            return self     # what a test counts shall all go through one door
        cdef bytes name = f"/proc/self/fd/{self.descriptor}".encode()
        cdef DiskFile twin
        try:
            descriptor = os.open(name, os.O_RDWR | PRIVATE)
        except OSError:
            return self
        twin = DiskFile(self.path, descriptor=descriptor)
        twin.direct = file_open_direct(name)
        return twin

    def sync_directory(self):
        """Return when the file's name is on the medium. Windows keeps a journal of names and has no such call."""
        if WINDOWS:
            return
        descriptor = os.open(os.path.dirname(os.path.realpath(self.path)), os.O_RDONLY | PRIVATE)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    cdef int fail(self, int code) except -1:
        """Raise the OSError for -code."""
        raise OSError(-code, os.strerror(-code), self.path)

    cdef Py_ssize_t read_into(self, uint64_t offset, unsigned char* data, size_t size, bint wait) except -2:
        """Read up to `size` bytes, fewer at the end of the file only; -1 if that would have to wait for the disk."""
        cdef Py_ssize_t got
        if not wait:
            if not self.no_wait or self.is_cold():
                return -1
            got = file_read_cached(self.descriptor, data, size, offset)
            if got == -EAGAIN:
                self.misses += 1
                return -1
            self.misses = 0
            if got == -EOPNOTSUPP or got == -ENOSYS:
                self.no_wait = False
                return -1
        else:
            with nogil:
                got = file_read(self.descriptor, data, size, offset)
        if got < 0:
            self.fail(<int> got)
        return got

    cdef bint is_cold(self) noexcept:
        """Whether the system's cache is not worth asking: it had nothing lately.

        A miss costs who asks 35 us, since the system begins to read then. That is for the thread which waits for it, and not
        for an event loop.
        """
        if self.misses < MISSES:
            return False
        self.passed += 1
        return self.passed % ASK != 0

    cdef int write_vector(self, uint64_t offset, iovec* parts, size_t count) except -1:
        """Write all parts one behind the other; they are used up."""
        cdef int code
        with nogil:
            code = file_write(self.descriptor, parts, count, offset)
        return self.fail(code) if code < 0 else 0

    def read_at(self, uint64_t offset, size_t size, bint wait=True):
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef Py_ssize_t got = self.read_into(offset, <unsigned char*> PyBytes_AS_STRING(data), size, wait)
        if got < 0:
            return None
        return data if got == <Py_ssize_t> size else data[:got]

    def write_at(self, uint64_t offset, buffers):
        cdef list views = list(buffers)
        cdef Py_ssize_t count = len(views), held = 0, i
        cdef Py_buffer* taken = <Py_buffer*> PyMem_Malloc((count or 1) * sizeof(Py_buffer))
        cdef iovec* parts = <iovec*> PyMem_Malloc((count or 1) * sizeof(iovec))
        try:
            if taken == NULL or parts == NULL:
                raise MemoryError()
            for i in range(count):
                PyObject_GetBuffer(views[i], &taken[i], PyBUF_SIMPLE)
                held += 1
                parts[i].iov_base = taken[i].buf
                parts[i].iov_len = taken[i].len
            self.write_vector(offset, parts, count)
        finally:
            for i in range(held):
                PyBuffer_Release(&taken[i])
            PyMem_Free(taken)
            PyMem_Free(parts)

    def write_through(self, uint64_t offset, bytes data not None):
        if self.direct < 0 or not self.write_direct(offset, <const unsigned char*> PyBytes_AS_STRING(data), len(data)):
            File.write_through(self, offset, data)

    cdef int write_direct(self, uint64_t offset, const unsigned char* data, size_t size) except -2:
        """`write_through` past the system's cache, a fifth faster; whether this file can do that."""
        cdef int code
        cdef void* memory = NULL
        if size > self.aligned_size:
            if posix_memalign(&memory, BLOCK, size):
                raise MemoryError()
            free(self.aligned)
            self.aligned, self.aligned_size = <unsigned char*> memory, size
        memcpy(self.aligned, data, size)
        with nogil:
            code = file_write_direct(self.direct, self.aligned, size, offset)
        if code == -EINVAL or code == -EOPNOTSUPP:
            close(self.direct)
            self.direct = -1
            return False
        if code < 0:
            self.fail(code)
        return True

    def sync(self):
        cdef int code
        with nogil:
            code = file_sync(self.descriptor)
        if code < 0:
            self.fail(code)

    def resize(self, uint64_t size):
        cdef int code
        with nogil:
            code = file_resize(self.descriptor, size)
        if code < 0:
            self.fail(code)

    def reserve(self, uint64_t offset, uint64_t size):
        cdef int code
        if size == 0:
            return
        with nogil:
            code = file_reserve(self.descriptor, offset, size)
        if code < 0:
            self.fail(code)

    def size(self):
        try:
            return os.fstat(self.descriptor).st_size
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def close(self):
        cdef int descriptor = self.descriptor, direct = self.direct
        self.descriptor = self.direct = -1
        if direct >= 0:
            os.close(direct)
        if descriptor >= 0:
            os.close(descriptor)

    # Locks

    @property
    def identity(self):
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def lock_writer(self):
        cdef int code = file_lock(self.descriptor, WRITER, HOLD_ALONE)
        if code == -EAGAIN or code == -EACCES:
            pid = self.writer()
            who = "this process" if pid == os.getpid() else "another process" + ("" if pid is None else f" (pid {pid})")
            raise LockedError(-code, f"database file is locked by {who}", self.path, pid=pid)
        if code < 0:
            self.fail(code)

    def unlock_writer(self):
        cdef int code = file_unhold(self.descriptor, PUBLISHED)
        if code == 0:
            code = file_lock(self.descriptor, WRITER, HOLD_NOTHING)
        if code < 0:
            self.fail(code)

    def publish(self, uint64_t sequence):
        # Holding the GIL, so that no thread of this process is ahead of other processes, or behind them. An error (the
        # system has no memory) leaves others with what they see until the next commit.
        file_hold(self.descriptor, PUBLISHED, min(sequence, LAST_COMMIT) + 1)

    def published(self):
        cdef long long count = file_held(self.descriptor, PUBLISHED, LAST_COMMIT + 1)
        if count < 0:
            self.fail(<int> count)
        return count - 1 if count else None

    def lock_snapshot(self, uint64_t generation):
        self.lock_byte(generation, HOLD_SHARED)

    def unlock_snapshot(self, uint64_t generation):
        self.lock_byte(generation, HOLD_NOTHING)

    cdef int lock_byte(self, uint64_t generation, int kind) except -1:
        """Lock or unlock the byte of a generation."""
        cdef int code = file_lock(self.descriptor, SNAPSHOTS + min(generation, LAST_GENERATION), kind)
        return self.fail(code) if code < 0 else 0

    def oldest_snapshot(self, uint64_t low, uint64_t high):
        cdef long long found
        cdef uint64_t end = SNAPSHOTS + min(high, LAST_GENERATION) + 1
        oldest = None
        while SNAPSHOTS + low < end:
            found = file_locked(self.descriptor, SNAPSHOTS + low, end - 1)
            if found < 0:
                self.fail(<int> found)
            if found == 0:
                break
            end = max(<uint64_t> found, SNAPSHOTS + low)
            oldest = end - SNAPSHOTS
        return oldest

    def writer(self):
        """The process id of the handle that has the writer's lock, or None if the system does not tell."""
        mine = os.fstat(self.descriptor)
        try:
            processes = [name for name in os.listdir("/proc") if name.isdigit()]
        except OSError:
            return None
        for process in processes:
            try:
                for name in os.listdir(f"/proc/{process}/fd"):
                    there = os.stat(f"/proc/{process}/fd/{name}")
                    if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino) and holds_lock(process, name):
                        return int(process)
            except OSError:
                continue
        return None


def holds_lock(str process not None, str descriptor not None):
    """Whether a descriptor of a process has an exclusive OFD lock, as /proc tells."""
    with open(f"/proc/{process}/fdinfo/{descriptor}") as info:
        return any(line.startswith("lock:") and "OFDLCK" in line and "WRITE" in line for line in info)


def check_name(path):
    """OSError for a name that no file can have."""
    if "\0" in os.fsdecode(path):
        raise OSError(errno.EINVAL, "file name contained an unexpected NUL byte", path)
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def check_new_name(path):
    """OSError for a name that no new file can have, nor can one with which a directory is meant."""
    check_name(path)
    if not os.path.basename(path):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def name_file(source, target, path):
    """Give a file (a descriptor without a name, or a temporary name) its name, which must be free: FileExistsError."""
    cdef bytes old = os.fsencode(f"/proc/self/fd/{source}" if isinstance(source, int) else source)
    cdef bytes new = os.fsencode(target)
    cdef int code = file_link(old, new)
    if code < 0:
        raise OSError(-code, os.strerror(-code), path)


def open_unnamed(directory, path):
    """(descriptor, name) of a new file in the directory; the name is None where the system has files without one."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return os.open(directory, os.O_RDWR | PRIVATE | os.O_TMPFILE, 0o666), None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise OSError(error.errno, error.strerror, path) from None
    name = temporary_name(directory)
    try:
        if WINDOWS:     # an open file cannot lose its name there, but goes when it is closed
            return os.open(name, os.O_RDWR | PRIVATE | os.O_CREAT | os.O_EXCL | os.O_TEMPORARY, 0o666), None
        return os.open(name, os.O_RDWR | PRIVATE | os.O_CREAT | os.O_EXCL, 0o666), name
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def temporary_name(directory):
    """A name for a file that is there for a moment only."""
    return os.path.join(directory, f".{os.urandom(8).hex()}.new")


def open_scratch(File file not None):
    """A new file without a name, for what does not fit in memory: beside `file`, else where the system has temporary files.

    It is gone when it is closed, and when the process ends. OSError.
    """
    import tempfile     # only here: it takes long to import
    cdef str path = f"{os.fsdecode(file.path)} (temporary file)"
    cdef list directories = [tempfile.gettempdir()]
    if not isinstance(file, MemoryFile):
        directories.insert(0, os.path.dirname(os.path.realpath(file.path)))
    for directory in directories:
        try:
            descriptor, name = open_unnamed(directory, path)
        except OSError as error:
            if directory == directories[len(directories) - 1] or error.errno == errno.ENOSPC:
                raise
            continue
        if name is not None:
            os.unlink(name)
        return DiskFile(path, descriptor=descriptor)


def open_memory(path=":memory:"):
    """A new file that lies in memory, for much: the system's where it has such, so that nothing is copied under the GIL."""
    if hasattr(os, "memfd_create"):
        try:
            return DiskFile(path, descriptor=os.memfd_create("modelvault", os.MFD_CLOEXEC))
        except OSError:
            pass    # a sandbox may not have it
    return MemoryFile(path=path)


cdef class MemoryFile(File):
    """A file in this process's memory: `content` is what it holds at first."""

    def __init__(self, content=b"", path=":memory:"):
        super().__init__(path)
        self.data = bytearray(content)

    def __bytes__(self):
        return bytes(self.data)

    def read_at(self, uint64_t offset, size_t size, bint wait=True):
        return bytes(memoryview(self.data)[offset:offset + size])

    def write_at(self, uint64_t offset, buffers):
        data = b"".join(buffers)
        self.reserve(offset, len(data))
        memoryview(self.data)[offset:offset + len(data)] = data

    def sync(self):
        pass

    def resize(self, uint64_t size):
        if size < <uint64_t> len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def reserve(self, uint64_t offset, uint64_t size):
        if offset + size > <uint64_t> len(self.data):
            self.resize(offset + size)

    def size(self):
        return len(self.data)
