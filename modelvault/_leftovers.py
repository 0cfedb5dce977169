"""Trees that no collection uses any more, and the traces of a rewrite that has ended.

Replaced trees are noted in the catalog and given up one transaction later: whoever found the old definition a moment
ago still finds its rows.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

from modelvault._core.cursor import Cursor
from modelvault._core.walk import Tree
from modelvault._definitions import CATALOG, Definition, Write
from modelvault._store import Catalog
from modelvault._unit import Work
from modelvault.errors import ColdPage

__all__ = ["discard", "forget_migration", "mark_key", "shadow_trees", "sweep"]


def discard(write: Write, trees: Collection[int]) -> None:
    """Note trees that no collection uses any more, for `sweep`."""
    if not trees:
        return
    write.take_room()
    catalog = Tree(write.draft, write.roots[CATALOG])
    for tree in trees:
        catalog.put(b"g" + tree.to_bytes(4, "big"), b"")
    write.roots[CATALOG] = catalog.root


async def sweep(catalog: Catalog) -> None:
    """Give up the pages of trees that no collection uses any more.

    A transaction after the one that replaced them: whoever found the old definition a moment ago still finds rows.
    """

    def drop(write: Write, wait: bool) -> None:
        if not wait:
            raise ColdPage("dropping a tree reads it")
        write.take_room()
        entries = Tree(write.draft, write.roots[CATALOG])
        marks = [key for key, _ in islice(entries.items(b"g"), 4096) if key[:1] == b"g"]
        for key in marks:
            number = int.from_bytes(key[1:], "big")
            tree = Tree(write.draft, write.roots[number])
            tree.drop()
            write.roots[number] = tree.root
            entries.delete(key)
        write.roots[CATALOG] = entries.root

    def look(roots: Any, wait: bool) -> bool:
        cursor = Cursor(catalog.access.engine.pager, roots[CATALOG])
        return cursor.to(b"g") and cursor.entry()[0][:1] == b"g"

    if await catalog.access.read(look):
        async with Work(catalog.access, None) as unit:
            await unit.perform(drop, away=True)


def shadow_trees(definition: Definition) -> list[int]:
    """The trees of a rewrite that has begun."""
    state = definition.get("migration")
    if state is None:
        return []
    return [state["tree"], state["journal"], *(tree for _, tree in state["indexes"])]


def mark_key(definition: Definition) -> bytes:
    """Where the catalog says how far a rewrite has come."""
    return b"m" + int(definition["id"]).to_bytes(4, "big")


def forget_migration(write: Write, definition: Definition) -> None:
    """Erase how far a rewrite has come."""
    if "migration" in definition:
        write.take_room()
        catalog = Tree(write.draft, write.roots[CATALOG])
        catalog.delete(mark_key(definition))
        write.roots[CATALOG] = catalog.root
