"""Compaction of a file in its place, while others read and write.

It is a row of ordinary commits, each of which changes where some pages stand and nothing else: half-empty neighbours
are written into fewer pages, then what stands near the end of the file moves into free space at its beginning, and at
last the file ends before the free pages at its end. So a crash between or in them leaves a sound file with the same
rows, and a version that somebody reads keeps its pages: the file gets as short as the oldest reader lets it.

New pages of every writer stand at the beginning meanwhile (`Pager.ceiling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from modelvault._core.file import is_full
from modelvault._core.packing import height, lower, move, pack
from modelvault._definitions import CATALOG, FREE, Write
from modelvault._engine import Engine

__all__ = ["compacting"]

Walk = Callable[[Write, bytes | None], tuple[bytes | None, int]]
"""Changes the span that begins at a key; where the next one begins, None at the end, and how many pages it changed."""

PART: Final = 1 << 22  # bytes of pages that one commit writes anew
SPAN: Final = 1 << 20  # bytes of neighbouring pages packed together
LEAST: Final = 1 << 16  # bytes of pages in a commit on a full disk
SLACK: Final = 16  # free pages, and a part of the others, that are left below the end of what is compact
LEAST_SLACK: Final = 8
MARGIN: Final = 6  # of them, what a commit needs for the catalog and the free tree
SLACK_SHARE: Final = 64
ROUNDS: Final = 6
AGING: Final = 3  # commits until what one of them has freed can be used again


def compacting(engine: Engine) -> Iterator[int]:
    """Compact a file: each step is a commit, in the writer's turn, and yields the bytes that it wrote anew.

    OSError: the disk is full, and nothing free in the file; or as in any commit. CorruptionError.
    """
    return Compaction(engine).run()


class Chunk:
    """Some spans that are changed in one commit, from a key on, as long as there is room for what they become."""

    def __init__(self, walk: Walk, room: Callable[[Write], int], start: bytes | None, most: int) -> None:
        self._walk = walk
        self._room = room
        self._most = most
        self.place = start
        self.more = True
        self.stuck = False

    def change(self, write: Write) -> int:
        """Change them; how many pages."""
        room, changed = min(self._room(write), self._most), 0
        while self.more:
            if write.draft.single_pages + write.draft.extent_pages >= room:
                self.stuck = room < self._most
                break
            self.place, pages = self._walk(write, self.place)
            self.more = self.place is not None
            changed += pages
        return changed


class Compaction:
    """One compaction under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._part = PART

    def run(self) -> Iterator[int]:
        """See `compacting`."""
        pager = self._engine.pager
        try:
            yield self._drop_log(0)
            pager.ceiling = self._end
            for tree in self._trees():
                yield from self._pack(tree)
            slack = SLACK
            for _ in range(ROUNDS):
                before = self._end
                yield from self._age()
                live = self._end - pager.free_pages
                pager.ceiling = live + live // SLACK_SHARE + slack
                yield self._drop_log(pager.ceiling)
                for extents in (True, False):
                    for tree in (*self._trees(), CATALOG, FREE):
                        yield from self._move(tree, extents)
                yield from self._shorten()
                if self._end > pager.ceiling:
                    if self._end >= before:
                        break
                elif slack == LEAST_SLACK or self._end - live < slack // 2 + live // 8:
                    break
                else:
                    slack -= (SLACK - LEAST_SLACK) // 2  # for a small file it is much
        finally:
            pager.ceiling = 0

    @property
    def _end(self) -> int:
        """Pages in the file."""
        return self._engine.meta.page_count

    def _trees(self) -> range:
        """The ids of the trees that hold rows and index entries."""
        return range(2, len(self._engine.latest.roots))

    def _drop_log(self, ceiling: int) -> int:
        """Do without a log if it stands too high; the next small commits make one."""
        meta = self._engine.meta
        if meta.log_pages and meta.log_page + meta.log_pages > ceiling:
            self._engine.checkpoints.drop_log()
        return 0

    def _commit(self, change: Callable[[Write], int]) -> int:
        """Commit what a change of the write makes, and return what it returned: a number of pages, 0 for no commit."""
        engine = self._engine
        write = engine.begin()
        try:
            write.take_room()
            assert write.space is not None
            write.space.spend_reserve = True
            pages = change(write)
            if pages:
                engine.commit(write)
            return pages
        finally:
            if engine.write is write:
                engine.rollback(write)

    def _chunks(self, walk: Walk, room: Callable[[Write], int]) -> Iterator[int]:
        """Go over the spans of a level, some of them in each commit, with room for so many pages in it.

        A full disk gets smaller commits. Where there is no room it waits for what the last commits have freed, and then
        gives up.
        """
        page_size = self._engine.meta.page_size
        start: bytes | None = None
        more, patience = True, AGING
        while more:
            chunk = Chunk(walk, room, start, self._part // page_size)
            try:
                pages = self._commit(chunk.change)
            except OSError as error:
                if not is_full(error) or self._part <= LEAST:
                    raise
                self._part //= 4
                continue
            start, more = chunk.place, chunk.more
            patience = AGING if pages else patience - 1
            if chunk.stuck and not pages:
                if patience < 0:
                    return
                self._commit(lambda write: 1)
            yield pages * page_size

    def _pack(self, tree: int) -> Iterator[int]:
        """Write the half-empty pages of a tree into fewer ones, from the leaves upward."""
        engine = self._engine
        for level in range(1, 1 + height(engine.pager, engine.latest.roots, tree)):

            def walk(write: Write, start: bytes | None, level: int = level) -> tuple[bytes | None, int]:
                most = min(SPAN, self._part) // write.draft.pager.page_size
                return pack(write.draft, write.roots, tree, level, start, most)

            yield from self._chunks(walk, lambda write: self._end)
        yield self._commit(lambda write: lower(write.draft, write.roots, tree))

    def _move(self, tree: int, extents: bool) -> Iterator[int]:
        """Move the pages of a tree that stand too high, or its long values, as far as there is room for them."""
        engine = self._engine
        for level in range(1 + height(engine.pager, engine.latest.roots, tree)):

            def walk(write: Write, start: bytes | None, level: int = level) -> tuple[bytes | None, int]:
                most = SPAN // write.draft.pager.page_size
                return move(write.draft, write.roots, tree, level, start, most, engine.pager.ceiling, extents)

            def room(write: Write) -> int:
                assert write.space is not None
                return write.space.usable(write.roots)[1] - MARGIN

            yield from self._chunks(walk, room)

    def _age(self) -> Iterator[int]:
        """Let commits pass until what was freed before can be used again, unless somebody reads it."""
        for _ in range(AGING):
            self._commit(lambda write: 1)
            yield 0

    def _shorten(self) -> Iterator[int]:
        """Let the file end before the free pages at its end."""
        for _ in range(AGING):

            def change(write: Write) -> int:
                assert write.space is not None
                write.space.shorten(write.roots)
                return 1

            self._commit(change)
            self._engine.checkpoints.trim()
            yield 0
