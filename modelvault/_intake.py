"""Rows out of Arrow's columns: each value as its field wants it, each row validated, errors with row and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelvault._libraries import library
from modelvault._values import FAILURES, converters, instance_maker
from modelvault.errors import ModelVaultValidationError
from modelvault.types import MISSING, Shape, Type

if TYPE_CHECKING:
    from modelvault._core.batch import Batch
    from modelvault._core.record import Face
    from modelvault._runner import Runner

__all__ = ["Intake"]


class Intake:
    """The rows of a table, encoded one by one as they come.

    row: the type of a row, with the bindings of its model. ModelVaultValidationError for a column without a field, and
    for a field that needs a column; TypeError for what is no table.
    """

    def __init__(self, data: Any, row: Type, face: Face, cls: type, runner: Runner) -> None:
        self._reader = reader_of(data)
        self._face = face
        self._cls = cls
        self._runner = runner
        self._names = list(self._reader.schema.names)
        check_columns(row, self._names)
        self._converts = converters(row, dict(zip(self._names, self._reader.schema.types, strict=True)))
        self._make = instance_maker(row.python) if isinstance(row.python, Shape) else dict
        self._batch: Any = None
        self._at = 0  # rows of the batch that were taken
        self._before = 0  # rows of the batches before

    async def fill(self, batch: Batch, count: int) -> int:
        """Encode the next `count` rows into a batch, fewer at the end; how many there were."""
        done = 0
        while done < count:
            while self._batch is None or self._at == self._batch.num_rows:
                fresh = await self._runner.run(self._next)
                if fresh is None:
                    return done
                self._before += self._at
                self._batch, self._at = fresh, 0
            part = self._batch.slice(self._at, count - done)
            self._take(batch, part)
            self._at += part.num_rows
            done += part.num_rows
        return done

    def _next(self) -> Any:
        """The next batch of the stream, None at its end."""
        pa = library("pyarrow", "insert_arrow()")

        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            return None
        arrays: list[Any] = []
        for name, array in zip(self._names, batch.columns, strict=True):
            try:
                arrays.append(in_microseconds(array))
            except pa.ArrowInvalid as error:
                raise ModelVaultValidationError(f'insert_arrow: column "{name}": {error}') from error
        return pa.RecordBatch.from_arrays(arrays, names=self._names)

    def _take(self, batch: Batch, part: Any) -> None:
        """Encode the rows of a part of the stream's batch."""
        columns = [self._column(number, array.to_pylist()) for number, array in enumerate(part.columns)]
        names, make, cls, face = self._names, self._make, self._cls, self._face
        for number, values in enumerate(zip(*columns, strict=True)):
            try:
                batch.add(face, make(zip(names, values, strict=True)), cls, no_check)
            except FAILURES as error:
                raise self._wrong(number, error) from error

    def _column(self, column: int, values: list[Any]) -> list[Any]:
        """The values as their field wants them."""
        convert = self._converts[column]
        if convert is None:
            return values
        found: list[Any] = []
        try:
            for value in values:
                found.append(None if value is None else convert(value))  # noqa: PERF401  # it counts them
        except FAILURES as error:
            raise self._wrong(len(found), error, self._names[column]) from error
        return found

    def _wrong(self, number: int, error: Exception, column: str | None = None) -> ModelVaultValidationError:
        """The error for a row of the part at hand."""
        text = str(error)
        told: list[dict[str, Any]] = getattr(error, "errors", list)()  # Pydantic's
        for first in told[:1]:
            place = [str(part) for part in first["loc"]]
            column, text = (place[0] if place else None), ": ".join([".".join(place[1:]), first["msg"]]).strip(": ")
        where = f"row {self._before + self._at + number}"
        if column is not None:
            where += f', column "{column}"'
        return ModelVaultValidationError(f"insert_arrow: {where}: {text}")


def no_check(cls: type, row: Any) -> None:
    """Rows are made here: they are what they should be."""


def reader_of(data: Any) -> Any:
    """The stream of record batches of something that Arrow can read."""
    pa = library("pyarrow", "insert_arrow()")
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    hint = ": await its to_arrow()" if hasattr(data, "to_arrow") else ""
    raise TypeError(f"insert_arrow() takes what has __arrow_c_stream__, not {type(data).__name__}{hint}")


def check_columns(row: Type, names: list[str]) -> None:
    """Refuse columns without a field, and fields that need a column."""
    known = {field.name: field for field in row.fields if field.name}
    for name in names:
        if names.count(name) > 1:
            raise ModelVaultValidationError(f'insert_arrow: there are several columns "{name}"')
        if name not in known and not row.extras:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            hint = f': did you mean "{near[0]}"?' if near else ""
            raise ModelVaultValidationError(f'insert_arrow: there is no field for the column "{name}"{hint}')
    for name, field in known.items():
        bare = field.default is MISSING and field.factory is None and field.type.kind != "optional"
        if bare and name not in names and not field.type.group:
            raise ModelVaultValidationError(f'insert_arrow: there is no column for the field "{name}"')


def in_microseconds(array: Any) -> Any:
    """An array without nanoseconds; pyarrow.ArrowInvalid if something would be lost."""
    import pyarrow as pa

    type = array.type
    if getattr(type, "unit", None) != "ns":
        return array
    if pa.types.is_timestamp(type):
        return array.cast(pa.timestamp("us", type.tz))
    return array.cast(pa.duration("us") if pa.types.is_duration(type) else pa.time64("us"))
