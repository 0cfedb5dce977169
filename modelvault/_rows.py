"""Rows one after the other: out of a collection in batches, and into one as an iterable yields them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from modelvault._reading import Opener, Reading

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from modelvault._core.batch import Batch
    from modelvault._core.record import Face
    from modelvault.conditions import Selection

__all__ = ["Filler", "Rows", "Supply"]

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


class Filler(Protocol):
    """Where the rows of an insert come from."""

    async def fill(self, batch: Batch, count: int) -> int:
        """Encode the next `count` rows into a batch, fewer at the end; how many there were."""
        ...


class Supply(Generic[M]):
    """A plain or an asynchronous iterable of rows, encoded one by one as they come.

    check: is asked about the class and a row that is no instance of the class itself.
    """

    def __init__(
        self,
        rows: Iterable[M] | AsyncIterable[M],
        face: Face,
        cls: type,
        check: Callable[[type, Any], object],
    ) -> None:
        self._plain = None if isinstance(rows, AsyncIterable) else iter(rows)
        self._asynchronous = aiter(rows) if isinstance(rows, AsyncIterable) else None
        self._face = face
        self._cls = cls
        self._check = check

    async def fill(self, batch: Batch, count: int) -> int:
        """Encode the next `count` rows into a batch, fewer at the end; how many there were."""
        if self._plain is not None:
            return batch.take(self._face, self._plain, count, self._cls, self._check)
        assert self._asynchronous is not None
        for number in range(count):
            try:
                row = await anext(self._asynchronous)
            except StopAsyncIteration:
                return number
            batch.add(self._face, row, self._cls, self._check)
        return count
