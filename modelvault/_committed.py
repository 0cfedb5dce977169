"""What is committed: the newest version, the checkpoint that it follows, and the log between the two; who reads what.

The engine adds commits, checkpoints bring them into the trees of the file, and a follower takes over what another
process commits. All three change what stands here.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from modelvault._core.draft import Draft
from modelvault._core.file import File
from modelvault._core.history import History
from modelvault._core.log import Log
from modelvault._core.meta import Meta
from modelvault._core.pager import Pager
from modelvault._core.space import check_space, free_runs
from modelvault._core.tree import Roots
from modelvault._core.walk import Tree
from modelvault._definitions import Definition, Version, Write, apply_entries, load_catalog
from modelvault.errors import CorruptionError

NO_PIN: Final = 2**64 - 1


class Committed(History):
    """The state of one open database.

    log_file: a second handle of the file, for the log. volatile: the database is in memory; its drafts are all of it.
    """

    # What the core's History has, said again for type checkers.
    latest: Version
    log: Log
    meta: Meta
    next_ids: tuple[int, int]
    write: Write | None
    lane: Write | None
    lock: threading.Lock
    pinned: dict[int, int]

    def __init__(self, file: File, log_file: File, pager: Pager, meta: Meta, *, volatile: bool) -> None:
        self.file = file
        self.log_file = log_file
        self.pager = pager
        self.volatile = volatile
        self.write = None
        self.lock = threading.Lock()
        self.pinned = {}
        self.load(meta)

    @property
    def path(self) -> str:
        """The path as given to `open`, or ':memory:'."""
        return str(self.file.path)

    def load(self, meta: Meta, *, anew: bool = False) -> None:
        """Begin with the trees of a stored checkpoint. anew: there is a newest version, and it is so no longer."""
        stored, definitions = load_catalog(self.pager, meta)
        with self.lock:
            if anew:
                self.pager.retire_all()
            self.pager.start_over()
            self.pager.page_count, self.pager.free_pages = meta.page_count, meta.free_pages
            self.meta = meta
            self.next_ids = (meta.next_tree, meta.next_collection)
            self.stored: Roots = stored  # what the meta names
            self.stored_definitions: dict[str, Definition] = definitions
            self.log = Log(self.log_file, meta)
            self.show(stored.copy(), definitions)

    def show(self, roots: Any, definitions: dict[str, Definition]) -> None:
        """These trees are the newest version, in this process."""
        self.latest = self.version(roots, definitions)

    def version(self, roots: Any, definitions: dict[str, Definition]) -> Version:
        """The version with these trees."""
        return Version(roots, self.meta, self.log.sequence, definitions, self.pager.unnoted)

    def replay(self, limit: int | None = None) -> None:
        """Apply the records of the log that are not in the newest version yet, up to commit `limit`."""
        before = self.log.sequence
        draft = Draft(self.pager)
        roots = self.latest.roots.copy()
        try:
            changes, next_tree, next_collection = self.log.replay(draft, roots, limit)
        except BaseException:
            draft.rollback()
            raise
        if self.log.sequence == before:
            return
        definitions = self.latest.definitions
        if changes:
            definitions = apply_entries(definitions, changes)
        with self.lock:
            if next_tree is not None and next_collection is not None:
                self.next_ids = (next_tree, next_collection)
            draft.publish(self.newest_stamp())
            self.show(roots, definitions)
            self.pager.release(self.least_stamp())

    # Who reads what

    def pin(self) -> Version:
        """The newest version, kept readable until `unpin`."""
        with self.lock:
            latest = self.latest
            version = latest.twin(latest.roots.copy() if self.volatile else latest.roots)
            version.stamp, version.pins = self.pager.freeze(), 1
            self.lane = None
            self.pinned[version.stamp] = version.generation
            return version

    def share(self, version: Version) -> Version:
        """A pinned version once more, to be unpinned once more."""
        with self.lock:
            version.pins += 1
            return version

    def unpin(self, version: Version) -> None:
        """Give a pinned version up."""
        with self.lock:
            version.pins -= 1
            if version.pins:
                return
            del self.pinned[version.stamp]
            if self.closed:
                return
            self.pager.release(self.least_stamp())
            self.unused(version.generation)

    def unused(self, generation: int) -> None:
        """A version of this generation is no longer read; called with the lock held."""

    def reads(self, generation: int) -> bool:
        """Whether somebody here reads this generation."""
        return generation in self.generations()

    def generations(self) -> set[int]:
        """The generations that somebody here reads."""
        return {self.meta.generation, *self.pinned.values()}

    @property
    def pins(self) -> int:
        """How many versions are pinned."""
        return len(self.pinned)

    def oldest_reader(self) -> int:
        """The oldest generation that somebody here or in another process reads."""
        elsewhere = self.file.oldest_snapshot(0, self.meta.generation)
        with self.lock:  # pin() may have read `latest` a while ago and not have entered it yet
            generation = self.meta.generation
            return min(generation, *self.pinned.values(), generation if elsewhere is None else elsewhere)

    # Looking after itself

    def check(self, version: Version | None = None) -> None:
        """Walk all trees of a pinned version, else of the newest: every page is reachable once, or free, or pending.

        CorruptionError if not.
        """
        version = version or self.latest
        draft = Draft(self.pager, 0, True)
        newest = NO_PIN if self.volatile else version.generation
        roots = [version.roots[tree] for tree in range(len(version.roots))]
        reached = [page for root in roots for page in Tree(draft, root).check(newest)]
        if self.volatile:
            return
        sealed = [(number, pages) for number, pages in reached if number < version.page_count]
        if len(sealed) + sum(number >> 63 for number, _ in reached) != len(reached):
            raise CorruptionError(f"{self.path}: a page is reached behind the end of the file", path=self.path)
        meta = version.meta
        log = [(meta.log_page, meta.log_pages)] if meta.log_pages else []
        check_space(
            version.page_count, sealed + version.freed + log, free_runs(self.pager, version.roots, version.page_count)
        )
