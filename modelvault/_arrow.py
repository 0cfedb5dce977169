"""Columns of the core as Arrow's arrays: which type each kind has, and the arrays around its memory.

pyarrow is imported when somebody asks for a table. Nothing is copied but the codes of
integers and what has no columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from modelvault._libraries import library
from modelvault._plain import as_json
from modelvault.errors import CorruptionError, ModelVaultQueryError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import RecordBatch

    from modelvault._core.vector import Piece

__all__ = ["Portion", "batch_of", "schema_of", "table_of"]

Portion = tuple[int, "list[Piece]"]
"""How many rows, and a Piece for each column."""

PRECISION: Final = (38, 18)  # digits of a decimal, and of them behind the point


def schema_of(pieces: Sequence[Piece]) -> pa.Schema:
    """The types of the columns. Points in time are in UTC, unless the first of them had no zone."""
    import pyarrow as pa

    return pa.schema([pa.field(piece.path, type_of(piece)) for piece in pieces])


def batch_of(schema: pa.Schema, portion: Portion) -> pa.RecordBatch:
    """A portion as a record batch."""
    pa = library("pyarrow", "to_arrow()")
    arrays = [array_of(piece, type) for piece, type in zip(portion[1], schema.types, strict=True)]
    made: RecordBatch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    return made


def table_of(portions: Sequence[Portion]) -> pa.Table:
    """All portions, at least one, as a table."""
    import pyarrow as pa

    schema = schema_of(portions[-1][1])  # which knows of all points in time
    return pa.Table.from_batches([batch_of(schema, portion) for portion in portions])


def type_of(piece: Piece) -> Any:
    """The Arrow type of a column."""
    import pyarrow as pa

    kind, inner = piece.kind, [type_of(part) for part in piece.inner]
    if kind == "timestamp":
        return pa.timestamp("us") if piece.aware is False else pa.timestamp("us", "UTC")
    if kind == "code":
        return pa.dictionary(pa.int32(), pa.string()) if is_text(piece) else pa.int64()
    if kind == "list":
        return pa.list_(inner[0])
    if kind == "array":
        return pa.list_(inner[0], piece.length)
    if kind == "map":
        return pa.map_(*inner)
    if kind == "struct":
        assert piece.names is not None
        return pa.struct([pa.field(name, part) for name, part in zip(piece.names, inner, strict=True)])
    makers: dict[str, Any] = {
        "bool": pa.bool_,
        "int64": pa.int64,
        "uint64": pa.uint64,
        "float64": pa.float64,
        "uuid": pa.uuid,
        "date": pa.date32,
        "time": lambda: pa.time64("us"),
        "timedelta": lambda: pa.duration("us"),
        "decimal": lambda: pa.decimal128(*PRECISION),
        "string": pa.string,
        "bytes": pa.binary,
        "object": pa.json_,
    }
    return makers[kind]()


def is_text(piece: Piece) -> bool:
    """Whether codes stand for strings."""
    return all(isinstance(value, str) for value in piece.values)


def array_of(piece: Piece, type: Any) -> Any:
    """The array of a column, whose type was found before: by an earlier portion perhaps."""
    pa = library("pyarrow", "to_arrow()")

    kind, count = piece.kind, piece.count
    if kind == "object":
        return pa.ExtensionArray.from_storage(type, pa.array([text_of(value) for value in piece.values], pa.string()))
    buffers = [None if memory is None else pa.py_buffer(memory) for memory in piece.buffers]
    if kind == "uuid":
        storage = pa.Array.from_buffers(pa.binary(16), count, buffers, piece.nulls)
        return pa.ExtensionArray.from_storage(type, storage)
    if kind == "code":
        codes = pa.Array.from_buffers(pa.int32(), count, buffers, piece.nulls)
        values = pa.array(piece.values, pa.string() if is_text(piece) else type)
        return pa.DictionaryArray.from_arrays(codes, values) if is_text(piece) else values.take(codes)
    if kind == "timestamp":
        check_zone(piece, type)
    parts = [array_of(part, inner) for part, inner in zip(piece.inner, inner_types(piece, type), strict=True)]
    if kind == "map":
        parts = [pa.StructArray.from_arrays(parts, fields=[type.key_field, type.item_field])]
    array = pa.Array.from_buffers(type, count, buffers, piece.nulls, children=parts or None)
    if piece.doubtful:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise CorruptionError(f'damaged record: a string is not UTF-8, in column "{piece.path}"') from error
    return array


def inner_types(piece: Piece, type: Any) -> list[Any]:
    """The types of the columns inside."""
    if piece.kind == "map":
        return [type.key_type, type.item_type]
    if piece.kind == "struct":
        return [field.type for field in type]
    return [type.value_type] if piece.inner else []


def check_zone(piece: Piece, type: Any) -> None:
    """Refuse naive points in time where earlier rows gave a zone to the column, for want of any."""
    if piece.aware is not None and piece.aware is not (type.tz is not None):
        raise ModelVaultQueryError(
            f'query error: column "{piece.path}": its first datetime comes after so many rows that the type of the '
            "column was needed before, and it is naive: order the query so that it comes sooner, or ask for to_arrow()"
        )


def text_of(value: Any) -> str | None:
    """A value as JSON; NaN and the infinities as text."""
    if value is None:
        return None
    value = as_json(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        value = json.loads(json.dumps(value), parse_constant=str)
        return json.dumps(value, ensure_ascii=False)
