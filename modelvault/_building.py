"""New indexes of a stored collection, built from its rows; and what to say of values that several rows have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from modelvault._access import Unit
from modelvault._core.cursor import Cursor
from modelvault._core.walk import Tree
from modelvault._progress import Progress
from modelvault._store import Catalog, Store, key_codec, record_version
from modelvault._version import Write
from modelvault.errors import ColdPage, DuplicateKeyError
from modelvault.schema import Index

__all__ = ["SHOWN", "SLICE", "Building", "batches", "note_duplicate", "read_slice", "refuse_duplicates", "unpacked"]

SLICE: Final = 1024  # rows handled before other tasks get a chance: about 4 ms, in which they may wait
SHOWN: Final = 20  # offending rows that an error names


class Building:
    """New indexes, filled from the rows."""

    def __init__(self, catalog: Catalog, store: Store, names: list[str], meter: Progress) -> None:
        self.store = store
        self.access = catalog.access
        self.meter = meter
        self.indexes = [
            (index, tree, store.extractors(index.paths))
            for index, (name, tree) in zip(store.schema.indexes, store.definition["indexes"], strict=True)
            if name in names
        ]
        self.after: bytes | None = None
        self.duplicates: dict[str, dict[Any, list[Any]]] = {}

    async def run(self, unit: Unit) -> None:
        """Build them. DuplicateKeyError, with the offending keys, if a unique one cannot be."""
        count = SLICE
        while count == SLICE:
            count = await unit.perform(self.slice, away=True)
            self.meter.add(count)
            await self.access.breathe(count)
            if any(len(found) >= SHOWN for found in self.duplicates.values()):
                break
        refuse_duplicates(self.store.name, self.duplicates)

    def slice(self, write: Write, wait: bool) -> int:
        """Enter some rows; how many."""
        rows = read_slice(write, self.store.definition["tree"], self.after, wait)
        write.take_room()
        for index, number, extractors in self.indexes:
            tree = Tree(write.draft, write.roots[number])
            try:
                for key, record in rows:
                    extractor = extractors[record_version(record)]
                    exempt = not index.unique or extractor.exempt(record)
                    for entry in extractor.extract(record):
                        if not exempt:
                            self.compare(index, tree, entry, key, record)
                        tree.put(entry + key, b"")
            finally:
                write.roots[number] = tree.root
        self.after = rows[-1][0] if rows else self.after
        return len(rows)

    def compare(self, index: Index, tree: Tree, entry: bytes, key: bytes, record: bytes) -> None:
        """Note a value that another row has."""
        cursor = tree.cursor()
        if not cursor.to(entry):
            return
        other = cursor.entry()[0]
        if other[: len(entry)] == entry and other != entry + key:
            keys = [unpacked(self.store, packed) for packed in (other[len(entry) :], key)]
            note_duplicate(self.duplicates, index.name, self.store.value(index, record), keys)


def read_slice(
    write: Write, number: int, after: bytes | None, wait: bool, most: int = SLICE
) -> list[tuple[bytes, bytes]]:
    """Some rows behind a key, as (key, record). ColdPage unless it may wait: too much for the event loop's thread."""
    if not wait:
        raise ColdPage("many rows")
    cursor = Cursor(write.draft.pager, write.roots[number])
    more = cursor.to_first() if after is None else cursor.to(after + b"\0")
    return cursor.entries(most) if more else []


def batches(write: Write, number: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """All rows of a tree, some at a time."""
    after = None
    while rows := read_slice(write, number, after, True):
        yield rows
        after = rows[-1][0]


def unpacked(store: Store, key: bytes) -> Any:
    """A primary key as a value."""
    return key_codec(store.schema).unpack(key)


def note_duplicate(found: dict[str, dict[Any, list[Any]]], index: str, value: Any, keys: Iterable[Any]) -> None:
    """Note that these rows have a value in common."""
    known = found.setdefault(index, {}).setdefault(value, [])
    known += [key for key in keys if key not in known]


def refuse_duplicates(name: str, found: dict[str, dict[Any, list[Any]]]) -> None:
    """DuplicateKeyError for the values that several rows have, if there are such."""
    for index, values in found.items():
        shown = tuple((value, tuple(keys)) for value, keys in values.items())
        words = "; ".join(f"{value!r} in the rows {', '.join(map(repr, keys))}" for value, keys in shown[:SHOWN])
        raise DuplicateKeyError(
            f'schema error: unique index violation: the index "{index}" of {name} cannot be unique: {words}'
            f"{'; perhaps more' if len(shown) >= SHOWN else ''}; nothing has changed",
            collection=name,
            index=index,
            key=shown[0][0],
            duplicates=shown,
        )
