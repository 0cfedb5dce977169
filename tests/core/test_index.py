from contextlib import suppress
from datetime import timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.record import RecordCodec
from modelvault.errors import CorruptionError, ModelVaultSchemaError
from modelvault.schema import Field, Type

STRING = Type("string")


def optional(type):
    return Type("optional", (type,))


ADDRESS = Type("object", fields=(Field("city", STRING), Field("zip", optional(STRING))))
ROW = Type(
    "object",
    fields=(
        Field("id", Type("int")),
        Field("name", optional(STRING)),
        Field("when", Type("timestamp")),
        Field("price", Type("decimal")),
        Field("kind", Type("enum", values=("p", "q"))),
        Field("tags", Type("list", (STRING,))),
        Field("holes", optional(Type("list", (optional(Type("int")),)))),
        Field("address", optional(ADDRESS)),
        Field("data", Type("any")),
    ),
)
CODEC = RecordCodec(ROW, 1, "id")
VALUES = {"id": 7, "name": "ada", "when": 5, "price": Decimal("1.50"), "kind": "q", "tags": [], "data": None}


def record(**changes):
    return CODEC.encode(VALUES | changes)


def tagged(type, value):
    return KeyCodec(type).tagged(value)


def test_scalars_and_nested_paths():
    full = record(address={"city": "London"})
    for path, expected in [
        (("id",), tagged(Type("int"), 7)),
        (("name",), tagged(STRING, "ada")),
        (("when",), tagged(Type("timestamp"), 5)),
        (("price",), tagged(Type("decimal"), Decimal("1.5"))),
        (("kind",), tagged(STRING, "q")),
        (("address", "city"), tagged(STRING, "London")),
        (("address", "zip"), b"\x02"),
    ]:
        assert IndexKeys(CODEC, (path,)).extract(full) == [expected]


def test_none_is_after_every_value_and_exempt():
    keys = IndexKeys(CODEC, (("name",),))
    assert keys.extract(record(name=None)) == [b"\x02"]
    assert keys.exempt(record(name=None)) and not keys.exempt(record())
    nested = IndexKeys(CODEC, (("address", "city"),))
    assert nested.extract(record(address=None)) == [b"\x02"]


def test_composites():
    keys = IndexKeys(CODEC, (("name",), ("id",)))
    assert keys.extract(record()) == [tagged(STRING, "ada") + tagged(Type("int"), 7)]
    assert keys.exempt(record(name=None))


def test_lists_have_an_entry_for_each_distinct_element():
    keys = IndexKeys(CODEC, (("tags",),))
    assert keys.extract(record(tags=["b", "a", "b"])) == [tagged(STRING, "a"), tagged(STRING, "b")]
    assert keys.extract(record(tags=[])) == []
    both = IndexKeys(CODEC, (("kind",), ("tags",), ("id",)))
    assert both.extract(record(tags=["b", "a"])) == [
        tagged(STRING, "q") + tagged(STRING, tag) + tagged(Type("int"), 7) for tag in ("a", "b")
    ]
    holes = IndexKeys(CODEC, (("holes",),))
    assert holes.extract(record(holes=[3, None, 1 << 63])) == [
        tagged(Type("int"), 3),
        tagged(Type("int"), 1 << 63),
        b"\x02",
    ]
    assert holes.extract(record(holes=None)) == []


@given(st.lists(st.text(max_size=5)))
def test_many_elements(tags):
    expected = sorted({tagged(STRING, tag) for tag in tags})
    assert IndexKeys(CODEC, (("tags",),)).extract(record(tags=tags)) == expected


KINDS = {
    "bool": st.booleans(),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
    "int": st.integers(-(1 << 63), (1 << 64) - 1),
    "float64": st.floats(),
    "string": st.text(),
    "bytes": st.binary(),
    "uuid": st.uuids(),
    "timestamp": st.datetimes(timezones=st.just(timezone.utc)) | st.integers(-(1 << 63), (1 << 63) - 1),
    "date": st.dates(),
    "time": st.times(),
    "timedelta": st.timedeltas(),
    "decimal": st.decimals(),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_an_entry_is_the_key_of_its_value(kind, data):
    inner = Type(kind)
    row = Type("object", fields=(Field("a", inner), Field("b", optional(inner)), Field("c", Type("list", (inner,)))))
    codec = RecordCodec(row, 3)
    value, maybe, many = data.draw(st.tuples(KINDS[kind], st.none() | KINDS[kind], st.lists(KINDS[kind], max_size=3)))
    stored = codec.encode({"a": value, "b": maybe, "c": many})
    assert IndexKeys(codec, (("a",),)).extract(stored) == [tagged(inner, value)]
    assert IndexKeys(codec, (("b",),)).extract(stored) == [tagged(inner, maybe)]
    assert IndexKeys(codec, (("c",),)).extract(stored) == sorted({tagged(inner, item) for item in many})


def test_custom_types_are_indexed_as_what_they_hold():
    custom = Type("custom", (STRING,), python=(str, Decimal))
    codec = RecordCodec(Type("object", fields=(Field("a", custom),)), 1)
    assert IndexKeys(codec, (("a",),)).extract(codec.encode({"a": Decimal("1.5")})) == [tagged(STRING, "1.5")]


NOT_INDEXED = [(("nope",),), (("address",),), (("data",),), (("id", "x"),), (("tags",), ("holes",))]


@pytest.mark.parametrize("paths", NOT_INDEXED)
def test_paths_that_cannot_be_indexed(paths):
    with pytest.raises(ModelVaultSchemaError, match="schema error"):
        IndexKeys(CODEC, paths)


def test_a_record_of_another_version_is_refused():
    with pytest.raises(CorruptionError):
        IndexKeys(CODEC, (("id",),)).extract(b"\x09\x00" + record()[2:])


@given(st.data())
def test_damaged_records(data):
    stored = bytearray(record(tags=["x", "yy"], address={"city": "London"}, holes=[1, None]))
    for _ in range(data.draw(st.integers(1, 3))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(stored[: data.draw(st.integers(0, len(stored)))])
    for paths in ((("tags",), ("name",)), (("holes",),), (("address", "city"), ("kind",), ("price",))):
        with suppress(CorruptionError):
            IndexKeys(CODEC, paths).extract(cut)
