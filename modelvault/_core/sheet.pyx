"""The rows of a scan as columns.

Rows are taken many at a time, and put without the GIL where the version that they lie in is pinned. So many rows, or so many bytes
of records, make a portion: it is sealed, and another one begins. A portion is so small that 31 bits are enough for offsets: a record
has at most 2^30 bytes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free

from modelvault._core.buffer cimport fail_corrupt, get16
from modelvault._core.columns cimport Columns
from modelvault._core.feed cimport ROWS
from modelvault._core.objects cimport Part
from modelvault._core.record cimport RecordCodec
from modelvault._core.route cimport DAMAGED
from modelvault._core.scan cimport Scan
from modelvault._core.track cimport Track, put_part, track_of_row, vector_of_path
from modelvault._core.vector cimport FULL, UNFIT, Vector, fault_text

from modelvault.errors import ModelVaultQueryError

cdef enum:
    MOST_BYTES = 1 << 26        # of the records of a portion


cdef class Sheet(Sink):
    """The columns of some paths, in portions of at most `rows` rows.

    `codecs`: of one Python side, from the oldest schema version to the newest. paths: None for all fields of that side.
    ModelVaultQueryError for a path that the newest version does not have, and for a value that its column cannot hold; any error but
    ColdPage ends it.
    """

    def __cinit__(self):
        self.whole = True
        self.ready = []

    def __init__(self, codecs not None, paths, size_t rows, size_t bytes=MOST_BYTES):
        cdef RecordCodec newest = codecs[len(codecs) - 1]
        cdef RecordCodec codec
        cdef Py_ssize_t i
        self.codecs = list(codecs)
        self.most_rows, self.most_bytes = rows, bytes
        if paths is None:
            paths = [
                (newest.root.names[i],) for i in range(newest.root.count)
                if newest.root.names[i] and newest.root.steps[i].attribute != NULL]
        listed = [tuple(path) for path in paths]
        self.vectors = [vector_of_path(newest.root, path, 0) for path in listed]
        self.count = len(self.codecs)
        self.ways = <const Way**>PyMem_Calloc(self.count, sizeof(Way*))
        self.versions = <int*>PyMem_Calloc(self.count, sizeof(int))
        if self.ways == NULL or self.versions == NULL:
            raise MemoryError()
        self.tracks = []
        for i, codec in enumerate(reversed(self.codecs)):
            track = track_of_row(codec.root, newest.root, listed, self.vectors)
            self.tracks.append(track)
            self.ways[i] = &(<Track>track).way
            self.versions[i] = codec.version

    def __dealloc__(self):
        PyMem_Free(self.ways)
        PyMem_Free(self.versions)

    def step(self, Scan scan not None, size_t count, size_t budget, bint wait=True, bint release=False):
        """Take the next rows of a scan, at most `count`; how many there were. budget, wait, release: as in Scan."""
        return scan.run(ROWS, self, count, budget, wait, release)

    def add_rows(self, list rows not None):
        """Take rows that were read before: (primary key, record) pairs."""
        cdef int found
        for _, record in rows:
            found = self.put_record(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
            if found < 0:
                self.fail(found, <const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
            if self.rows >= self.most_rows or self.bytes >= self.most_bytes:
                self.seal()

    def seal(self):
        """End the portion: then it is `ready`."""
        cdef Vector vector
        self.ready.append((self.rows, [vector.seal() for vector in self.vectors]))
        self.rows = self.bytes = 0
        self.sealed += 1

    @property
    def held(self):
        """Rows of the portion that is not sealed yet."""
        return self.rows

    cdef size_t take_all(self, Hit* hits, size_t count, bint release) except? 0:
        cdef size_t done = 0
        cdef int found = 0
        while done < count:
            if release:
                with nogil:
                    done += self.put_hits(hits + done, count - done, &found)
            else:
                done += self.put_hits(hits + done, count - done, &found)
            if found < 0:
                self.at = done
                self.fail(found, hits[done].record, hits[done].size)
            if self.rows >= self.most_rows or self.bytes >= self.most_bytes:
                self.seal()
        return count

    cdef size_t put_hits(self, const Hit* hits, size_t count, int* found) noexcept nogil:
        """Put rows until the portion is full; how many. A negative `found`: what was wrong with the next one."""
        cdef size_t i
        for i in range(count):
            if self.rows >= self.most_rows or self.bytes >= self.most_bytes:
                return i
            found[0] = self.put_record(hits[i].record, hits[i].size)
            if found[0] < 0:
                return i
        return count

    cdef int put_record(self, const unsigned char* record, size_t size) noexcept nogil:
        """Put a row."""
        cdef Part part
        cdef Py_ssize_t i
        part.data, part.size, part.wide = record + 2, size - 2, False
        for i in range(self.count):
            if size >= 2 and get16(record) == self.versions[i]:
                self.rows += 1
                self.bytes += size
                return put_part(self.ways[i], &part)
        return DAMAGED

    cdef int fail(self, int found, const unsigned char* record, size_t size) except -1:
        """Raise what a row came to."""
        cdef Vector vector
        cdef RecordCodec newest = self.codecs[len(self.codecs) - 1]
        if found == FULL:
            raise MemoryError()
        for vector in self.vectors if found == UNFIT else ():
            faulty = vector.faulty()
            if faulty is not None:
                key = Columns(self.codecs, [(newest.primary,)]).read(record, size)[0]
                raise ModelVaultQueryError(
                    f'query error: column "{(<Vector>faulty).path}", row with the primary key {key!r}: '
                    f"{fault_text((<Vector>faulty).vec.fault)}")
        return fail_corrupt("it cannot be read as its schema version says")
