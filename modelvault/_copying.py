"""Copies of one version: into another file, into memory, into bytes.

A version of a file is copied as the pages of its checkpoint, in the order of the file, each of them checked; what the
log has added to it since is grafted onto the copy. So a copy takes nobody's turn, works in a process that only reads,
and is one commit's state although writers go on. A version in memory, and a copy that is to be compact, is poured:
every tree is written anew, in key order.

Everything here is a generator that does a part and yields how many bytes it had: who drives it decides where it runs,
and stops it by closing it. The version must be pinned until the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelvault._core.copying import PageCheck, Pour, graft, used_pages
from modelvault._core.file import File
from modelvault._core.meta import write_meta
from modelvault._definitions import CATALOG, NO_ROOT, Version, Write, entries, load_catalog
from modelvault._engine import Engine
from modelvault._frozen import replace
from modelvault._options import CACHE_SIZE
from modelvault.errors import CorruptionError

__all__ = ["copy_pages", "pour_into", "pour_to_file"]

PART: Final = 1 << 20  # bytes of pages copied at once
SLICE: Final = 1 << 18  # bytes of entries poured at once


def copy_pages(engine: Engine, version: Version, file: File) -> Iterator[int]:
    """Make an empty file a copy of a pinned version of a file, with the same pages. CorruptionError, OSError."""
    engine.checkpoints.wait()
    base = version.meta
    roots, _ = load_catalog(engine.pager, base)
    check = PageCheck(engine.pager, roots, base.generation)
    used = used_pages(engine.pager, roots, base.page_count, base.log_page, base.log_pages)
    size = base.page_size
    file.reserve(0, base.page_count * size)
    page = used.find(1)
    while page >= 0:
        end = used.find(0, page, page + PART // size)
        end = min(page + PART // size, base.page_count) if end < 0 else end
        data = engine.file.read_at(page * size, (end - page) * size) or b""
        done, missing = check.check(data, page) if len(data) == (end - page) * size else (0, 0)
        if not done and missing and used.find(0, page, page + missing) < 0:
            data = engine.file.read_at(page * size, missing * size) or b""
            done = check.check(data, page)[0] if len(data) == missing * size else 0
        if not done:
            raise engine.pager.damaged(page, "it reaches beyond the end of the file")
        file.write_at(page * size, [memoryview(data)[: done * size]])
        yield done * size
        page = used.find(1, page + done)
    if not check.whole:
        engine.check(version)  # names the page
        raise CorruptionError(f"{engine.path}: a page is not the version that its parent refers to", path=engine.path)
    finish_pages(engine, version, file)


def finish_pages(engine: Engine, version: Version, file: File) -> None:
    """Give a copy of a checkpoint's pages its metas, and what the version has besides."""
    base = version.meta
    changed = version.sequence != base.sequence or bool(base.log_pages)
    sequence = version.sequence - changed
    meta = replace(base, sequence=sequence, log_page=0, log_pages=0, log_start=0, log_chain=0)
    if base.generation:
        write_meta(file, replace(meta, generation=base.generation - 1))
        write_meta(file, meta)
    else:
        write_meta(file, meta, 0)
        write_meta(file, meta, 1)
    if not changed:
        return
    target = Engine.open_file(file, durability="off")
    try:
        write = target.begin()
        write.take_room()
        prepare(engine, version, write)
        graft(write.draft, write.roots, engine.pager, version.roots, base.generation)
        for number, pages in version.freed:
            write.draft.free_sealed(number, pages)
        if base.log_pages:
            write.draft.free_sealed(base.log_page, base.log_pages)
        target.commit(write)
    finally:
        target.leave()


def pour_to_file(engine: Engine, version: Version, file: File, cache_size: int = CACHE_SIZE) -> Iterator[int]:
    """Make an empty file a compact database with the content of a pinned version."""
    target = Engine.open_file(file, durability="off", page_size=version.meta.page_size, cache_size=cache_size)
    try:
        yield from pour_into(engine, version, target)
    finally:
        target.leave()


def pour_into(engine: Engine, version: Version, target: Engine) -> Iterator[int]:
    """Give an empty database of the same page size the content of a pinned version. CorruptionError, OSError."""
    write = target.begin()
    try:
        write.take_room()
        prepare(engine, version, write)
        for key, value in entries(engine.pager, version.roots[CATALOG]):
            if key[:1] in (b"m", b"g"):
                write.put(CATALOG, key, value)
        for tree in range(2, len(version.roots)):
            if version.roots[tree] == NO_ROOT:
                continue
            pour = Pour(engine.pager, version.roots, tree)
            while done := pour.next(write.draft, write.roots, SLICE):
                if write.is_large:
                    write.spill()
                yield done
            check_count(engine, tree, version.roots[tree][3], write.roots[tree][3])
        target.commit(write)
    finally:
        if target.write is write:
            target.rollback(write)


def check_count(engine: Engine, tree: int, expected: int, found: int) -> None:
    """CorruptionError if a tree had not as many entries as it should have."""
    if expected != found:
        message = f"{engine.path}: tree {tree} has {found} entries and should have {expected}"
        raise CorruptionError(message, tree=tree, path=engine.path)


def prepare(engine: Engine, version: Version, write: Write) -> None:
    """Give a write the definitions of a version, and room for its trees."""
    write.definitions = version.definitions
    write.next_tree, write.next_collection = engine.next_ids
    for tree in range(2, write.next_tree):
        write.roots[tree] = NO_ROOT
