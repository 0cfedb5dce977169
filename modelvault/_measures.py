"""The sizes of a database: what `stats` says of its collections and of its file."""

from __future__ import annotations

from typing import Any

from modelvault._core.survey import estimate_pages
from modelvault._engine import Engine
from modelvault.errors import ColdPage, CorruptionError

__all__ = ["measures"]


def measures(engine: Engine, wait: bool) -> dict[str, Any]:
    """Sizes of the newest version, by name; see `AsyncUpkeep.stats`. wait: for branches that are not in memory."""
    latest, pager = engine.latest, engine.pager
    collections: dict[str, Any] = {}
    for name, definition in latest.definitions.items():
        indexes = {index: measure(engine, tree, "entries", wait) for index, tree in definition["indexes"]}
        collections[name] = {**measure(engine, definition["tree"], "rows", wait), "indexes": indexes}
    free = 0 if engine.volatile else pager.free_pages
    pages = pager.draft_count if engine.volatile else pager.page_count
    return {
        "rows": sum(one["rows"] for one in collections.values()),
        "file_bytes": 0 if engine.volatile else engine.file.size(),
        "live_bytes": (pages - free) * pager.page_size,
        "free_bytes": free * pager.page_size,
        "oldest_reader": latest.generation if engine.volatile else engine.oldest_reader(),
        "collections": collections,
    }


def measure(engine: Engine, tree: int, what: str, wait: bool) -> dict[str, int | None]:
    """How many entries a tree has, and about how many bytes its pages."""
    roots = engine.latest.roots
    root = roots[tree] if tree < len(roots) else (0, 0, 0, 0)
    size: int | None = None
    try:
        size = estimate_pages(engine.pager, root, wait) * engine.pager.page_size
    except (ColdPage, CorruptionError):
        pass
    return {what: root[3], "bytes": size}
