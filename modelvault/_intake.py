"""Rows out of Arrow's columns: each value as its field wants it, each row validated, errors with row and column."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from modelvault._arrow import library
from modelvault.errors import ModelVaultValidationError
from modelvault.patches import built
from modelvault.types import INTEGERS, MISSING, Shape, Type

if TYPE_CHECKING:
    from modelvault._core.batch import Batch
    from modelvault._core.record import Face
    from modelvault._runner import Runner

__all__ = ["Intake"]

Convert = Callable[[Any], Any]

LISTS: Final[dict[str, Any]] = {"list": list, "set": set, "frozenset": frozenset, "vartuple": tuple}
FAILURES: Final = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError)


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
        types = {field.name: field.type for field in row.fields}
        self._converts = [
            converter(types[name], kind) if name in types else None
            for name, kind in zip(self._names, self._reader.schema.types, strict=True)
        ]
        self._make = maker(cls, row)
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
        import pyarrow as pa

        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            return None
        arrays = []
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
                batch.add(face, make(dict(zip(names, values, strict=True))), cls, no_check)
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
        for first in getattr(error, "errors", list)()[:1]:  # Pydantic's
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
            near = get_close_matches(name, known, 1)
            hint = f': did you mean "{near[0]}"?' if near else ""
            raise ModelVaultValidationError(f'insert_arrow: there is no field for the column "{name}"{hint}')
    for name, field in known.items():
        bare = field.default is MISSING and field.factory is None and field.type.kind != "optional"
        if bare and name not in names and not field.type.group:
            raise ModelVaultValidationError(f'insert_arrow: there is no column for the field "{name}"')


def maker(cls: Any, row: Type) -> Callable[[dict[str, Any]], Any]:
    """What makes a row of its values by name."""
    if cls is dict:
        return lambda values: values
    if isinstance(row.python, Shape) and row.python.style == "pydantic":
        validate = cls.__pydantic_validator__.validate_python
        return lambda values: validate(values, by_alias=False, by_name=True)
    return lambda values: built(row, values)


def in_microseconds(array: Any) -> Any:
    """An array without nanoseconds; pyarrow.ArrowInvalid if something would be lost."""
    import pyarrow as pa

    type = array.type
    if getattr(type, "unit", None) != "ns":
        return array
    if pa.types.is_timestamp(type):
        return array.cast(pa.timestamp("us", type.tz))
    return array.cast(pa.duration("us") if pa.types.is_duration(type) else pa.time64("us"))


# Values, from what pyarrow makes of them


def converter(type: Type, kind: Any) -> Convert | None:
    """What makes a value of a type of one that is not None; None if there is nothing to do. kind: its type in Arrow."""
    kind = getattr(kind, "value_type", kind) if type.kind not in LISTS and type.kind != "tuple" else kind
    if type.kind == "optional":
        return converter(type.items[0], kind)
    if type.kind == "custom":
        return customized(converter(type.items[0], kind) if type.items else parser(kind), type.python)
    if parser(kind) is not None:
        return parser(kind)
    if type.kind == "object":
        return of_object({field.name: converter(field.type, part(kind, field.name)) for field in type.fields})
    if type.kind in LISTS:
        return of_list(LISTS[type.kind], converter(type.items[0], getattr(kind, "value_type", None)))
    if type.kind == "tuple":
        inner = getattr(kind, "value_type", None)
        return of_tuple([converter(item, inner or part(kind, str(at))) for at, item in enumerate(type.items)])
    if type.kind == "dict":
        return of_dict(
            converter(type.items[0], getattr(kind, "key_type", None)),
            converter(type.items[1], getattr(kind, "item_type", None)),
        )
    if type.kind == "uuid":
        return to_uuid
    return to_integer if type.kind in INTEGERS else None


def part(kind: Any, name: str) -> Any:
    """The type of a field of a struct, None if it has none."""
    found = kind.get_field_index(name) if hasattr(kind, "get_field_index") else -1
    return kind.field(found).type if found >= 0 else None


def parser(kind: Any) -> Convert | None:
    """What reads JSON, if that is what Arrow has."""
    return json.loads if getattr(kind, "extension_name", None) == "arrow.json" else None


def customized(inner: Convert | None, python: Any) -> Convert | None:
    """What loads a custom type from what it is stored as."""
    if python is None or inner is None:
        return inner if python is None else python[1]
    return lambda value: python[1](inner(value))


def each(inner: Convert | None, values: Any) -> Any:
    """The values inside, each converted."""
    return values if inner is None else [None if value is None else inner(value) for value in values]


def of_object(inner: dict[str, Convert | None]) -> Convert | None:
    """The fields of a struct."""
    converts = {name: convert for name, convert in inner.items() if convert is not None}
    if not converts:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        found = dict(value)
        for name, change in converts.items():
            if found.get(name) is not None:
                found[name] = change(found[name])
        return found

    return convert


def of_list(make: Any, inner: Convert | None) -> Convert | None:
    """A list, or what else holds values of one type."""
    if make is list and inner is None:
        return None
    return lambda value: make(each(inner, value)) if isinstance(value, list) else value


def of_tuple(inner: list[Convert | None]) -> Convert:
    """A tuple, from a list or from a struct."""

    def convert(value: Any) -> Any:
        values = list(value.values()) if isinstance(value, Mapping) else value
        if not isinstance(values, list) or len(values) != len(inner):
            return value
        return tuple(
            part if part is None or change is None else change(part) for part, change in zip(values, inner, strict=True)
        )

    return convert


def of_dict(key: Convert | None, item: Convert | None) -> Convert:
    """A dict, from pairs; polars has structs of key and value."""

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            pairs = list(value.items())
        elif isinstance(value, list):
            pairs = [tuple(pair.values()) if isinstance(pair, Mapping) else pair for pair in value]
        else:
            return value
        keys, items = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return dict(zip(map(hashable, each(key, keys)), each(item, items), strict=True))

    return convert


def hashable(key: Any) -> Any:
    """A key of a dict."""
    return tuple(key) if isinstance(key, list) else key


def to_uuid(value: Any) -> Any:
    """A UUID, also from its bytes or its text."""
    if isinstance(value, bytes):
        return UUID(bytes=value)
    return UUID(value) if isinstance(value, str) else value


def to_integer(value: Any) -> Any:
    """An integer, also from a float that is one: so has pandas columns with gaps."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
