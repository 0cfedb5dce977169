"""Records made of index entries: what is read from them is what is read from the rows."""

from __future__ import annotations

import datetime
import enum
import math
import struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelvault._core.columns import Columns
from modelvault._core.cover import Cover
from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.order import SortKeys
from modelvault._core.record import Face, RecordCodec
from modelvault._covered import part_of
from modelvault.conditions import Order
from modelvault.schema import Field, Type

HOUR = datetime.timedelta(hours=1)


class Level(enum.Enum):
    LOW = "low"
    HIGH = "hi\0gh"
    ODD = ""


DUMPED = (lambda value: value[::-1], lambda value: value[::-1])
KINDS: dict[str, tuple[Type, st.SearchStrategy[Any]]] = {
    "bool": (Type("bool"), st.booleans()),
    "int64": (Type("int64"), st.integers(-(1 << 63), (1 << 63) - 1)),
    "uint64": (Type("uint64"), st.integers(0, (1 << 64) - 1)),
    "int": (Type("int"), st.integers(-(1 << 63), (1 << 64) - 1)),
    "float64": (Type("float64"), st.floats() | st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf])),
    "string": (Type("string"), st.text() | st.text("a\0")),
    "bytes": (Type("bytes"), st.binary() | st.binary().map(lambda value: value + b"\0\xff\0")),
    "uuid": (Type("uuid"), st.uuids()),
    "date": (Type("date"), st.dates()),
    "timedelta": (Type("timedelta"), st.timedeltas()),
    "enum": (
        Type("enum", values=tuple(level.value for level in Level), python=tuple(Level)),
        st.sampled_from(Level),
    ),
    "literal": (Type("literal", values=(1, "1", True, b"1")), st.sampled_from([1, "1", True, b"1"])),
    "custom": (Type("custom", (Type("string"),), python=DUMPED), st.text()),
}
MOMENTS: dict[str, tuple[Type, st.SearchStrategy[Any]]] = {
    "timestamp": (
        Type("timestamp", python="datetime"),
        st.datetimes(timezones=st.sampled_from([None, datetime.timezone.utc, datetime.timezone(HOUR)])),
    ),
    "time": (Type("time"), st.times(timezones=st.sampled_from([None, datetime.timezone.utc]))),
}
ALL = KINDS | MOMENTS
PATHS = (*((name,) for name in ALL), *(("inner", name) for name in ALL), *(("inner", "inner", name) for name in KINDS))


def object_of(fields: dict[str, Type]) -> Type:
    return Type("object", fields=tuple(Field(name, type) for name, type in fields.items()))


def nullable(type: Type) -> Type:
    return Type("optional", (type,))


INNERMOST = object_of({name: nullable(type) for name, (type, _) in KINDS.items()})
INNER = object_of({name: nullable(type) for name, (type, _) in ALL.items()} | {"inner": INNERMOST, "s": Type("string")})
ROW = object_of({"id": Type("string")} | {name: type for name, (type, _) in ALL.items()} | {"inner": INNER})
CODEC = RecordCodec(ROW, 1, "id")
FACE = Face([CODEC], "id")
VALUES = {name: values for name, (_, values) in ALL.items()}
MAYBE = {name: st.none() | values for name, values in VALUES.items()}


def rows() -> st.SearchStrategy[dict[str, Any]]:
    innermost = st.fixed_dictionaries({name: MAYBE[name] for name in KINDS})
    inner = st.fixed_dictionaries(MAYBE | {"inner": innermost, "s": st.just("side")})
    return st.fixed_dictionaries(VALUES | {"id": st.text(), "inner": inner})


def bits(value: Any) -> Any:
    """A value so that floats are told apart by their bits, and True from 1."""
    return (type(value), struct.pack("d", value) if isinstance(value, float) else value)


@given(rows(), st.lists(st.sampled_from(PATHS), min_size=1, max_size=5, unique=True))
def test_records_of_entries(row: dict[str, Any], paths: list[tuple[str, ...]]) -> None:
    key, record = FACE.encode(row)
    keys = IndexKeys(CODEC, paths)
    small = RecordCodec(part_of(ROW, [("id",), *paths]), 0, "id")
    cover = Cover(small, keys)
    assert cover.paths == tuple(paths)
    (entry,) = keys.extract(record)
    made = cover.record(entry + key, record, keys)
    assert made is not None
    assert cover.record(entry + key) in (made, None)  # None: a zero or a NaN, for which the row is asked
    exact = [("id",), *(path for path in paths if path[-1] not in MOMENTS)]
    shown, stored = Columns([small], exact).values(made), Columns([CODEC], exact).values(record)
    assert list(map(bits, shown)) == list(map(bits, stored))
    assert Columns([small], exact, True).make(made) == Columns([CODEC], exact, True).make(record) or math.nan in shown
    orders = [Order(path, bool(number % 2)) for number, path in enumerate([*paths, ("id",)])]
    assert SortKeys([small], orders).key(made, key) == SortKeys([CODEC], orders).key(record, key)


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (Type("int"), -3),
        (Type("bool"), True),
        (Type("uuid"), UUID(int=5)),
        (Type("date"), datetime.date(2024, 2, 29)),
        (Type("bytes"), b"\0\0"),
        (Type("timedelta"), -HOUR),
    ],
)
def test_primary_keys(type: Type, value: Any) -> None:
    """The last part of an entry has no end of its own."""
    row = object_of({"id": type, "n": Type("int")})
    codec = RecordCodec(row, 1, "id")
    record = codec.encode({"id": value, "n": 7})
    keys = IndexKeys(codec, [("n",)])
    small = RecordCodec(part_of(row, [("id",), ("n",)]), 0, "id")
    entry = keys.extract(record)[0] + KeyCodec(type).pack(value)
    made = Cover(small, keys).record(entry)
    assert made is not None
    assert Columns([small], [("id",), ("n",)]).values(made) == (value, 7)


@given(st.binary(max_size=30))
def test_bytes_that_are_no_entry(entry: bytes) -> None:
    """They give no record, or one that can be read; nothing reaches beyond their end."""
    paths = [("int64",), ("inner", "date"), ("string",), ("enum",)]
    keys = IndexKeys(CODEC, paths)
    small = RecordCodec(part_of(ROW, [("id",), *paths]), 0, "id")
    made = Cover(small, keys).record(entry)
    assert made is None or isinstance(made, bytes)


def test_a_field_that_the_index_does_not_have() -> None:
    keys = IndexKeys(CODEC, [("int64",)])
    with pytest.raises(ValueError, match=r"the index does not have inner\.date"):
        Cover(RecordCodec(part_of(ROW, [("id",), ("inner", "date")]), 0, "id"), keys)
