"""Definitions of collections, and roots of trees: as they stand in the catalog of the file.

Every `Version` has them, and a `Write` makes the next ones; both are the core's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelvault._core.commit import unpack_root
from modelvault._core.cursor import Cursor
from modelvault._core.history import Savepoint, Version, Write
from modelvault._core.meta import MOST_TREES, Meta
from modelvault._core.pager import Pager
from modelvault._core.tree import Roots
from modelvault.errors import CorruptionError

__all__ = [
    "CATALOG",
    "FREE",
    "NO_ROOT",
    "Definition",
    "Entries",
    "Root",
    "Savepoint",
    "Version",
    "Write",
    "apply_entries",
    "changed_entries",
    "entries",
    "entry_key",
    "load_catalog",
]

CATALOG: Final = 0
FREE: Final = 1
NO_ROOT: Final = (0, 0, 0, 0)
Root = tuple[int, int, int, int]

Definition = dict[str, Any]
Entries = list[tuple[bytes, bytes | None]]
"""What changes in the catalog: keys, and values or None for an entry that goes."""


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
            tree = int.from_bytes(key[1:], "big")
            if not FREE < tree < MOST_TREES:
                raise CorruptionError(f"the catalog is damaged: there is no tree {tree}", tree=CATALOG)
            roots[tree] = unpack_root(value)
        elif key[:1] == b"c":
            definition = parse_definition(key, value)
            definitions[definition["name"]] = definition
    trees = max((tree for definition in definitions.values() for tree in trees_of(definition)), default=FREE)
    ids = max((definition["id"] for definition in definitions.values()), default=-1)
    if max(trees + 1, len(roots)) > meta.next_tree or ids >= meta.next_collection:
        raise CorruptionError("the catalog is damaged: it has trees or collections that there never were", tree=CATALOG)
    return roots, definitions


def trees_of(definition: Definition) -> list[Any]:
    """The ids of all trees that a definition names."""
    migration = definition.get("migration", {"tree": FREE + 1, "indexes": [], "journal": FREE + 1})
    parts = (definition, migration)
    return [
        *(tree for part in parts for tree in (part["tree"], *(tree for _, tree in part["indexes"]))),
        migration["journal"],
    ]


def parse_definition(key: bytes, value: bytes) -> Definition:
    """The definition in an entry of the catalog. CorruptionError unless it has the parts that it must have."""
    import json  # see `changed_entries`

    try:
        definition = json.loads(value)
        parts = [definition, definition.get("migration", {"indexes": []})]
        kept = [tree for _, tree in parts[1].get("kept", [])]
        names = [definition["name"], *(name for part in parts for name, _ in part["indexes"])]
        sound = (
            entry_key(definition["id"]) == key
            and all(isinstance(name, str) for name in names)
            and all(type(tree) is int and FREE < tree < MOST_TREES for tree in trees_of(definition))
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
