"""What a reader reads and what a writer changes: versions of all trees, by their roots.

A `Version` is what one commit left behind. A `Write` works on its own copy of the newest version's roots and on private
pages (drafts), and becomes the next version, or never was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from modelvault._core.commit import spill, unpack_root
from modelvault._core.cursor import Cursor
from modelvault._core.gate import State
from modelvault._core.meta import Meta
from modelvault._core.pager import Draft, Pager
from modelvault._core.space import Space
from modelvault._core.tree import Roots
from modelvault._core.walk import Tree
from modelvault.errors import CorruptionError

CATALOG: Final = 0
FREE: Final = 1
NO_ROOT: Final = (0, 0, 0, 0)
Root = tuple[int, int, int, int]

Definition = dict[str, Any]
Entries = list[tuple[bytes, bytes | None]]
"""What changes in the catalog: keys, and values or None for an entry that goes."""


class Version(State):
    """What a reader reads: the tree roots and definitions of one commit.

    sequence: how many commits there were. stamp: the pager's when it was pinned. pins: how many times it is.
    meta: of the checkpoint before it.
    freed: sealed pages that its trees no longer reach and that are not in its free tree.
    """

    __slots__ = ("_freed", "meta", "pins", "sequence", "stamp")

    def __init__(
        self,
        roots: Roots,
        meta: Meta,
        sequence: int,
        definitions: dict[str, Definition],
        unnoted: list[tuple[int, int]],
    ) -> None:
        self.roots: Roots = roots
        self.meta: Meta = meta
        self.sequence: int = sequence
        self.definitions: dict[str, Definition] = definitions
        self.stamp: int = 0
        self.pins: int = 0
        self._freed = (unnoted, len(unnoted))  # the list only grows while this checkpoint is the newest

    @property
    def generation(self) -> int:
        """The checkpoint that it follows."""
        return self.meta.generation

    @property
    def page_count(self) -> int:
        """Pages in use by the format, as of that checkpoint."""
        return self.meta.page_count

    @property
    def freed(self) -> list[tuple[int, int]]:
        """(first page, pages) that belong to no tree and are not in the free tree yet."""
        unnoted, count = self._freed
        return unnoted[:count]

    def twin(self, roots: Roots) -> Version:
        """The same version with an array of its own for the roots."""
        twin = Version.__new__(Version)
        twin.roots, twin.meta, twin.sequence = roots, self.meta, self.sequence
        twin.definitions, twin.stamp, twin._freed = self.definitions, self.stamp, self._freed
        return twin


class Write:
    """A private copy of the newest version that `Engine.commit` makes the next one.

    room: gives it a Space, with which it can store pages ahead of its commit; None in memory. waits: whether who uses
    it now may wait for the disk.
    """

    __slots__ = (
        "base",
        "definitions",
        "draft",
        "next_collection",
        "next_tree",
        "room",
        "roots",
        "space",
        "start",
        "waits",
    )

    def __init__(
        self,
        base: Version,
        roots: Roots,
        draft: Draft,
        room: Callable[[Write], None] | None,
        next_ids: tuple[int, int],
    ) -> None:
        self.base: Version = base
        self.roots: Roots = roots
        self.draft: Draft = draft
        self.room: Callable[[Write], None] | None = room
        self.space: Space | None = None
        self.start: tuple[Root, Root] = (NO_ROOT, NO_ROOT)  # catalog and free tree when it got its Space
        self.definitions: dict[str, Definition] = base.definitions
        self.next_tree: int
        self.next_collection: int
        self.next_tree, self.next_collection = next_ids
        self.waits: bool = True

    def new_tree(self) -> int:
        """The id of a new, empty tree."""
        tree = self.next_tree
        self.next_tree += 1
        self.roots[tree] = NO_ROOT
        return tree

    def put(self, tree: int, key: bytes, value: bytes) -> bool:
        """Insert or replace an entry of a tree that no table looks after; whether the key was there."""
        target = Tree(self.draft, self.roots[tree])
        there = target.put(key, value)
        self.roots[tree] = target.root
        self.draft.note_change(tree, key, value)
        return there

    def delete(self, tree: int, key: bytes) -> bool:
        """Delete an entry; whether it was there."""
        target = Tree(self.draft, self.roots[tree])
        there = target.delete(key)
        if there:
            self.roots[tree] = target.root
            self.draft.note_change(tree, key, None)
        return there

    def new_collection(self) -> int:
        """The id of a new collection."""
        number = self.next_collection
        self.next_collection += 1
        return number

    def define(self, definition: Definition) -> None:
        """Add or replace a collection's definition; it has at least `name` and `id`."""
        self.definitions = {**self.definitions, definition["name"]: definition}

    @property
    def is_large(self) -> bool:
        """Whether private pages take half of the cache, and `spill` should be called."""
        pager = self.draft.pager
        return self.room is not None and 2 * pager.draft_bytes > pager.cache_size

    def take_room(self) -> None:
        """Go past the log: due before trees are changed that no table looks after, the catalog too; may block.

        The commit will be a checkpoint, and what was committed before is made into one now. OSError ends the write.
        """
        if self.room is not None and self.space is None:
            if not self.waits:
                raise AssertionError("a statement that takes room must be performed away from the event loop")
            self.room(self)

    def spill(self) -> None:
        """Write private pages to their final places ahead of the commit; blocking. OSError ends the write."""
        self.take_room()
        if self.space is not None:
            spill(self.space, self.roots)

    def allot(self, space: Space, catalog: tuple[int, int, int, int], free: tuple[int, int, int, int]) -> None:
        """Take a Space, with the catalog and the free tree that it works on."""
        self.space = space
        self.start = (catalog, free)
        self.roots[CATALOG], self.roots[FREE] = self.start
        self.draft.settle_places()

    def savepoint(self) -> Savepoint:
        """A state to come back to; end it with `rewind` or `release`, the newest first."""
        return Savepoint(self)

    def rewind(self, savepoint: Savepoint) -> None:
        """Undo everything since the savepoint, and end it."""
        self.draft.rewind(savepoint.mark)
        self.draft.forget(savepoint.mark)
        self.roots = savepoint.roots
        if self.space is not None and not savepoint.had_space:
            self.roots[CATALOG], self.roots[FREE] = self.start
        self.definitions = savepoint.definitions
        self.next_tree, self.next_collection = savepoint.next_ids

    def release(self, savepoint: Savepoint) -> None:
        """Keep what was done since the savepoint, and end it."""
        self.draft.forget(savepoint.mark)


class Savepoint:
    """What a Write was at one moment."""

    __slots__ = ("definitions", "had_space", "mark", "next_ids", "roots")

    def __init__(self, write: Write) -> None:
        self.mark: int = write.draft.mark()
        self.roots: Roots = write.roots.copy()
        self.had_space: bool = write.space is not None
        self.definitions: dict[str, Definition] = write.definitions
        self.next_ids: tuple[int, int] = (write.next_tree, write.next_collection)


def changed_entries(before: dict[str, Definition], after: dict[str, Definition]) -> Entries:
    """The catalog entries that lead from one set of definitions to another."""
    if before is after:
        return []
    import json  # with the first collection: it takes a millisecond

    entries: Entries = []
    gone = {definition["id"]: definition for definition in before.values()}
    for definition in after.values():
        if gone.pop(definition["id"], None) is not definition:
            entries.append((entry_key(definition["id"]), json.dumps(definition, separators=(",", ":")).encode()))
    entries += [(entry_key(number), None) for number in gone]
    return entries


def apply_entries(definitions: dict[str, Definition], entries: Entries) -> dict[str, Definition]:
    """The definitions after these changes of the catalog."""
    by_key = {entry_key(definition["id"]): definition for definition in definitions.values()}
    for key, value in entries:
        if value is None:
            by_key.pop(key, None)
        else:
            by_key[key] = parse_definition(key, value)
    return {definition["name"]: definition for definition in by_key.values()}


def entry_key(number: int) -> bytes:
    """The key of a collection's definition in the catalog."""
    return b"c" + number.to_bytes(4, "big")


def load_catalog(pager: Pager, meta: Meta) -> tuple[Roots, dict[str, Definition]]:
    """The roots of all trees, and the definitions of the collections by name."""
    roots = Roots()
    roots[CATALOG] = (*meta.catalog, meta.catalog_entries)
    roots[FREE] = (*meta.free, meta.free_entries)
    definitions: dict[str, Definition] = {}
    for key, value in entries(pager, roots[CATALOG]):
        if key[:1] == b"t":
            roots[int.from_bytes(key[1:], "big")] = unpack_root(value)
        elif key[:1] == b"c":
            definition = parse_definition(key, value)
            definitions[definition["name"]] = definition
    return roots, definitions


def parse_definition(key: bytes, value: bytes) -> Definition:
    """The definition in an entry of the catalog. CorruptionError unless it has the parts that it must have."""
    import json  # see `changed_entries`

    try:
        definition = json.loads(value)
        parts = [definition, definition.get("migration", {"tree": FREE + 1, "indexes": [], "journal": FREE + 1})]
        kept = [tree for _, tree in parts[1].get("kept", [])]
        trees = [tree for part in parts for tree in (part["tree"], *(tree for _, tree in part["indexes"]))]
        names = [definition["name"], *(name for part in parts for name, _ in part["indexes"])]
        sound = (
            entry_key(definition["id"]) == key
            and all(isinstance(name, str) for name in names)
            and all(type(tree) is int and FREE < tree < 2**32 for tree in (*trees, parts[1]["journal"]))
            and {*kept} <= {tree for _, tree in definition["indexes"]}
            and isinstance(definition["schemas"], list)
            and definition["schemas"]
        )
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CorruptionError(f"the catalog is damaged: no definition: {error!r:.200}", tree=CATALOG) from None
    if not sound:
        raise CorruptionError("the catalog is damaged: a definition says what cannot be", tree=CATALOG)
    return dict(definition)


def entries(pager: Pager, root: tuple[int, int, int, int]) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a tree in key order."""
    cursor = Cursor(pager, root)
    more = cursor.to_first()
    while more:
        yield cursor.entry()
        more = cursor.step()
