"""What is left of a damaged file, in a new one.

The newest whole meta leads to the catalog; where that is damaged, the meta before leads to an older one, and a search
through all pages finds the rest. Every tree of rows is walked past what is damaged. Then leaves that nobody refers to
any more, because the branch above them is damaged, fill the gaps; a row of theirs that is in the tree too is older. At
last the log's commits are repeated, as far as they are whole. Indexes are built anew.

Only what verifies is taken: a row is there as it was, or it is reported as lost.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, Final

from modelvault._backup import Tell, parts_of, to_path
from modelvault._core.commit import unpack_root
from modelvault._core.file import DiskFile, File
from modelvault._core.log import LOG_HEADER, Log
from modelvault._core.meta import Meta, newest, read_copies
from modelvault._core.pager import Pager
from modelvault._core.space import free_runs
from modelvault._core.survey import Survey, stray_leaf
from modelvault._core.tree import Roots
from modelvault._definitions import FREE, NO_ROOT, Write, apply_entries
from modelvault._engine import Definition, Engine
from modelvault._frozen import fresh, mutable
from modelvault._options import CACHE_SIZE, file_name
from modelvault._runner import Runner
from modelvault._store import Store
from modelvault._verify import unpacked
from modelvault.errors import CorruptionError, ModelVaultError

__all__ = ["Salvage", "Saved", "salvage"]

PART: Final = 128  # pages looked at, or leaves saved, before others get a chance

Root = tuple[int, int, int, int]
Bound = bytes | None
Gaps = list[tuple[Bound, Bound]]
"""Between which keys rows are lost; None where there is no bound, a key twice for one row."""
Leaf = list[tuple[bytes, bytes | None]]


def span(low: Any, high: Any) -> str:
    """Between which keys rows are missing; nothing where neither is known."""
    return " ".join([*([] if low is None else [f"from {low!r}"]), *([] if high is None else [f"to {high!r}"])])


@mutable
class Saved:
    """What became of one collection.

    rows: in the new file. strays: of them, found in pages that nothing referred to; such a row may be older than the
    last one with its key, or deleted since. lost: how many are missing, None if nobody knows. ranges: the (lowest,
    highest) primary keys between which rows were lost, None where there is no bound. refused: primary keys of rows that
    could not be entered, with the reason.
    """

    name: str
    rows: int = 0
    strays: int = 0
    lost: int | None = 0
    ranges: list[tuple[Any, Any]] = fresh(default_factory=list)
    refused: list[tuple[Any, str]] = fresh(default_factory=list)

    def __str__(self) -> str:
        lost = "an unknown number of rows" if self.lost is None else f"{self.lost:,} rows"
        places = "; ".join(words for low, high in self.ranges if (words := span(low, high)))
        words = f"{self.name}: {self.rows:,} rows saved" + (f", {self.strays:,} of them strays" if self.strays else "")
        return words + (f", {lost} lost{f' ({places})' if places else ''}" if self.lost != 0 else "")


@mutable
class Salvage:
    """What `salvage` did: a `Saved` for each collection, by name, and in words what was damaged besides."""

    path: str
    collections: dict[str, Saved] = fresh(default_factory=dict)
    problems: list[str] = fresh(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be lost, and nothing may be older than it was."""
        saved = self.collections.values()
        return not self.problems and all(one.lost == 0 and not one.strays and not one.refused for one in saved)

    def __str__(self) -> str:
        return "\n".join([f"{self.path}:", *map(str, self.collections.values()), *self.problems])


def salvaging(source: str, dest: str, report: Salvage) -> Iterator[int]:
    """Save what is left of a file into a new one; yields bytes. OSError; CorruptionError if there is no meta."""
    file = DiskFile(source, read_only=True)
    try:
        if os.path.realpath(source) == os.path.realpath(dest):
            raise OSError(errno.EINVAL, "what is saved goes into another file", dest)
        yield from to_path(partial(Salvaging(file, report).run), dest, file)
    finally:
        file.close()


class Salvaging:
    """One salvage under way."""

    def __init__(self, file: File, report: Salvage) -> None:
        copies = read_copies(file)
        self._metas = sorted({copy for copy in copies if copy is not None}, key=lambda meta: -meta.generation)
        self._meta: Meta = newest(copies)
        if None in copies:
            report.problems.append(f"{copies.count(None)} of the 4 copies of the meta page are damaged")
        self._file = file
        self._report = report
        self._pager = Pager(file, self._meta.page_size, CACHE_SIZE, self._meta.seed)
        self._pager.page_count = max(self._meta.page_count, file.size() // self._meta.page_size)
        self._owners = bytearray(self._pager.page_count)
        self._owners[:4] = b"\1" * 4
        log = slice(self._meta.log_page, self._meta.log_page + self._meta.log_pages)
        self._owners[log] = b"\1" * len(self._owners[log])
        file.lock_snapshot(self._meta.generation)
        self._roots: dict[int, Root] = {}
        self._definitions: dict[str, Definition] = {}
        self._changes: dict[int, dict[bytes, bytes | None]] = {}

    def run(self, target: File) -> Iterator[int]:
        """Fill an empty file."""
        yield from self._read_catalog()
        self._read_log()
        engine = Engine.open_file(target, durability="off", page_size=self._meta.page_size)
        try:
            write = engine.begin()
            write.take_room()
            yield from self._fill(write)
            engine.commit(write)
        finally:
            engine.leave()

    # What there is

    def _read_catalog(self) -> Iterator[int]:
        """Find the definitions and the roots: those of the newest meta, older ones for what is damaged there."""
        found: dict[bytes, bytes] = {}
        for meta in self._metas:
            owners = self._owners if meta is self._meta else bytearray(len(self._owners))
            survey = Survey(self._pager, (*meta.catalog, meta.catalog_entries), owners, meta.generation)
            while (leaf := survey.next_leaf()) is not None:
                for key, value in leaf:
                    if value is not None:
                        found.setdefault(key, value)
            if not survey.damage:
                break
            words = f"the catalog of commit {meta.sequence}: {survey.damage[0][1]}"
            self._report.problems.append(
                f"{words}; an older one stands in for it: what that commit changed may be lost"
            )
        if self._report.problems and not any(key[:1] == b"c" for key in found):
            for _, entries in self._stray_leaves():
                found |= {key: value for key, value in entries if value is not None and is_catalog_entry(key, value)}
            yield len(found)
        for key, value in found.items():
            try:
                if key[:1] == b"t" and len(key) == 5:
                    self._roots[int.from_bytes(key[1:], "big")] = unpack_root(value)
                elif key[:1] == b"c":
                    definition = json.loads(value)
                    self._definitions[definition["name"]] = definition
            except (ValueError, KeyError) as error:
                self._report.problems.append(f"an entry of the catalog cannot be understood: {error}")

    def _read_log(self) -> None:
        """What the log has: the last change of each row."""
        log = Log(self._file, self._meta)
        entries: list[tuple[bytes, bytes | None]] = []
        try:
            for record in records(log):
                for tree, key, value in changes_of(record):
                    if tree == 0:
                        entries.append((key, value))
                    else:
                        self._changes.setdefault(tree, {})[key] = value
            log.torn()
        except (CorruptionError, OSError) as error:
            self._report.problems.append(f"the log: {error}")
        if entries:
            self._definitions = apply_entries(self._definitions, entries)

    def _stray_leaves(self) -> Iterator[tuple[int, Leaf]]:
        """(birth, entries) of the sound leaves that no tree has reached."""
        size = self._meta.page_size
        page = self._owners.find(0)
        while page >= 0:
            data = self._file.read_at(page * size, size) or b""
            found = stray_leaf(self._pager, data, page) if len(data) == size else None
            if found is not None:
                yield found
            page = self._owners.find(0, page + 1)

    def _mark_free(self) -> None:
        """What is free holds nothing that anybody misses; if that cannot be read, everything may."""
        root = (*self._meta.free, self._meta.free_entries)
        try:
            survey = Survey(self._pager, root, self._owners, self._meta.generation)
            while survey.next_leaf() is not None:
                pass
            if survey.damage:
                raise CorruptionError(survey.damage[0][1])
            roots = Roots()
            roots[FREE] = root
            for _, first, pages in free_runs(self._pager, roots, self._meta.page_count):
                self._owners[first : first + pages] = b"\1" * pages
        except CorruptionError as error:
            self._report.problems.append(f"the list of free pages: {error}")

    # Saving it

    def _fill(self, write: Write) -> Iterator[int]:
        """Write the rows of all collections, those of the trees first."""
        last = max([1, *(tree for one in self._definitions.values() for tree in trees_of(one))])
        write.next_tree = last + 1
        write.next_collection = 1 + max([0, *(one["id"] for one in self._definitions.values())])
        for tree in range(2, write.next_tree):
            write.roots[tree] = NO_ROOT
        gaps: list[tuple[Collection, Gaps]] = []
        for definition in self._definitions.values():
            definition.pop("migration", None)
        write.definitions = self._definitions
        for definition in self._definitions.values():
            try:
                collection = Collection(write, definition, self._report, self._changes)
            except ModelVaultError as error:
                self._report.problems.append(f"{definition['name']}: its definition cannot be understood: {error}")
                continue
            lost = yield from self._rows(collection)
            gaps.append((collection, lost))
        if any(lost for _, lost in gaps):
            yield from self._fill_gaps(gaps)
        for collection, lost in gaps:
            self._finish(collection, lost)

    def _rows(self, collection: Collection) -> Generator[int, None, Gaps]:
        """Save the rows that the tree of a collection still has; the ranges of keys where it is damaged."""
        root = self._roots.get(collection.store.definition["tree"])
        if root is None:
            return [] if collection.changed else [(None, None)]  # it is younger than the checkpoint, or lost
        collection.expected = root[3]
        survey = Survey(self._pager, root, self._owners, self._meta.generation)
        while (leaf := survey.next_leaf()) is not None:
            collection.put_leaf(leaf)
            yield self._meta.page_size
        self._report.problems += [f"{collection.saved.name}: {words}" for _, words, _, _ in survey.damage]
        yield from self._reach(collection)
        return [(low, high) for _, _, low, high in survey.damage]

    def _reach(self, collection: Collection) -> Iterator[int]:
        """Mark the pages of the indexes: their leaves are no rows."""
        for _, tree in collection.store.definition["indexes"]:
            root = self._roots.get(tree)
            if root is not None:
                survey = Survey(self._pager, root, self._owners, self._meta.generation)
                while survey.next_leaf(False) is not None:
                    yield 0

    def _fill_gaps(self, gaps: list[tuple[Collection, Gaps]]) -> Iterator[int]:
        """Save the rows of leaves that nobody refers to, where a tree has a gap for them; the youngest leaf counts."""
        self._mark_free()
        for number, (birth, entries) in enumerate(self._stray_leaves()):
            fitting = [one for one, lost in gaps if lies_in(entries, lost) and one.accepts(entries)]
            if len(fitting) == 1:
                fitting[0].put_strays(birth, entries)
            elif fitting:
                names = ", ".join(one.saved.name for one in fitting)
                self._report.problems.append(f"{len(entries)} rows may belong to any of {names}: left out")
            if number % PART == 0:
                yield self._meta.page_size

    def _finish(self, collection: Collection, lost: Gaps) -> None:
        """Repeat what the log has, and say what is lost."""
        saved, store = collection.saved, collection.store
        if collection.expected is None:
            saved.lost = None if lost else 0
        else:
            saved.lost = max(0, collection.expected - collection.found)
        if saved.lost != 0:
            for low, high in lost:
                bounds = [None if key is None else unpacked(store, key) for key in (low, high)]
                saved.ranges.append((bounds[0], bounds[1]))
        for key, record in collection.changed.items():
            if record is None:
                collection.delete(key)
            else:
                collection.put(key, record)


class Collection:
    """A collection of the new file.

    changed: rows that the log has, and that need not be found elsewhere. expected: rows of the tree, if that is known.
    found: of them, those that could be read, and those of strays.
    """

    def __init__(
        self, write: Write, definition: Definition, report: Salvage, changes: dict[int, dict[bytes, bytes | None]]
    ) -> None:
        self.store = Store(write.draft.pager, definition)
        self.saved = report.collections.setdefault(definition["name"], Saved(definition["name"]))
        self.changed = changes.get(definition["tree"], {})
        self.expected: int | None = None
        self.found = 0
        self._births: dict[bytes, int] = {}  # of the pages with strays
        self._write = write
        self._face = self.store.binding(None).face

    def put(self, key: bytes, record: bytes) -> bool:
        """Enter a row; whether it could be."""
        try:
            there = self.store.table.put(self._write, key, record, False, True)
            if self._write.is_large:
                self._write.spill()
        except ModelVaultError as error:
            self.saved.refused.append((unpacked(self.store, key), str(error)))
            return False
        self.saved.rows += not there
        return True

    def put_leaf(self, entries: Leaf) -> None:
        """Enter the rows of a leaf of its tree, but for those that the log has."""
        for key, record in entries:
            self.found += record is not None
            if record is not None and key not in self.changed:
                self.put(key, record)

    def put_strays(self, birth: int, entries: Leaf) -> None:
        """Enter the rows of a leaf that was found, but for those that a younger one has."""
        for key, record in entries:
            known = self._births.get(key)
            if record is None or (known is not None and known > birth):
                continue
            if known is None and self.store.table.record(self._write.roots, key) is not None:
                continue  # its tree has a newer one
            if key in self.changed or self.put(key, record):
                self.found += known is None
                self.saved.strays += known is None and key not in self.changed
                self._births[key] = birth

    def delete(self, key: bytes) -> None:
        """Delete a row that is there after all."""
        if self.store.table.delete(self._write, key, True):
            self.saved.rows -= 1

    def accepts(self, entries: Leaf) -> bool:
        """Whether entries of unknown origin are surely rows of this collection."""
        records = [(key, record) for key, record in entries if record is not None]
        try:
            return bool(records) and all(
                self._face.encode(self._face.decode(record))[0] == key for key, record in records
            )
        except Exception:
            return False


def lies_in(entries: Leaf, gaps: Gaps) -> bool:
    """Whether these entries may be what one of the gaps has lost."""
    first, last = entries[0][0], entries[-1][0]
    return any(
        (low is None or first >= low) and (high is None or last < high)
        for low, high in gaps
        if low is None or low != high
    )


def trees_of(definition: Definition) -> list[int]:
    """The ids of a collection's trees."""
    return [definition["tree"], *(tree for _, tree in definition["indexes"])]


def is_catalog_entry(key: bytes, value: bytes) -> bool:
    """Whether an entry of a leaf of unknown origin is one of the catalog."""
    if len(key) != 5:
        return False
    if key[:1] == b"t":
        return len(value) == 32
    try:
        return key[:1] == b"c" and "schemas" in json.loads(value)
    except ValueError:
        return False


def records(log: Log) -> Iterator[bytes]:
    """The records of a log, one after the other."""
    while (found := log.next()) is not None:
        yield found[0]
        log.go_on(*found)


def changes_of(record: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """(tree, key, value or None) for each change in a record: docs/format.md section 7."""
    at, end = LOG_HEADER, int.from_bytes(record[32:36], "little")
    while at < end:
        head, at = read_varint(record, at)
        size, at = read_varint(record, at)
        key, at = record[at : at + size], at + size
        value = None
        if not head & 1:
            size, at = read_varint(record, at)
            value, at = record[at : at + size], at + size
        yield head >> 1, key, value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at a place, and where it ends."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
    raise CorruptionError("the log is damaged: a record says what cannot be")


async def salvage(runner: Runner, source_path: Any, dest_path: Any, progress: Tell) -> Salvage:
    """Save what is left of a file into a new one."""
    source, dest = file_name(source_path, "source_path"), file_name(dest_path, "dest_path")
    report = Salvage(source)
    await parts_of(runner, salvaging(source, dest, report), "salvage", progress)
    return report
