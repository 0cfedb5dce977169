"""The rows of a selection as Arrow's record batches, portion by portion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from modelvault._arrow import batch_of, schema_of, table_of
from modelvault._core.sheet import Sheet
from modelvault._reading import Opener, Reading
from modelvault.conditions import RECORDS

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Self

    from modelvault._arrow import Portion
    from modelvault._search import Slice
    from modelvault.conditions import Selection

__all__ = ["Batches"]

T = TypeVar("T")


class Batches:
    """An iterator over the rows that a selection asks for, as record batches: one snapshot, one portion in memory.

    In a transaction it shows the transaction's own rows, as they are when a portion is read. It may be left at any
    point; `aclose` gives the snapshot up at once, and so does an error, else it goes with the object.
    """

    __slots__ = ("_opener", "_reading", "_rows", "_schema", "_selection", "_sheet")

    def __init__(self, opener: Opener, selection: Selection, rows: int) -> None:
        self._opener = opener
        self._selection: Selection | None = selection
        self._rows = rows
        self._reading: Reading | None = None
        self._sheet: Sheet | None = None
        self._schema: pa.Schema | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        portion = await self._next()
        if portion is None:
            raise StopAsyncIteration
        if self._schema is None:
            self._schema = schema_of(portion[1])
        return batch_of(self._schema, portion)

    async def batch(self) -> list[pa.RecordBatch]:
        """The next batch in a list; none at the end."""
        try:
            return [await self.__anext__()]
        except StopAsyncIteration:
            return []

    async def table(self, make: Callable[[pa.Table], T]) -> T:
        """What `make` makes of all batches that are left; on an event loop, in a worker thread."""
        portions: list[Portion] = []
        while (portion := await self._next()) is not None:
            portions.append(portion)
        made: T = await self._opener.access.runner.run(lambda: make(table_of(portions)))
        return made

    async def aclose(self) -> None:
        """Give the snapshot up; there are no more batches."""
        self._selection = None
        if self._reading is not None:
            self._reading.close()

    async def _next(self) -> Portion | None:
        """The next portion; at least one."""
        selection = self._selection
        if selection is None:
            return None
        try:
            if self._reading is None:
                self._reading = await Reading.begin(self._opener, selection, RECORDS)
                self._sheet = Sheet(self._reading.opened.shown.face.codecs, selection.fields, self._rows)
            assert self._sheet is not None
            unit = self._reading.unit
            if unit is None:
                return await self._read(self._reading, self._sheet)
            async with unit.hold():
                return await self._read(self._reading, self._sheet)
        except BaseException:
            await self.aclose()
            raise

    async def _read(self, reading: Reading, sheet: Sheet) -> Portion | None:
        """The next rows as columns, None at the end."""
        search = reading.search

        def step(slice: Slice) -> None:
            search.fill(slice._replace(most=min(slice.most, self._rows - sheet.held)), sheet)
            if search.done and (sheet.held or not sheet.sealed):
                sheet.seal()

        while not sheet.ready and not (search.done and sheet.sealed):
            await reading.go(step, free=True)
        if search.done:
            reading.close()
            if len(sheet.ready) <= 1:
                self._selection = None
        return sheet.ready.pop(0) if sheet.ready else None
