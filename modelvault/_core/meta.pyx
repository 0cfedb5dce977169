"""Meta pages: where everything else is found. docs/format.md section 1 has the layout.

There are two slots of two copies each, on pages 0 to 3. Only the first 512 bytes of a copy carry meaning, which disks
write as a whole: after a crash a copy is the old one or the new one, and one that is neither is damage.
"""

import struct

from libc.stdint cimport uint64_t

from modelvault._core.format cimport FIRST_TREE, FORMAT_VERSION, META_COUNT, META_SIZE
from modelvault._core.xxh64 cimport xxh64

from modelvault._frozen import frozen
from modelvault.errors import CorruptionError, ModelVaultFormatError

MAGIC = b"\x89MVLT\r\n\x1a"
PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)

# version, page size, two sets of flags, uuid, generation, sequence, pages, two refs, two counts, log, page, next ids,
# free pages
FIELDS = struct.Struct("<IIQQ16sQQQ3Q3QQQQQQQIII4xQ")
NO_PAGE = (0, 0, 0)
MOST_TREES = 1 << 20     # that a file ever has, each with 32 bytes of memory: a number beyond is damage


@frozen
class Meta:
    """What one generation of the file is. Refs are (number, birth, checksum), all zero for an empty tree.

    Feature flags are bits; generations, pages and entries are counts; the log's page and pages are 0 while there is
    no log; log_start is a place in its extent in bytes, log_chain the checksum of the record before it.
    """

    page_size: int
    uuid: bytes
    generation: int = 0
    sequence: int = 0
    page_count: int = META_COUNT
    catalog: tuple = NO_PAGE
    free: tuple = NO_PAGE
    catalog_entries: int = 0
    free_entries: int = 0
    log_page: int = 0
    log_pages: int = 0
    log_start: int = 0
    log_chain: int = 0
    next_tree: int = 2
    next_collection: int = 1
    incompatible: int = 0
    compatible: int = 0
    free_pages: int = 0

    @property
    def seed(self):
        """The seed of the file's page checksums."""
        return int.from_bytes(self.uuid[:8], "little")

    def pack(self, page):
        """The 512 bytes of the copy for meta page `page` (0 to 3)."""
        fields = FIELDS.pack(
            FORMAT_VERSION, self.page_size, self.incompatible, self.compatible, self.uuid, self.generation,
            self.sequence, self.page_count, *self.catalog, *self.free, self.catalog_entries, self.free_entries,
            self.log_page, self.log_pages, self.log_start, self.log_chain,
            page, self.next_tree, self.next_collection, self.free_pages,
        )
        body = fields.ljust(META_SIZE - 16, b"\0")
        return MAGIC + hash_of(body).to_bytes(8, "little") + body


cdef uint64_t hash_of(bytes body) except? 0:
    """The checksum of a copy's bytes behind it."""
    return xxh64(body, len(body), 0)


def unpack(bytes copy not None):
    """(Meta, page it stands on), or None for bytes that are not a valid copy of any format version."""
    if len(copy) < META_SIZE or copy[:8] != MAGIC:
        return None
    body = copy[16:META_SIZE]
    if int.from_bytes(copy[8:16], "little") != hash_of(body):
        return None
    (version, page_size, incompatible, compatible, uuid, generation, sequence, page_count, a, b, c, d, e, f,
     catalog_entries, free_entries, log_page, log_pages, log_start, log_chain, page, next_tree,
     next_collection, free_pages) = FIELDS.unpack_from(body)
    if version != FORMAT_VERSION:
        raise ModelVaultFormatError(
            f"format error: unsupported format version {version}; this is for version {FORMAT_VERSION}")
    if incompatible:
        raise ModelVaultFormatError(
            f"format error: the file needs features that this version lacks (flags {incompatible:#x})")
    if page_size not in PAGE_SIZES or page >= META_COUNT or page_count < META_COUNT or (a | d) >> 63:
        return None
    if not FIRST_TREE <= next_tree <= MOST_TREES:
        return None
    if log_page + log_pages > page_count or (log_pages and log_start > log_pages * page_size):
        return None
    meta = Meta(
        page_size, uuid, generation, sequence, page_count, (a, b, c), (d, e, f), catalog_entries, free_entries,
        log_page, log_pages, log_start, log_chain, next_tree, next_collection, incompatible, compatible,
        free_pages,
    )
    return meta, page


def first_pages(meta):
    """The content of a new file: all four copies of its first meta."""
    return b"".join(meta.pack(page).ljust(meta.page_size, b"\0") for page in range(META_COUNT))


def write_meta(file, meta, slot=None):
    """Write both copies of a meta to its slot (or to a given one) at once, without a sync."""
    first = 2 * (meta.generation % 2 if slot is None else slot)
    file.write_at(first * meta.page_size, [meta.pack(first).ljust(meta.page_size, b"\0"), meta.pack(first + 1)])


def is_named(file, meta):
    """Whether a copy of this meta may be in its slot of the file."""
    first = 2 * (meta.generation % 2)
    for page in (first, first + 1):
        found = unpack(file.read_at(page * meta.page_size, META_SIZE))
        if found is None or found[0].generation == meta.generation:
            return True
    return False


def read_copies(file):
    """The four copies, None in place of a damaged one. ModelVaultFormatError: no database, or one of a newer version.

    CorruptionError: a database without a single valid copy. Any one copy is enough to find the page size.
    """
    start = file.read_at(0, META_SIZE)
    found = unpack(start)
    magic = start[:8] == MAGIC
    places = [found[0].page_size] if found is not None and found[1] == 0 else PAGE_SIZES
    for page_size in places:
        copies = [None] * META_COUNT
        for page in range(META_COUNT):
            copy = file.read_at(page * page_size, META_SIZE)
            magic = magic or copy[:8] == MAGIC
            found = unpack(copy)
            if found is not None and found[1] == page and found[0].page_size == page_size:
                copies[page] = found[0]
        if any(copy is not None for copy in copies):
            return copies
    if magic:
        raise CorruptionError(f"{file.path}: all four copies of the meta page are damaged", page=0, path=file.path)
    if len(start) < META_SIZE:
        raise ModelVaultFormatError(f"format error: truncated header: got {len(start)} bytes, expected {META_SIZE}: {file.path} is no database")
    got = ", ".join(f"{byte:02x}" for byte in start[:8])
    expected = "\\x89MVLT\\r\\n\\x1a"
    raise ModelVaultFormatError(
        f'format error: bad magic bytes: expected "{expected}", got [{got}]: {file.path} is no database')


def read_meta(file, bint repair=False, limit=None):
    """The newest meta of the file, of those up to commit `limit`; errors as read_copies.

    A slot without a valid copy is damage, for it may have held the newest commit: CorruptionError unless `repair`.
    So is a file that is shorter than the meta says.
    """
    copies = read_copies(file)
    meta = newest(copies, limit)
    while file.size() < meta.page_count * meta.page_size:
        copies = read_copies(file)      # the file may have got shorter with the next commit
        if newest(copies).generation == meta.generation:
            raise CorruptionError(
                f"{file.path} has {file.size()} bytes of the {meta.page_count * meta.page_size} that it had: it was cut",
                page=file.size() // meta.page_size, path=file.path)
        meta = newest(copies)           # behind `limit`, which is as old as what was cut off: to be asked for again
    for slot in (0, 1):
        if copies[2 * slot] is None and copies[2 * slot + 1] is None and not repair:
            raise CorruptionError(
                f"{file.path}: both copies of meta slot {slot} are damaged; the newest commit may be lost",
                page=2 * slot, path=file.path)
    return meta


def newest(list copies not None, limit=None):
    """The newest of four copies, of those up to commit `limit` if there are any; at least one copy is whole."""
    there = [copy for copy in copies if copy is not None]
    return max([copy for copy in there if limit is None or copy.sequence <= limit] or there, key=generation_of)


def generation_of(meta):
    """To find the newest."""
    return meta.generation
