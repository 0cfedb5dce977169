"""A file whose bytes were changed and whose checksums fit again: what no checksum can catch.

Every page but the meta is named by one reference, with its checksum, in another page. So changing a page means
changing its holder, that page's holder and so on up to the meta.
"""

from __future__ import annotations

import struct

import xxhash

from modelvault._core.file import MemoryFile
from modelvault._core.meta import read_meta
from modelvault._core.space import free_runs
from modelvault._engine import Engine

META_SIZE = SECTOR = 512
LOG_HEADER = struct.Struct("<QQQQIIII")  # checksum, sequence, chain, durable, length, next tree, next collection, 0


def pages_in_use(data: bytes) -> list[int]:
    """The pages behind the meta pages that are not free (and not the log's)."""
    engine = Engine.open_file(MemoryFile(data), read_only=True)
    runs = free_runs(engine.pager, engine.latest.roots)
    meta = engine.meta
    engine.close()
    free = {page for _, first, count in runs for page in range(first, first + count)}
    free.update(range(meta.log_page, meta.log_page + meta.log_pages))
    return [page for page in range(4, meta.page_count) if page not in free]


class Sealed:
    """The content of a sound file without a log, and where each of its pages is referred to."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.meta = read_meta(MemoryFile(content))
        self.page_size = self.meta.page_size
        self.slot = 2 * (self.meta.generation % 2)
        self.extents = self._find_extents()
        self._holders = {page: self._find_holder(page) for page in self.extents}

    def _find_extents(self) -> dict[int, int]:
        """First page -> pages of everything that is referred to."""
        found = {}
        for page in pages_in_use(self.content):
            header = self.content[page * self.page_size :][:40]
            if any(header) and int.from_bytes(header[8:16], "little") == page:
                overflow = header[24] == 3
                found[page] = int.from_bytes(header[36:40], "little") if overflow else 1
        return {page: count for page, count in found.items() if self._find_places(page)}

    def _find_places(self, page: int) -> list[int]:
        """Where in the file a page is referred to, but in pages that are free."""
        start = page * self.page_size
        reference = self.content[start + 8 : start + 24] + self.content[start : start + 8]
        places, at = [], self.content.find(reference)
        used = {*pages_in_use(self.content), self.slot}
        while at >= 0:
            if at // self.page_size in used:
                places.append(at)
            at = self.content.find(reference, at + 1)
        return places

    def _find_holder(self, page: int) -> int:
        """Where the reference to a page stands."""
        places = self._find_places(page)
        assert len(places) == 1, f"page {page} is referred to at {places}"
        return places[0]

    def page(self, page: int) -> bytes:
        """The bytes of a page, or of the whole extent that begins there."""
        return self.content[page * self.page_size : (page + self.extents[page]) * self.page_size]

    def with_page(self, page: int, data: bytes) -> bytes:
        """The file with other bytes in a page (cut or filled up with zeros), sealed up to the meta."""
        content = bytearray(self.content)
        self._put(content, page, data)
        return bytes(content)

    def _put(self, content: bytearray, page: int, data: bytes) -> None:
        """Replace a page, and seal what refers to it."""
        size = self.extents[page] * self.page_size
        start = page * self.page_size
        body = content[start + 8 : start + 24] + data[24:size].ljust(size - 24, b"\0")  # number and birth stay
        checksum = xxhash.xxh64_intdigest(bytes(body), self.meta.seed).to_bytes(8, "little")
        content[start : start + size] = checksum + body
        place = self._holders[page]
        content[place + 16 : place + 24] = checksum
        holder = place // self.page_size
        if holder == self.slot:
            meta = content[holder * self.page_size + 16 :][: META_SIZE - 16]
            content[:] = self._with_meta(content, bytes(meta))
        else:
            first = max(page for page in self.extents if page <= holder)
            begin = first * self.page_size
            self._put(content, first, bytes(content[begin : begin + self.extents[first] * self.page_size]))

    def with_meta(self, body: bytes) -> bytes:
        """The file whose newest meta has this body (bytes 16 to 511, cut or filled up), in both copies."""
        return bytes(self._with_meta(bytearray(self.content), body))

    def _with_meta(self, content: bytearray, body: bytes) -> bytearray:
        for page in (self.slot, self.slot + 1):
            start = page * self.page_size
            copy = bytearray(body[: META_SIZE - 16].ljust(META_SIZE - 16, b"\0"))
            copy[160:164] = page.to_bytes(4, "little")
            checksum = xxhash.xxh64_intdigest(bytes(copy), 0).to_bytes(8, "little")
            content[start + 8 : start + META_SIZE] = checksum + copy
        return content


class SealedLog:
    """A file with a log of a few records, and the records' changes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.meta = read_meta(MemoryFile(content))
        self.start = self.meta.log_page * self.meta.page_size
        self.records = self._read()

    def _read(self) -> list[bytes]:
        """The records that the trees do not contain; the log does not go round in this file."""
        found = []
        at, sequence = self.meta.log_start, self.meta.sequence
        while True:
            header = LOG_HEADER.unpack_from(self.content, self.start + at)
            if header[1] != sequence + 1:
                return found
            found.append(self.content[self.start + at :][: header[4]])
            at, sequence = at + aligned(header[4]), sequence + 1

    def changes(self, number: int) -> bytes:
        """What record `number` says."""
        return self.records[number][LOG_HEADER.size :]

    def with_changes(self, number: int, changes: bytes) -> bytes:
        """The file whose record `number` says this; it and those behind it are sealed."""
        content = bytearray(self.content)
        chain, at = self.meta.log_chain, self.meta.log_start
        for place, record in enumerate(self.records):
            said = changes if place == number else record[LOG_HEADER.size :]
            record = self._seal(record, chain, said)
            if at + len(record) > self.meta.log_pages * self.meta.page_size:
                break
            content[self.start + at : self.start + at + len(record)] = record
            chain, at = int.from_bytes(record[:8], "little"), at + len(record)
        return bytes(content)

    def _seal(self, record: bytes, chain: int, changes: bytes) -> bytes:
        """A record like this one, with other changes behind another one."""
        _, sequence, _, durable, _, next_tree, next_collection, _ = LOG_HEADER.unpack_from(record)
        length = LOG_HEADER.size + len(changes)
        header = LOG_HEADER.pack(0, sequence, chain, durable, length, next_tree, next_collection, 0)
        body = (header + changes).ljust(aligned(length), b"\0")[8:]
        return xxhash.xxh64_intdigest(body, self.meta.seed).to_bytes(8, "little") + body


def aligned(size: int) -> int:
    """What a record takes of the log: whole sectors."""
    return (size + SECTOR - 1) // SECTOR * SECTOR
