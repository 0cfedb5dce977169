"""How a process that only reads keeps up with the one that writes.

Nobody tells it of commits: it looks in the file, for a newer meta and for the next record of the log. A byte-range lock
for each generation that it reads keeps the writer from using the pages of that generation again.
"""

from __future__ import annotations

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
        """Whether the file has a newer commit: in the meta slot that the latest one is not in, or in the log.

        With wait False also True where it would have to wait for the disk.
        """
        state = self._state
        page = 2 * ((state.meta.generation + 1) % 2)
        found = unpack(state.file.read_at(page * state.meta.page_size, META_SIZE, wait) or b"")
        if found is None or found[0].generation > state.meta.generation:
            return True
        try:
            return state.log.next(wait) is not None
        except ColdPage:
            return True

    def follow(self) -> None:
        """Move to the newest commit of the writer's process. CorruptionError, OSError."""
        state = self._state
        sequence = state.log.sequence
        for _ in range(PATIENCE):
            previous = state.meta.generation
            newest = lock_newest(state.file)
            if newest.generation != previous:
                state.pager.retire_all()
                state.load(newest)
                self.unlock(previous)
            state.replay()
            if state.log.sequence >= sequence and not self._is_passed():
                return
        raise CorruptionError(f"{state.path}: its log misses commit {state.log.sequence + 1}", path=state.path)

    def check_end(self) -> None:
        """CorruptionError if the log misses a commit, and not because the writer uses its space again."""
        for _ in range(PATIENCE):
            try:
                self._state.log.torn()
                return
            except CorruptionError:
                if not self._is_passed():
                    raise
                self.follow()

    def unlock(self, generation: int) -> None:
        """The pages of a generation may be used again, as far as this reader is concerned, unless it reads them."""
        if not self._state.reads(generation):
            self._state.file.unlock_snapshot(generation)

    def _is_passed(self) -> bool:
        """Whether the file has a newer meta than ours."""
        return bool(read_meta(self._state.file).generation != self._state.meta.generation)


def lock_newest(file: File) -> Meta:
    """The newest meta of a file that another process writes to, with its pages kept from being used again.

    Between reading a meta and locking its generation the writer may go on: the lock holds if it is at most one ahead.
    """
    meta = read_meta(file)
    while True:
        file.lock_snapshot(meta.generation)
        newest = read_meta(file)
        if newest.generation <= meta.generation + 1:
            return meta
        file.unlock_snapshot(meta.generation)
        meta = newest
