"""Columns: rows as pyarrow reads them from the core's memory, in portions, and never anything from damaged records."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelvault._arrow import table_of
from modelvault._core.program import Program
from modelvault._core.record import RecordCodec
from modelvault._core.scan import Scan
from modelvault._core.sheet import Sheet
from modelvault.annotations import row_type
from modelvault.conditions import Test
from modelvault.errors import ColdPage, CorruptionError, ModelVaultQueryError
from modelvault.types import Field, Type
from tests.core.tables import CODEC, ColdFile, Store, random_rows
from tests.reliability.fuzz import Rich, rich

ALL = ("rows", None, None)
INT, TEXT = Type("int"), Type("string")


def optional(inner: Type) -> Type:
    return Type("optional", (inner,))


def many(inner: Type) -> Type:
    return Type("list", (inner,))


def codec_of(version: int = 1, **types: Type) -> RecordCodec:
    fields = tuple(Field(name, type) for name, type in types.items())
    return RecordCodec(Type("object", fields=(Field("id", INT), *fields)), version, "id")


def columns(codecs: list[RecordCodec], records: list[bytes], *paths: str) -> list[dict[str, Any]]:
    """What the records are as columns."""
    sheet = Sheet(codecs, [tuple(path.split(".")) for path in paths] or None, 1000)
    sheet.add_rows([(b"", record) for record in records])
    sheet.seal()
    table = table_of(sheet.ready)
    table.validate(full=True)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def one(type: Type, *values: Any) -> list[Any]:
    """Values of a type through a column."""
    codec = codec_of(v=type)
    return [row["v"] for row in columns([codec], [codec.encode({"id": 0, "v": value}) for value in values], "v")]


@pytest.mark.parametrize("rows", [1, 7, 64, 10_000])
@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("sieve", [False, True])
def test_a_scan_comes_in_portions(rows: int, release: bool, sieve: bool) -> None:
    file = ColdFile()
    store = Store(random_rows(random.Random(7), 500), file=file, cache_pages=5)
    expected = [row for _, row in sorted(store.rows.items()) if not sieve or row["level"] > 0]
    program = Program([CODEC], Test(("level",), "gt", (0,))) if sieve else None
    scan = Scan(store.table, store.version.roots, ALL, program)
    sheet = Sheet([CODEC], [("s",), ("n",), ("tags",)], rows)
    file.cold, file.chance = True, random.Random(rows)
    while not scan.done:
        with suppress(ColdPage):
            sheet.step(scan, 13, 50, False, release)
    file.cold = False
    store.close()
    if sheet.held or not sheet.sealed:
        sheet.seal()
    counts = [count for count, _ in sheet.ready]
    assert sum(counts) == len(expected)
    assert set(counts[:-1]) <= {rows}
    assert 0 < counts[-1] <= rows
    found = table_of(sheet.ready).to_pylist()
    assert found == [{name: row[name] for name in ("s", "n", "tags")} for row in expected]


def test_a_portion_ends_where_it_has_many_bytes() -> None:
    codec = codec_of(v=TEXT)
    sheet = Sheet([codec], None, 1000, 100)
    sheet.add_rows([(b"", codec.encode({"id": number, "v": "x" * 40})) for number in range(10)])
    assert [count for count, _ in sheet.ready] == [2, 2, 2, 2, 2]


@given(st.lists(st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=9), max_size=40))
def test_nulls_at_every_place(values: list[Any]) -> None:
    assert one(optional(many(optional(INT))), *values) == values
    flags = [v and [None if x is None else x > 0 for x in v] for v in values]
    assert one(optional(many(optional(Type("bool")))), *flags) == flags


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers().map(Decimal))
@example(Decimal("99999999999999999999.999999999999999999"))
@example(Decimal("-99999999999999999999.999999999999999999"))
@example(Decimal("1E+19"))
@example(Decimal("1E+20"))
@example(Decimal("1E-18"))
@example(Decimal("1E-19"))
@example(Decimal("-0E-999999"))
@example(Decimal("100E-20"))
@example(Decimal("1.5000000000000000000000000000000"))
def test_decimals_are_exact_or_refused(value: Decimal) -> None:
    digits = value.as_tuple().digits
    places = int(value.as_tuple().exponent)
    while len(digits) > 1 and digits[-1] == 0:
        digits, places = digits[:-1], places + 1
    fits = not value or (places >= -18 and len(digits) + places + 18 <= 38)
    if fits:
        assert one(Type("decimal"), value) == [value]
    else:
        with pytest.raises(ModelVaultQueryError, match='column "v", row with the primary key 0: a decimal has more'):
            one(Type("decimal"), value)


REFUSED: list[tuple[Type, Any, str]] = [
    (INT, 2**63, "2\\^63"),
    (many(INT), [1, 2**63], "2\\^63"),
    (Type("time"), time(1, tzinfo=timezone.utc), "a time of day with a zone"),
    (Type("timedelta"), timedelta(days=106751991), "64 bits of microseconds"),
    (Type("timedelta"), timedelta.min, "64 bits of microseconds"),
    (Type("decimal"), Decimal("NaN"), "NaN or infinite"),
    (Type("decimal"), Decimal("-Infinity"), "NaN or infinite"),
    (many(Type("timestamp", python="datetime")), [datetime(2024, 1, 1), datetime.now(timezone.utc)], "naive and aware"),
    (Type("object", fields=(Field("deep", many(INT)),)), {"deep": [2**64 - 1]}, 'column "v.deep".*2\\^63'),
]


@pytest.mark.parametrize(("type", "value", "words"), REFUSED)
def test_what_no_column_can_hold_is_refused(type: Type, value: Any, words: str) -> None:
    with pytest.raises(ModelVaultQueryError, match=words):
        one(type, value)


def test_the_edges_of_what_columns_hold() -> None:
    span = timedelta(days=106751990, microseconds=86399999999)
    assert one(Type("timedelta"), span, timedelta(-106751990)) == [span, timedelta(-106751990)]
    assert one(Type("uint64"), 2**64 - 1, 0) == [2**64 - 1, 0]
    assert one(INT, 2**63 - 1, -(2**63)) == [2**63 - 1, -(2**63)]
    assert one(Type("date"), date.min, date.max) == [date.min, date.max]
    assert one(Type("time"), time.min, time.max) == [time.min, time.max]
    assert one(Type("uuid"), UUID(int=1)) == [UUID(int=1)]
    assert one(TEXT, "", "\U0010ffff", "a" * 5000) == ["", "\U0010ffff", "a" * 5000]


def test_records_of_older_versions() -> None:
    """Fields that came, went, and lie elsewhere; members that an enum got; elements that may be None now."""
    inner = Type("object", fields=(Field("a", INT),))
    wider = Type("object", fields=(Field("b", TEXT, default="b"), Field("a", optional(INT)), Field("c", optional(INT))))
    old = codec_of(1, gone=TEXT, e=Type("enum", values=("x", "y")), o=inner, l=many(inner), n=many(Type("int64")))
    new = codec_of(
        2,
        n=many(optional(INT)),
        l=many(optional(wider)),
        o=wider,
        e=Type("enum", values=("z", "y", "x")),
        fresh=optional(TEXT),
        given=Type("object", fields=(Field("deep", many(TEXT)),), python=None),
        filled=TEXT,
    )
    values = {"id": 1, "gone": "?", "e": "y", "o": {"a": 2}, "l": [{"a": 3}, {"a": 4}], "n": [5, -6]}
    found = columns([old, new], [old.encode(values)])
    assert found == [
        {
            "id": 1,
            "n": [5, -6],
            "l": [{"b": "b", "a": 3, "c": None}, {"b": "b", "a": 4, "c": None}],
            "o": {"b": "b", "a": 2, "c": None},
            "e": "y",
            "fresh": None,
            "given": None,
            "filled": None,
        }
    ]
    assert columns([old, new], [old.encode(values)], "l.c", "l.a", "o.b", "given.deep") == [
        {"l.c": [None, None], "l.a": [3, 4], "o.b": "b", "given.deep": None}
    ]


def test_damaged_records_give_errors_or_columns() -> None:
    codec = RecordCodec(row_type(Rich), 1, "id")
    chance = random.Random(5)
    samples = [codec.encode(rich(number)) for number in range(20)]
    seen = {"fine": 0, "refused": 0}
    for _ in range(4000):
        record = bytearray(chance.choice(samples))
        for _ in range(chance.choice([1, 1, 2, 8])):
            record[chance.randrange(2, len(record))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        if chance.random() < 0.2:
            del record[chance.randrange(2, len(record)) :]
        try:
            columns(
                [codec], [bytes(record)], "id", "day", "span", "names", "pair", "table", "places", "color", "either"
            )
            seen["fine"] += 1
        except (CorruptionError, ModelVaultQueryError):
            seen["refused"] += 1
    assert min(seen.values()) > 100


def test_text_that_is_none() -> None:
    codec = codec_of(v=many(TEXT))
    record = codec.encode({"id": 0, "v": ["é"]})
    broken = record.replace("é".encode(), b"\xc3\xc3")
    assert broken != record
    with pytest.raises(CorruptionError, match="not UTF-8"):
        columns([codec], [broken])


def test_an_unknown_version_and_an_unknown_path() -> None:
    codec = codec_of(1, v=INT)
    with pytest.raises(CorruptionError):
        columns([codec_of(2, v=INT)], [codec.encode({"id": 0, "v": 1})])
    for path in ("w", "v.w", "id.v"):
        with pytest.raises(ModelVaultQueryError, match="unknown field path"):
            columns([codec], [], path)
