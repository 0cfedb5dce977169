import math
import re
import struct
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelvault._core.keys import KeyCodec
from modelvault.errors import ModelVaultFormatError, ModelVaultSchemaError, ModelVaultValidationError
from modelvault.schema import Type

UTC = timezone.utc
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
INT = st.integers(-(1 << 63), (1 << 64) - 1)
ZONES = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
AWARE = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)
DECIMALS = st.decimals(allow_nan=False) | st.decimals(-1000, 1000, places=2)
EPOCH = datetime(1970, 1, 1)


def instant(value):
    """What orders timestamps: microseconds, then naive before aware."""
    aware = value.tzinfo is not None
    plain = value.astimezone(UTC).replace(tzinfo=None) if aware else value
    return (plain - EPOCH) // timedelta(microseconds=1), aware


def moment(value):
    offset = value.utcoffset()
    micros = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return (micros - (offset or timedelta())) // timedelta(microseconds=1), offset is not None


def floating(value):
    return (1, 0) if math.isnan(value) else (0, value)


KINDS = {
    "bool": (Type("bool"), st.booleans(), None),
    "int64": (Type("int64"), INT64, None),
    "uint64": (Type("uint64"), UINT64, None),
    "int": (Type("int"), INT, None),
    "float64": (Type("float64"), st.floats(), floating),
    "string": (Type("string"), st.text(), lambda value: value.encode()),
    "zeros": (Type("string"), st.text("\0\1a\xff"), lambda value: value.encode()),
    "bytes": (Type("bytes"), st.binary() | st.lists(st.sampled_from([0, 1, 255])).map(bytes), None),
    "uuid": (Type("uuid"), st.uuids(), None),
    "timestamp": (Type("timestamp", python="datetime"), st.datetimes() | AWARE, instant),
    "micros": (Type("timestamp"), INT64, None),
    "date": (Type("date"), st.dates(), None),
    "time": (Type("time"), st.times() | st.times(timezones=ZONES), moment),
    "timedelta": (Type("timedelta"), st.timedeltas(), None),
    "decimal": (Type("decimal"), DECIMALS, None),
    "literal": (Type("literal", values=(3, 1, -2)), st.sampled_from([3, 1, -2]), None),
    "enum": (Type("enum", values=("p", "pq", "q")), st.sampled_from(["p", "pq", "q"]), None),
}
each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
@given(data=st.data())
def test_the_order_of_keys_is_the_order_of_values(name, data):
    type, values, order = KINDS[name]
    codec = KeyCodec(type)
    order = order or (lambda value: value)
    left, right = data.draw(values), data.draw(values)
    for key in (codec.pack, codec.component):
        a, b = key(left), key(right)
        assert (a < b) == (order(left) < order(right))
        assert (a == b) == (order(left) == order(right))


@each_kind
@given(data=st.data())
def test_components_delimit_themselves(name, data):
    type, values, order = KINDS[name]
    codec = KeyCodec(type)
    order = order or (lambda value: value)
    left, right, a, b = data.draw(values), data.draw(values), data.draw(st.binary()), data.draw(st.binary())
    assert (codec.component(left) + a < codec.component(right) + b) == ((order(left), a) < (order(right), b))


@each_kind
@given(data=st.data())
def test_unpack_gives_back_what_pack_was_given(name, data):
    type, values, _ = KINDS[name]
    codec = KeyCodec(type)
    value = data.draw(values)
    back = codec.unpack(codec.pack(value))
    assert back == value or (back != back and value != value)
    assert codec.pack(back) == codec.pack(value)


@each_kind
@given(junk=st.binary(max_size=40))
def test_unpack_of_junk_is_an_error_or_a_value(name, junk):
    with suppress(ModelVaultFormatError):
        KeyCodec(KINDS[name][0]).unpack(junk)


@given(st.integers(), st.integers())
def test_one_encoding_for_all_integer_kinds(a, b):
    for value in (a, b):
        packed = {
            KeyCodec(Type(kind)).pack(value)
            for kind, least, most in (("int64", -(1 << 63), (1 << 63) - 1), ("uint64", 0, (1 << 64) - 1))
            if least <= value <= most
        }
        assert len(packed) <= 1


GOLDEN = [
    (Type("bool"), False, "00"),
    (Type("bool"), True, "01"),
    (Type("int"), 0, "80"),
    (Type("int"), 1, "8101"),
    (Type("int"), 255, "81ff"),
    (Type("int"), 256, "820100"),
    (Type("int"), -1, "7ffe"),
    (Type("int"), -256, "7efeff"),
    (Type("int"), (1 << 64) - 1, "88" + "ff" * 8),
    (Type("int"), -(1 << 63), "78" + "7f" + "ff" * 7),
    (Type("float64"), 0.0, "8000000000000000"),
    (Type("float64"), -0.0, "8000000000000000"),
    (Type("float64"), 1.0, "bff0000000000000"),
    (Type("float64"), -1.0, "400fffffffffffff"),
    (Type("float64"), math.nan, "fff8000000000000"),
    (Type("float64"), math.inf, "fff0000000000000"),
    (Type("string"), "a\0é", "6100c3a9"),
    (Type("bytes"), b"\0\xff", "00ff"),
    (Type("uuid"), UUID(int=1), "00" * 15 + "01"),
    (Type("timestamp", python="datetime"), datetime(1970, 1, 1), "800000000000000000"),
    (Type("timestamp", python="datetime"), datetime(1970, 1, 1, tzinfo=UTC), "800000000000000001"),
    (Type("timestamp"), -1, "7fffffffffffffff01"),
    (Type("date"), date(1, 1, 1), "00000001"),
    (Type("time"), time(0, 0, 1), "80000000000f424000"),
    (Type("timedelta"), timedelta(days=-1, microseconds=1), "7fffffff0000000000000001"),
    (Type("decimal"), Decimal("0.00"), "02"),
    (Type("decimal"), Decimal("-Infinity"), "00"),
    (Type("decimal"), Decimal("Infinity"), "04"),
    (Type("decimal"), Decimal("NaN"), "05"),
    (Type("decimal"), Decimal("120.50"), "03" + "8102" + "0203010600"),
    (Type("decimal"), Decimal("-120.50"), "01" + "7efd" + "fdfcfef9ff"),
    (Type("decimal"), Decimal("0.05"), "03" + "7ffd" + "0600"),
    (Type("literal", values=("a", 1)), "a", "4061"),
    (Type("literal", values=("a", 1)), 1, "208101"),
]


@pytest.mark.parametrize(("type", "value", "expected"), GOLDEN)
def test_bytes_of_the_format_document(type, value, expected):
    assert KeyCodec(type).pack(value).hex() == expected


def test_components_of_text_are_escaped_and_ended():
    assert KeyCodec(Type("string")).component("a\0b").hex() == "6100ff620000"
    assert KeyCodec(Type("bytes")).component(b"").hex() == "0000"
    assert KeyCodec(Type("literal", values=("a", 1))).component("a").hex() == "40610000"


def test_none_comes_after_every_value_of_an_index():
    codec = KeyCodec(Type("optional", (Type("int"),)))
    assert codec.tagged(None) == b"\x02"
    assert codec.tagged(5) == b"\x01\x81\x05"
    assert codec.tagged(5) < codec.tagged((1 << 64) - 1) < codec.tagged(None)


REFUSED = [
    ("int64", "1", TypeError, "'str' object cannot be interpreted as an integer"),
    ("int64", 1.0, TypeError, "'float' object cannot be interpreted as an integer"),
    ("int64", None, TypeError, "'NoneType' object cannot be interpreted as an integer"),
    ("int64", 1 << 63, OverflowError, "Python int too large to convert to C long"),
    ("uint64", -1, OverflowError, "can't convert negative int to unsigned"),
    ("uint64", 1 << 64, OverflowError, "int too big to convert"),
    ("int", 1 << 64, OverflowError, "int too big to convert"),
    ("int", -(1 << 63) - 1, OverflowError, "int too big to convert"),
    ("float64", "1", TypeError, "must be real number, not str"),
    ("float64", 10**400, OverflowError, "int too large to convert to float"),
    ("bool", 1, TypeError, "'int' object is not an instance of 'bool'"),
    ("bool", None, TypeError, "'None' object is not an instance of 'bool'"),
    ("string", b"x", TypeError, "'bytes' object is not an instance of 'str'"),
    ("string", "\ud800", UnicodeEncodeError, "surrogates not allowed"),
    ("bytes", "x", TypeError, "Can't extract `str` to `Vec`"),
    ("bytes", None, TypeError, "'None' is not an instance of 'Sequence'"),
    ("uuid", b"short", ValueError, "uuid must be 16 bytes"),
    ("uuid", "zz", ValueError, "badly formed hexadecimal UUID string"),
    ("uuid", 5, AttributeError, "'int' object has no attribute 'replace'"),
    ("uuid", None, TypeError, "one of the hex, bytes, bytes_le, fields, or int arguments must be given"),
    ("timestamp", "x", ValueError, "timestamp field expects int64 (Unix microseconds) or datetime.datetime"),
    ("timestamp", 1 << 63, ValueError, "timestamp field expects int64 (Unix microseconds) or datetime.datetime"),
    ("timestamp", date(2020, 1, 1), ValueError, "timestamp field expects int64 (Unix microseconds)"),
    ("date", datetime(2020, 1, 1), TypeError, "'datetime' object is not an instance of 'date'"),
    ("time", 5, TypeError, "'int' object is not an instance of 'time'"),
    ("timedelta", 5, TypeError, "'int' object is not an instance of 'timedelta'"),
    ("decimal", 1.5, TypeError, "'float' object is not an instance of 'Decimal'"),
]


@pytest.mark.parametrize(("kind", "value", "error", "words"), REFUSED)
def test_values_of_the_wrong_type(kind, value, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        KeyCodec(Type(kind)).pack(value)
    assert type(caught.value) is error


class Index:
    def __index__(self):
        return 7


def test_conversions():
    assert KeyCodec(Type("int64")).pack(True) == KeyCodec(Type("int64")).pack(1)
    assert KeyCodec(Type("int64")).pack(Index()) == KeyCodec(Type("int")).pack(7)
    assert KeyCodec(Type("float64")).pack(Decimal("1.5")) == KeyCodec(Type("float64")).pack(1.5)
    one = UUID(int=1)
    for form in (str(one), one.hex, one.bytes, list(one.bytes)):
        assert KeyCodec(Type("uuid")).pack(form) == one.bytes
    for form in (bytearray(b"ab"), memoryview(b"ab"), [97, 98]):
        assert KeyCodec(Type("bytes")).pack(form) == b"ab"


def test_a_naive_datetime_of_the_dict_interface_is_local_time():
    value = datetime(2020, 6, 1, 12)
    codec = KeyCodec(Type("timestamp"))
    assert codec.pack(value) == codec.pack(value.astimezone()) == codec.pack(round(value.timestamp() * 1000000))


class Color(Enum):
    RED = 1
    BLUE = "blue"


def test_enum_keys_are_their_values():
    codec = KeyCodec(Type("enum", values=(1, "blue"), python=tuple(Color)))
    assert codec.pack(Color.RED) == codec.pack(1) == b"\x20\x81\x01"
    assert codec.unpack(codec.pack(Color.BLUE)) is Color.BLUE
    with pytest.raises(ModelVaultValidationError, match="value must be one of"):
        codec.pack("green")


def test_literals_are_told_apart_by_type():
    codec = KeyCodec(Type("literal", values=(True, 1, 1.0)))
    assert len({codec.pack(value) for value in (True, 1, 1.0)}) == 3
    assert [codec.unpack(codec.pack(value)) for value in (True, 1, 1.0)] == [True, 1, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -math.nan])
def test_primary_key_floats_are_finite(value):
    with pytest.raises(ModelVaultValidationError, match="validation error: primary key float must be finite"):
        KeyCodec(Type("float64"), finite=True).pack(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_floats_pass(value):
    assert KeyCodec(Type("float64"), finite=True).pack(value) == KeyCodec(Type("float64")).pack(value)


def test_custom_types_count_as_what_they_hold():
    type = Type("custom", (Type("string"),), python=(str, Decimal))
    assert KeyCodec(type).pack(Decimal("1.5")) == b"1.5"


@pytest.mark.parametrize("kind", ["list", "any", "object"])
def test_containers_are_no_keys(kind):
    with pytest.raises(ModelVaultSchemaError, match="a key must be a scalar"):
        KeyCodec(Type(kind, (Type("int"),) if kind == "list" else ()))


def test_big_exponents():
    codec = KeyCodec(Type("decimal"))
    values = [Decimal(text) for text in ("-1E+99999999999", "-1", "1E-99999999999", "1", "1E+99999999999")]
    assert sorted(values, key=codec.pack) == values
    assert [codec.unpack(codec.pack(value)) for value in values] == values


def test_float_bits():
    nan = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\xff")[0]
    assert KeyCodec(Type("float64")).pack(nan) == KeyCodec(Type("float64")).pack(math.nan)
