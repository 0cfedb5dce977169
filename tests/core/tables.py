"""Small tables without anything above the core: rows, their stores, and what plain Python says of them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from modelvault._core.file import File, MemoryFile
from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.record import Face, RecordCodec
from modelvault._core.table import Table
from modelvault._engine import Engine, Version, Write
from modelvault.schema import Field, Type

Row = dict[str, Any]
Span = tuple[bytes | None, bytes | None]

STRING, INT, FLOAT = Type("string"), Type("int"), Type("float64")
ROW = Type(
    "object",
    fields=(
        Field("id", STRING),
        Field("n", Type("optional", (INT,))),
        Field("x", FLOAT),
        Field("s", STRING),
        Field("tags", Type("list", (STRING,))),
        Field("blob", Type("bytes")),
        Field("level", Type("int64")),
        Field("price", Type("decimal")),
    ),
)
CODEC = RecordCodec(ROW, 1, "id")
FACE = Face([CODEC], "id")
KEY = KeyCodec(STRING)
PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "by_n": (("n",),),
    "by_tags": (("tags",),),
    "by_s_n": (("s",), ("n",)),
    "by_tags_s": (("tags",), ("s",)),
    "by_id": (("id",),),
    "by_x_s": (("x",), ("s",)),
}
KEYS = {name: IndexKeys(CODEC, paths) for name, paths in PATHS.items()}


class ColdFile(MemoryFile):
    """A file in memory of which reads that must not wait fail: all of them, or some as `chance` says."""

    cold = False
    chance: random.Random | None = None

    def read_at(self, offset: int, size: int, wait: bool = True) -> bytes | None:
        if not wait and self.cold and (self.chance is None or self.chance.random() < 0.7):
            return None
        return super().read_at(offset, size, wait)


class Store:
    """A table in an engine of its own, and its rows by packed key."""

    def __init__(self, rows: Iterable[Row] = (), *, file: File | None = None, cache_pages: int = 1000) -> None:
        self.file = file
        if file is None:
            self.engine = Engine.open_in_memory(page_size=4096)
        else:
            self.engine = Engine.open_file(file, page_size=4096, cache_size=cache_pages * 4096)
        write = self.engine.begin()
        tree = write.new_tree()
        indexes = [(name, write.new_tree(), False, {1: keys}) for name, keys in KEYS.items()]
        self.table = Table(self.engine.pager, "things", tree, KEY, indexes)
        self.rows: dict[bytes, Row] = {}
        for row in rows:
            self.put(write, row)
        self.engine.commit(write)
        self.version: Version = self.engine.pin()

    def put(self, write: Write, row: Row) -> None:
        """Insert or replace a row."""
        key, record = FACE.encode(row)
        self.table.put(write, key, record)
        self.rows[key] = row

    def delete(self, write: Write, key: bytes) -> None:
        """Delete a row."""
        assert self.table.delete(write, key)
        del self.rows[key]

    def close(self) -> None:
        """Look after everything, then close."""
        self.engine.unpin(self.version)
        self.table.check(self.engine.latest.roots)
        self.engine.close()


def random_rows(chance: random.Random, count: int) -> list[Row]:
    """Rows with many equal values, some long ones, and keys without an order."""
    return [random_row(chance, f"{chance.randrange(10**6):06d}"[: chance.choice([2, 6, 6])]) for _ in range(count)]


def random_row(chance: random.Random, key: str) -> Row:
    """A row with this key."""
    size = chance.choice([0, 3, 30, 30, 100, 900])
    if chance.random() < 0.05:
        size = chance.choice([1500, 5000, 20000])
    return {
        "id": key,
        "n": chance.choice([None, 0, 1, 2, -5, 300, chance.randrange(1000)]),
        "x": chance.choice([0.0, -0.0, -1.5, 2.25, chance.random()]),
        "s": chance.choice(["", "a", "b\0c", "b", "long " * 5]),
        "tags": [chance.choice("pqrstuv") for _ in range(chance.randrange(4))],
        "blob": chance.randbytes(size),
        "level": chance.randrange(10),
        "price": Decimal(chance.randrange(1000)) / 4,
    }


def entries_of(key: bytes, row: Row, index: str) -> list[bytes]:
    """The entries of a row in an index, in order."""
    return [entry + key for entry in KEYS[index].extract(CODEC.encode(row))]


def in_span(key: bytes, span: Span) -> bool:
    """low <= key < high"""
    low, high = span
    return (low is None or low <= key) and (high is None or key < high)


def expected(rows: dict[bytes, Row], source: tuple[Any, ...], backward: bool = False) -> list[bytes]:
    """The keys that a source gives, in order."""
    kind = source[0]
    if kind == "keys":
        found = [key for key in sorted(set(source[1])) if key in rows]
    elif kind == "rows":
        found = [key for key in sorted(rows) if in_span(key, source[1:])]
    elif kind == "union":
        found = sorted({key for part in source[1] for key in expected(rows, part)})
    else:
        _, index, spans, distinct = source
        entries = sorted(
            (entry, key)
            for key, row in rows.items()
            for entry in entries_of(key, row, index)
            if any(in_span(entry, span) for span in spans)
        )
        found = [key for _, key in (reversed(entries) if backward else entries)]
        return list(dict.fromkeys(found)) if distinct else found
    return found[::-1] if backward else found
