"""Some fields of a record, as the row has them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelvault._core.columns import Columns
from modelvault._core.record import Face, RecordCodec
from modelvault.annotations import row_type
from modelvault.errors import CorruptionError, ModelVaultFormatError, ModelVaultQueryError
from modelvault.types import Field, Type
from tests.core.test_program import CODEC, INT, PATHS, ROW, bare, is_listed, many, optional, row, small
from tests.models import User, user


def shown(type: Type, value: Any, path: tuple[str, ...]) -> Any:
    """What a decoded row has at a path."""
    if value is None or not path:
        return value
    type = bare(type)
    if is_listed(type):
        return [shown(type.items[0], item, path) for item in value]
    inner = next(part.type for part in type.fields if part.name == path[0])
    return shown(inner, value[path[0]], path[1:])


@given(small(ROW), st.lists(st.sampled_from(sorted(PATHS)), min_size=1, max_size=5))
def test_values_are_those_of_the_row(value: dict[str, Any], paths: list[tuple[str, ...]]) -> None:
    record = CODEC.encode(value)
    decoded = CODEC.decode(record)
    expected = tuple(shown(ROW, decoded, path) for path in paths)
    assert repr(Columns([CODEC], paths).values(record)) == repr(expected)


def test_projections() -> None:
    value = user(7)
    codec = RecordCodec(row_type(User), 1, "id")
    record = codec.encode(value)

    def project(*paths: tuple[str, ...]) -> dict[str, Any]:
        return Columns([codec], paths).project(record)

    assert project(("tags",), ("id",)) == {"id": 7, "tags": value.tags}
    assert project(("address", "city"), ("address", "zip")) == {"address": {"city": "City 7", "zip": "00007"}}
    for paths in ((("address",), ("address", "city")), (("address", "city"), ("address",))):
        assert project(*paths) == {"address": value.address}


def test_below_none_and_through_lists() -> None:
    inner = row(a=INT, b=optional(INT))
    codec = RecordCodec(row(one=optional(inner), some=optional(many(optional(inner)))), 1)
    columns = Columns([codec], [("one", "a"), ("some", "b")])
    empty = codec.encode({"one": None, "some": None})
    assert columns.values(empty) == (None, None)
    assert columns.project(empty) == {}
    full = codec.encode({"one": {"a": 1}, "some": [{"a": 1, "b": 2}, None, {"a": 3}]})
    assert columns.values(full) == (1, [2, None, None])
    assert columns.project(full) == {"one": {"a": 1}, "some": [{"b": 2}, None, {"b": None}]}


def test_fields_that_old_records_lack() -> None:
    inner = (Field("a", INT), Field("b", INT, default=2))
    old = RecordCodec(row(id=INT, one=optional(row(a=INT))), 1, "id")
    parts = (
        Field("id", INT),
        Field("one", optional(Type("object", fields=inner))),
        Field("two", Type("object", fields=inner), factory=lambda: {"a": 5, "b": 6}),
        Field("size", INT, default=7),
        Field("note", optional(Type("string"))),
        Field("must", INT),
    )
    face = Face([old, RecordCodec(Type("object", fields=parts), 2, "id")], "id")
    columns = Columns(face.codecs, [("size",), ("note",), ("must",), ("one", "b"), ("two", "b")])
    record = old.encode({"id": 1, "one": {"a": 1}})
    assert columns.values(record) == (7, None, None, 2, 6)
    assert columns.project(record) == {"size": 7, "note": None, "one": {"b": 2}, "two": {"b": 6}}
    assert columns.values(old.encode({"id": 1})) == (7, None, None, None, 6)


@given(small(ROW), st.data())
def test_damaged_records(value: dict[str, Any], data: st.DataObject) -> None:
    record = bytearray(CODEC.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(2, len(record) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(record[: data.draw(st.integers(0, len(record)))])
    columns = Columns([CODEC], sorted(PATHS))
    for read in (columns.values, columns.project):
        with suppress(CorruptionError, ModelVaultFormatError):
            read(damaged)


@pytest.mark.parametrize("path", [("nope",), ("id", "x"), ("items", "nope"), ()])
def test_unknown_paths(path: tuple[str, ...]) -> None:
    with pytest.raises(ModelVaultQueryError, match="query error"):
        Columns([CODEC], [path])
