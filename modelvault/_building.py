"""New indexes of a stored collection, built from its rows; and what to say of values that several rows have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from modelvault._core.cursor import Cursor
from modelvault._core.gathering import Gathering
from modelvault._core.table import Table
from modelvault._core.walk import Tree
from modelvault._definitions import Write
from modelvault._progress import Progress
from modelvault._store import BATCH_SIZE, STEPS, Catalog, Store, key_codec, record_version
from modelvault._unit import Unit
from modelvault.errors import ColdPage, DuplicateKeyError
from modelvault.schema import Index

__all__ = [
    "SHOWN",
    "SLICE",
    "Building",
    "Duplicates",
    "all_or_none",
    "batches",
    "enough",
    "note_duplicate",
    "read_slice",
    "refuse_duplicates",
    "unpacked",
]

SLICE: Final = 1024  # rows handled before other tasks get a chance: about 4 ms, in which they may wait
TAKEN: Final = 8 * SLICE  # rows whose entries are collected before other tasks get a chance
SHOWN: Final = 20  # offending rows, or values, that an error names

Duplicates = dict[str, dict[Any, dict[Any, None]]]
"""The keys of the rows that have a value in common: by index, by value, in the order in which they were found."""


class Building:
    """New indexes, filled from the rows: entries are collected, sorted and put together, as many as memory is for."""

    def __init__(self, catalog: Catalog, store: Store, names: list[str], meter: Progress) -> None:
        self.store = store
        self.access = catalog.access
        self.meter = meter
        self.indexes = [
            (index, tree, store.extractors(index.paths))
            for index, (name, tree) in zip(store.schema.indexes, store.definition["indexes"], strict=True)
            if name in names
        ]
        parts = [(index.name, tree, index.unique, extractors) for index, tree, extractors in self.indexes]
        pager = catalog.access.engine.pager
        self.table = Table(pager, store.name, store.definition["tree"], key_codec(store.schema), parts)
        self.size = min(BATCH_SIZE, pager.cache_size // 4) // 2  # buffers that grow take twice that for a moment
        self.after: bytes | None = None
        self.duplicates: Duplicates = {}

    async def run(self, unit: Unit) -> None:
        """Build them. DuplicateKeyError, with the offending keys, if a unique one cannot be."""
        more = True
        while more:
            first, gathering = self.after, Gathering(self.table)
            while more and gathering.size < self.size:
                count = await unit.perform(partial(self.take, gathering), away=True)
                more = count == TAKEN
                self.meter.add(count)
                await self.access.breathe(count)
            if not await unit.perform(partial(self.put, gathering), away=True):
                await self.put_singly(unit, first)
                more = more and not enough(self.duplicates)
        refuse_duplicates(self.store.name, self.duplicates)

    def take(self, gathering: Gathering, write: Write, wait: bool) -> int:
        """Collect the entries of some rows; how many rows."""
        if not wait:
            raise ColdPage("many rows")
        cursor = Cursor(write.draft.pager, write.roots[self.store.definition["tree"]])
        there = cursor.to_first() if self.after is None else cursor.to(self.after + b"\0")
        count = gathering.take(cursor, TAKEN) if there else 0
        self.after = gathering.last if count else self.after
        return count

    def put(self, gathering: Gathering, write: Write, wait: bool) -> bool:
        """Put what was collected; False, and nothing has changed, if a unique value is taken."""
        if not wait:
            raise ColdPage("many rows")
        write.take_room()
        return all_or_none(write, [index for index, _, _ in self.indexes], lambda: gathering.put(write, STEPS))

    async def put_singly(self, unit: Unit, first: bytes | None) -> None:
        """Enter the rows behind a key, as far as they have come, one by one, and note what they have in common."""
        last, self.after = self.after, first
        while self.after != last and not enough(self.duplicates):
            await unit.perform(partial(self.slice, last), away=True)
            await self.access.breathe(SLICE)

    def slice(self, last: bytes | None, write: Write, wait: bool) -> None:
        """Enter some rows, up to the last."""
        rows = read_slice(write, self.store.definition["tree"], self.after, wait)
        rows = [(key, record) for key, record in rows if last is not None and key <= last]
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
        self.after = rows[-1][0] if rows else last

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


def all_or_none(write: Write, indexes: Iterable[Index], put: Callable[[], object]) -> bool:
    """Put many rows or entries; False, and nothing has changed, if a unique value is taken (DuplicateKeyError)."""
    savepoint = write.savepoint() if any(index.unique for index in indexes) else None
    try:
        put()
    except DuplicateKeyError:
        assert savepoint is not None
        write.rewind(savepoint)
        return False
    if savepoint is not None:
        write.release(savepoint)
    return True


def note_duplicate(found: Duplicates, index: str, value: Any, keys: Iterable[Any]) -> None:
    """Note that these rows have a value in common."""
    known = found.setdefault(index, {}).setdefault(value, {})
    known.update(dict.fromkeys(keys))


def enough(found: Duplicates) -> bool:
    """Whether so many offending rows are known that nobody needs more."""
    return any(len(values) >= SHOWN or sum(map(len, values.values())) >= SHOWN * SHOWN for values in found.values())


def refuse_duplicates(name: str, found: Duplicates) -> None:
    """DuplicateKeyError for the values that several rows have, if there are such."""
    for index, values in found.items():
        shown = tuple((value, tuple(keys)) for value, keys in values.items())
        words = "; ".join(f"{value!r} in the rows {listed(keys)}" for value, keys in shown[:SHOWN])
        raise DuplicateKeyError(
            f'schema error: unique index violation: the index "{index}" of {name} cannot be unique: {words}'
            f"{'; perhaps more' if enough(found) else ''}; nothing has changed",
            collection=name,
            index=index,
            key=shown[0][0],
            duplicates=shown,
        )


def listed(keys: tuple[Any, ...]) -> str:
    """Some keys, as many as one wants to read."""
    return ", ".join(map(repr, keys[:SHOWN])) + (", ..." if len(keys) > SHOWN else "")
