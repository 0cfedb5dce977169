"""How a process that only reads keeps up with the one that writes.

Nobody sends it anything. The writer's lock says how far it may see (docs/format.md section 8), and it looks in the file
for what leads there: the newest meta, and the records of the log behind it. Where no writer lives it may see everything
that is whole; it makes that durable first, so that no power failure undoes what somebody has seen.

A byte-range lock for each generation that it reads keeps the writer from using the pages of that generation again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelvault._committed import Committed
from modelvault._core.file import File
from modelvault._core.meta import Meta, read_meta, unpack
from modelvault.errors import ColdPage, CorruptionError

META_SIZE: Final = 512
PATIENCE: Final = 100  # times that a reader looks again while the writer is faster


class Follower:
    """What follows the file: `state` moves on to the newest commit in it."""

    def __init__(self, state: Committed) -> None:
        self._state = state

    def is_behind(self, wait: bool = True) -> bool:
        """Whether there is a newer commit; with wait False also True where it would have to wait for the disk.

        Without a writer it is looked for in the meta slot that the latest one is not in, and in the log.
        """
        state = self._state
        limit = state.file.published()
        if limit is not None:
            return limit > state.log.sequence
        page = 2 * ((state.meta.generation + 1) % 2)
        found = unpack(state.file.read_at(page * state.meta.page_size, META_SIZE, wait) or b"")
        if found is None or found[0].generation > state.meta.generation:
            return True
        try:
            return state.log.next(wait) is not None
        except ColdPage:
            return True

    def follow(self) -> None:
        """Move to the newest commit. CorruptionError, OSError."""
        state = self._state
        least = state.log.sequence
        for _ in range(PATIENCE):
            previous = state.meta.generation
            newest, limit = lock_newest(state.file, state.reads)
            if newest.generation != previous:
                state.load(newest, anew=True)
                self.unlock(previous)
            last = self._last() if limit is None else limit
            if last is None:
                continue
            state.replay(last)
            if state.log.sequence >= max(last, least) and (limit is not None or not self._is_passed()):
                return
        raise CorruptionError(f"{state.path}: its log misses commit {state.log.sequence + 1}", path=state.path)

    def _last(self) -> int | None:
        """The last commit that is in the log, made durable; None: it is for a writer to say, who has come meanwhile."""
        state = self._state
        last = state.log.reach()
        state.file.sync()
        return last if state.file.published() is None else None

    def check_end(self) -> None:
        """CorruptionError if the log misses a commit, and not because the writer goes on."""
        state = self._state
        for _ in range(PATIENCE):
            try:
                state.log.torn()
                return
            except CorruptionError:
                before = (state.meta.generation, state.log.sequence)
                self.follow()
                if before == (state.meta.generation, state.log.sequence):
                    raise

    def unlock(self, generation: int) -> None:
        """The pages of a generation may be used again, as far as this reader is concerned, unless it reads them."""
        if not self._state.reads(generation):
            self._state.file.unlock_snapshot(generation)

    def _is_passed(self) -> bool:
        """Whether the file has a newer meta than ours."""
        return bool(read_meta(self._state.file).generation != self._state.meta.generation)


def lock_newest(file: File, reads: Callable[[int], bool] = lambda generation: False) -> tuple[Meta, int | None]:
    """The newest meta that may be seen, with its pages kept from being used again, and `File.published`.

    Between reading a meta and locking its generation the writer may go on. The lock holds if the meta is still the
    newest, or the newer one is not published yet: its writer looks for locks before it uses more pages.
    reads: whether a generation is locked already, and has to stay so.
    """
    while True:
        limit = file.published()
        meta = read_meta(file, limit=limit)
        file.lock_snapshot(meta.generation)
        newest = read_meta(file)
        if limit is None or meta.sequence <= limit:
            if newest.generation == meta.generation:
                return meta, limit
            if newest.generation == meta.generation + 1 and (file.published() or 0) < newest.sequence:
                return meta, limit
        if not reads(meta.generation):
            file.unlock_snapshot(meta.generation)
