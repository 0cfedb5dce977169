"""Many rows into a collection: collected in batches, and put in one commit, or in commits of so many rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from modelvault._core.batch import Batch
from modelvault._handle import SLICE, Handle
from modelvault._progress import Progress
from modelvault._statements import atomically, put_whole
from modelvault._unit import Work

if TYPE_CHECKING:
    from modelvault._rows import Filler
    from modelvault._store import Binding
    from modelvault._unit import Unit

__all__ = ["load"]

SMALL: Final = 1024  # rows that are collected before the writer's turn is taken for them
ALL: Final = sys.maxsize


async def load(
    handle: Handle, binding: Binding, source: Filler, chunk: int | None, progress: bool | Callable[[int], object]
) -> int:
    """Store all that the source has; how many rows."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    loading = Loading(handle, binding, source, Progress(handle.name, progress))
    while await loading.commit(chunk):
        pass
    loading.meter.close()
    return loading.meter.count


class Loading:
    """Rows on their way from a source into a collection."""

    __slots__ = ("_access", "_binding", "_handle", "_source", "meter")

    def __init__(self, handle: Handle, binding: Binding, source: Filler, meter: Progress) -> None:
        self._handle = handle
        self._access = handle.access
        self._binding = binding
        self._source = source
        self.meter = meter

    async def commit(self, chunk: int | None) -> bool:
        """Store at most `chunk` rows in one commit; False if the source has come to its end."""
        unit = self._handle.unit or self._access.attend()
        if unit is not None:
            return await self._put_into(unit, Batch(), chunk)
        size = SMALL if chunk is None else min(chunk, SMALL)
        first = Batch()
        more = await self._gather(first, size)
        if not more or first.count == chunk:
            if first.count:
                await self._handle.write(partial(atomically, partial(put_whole, self._binding, first)))
                self.meter.add(first.count)
            return more
        async with Work(self._access) as unit:
            return await self._put_into(unit, first, chunk)

    async def _put_into(self, unit: Unit, batch: Batch, chunk: int | None) -> bool:
        """Store a batch and what the source has left, at most `chunk` rows, in a transaction; all or nothing."""
        async with unit.savepoint(alone=True):
            left = ALL if chunk is None else chunk
            while left:
                more = await self._gather(batch, left)
                await self._put(unit, batch)
                if not more:
                    return False
                left -= batch.count
                batch = Batch()
        return True

    async def _gather(self, batch: Batch, rows: int) -> bool:
        """Encode rows into a batch until it has so many, or takes much memory; False if the source comes to its end."""
        while batch.count < rows and batch.size < self._binding.batch_size:
            found = await self._source.fill(batch, min(SLICE, rows - batch.count))
            if not found:
                return False
            await self._access.breathe(found)
        return True

    async def _put(self, unit: Unit, batch: Batch) -> None:
        """Put all of a batch. What the source does comes before or after: rows without entries are seen by nobody."""
        done = 0
        while not await unit.perform(partial(self._binding.put_batch, batch)):
            await self._access.breathe(SLICE)
            self.meter.add(batch.at - done)
            done = batch.at
            if batch.unordered > SMALL:
                await self._access.runner.run(batch.order)
        self.meter.add(batch.at - done)
