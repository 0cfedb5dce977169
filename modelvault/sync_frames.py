"""The rows of a collection or query as a whole table, blocking."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from modelvault._core.drive import drive
from modelvault._libraries import library
from modelvault.frames import BATCH
from modelvault.sync_rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from modelvault.frames import AsyncFrames

__all__ = ["Frames"]


class Frames:
    """The rows of a collection or query as a table: a column for each field, or for each that is selected.

    Values go from the stored rows into Arrow's memory, and none of them becomes a Python object on the way. Extra
    `arrow`: pyarrow.
    """

    __slots__ = ()

    _twin: AsyncFrames

    def to_arrow(self) -> pa.Table:
        """The rows as a `pyarrow.Table`, of one snapshot; which type a field has there is in the guide.

        ModelVaultQueryError for a value that its column cannot hold: it names column and row.
        """
        return drive(self._twin.to_arrow())

    def to_arrow_batches(self, rows: int = BATCH) -> Rows[pa.RecordBatch]:
        """The rows as `pyarrow.RecordBatch` of at most so many rows, one after the other: one snapshot, bounded memory.

        There is at least one, which may be empty. Errors as of `to_arrow`.
        """
        return Rows(self._twin.to_arrow_batches(rows))

    def to_pandas(self, **options: Any) -> pd.DataFrame:
        """The rows as a `pandas.DataFrame`; options: of `pyarrow.Table.to_pandas`. Errors as of `to_arrow`."""
        return drive(self._twin.to_pandas(**options))

    def to_polars(self) -> pl.DataFrame:
        """The rows as a `polars.DataFrame`. Errors as of `to_arrow`."""
        return drive(self._twin.to_polars())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows as a stream of the Arrow PyCapsule interface, which reads them as it is asked: one snapshot."""
        pa = library("pyarrow", "__arrow_c_stream__")
        batches = self.to_arrow_batches()
        first = next(batches)
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
        capsule: object = reader.__arrow_c_stream__(requested_schema)
        return capsule
