"""A reader of database files written from docs/format.md alone: it uses nothing of the package.

It is slow and simple. If it and the engine disagree about a file, one of them or the document is wrong.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import xxhash

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIXED = {
    "bool": 1, "int64": 8, "uint64": 8, "int": 8, "float64": 8, "uuid": 16, "timestamp": 12,
    "date": 4, "time": 12, "timedelta": 12, "enum": 2, "literal": 2,
}  # fmt: skip


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


@dataclass
class Meta:
    """Section 1."""

    page_size: int
    uuid: bytes
    generation: int
    sequence: int
    page_count: int
    catalog: tuple[int, int, int]
    free: tuple[int, int, int]
    catalog_entries: int
    free_entries: int
    log: tuple[int, int, int, int]
    next_tree: int
    next_collection: int
    free_pages: int


def read_meta(data: bytes, offset: int, page: int) -> Meta:
    """One copy of the meta."""
    copy = data[offset : offset + 512]
    assert copy[:8] == bytes.fromhex("89 4D 56 4C 54 0D 0A 1A")
    assert int.from_bytes(copy[8:16], "little") == xxhash.xxh64_intdigest(copy[16:512], 0)
    version, page_size, incompatible, compatible = struct.unpack_from("<IIQQ", copy, 16)
    assert (version, incompatible, compatible) == (1, 0, 0)
    numbers = struct.unpack_from("<15Q", copy, 56)
    stands_on, next_tree, next_collection = struct.unpack_from("<III", copy, 176)
    assert stands_on == page
    assert (copy[188:192], copy[200:512]) == (bytes(4), bytes(312))
    assert data[offset + 512 : offset + page_size] == bytes(page_size - 512)
    generation, sequence, page_count = numbers[:3]
    return Meta(
        page_size, copy[40:56], generation, sequence, page_count, numbers[3:6], numbers[6:9],  # type: ignore[arg-type]
        numbers[9], numbers[10], numbers[11:15], next_tree, next_collection, *struct.unpack_from("<Q", copy, 192),
    )  # fmt: skip


class File:
    """A whole file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        size = struct.unpack_from("<I", data, 20)[0]
        copies = [read_meta(data, page * size, page) for page in range(4)]
        assert copies[0] == copies[1]
        assert copies[2] == copies[3]
        self.meta = max(copies, key=lambda meta: meta.generation)
        self.seed = int.from_bytes(self.meta.uuid[:8], "little")
        self.used: list[int] = [0, 1, 2, 3]

    def page(self, ref: tuple[int, int, int], pages: int = 1) -> bytes:
        """Section 2: the page or extent that a ref names."""
        number, birth, checksum = ref
        size = self.meta.page_size
        page = self.data[number * size : (number + pages) * size]
        assert struct.unpack_from("<QQQ", page) == (checksum, number, birth)
        assert xxhash.xxh64_intdigest(page[8:], self.seed) == checksum
        assert number + pages <= self.meta.page_count
        self.used += range(number, number + pages)
        return page

    def tree(self, ref: tuple[int, int, int], level: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Section 3: the entries of a tree in key order."""
        if ref == (0, 0, 0):
            return
        page = self.page(ref)
        kind, height, count, prefix_size, zero = struct.unpack_from("<BBHHH", page, 24)
        heap, _ = struct.unpack_from("<II", page, 32)
        assert (kind, zero) == (1 if height == 0 else 2, 0)
        assert level is None or height == level
        prefix = page[len(page) - prefix_size :]
        last: bytes | None = None
        for i in range(count):
            head, offset, length = struct.unpack_from("<IHH", page, 40 + 8 * i)
            assert heap <= offset < len(page)
            if height:
                suffix = page[offset + 24 : offset + 24 + length]
                yield from self.tree(struct.unpack_from("<QQQ", page, offset), height - 1)
            else:
                tag, at = varint(page, offset)
                suffix = page[at : at + length]
                yield prefix + suffix, self.value(page, at + length, tag)
            assert head == int.from_bytes(suffix[:4].ljust(4, b"\0"), "big")
            assert last is None or (height and i == 1) or last < suffix
            last = suffix

    def value(self, page: bytes, at: int, tag: int) -> bytes:
        """The value of a leaf cell."""
        length = tag >> 1
        if not tag & 1:
            return page[at : at + length]
        pages = -(-(40 + length) // self.meta.page_size)
        extent = self.page(struct.unpack_from("<QQQ", page, at), pages)
        assert struct.unpack_from("<BB", extent, 24) == (3, 0)
        assert struct.unpack_from("<II", extent, 32) == (length, pages)
        assert extent[40 + length :] == bytes(len(extent) - 40 - length)
        return extent[40 : 40 + length]

    def log(self) -> Iterator[list[tuple[int, bytes, bytes | None]]]:
        """Section 7: the changes of each commit that the trees do not contain, as (tree, key, value or None)."""
        first, pages, place, chain = self.meta.log
        start, capacity = first * self.meta.page_size, pages * self.meta.page_size
        extent, sequence = self.data[start : start + capacity], self.meta.sequence + 1
        while record := self.record(extent, place, sequence, chain) or self.record(extent, place := 0, sequence, chain):
            chain = int.from_bytes(record[:8], "little")
            changes, at, end = [], 48, struct.unpack_from("<I", record, 32)[0]
            while at < end:
                tree, at = varint(record, at)
                size, at = varint(record, at)
                key, at, value = record[at : at + size], at + size, None
                if not tree & 1:
                    size, at = varint(record, at)
                    value, at = record[at : at + size], at + size
                changes.append((tree >> 1, key, value))
            assert at == end
            yield changes
            place, sequence = place + len(record), sequence + 1

    def record(self, extent: bytes, place: int, sequence: int, chain: int) -> bytes | None:
        """The record at a place, if it is this one."""
        if place + 48 > len(extent) or struct.unpack_from("<QQ", extent, place + 8) != (sequence, chain):
            return None
        length = -(-struct.unpack_from("<I", extent, place + 32)[0] // 512) * 512
        record = extent[place : place + length]
        good = xxhash.xxh64_intdigest(record[8:], self.seed) == int.from_bytes(record[:8], "little")
        return record if good and len(record) == length else None

    def catalog(self) -> tuple[dict[int, dict[str, Any]], dict[int, tuple[tuple[int, int, int], int]]]:
        """Section 4: definitions by collection id, and roots with their entries by tree id."""
        definitions, roots = {}, {}
        for key, value in self.tree(self.meta.catalog):
            number = int.from_bytes(key[1:], "big")
            if key[:1] == b"c":
                definitions[number] = json.loads(value)
            else:
                assert key[:1] == b"t"
                *ref, entries = struct.unpack("<QQQQ", value)
                roots[number] = ((ref[0], ref[1], ref[2]), entries)
        return definitions, roots

    def free(self) -> list[int]:
        """Section 4: the pages in the free tree."""
        pages: list[int] = []
        for key, value in self.tree(self.meta.free):
            assert len(key) == 12
            for at in range(0, len(value), 12):
                first, count = struct.unpack_from("<QI", value, at)
                pages += range(first, first + count)
        return pages


def parts(type: Any) -> tuple[str, list[Any], list[tuple[str, Any]], list[Any]]:
    """Section 4: kind, items, fields and values of a type in the catalog."""
    if isinstance(type, str):
        return type, [], [], []
    return type["kind"], type.get("items", []), type.get("fields", []), type.get("values", [])


def integer_key(data: bytes) -> tuple[int, int]:
    """Section 5: an integer, and how many bytes it took."""
    size = data[0] - 0x80
    if size >= 0:
        return int.from_bytes(data[1 : 1 + size], "big"), 1 + size
    return int.from_bytes(data[1 : 1 - size], "big") - 256**-size + 1, 1 - size


def string_component(data: bytes) -> tuple[str, int]:
    """Section 5: an escaped string, and how many bytes it took."""
    end = 0
    while data[end] or data[end + 1]:
        end += 2 if data[end] == 0 else 1
    return data[:end].replace(b"\0\xff", b"\0").decode(), end + 2


def moment(data: bytes) -> datetime:
    """Section 6: a timestamp with its zone."""
    microseconds, zone = struct.unpack("<qi", data)
    if zone in (-(2**31), -(2**31) + 1):
        return (EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None, fold=zone & 1)
    offset = 0 if zone == -(2**31) + 2 else zone >> 1
    return (EPOCH + timedelta(microseconds=microseconds)).astimezone(timezone(timedelta(seconds=offset)))


def fixed(kind: str, data: bytes, wide: bool, values: list[Any]) -> Any:
    """Section 6: a fixed-width value."""
    if kind == "bool":
        return bool(data[0])
    if kind in ("int64", "int", "uint64"):
        return int.from_bytes(data, "little", signed=kind != "uint64" and not wide)
    if kind == "float64":
        return struct.unpack("<d", data)[0]
    if kind == "uuid":
        return UUID(bytes=data)
    if kind == "timestamp":
        return moment(data)
    assert kind in ("enum", "literal")
    return values[int.from_bytes(data, "little")]


def inline(type: Any, data: bytes, at: int) -> tuple[Any, int]:
    """Section 6: a value inside a container, and where it ends."""
    kind, items, _, values = parts(type)
    if kind == "int":
        value, size = integer_key(data[at:])
        return value, at + size
    if kind in FIXED:
        return fixed(kind, data[at : at + FIXED[kind]], False, values), at + FIXED[kind]
    if kind in ("string", "bytes", "decimal", "object"):
        size, at = varint(data, at)
        return variable(type, data[at : at + size]), at + size
    if kind == "optional":
        return (None, at + 1) if data[at] == 0 else inline(items[0], data, at + 1)
    assert kind == "list"
    count, at = varint(data, at)
    found = []
    for _ in range(count):
        value, at = inline(items[0], data, at)
        found.append(value)
    return found, at


def variable(type: Any, data: bytes) -> Any:
    """Section 6: a variable-width field."""
    kind, _, fields, _ = parts(type)
    if kind == "string":
        return data.decode()
    if kind == "bytes":
        return data
    if kind == "decimal":
        return Decimal(data.decode())
    if kind == "object":
        return read_object(fields, data)
    value, end = inline(type, data, 0)
    assert end == len(data)
    return value


def read_object(fields: list[tuple[str, Any]], data: bytes) -> dict[str, Any]:
    """Section 6: an object without a tail."""
    flags = data[0]
    assert flags < 3
    width = 1 << flags
    plan = [(name, parts(type)[1][0], True) if parts(type)[0] == "optional" else (name, type, False)
            for name, type in fields]  # fmt: skip
    kinds = [parts(type)[0] for _, type, _ in plan]
    bit_count = sum(optional for *_, optional in plan) + kinds.count("int")
    at = 1 + (bit_count + 7) // 8
    bits = int.from_bytes(data[1:at], "little")
    ends = at + sum(FIXED.get(kind, 0) for kind in kinds)
    start = begin = ends + width * sum(kind not in FIXED for kind in kinds)
    row: dict[str, Any] = {}
    for (name, type, optional), kind in zip(plan, kinds, strict=True):
        null = optional and bool(bits & 1)
        bits >>= optional
        wide = kind == "int" and bool(bits & 1)
        bits >>= kind == "int"
        if kind in FIXED:
            value = fixed(kind, data[at : at + FIXED[kind]], wide, parts(type)[3])
            at += FIXED[kind]
        else:
            end = start + int.from_bytes(data[ends : ends + width], "little")
            value = None if null else variable(type, data[begin:end])
            begin, ends = end, ends + width
        row[name] = None if null else value
    assert begin == len(data)
    return row


def read_record(fields: list[tuple[str, Any]], data: bytes) -> tuple[int, dict[str, Any]]:
    """Section 6: (schema version, row)."""
    return int.from_bytes(data[:2], "little"), read_object(fields, data[2:])
