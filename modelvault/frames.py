"""What can be asked of a collection or a query as a whole table: for Arrow, pandas and polars."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from modelvault._libraries import library

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelvault.conditions import Selection

__all__ = ["AsyncFrames", "BatchIterator", "checked_rows"]

T = TypeVar("T")

BATCH: Final = 65_536  # rows of a record batch
MOST: Final = 1 << 20


class BatchIterator(Protocol):
    """Record batches as they are read: `async for`, or `aclose()` before the end."""

    def __aiter__(self) -> AsyncIterator[pa.RecordBatch]:
        """Itself."""
        ...

    async def __anext__(self) -> pa.RecordBatch:
        """The next batch; the first has the types of all, and there is always one."""
        ...

    async def batch(self) -> Sequence[pa.RecordBatch]:
        """The next batch in a list; none at the end."""
        ...

    async def table(self, make: Callable[[pa.Table], T]) -> T:
        """What `make` makes of all batches that are left; on an event loop, in a worker thread."""
        ...

    async def aclose(self) -> None:
        """Give up what the iteration holds."""


class Tabular(Protocol):
    """Who answers: a collection."""

    def batches(self, selection: Selection, rows: int) -> BatchIterator:
        """An iterator over the rows as Arrow's record batches of so many rows, of one snapshot."""
        ...


class AsyncFrames:
    """The rows of a collection or query as a table: a column for each field, or for each that is selected.

    Values go from the stored rows into Arrow's memory, and none of them becomes a Python object on the way. Extra
    `arrow`: pyarrow.
    """

    __slots__ = ()

    __source__: Tabular
    __selection__: Selection

    async def to_arrow(self) -> pa.Table:
        """The rows as a `pyarrow.Table`, of one snapshot; which type a field has there is in the guide.

        ModelVaultQueryError for a value that its column cannot hold: it names column and row.
        """
        return await self._table("to_arrow()", lambda table: table)

    def to_arrow_batches(self, rows: int = BATCH) -> BatchIterator:
        """The rows as `pyarrow.RecordBatch` of at most so many rows, one after the other: one snapshot, bounded memory.

        There is at least one, which may be empty. Errors as of `to_arrow`.
        """
        library("pyarrow", "to_arrow_batches()")
        return self.__source__.batches(self.__selection__, checked_rows(rows))

    async def to_pandas(self, **options: Any) -> pd.DataFrame:
        """The rows as a `pandas.DataFrame`; options: of `pyarrow.Table.to_pandas`. Errors as of `to_arrow`."""
        library("pandas", "to_pandas()")

        def frame(table: Any) -> pd.DataFrame:
            made: pd.DataFrame = table.to_pandas(**options)
            return made

        return await self._table("to_pandas()", frame)

    async def to_polars(self) -> pl.DataFrame:
        """The rows as a `polars.DataFrame`. Errors as of `to_arrow`."""
        polars = library("polars", "to_polars()")
        frame: pl.DataFrame = await self._table("to_polars()", polars.DataFrame)
        return frame

    async def _table(self, what: str, make: Callable[[pa.Table], T]) -> T:
        """All rows as a table, and what is made of it. what: who needs pyarrow, for the error."""
        library("pyarrow", what)
        return await self.__source__.batches(self.__selection__, BATCH).table(make)


def checked_rows(rows: Any) -> int:
    """A number of rows of a batch, from 1 to 1,048,576; ValueError."""
    count = operator.index(rows)
    if not 1 <= count <= MOST:
        raise ValueError(f"a batch has 1 to {MOST:,} rows, not {count:,}")
    return count
