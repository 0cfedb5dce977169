"""Rows one after the other: out of a collection in batches, and into one as an iterable yields them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from modelvault._reading import Opener, Reading

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from modelvault.conditions import Selection

__all__ = ["Rows", "Slices"]

M = TypeVar("M")

BATCH: Final = 512  # rows in memory at a time


class Rows(Generic[M]):
    """An iterator over the rows that a selection asks for: one snapshot, one batch in memory.

    In a transaction it shows the transaction's own rows, as they are when a batch is read; where rows are sorted, as
    they were at the first step. It may be left at any point; `aclose` gives the snapshot up at once, and so does a
    cancellation of a step, else it goes with the object.
    """

    __slots__ = ("_batch", "_opener", "_reading", "_selection")

    def __init__(self, opener: Opener, selection: Selection) -> None:
        self._opener = opener
        self._selection: Selection | None = selection
        self._reading: Reading | None = None
        self._batch: list[M] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        if not self._batch:
            self._batch = await self._next()
            if not self._batch:
                raise StopAsyncIteration
            self._batch.reverse()
        return self._batch.pop()

    async def batch(self) -> list[M]:
        """The next rows, as many as come at once; none at the end."""
        found, self._batch = self._batch, []
        if not found:
            return await self._next()
        found.reverse()
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the snapshot up; there are no more rows."""
        self._selection = None
        self._batch = []
        if self._reading is not None:
            self._reading.close()

    async def _next(self) -> list[M]:
        """The next batch; none at the end."""
        if self._selection is None:
            return []
        if self._reading is None:
            self._reading = await Reading.begin(self._opener, self._selection, most=BATCH)
        try:
            rows: list[M] = await self._reading.rows()
        except Exception:
            raise
        except BaseException:
            self._reading.close()  # a cancellation: who keeps its traceback must not keep the snapshot
            raise
        if not rows:
            self._selection = None
        return rows


class Slices(Generic[M]):
    """A plain or an asynchronous iterable of rows, in encoded slices."""

    def __init__(self, rows: Iterable[M] | AsyncIterable[M], encode: Callable[[M], Any]) -> None:
        self._plain = None if isinstance(rows, AsyncIterable) else iter(rows)
        self._asynchronous = aiter(rows) if isinstance(rows, AsyncIterable) else None
        self._encode = encode

    async def next(self, count: int) -> list[Any]:
        """The next `count` rows, fewer at the end."""
        if self._plain is not None:
            return [self._encode(row) for row in islice(self._plain, count)]
        assert self._asynchronous is not None
        part: list[Any] = []
        while len(part) < count:
            try:
                part.append(self._encode(await anext(self._asynchronous)))
            except StopAsyncIteration:
                break
        return part
