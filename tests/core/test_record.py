"""What goes in comes out: every kind, every Python side, every way of refusing."""

import dataclasses
import gc
import math
import re
import struct
import sys
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, create_model
from typing_extensions import TypedDict

from modelvault._core.record import Face, RecordCodec
from modelvault.annotations import row_type
from modelvault.errors import (
    CorruptionError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
    ModelVaultValidationError,
)
from modelvault.schema import Constraint, Schema, Type
from modelvault.schema import Field as Part

UTC = timezone.utc
ZONES = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
INT = st.integers(-(1 << 63), (1 << 64) - 1)


def optional(type):
    return Type("optional", (type,))


def row(**types):
    return Type("object", fields=tuple(Part(name, type) for name, type in types.items()))


def one(type, **options):
    return RecordCodec(row(v=type), 1, **options)


def same(left, right):
    """Equal and of the same type, all the way down; NaN is itself, -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right) or (left != left and right != right)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, datetime | time):
        return left == right and left.fold == right.fold and left.utcoffset() == right.utcoffset()
    return left == right


def equals_itself(value):
    """Not so with a NaN inside; a signalling one does not even compare."""
    try:
        return value == value and same(value, value)
    except InvalidOperation:
        return False


def check_model(instance, cls=None):
    """Through a record and back: the instance, whatever its class hides."""
    cls = cls or type(instance)
    codec = RecordCodec(row_type(cls), 1)
    record = codec.encode(instance)
    back = codec.decode(record)
    assert type(back) is type(instance)
    assert back == instance
    assert codec.encode(back) == record
    return back


SCALARS = {
    "bool": (Type("bool"), st.booleans()),
    "int64": (Type("int64"), st.integers(-(1 << 63), (1 << 63) - 1)),
    "uint64": (Type("uint64"), st.integers(0, (1 << 64) - 1)),
    "int": (Type("int"), INT),
    "float64": (Type("float64"), st.floats()),
    "string": (Type("string"), st.text()),
    "bytes": (Type("bytes"), st.binary()),
    "uuid": (Type("uuid"), st.uuids()),
    "micros": (Type("timestamp"), st.integers(-(1 << 63), (1 << 63) - 1)),
    "timestamp": (Type("timestamp", python="datetime"), st.datetimes() | st.datetimes(timezones=ZONES)),
    "date": (Type("date"), st.dates()),
    "time": (Type("time"), st.times() | st.times(timezones=ZONES)),
    "timedelta": (Type("timedelta"), st.timedeltas()),
    "decimal": (Type("decimal"), st.decimals()),
    "enum": (Type("enum", values=("p", "q")), st.sampled_from(["p", "q"])),
    "literal": (Type("literal", values=(True, 1, 1.0, "x")), st.sampled_from([True, 1, 1.0, "x"])),
}
KEYS = st.text(max_size=3) | st.integers(-5, 5) | st.booleans() | st.none()
ANY = st.recursive(
    st.none()
    | st.booleans()
    | INT
    | st.floats()
    | st.text()
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | ZONES)
    | st.timedeltas()
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(KEYS, max_size=3)
        | st.frozensets(KEYS, max_size=3)
    ),
    max_leaves=8,
)
STRING, INTEGER = Type("string"), Type("int")
CONTAINERS = {
    "list": (Type("list", (INTEGER,)), st.lists(INT)),
    "lists": (Type("list", (Type("list", (optional(STRING),)),)), st.lists(st.lists(st.none() | st.text()))),
    "set": (Type("set", (STRING,)), st.sets(st.text())),
    "frozenset": (Type("frozenset", (INTEGER,)), st.frozensets(INT)),
    "vartuple": (Type("vartuple", (Type("float64"),)), st.lists(st.floats()).map(tuple)),
    "tuple": (Type("tuple", (INTEGER, STRING)), st.tuples(INT, st.text())),
    "empty": (Type("list", (Type("tuple"),)), st.lists(st.just(()))),
    "dict": (Type("dict", (STRING, Type("decimal"))), st.dictionaries(st.text(), st.decimals())),
    "union": (
        Type("union", (INTEGER, STRING, Type("list", (INTEGER,))), python=(int, str, list)),
        INT | st.text() | st.lists(INT),
    ),
    "any": (Type("any"), ANY),
    "custom": (Type("custom", (STRING,), python=(str, IPv4Address)), st.integers(0, 255).map(IPv4Address)),
    "custom any": (Type("custom", python=(list, deque)), st.lists(ANY, max_size=3).map(deque)),
}
KINDS = SCALARS | CONTAINERS
each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
@given(data=st.data())
def test_what_goes_in_comes_out(name, data):
    type, values = KINDS[name]
    value, maybe, many = data.draw(st.tuples(values, st.none() | values, st.lists(values, max_size=3)))
    codec = RecordCodec(row(a=type, b=optional(type), c=Type("list", (type,)), d=optional(row(x=type))), 1)
    source = {"a": value, "b": maybe, "c": many, "d": {"x": value}}
    record = codec.encode(source)
    back = codec.decode(record)
    assert same(back, source)
    assert same(codec.read(record, ("a",)), value)
    assert same(codec.read(record, ("b",)), maybe)
    assert same(codec.read(record, ("d", "x")), value)


@pytest.mark.parametrize("name", SCALARS)
@given(data=st.data())
def test_records_are_damaged_without_harm(name, data):
    type, values = SCALARS[name]
    codec = RecordCodec(row(a=type, b=optional(type), c=Type("list", (type,))), 1)
    source = {"a": data.draw(values), "b": data.draw(values), "c": [data.draw(values)]}
    tamper(codec, codec.encode(source), data)


def tamper(codec, record, data):
    """Change and cut a record at random; what comes is a value or an error that says so."""
    damaged = bytearray(record)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(max(0, len(damaged) - 8), len(damaged)))])
    with suppress(ModelVaultFormatError):
        codec.decode(cut)


class Color(Enum):
    RED = 1
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Name(str, Enum):
    ADA = "ada"


class Pair(NamedTuple):
    a: int
    b: str


class Movie(TypedDict):
    title: str
    year: int


class Address(BaseModel):
    street: str
    city: str
    zip: str | None = None


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Slotted:
    x: int
    y: str | None = None


class Everything(BaseModel):
    a: bool = True
    b: int = 1
    c: float = 2.5
    d: str = "x"
    e: bytes = b"y"
    f: UUID = UUID(int=5)
    g: datetime = datetime(2020, 1, 2, 3, 4, 5, 6)
    h: date = date(2020, 1, 2)
    i: time = time(1, 2, 3)
    j: timedelta = timedelta(days=-1, seconds=2)
    k: Decimal = Decimal("1.50")
    l: Color = Color.GREEN  # noqa: E741
    m: Level = Level.HIGH
    n: Name = Name.ADA
    o: Literal["a", 2, Color.RED] = Color.RED
    p: int | None = None
    q: list[Address] = []
    r: tuple[int, str] = (1, "a")
    s: tuple[int, ...] = (1, 2)
    t: set[int] = {1, 2}
    u: frozenset[str] = frozenset("a")  # of two, the order in the bytes would depend on the process's hashes
    v: dict[str, list[int]] = {"a": [1]}
    w: Point = Point(1, 2.0)
    x: int | str | Address | Point = "u"
    y: Any = None
    z: IPv4Address = IPv4Address("127.0.0.1")
    aa: Pair = Pair(1, "b")
    bb: Movie = {"title": "t", "year": 1}
    cc: deque[int] = deque([1, 2])
    dd: Frozen = Frozen(3, ("q",))
    ee: Slotted | None = None


EVERYTHING = st.builds(
    Everything,
    a=st.booleans(),
    b=INT,
    c=st.floats(allow_nan=False),
    d=st.text(),
    e=st.binary(),
    f=st.uuids(),
    g=st.datetimes(timezones=st.none() | ZONES),
    h=st.dates(),
    i=st.times(),
    j=st.timedeltas(),
    k=st.decimals(allow_nan=False, allow_infinity=False),
    l=st.sampled_from(Color),
    m=st.sampled_from(Level),
    o=st.sampled_from(["a", 2, Color.RED]),
    p=st.none() | INT,
    q=st.lists(st.builds(Address, street=st.text(), city=st.text(), zip=st.none() | st.text()), max_size=2),
    r=st.tuples(INT, st.text()),
    s=st.lists(INT).map(tuple),
    t=st.sets(INT),
    u=st.frozensets(st.text()),
    v=st.dictionaries(st.text(), st.lists(INT, max_size=2), max_size=2),
    w=st.builds(Point, INT, st.floats(allow_nan=False)),
    x=INT | st.text() | st.builds(Point, INT) | st.builds(Address, street=st.text(), city=st.text()),
    y=ANY.filter(equals_itself),
    z=st.integers(0, (1 << 32) - 1).map(IPv4Address),
    aa=st.tuples(INT, st.text()).map(lambda pair: Pair(*pair)),
    dd=st.builds(Frozen, INT, st.lists(st.text()).map(tuple)),
    ee=st.none() | st.builds(Slotted, INT, st.none() | st.text()),
)
WHOLE = RecordCodec(row_type(Everything), 1)


@given(EVERYTHING)
@settings(max_examples=100)
def test_a_model_of_everything(instance):
    record = WHOLE.encode(instance)
    back = WHOLE.decode(record)
    for name in Everything.model_fields:
        assert same(getattr(back, name), getattr(instance, name)), name
    assert back.model_fields_set == instance.model_fields_set


@given(EVERYTHING, st.data())
@settings(max_examples=200)
def test_a_damaged_model_of_everything(instance, data):
    tamper(WHOLE, WHOLE.encode(instance), data)


@given(st.binary(max_size=200))
def test_junk_is_refused(junk):
    for data in (junk, b"\x01\x00" + junk):
        with suppress(ModelVaultFormatError):
            WHOLE.decode(data)


# Pydantic


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int
    b: int = 2


class Secretive(BaseModel):
    a: int
    _b: int = PrivateAttr(5)
    _c: list[int] = PrivateAttr(default_factory=list)
    _d: int = PrivateAttr()


class FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: int


class Aliased(BaseModel):
    a: int = Field(alias="A")
    b: str = Field(exclude=True)


class Node(BaseModel):
    name: str
    children: list["Node"] = []
    parent: "Node | None" = None


class Root(RootModel[list[int]]):
    pass


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    value: T


class Noisy(BaseModel):
    a: int

    def __init__(self, **values):
        raise AssertionError("constructed")

    def model_post_init(self, context):
        raise AssertionError("initialised")


def test_fields_set_is_kept():
    for values in ({"a": 1}, {"a": 1, "b": 3}):
        back = check_model(Open(**values))
        assert back.model_fields_set == set(values)
    assert check_model(Open.model_construct({"strange"}, a=1)).model_fields_set == {"strange"}
    assert check_model(Everything()).model_fields_set == set()


def test_what_a_row_holds_is_its_own():
    """Dicts are filled and fields-sets copied past the interpreter's functions: nothing is shared or hidden."""
    codec = RecordCodec(row_type(Open), 1)
    record = codec.encode(Open(a=1, b=2))
    one, other = codec.decode(record), codec.decode(record)
    one.a, one.__pydantic_fields_set__ = 5, one.model_fields_set
    one.model_fields_set.discard("b")
    one.model_fields_set.add("c")
    assert (other.a, other.model_fields_set) == (1, {"a", "b"})
    assert (one.model_fields_set, codec.decode(record).model_fields_set) == ({"a", "c"}, {"a", "b"})
    whole = WHOLE.decode(WHOLE.encode(Everything.model_construct(None, **dict(Everything()))))
    assert whole.model_fields_set == set(Everything.model_fields)
    assert list(whole.__dict__) == list(Everything.model_fields)
    whole.q.append(whole)
    assert gc.is_tracked(whole.__dict__)
    assert any(part is whole.q for part in gc.get_referents(whole.__dict__))


@pytest.mark.parametrize("count", [*range(1, 24), 40, 100])
def test_fields_sets_are_small_and_whole(count):
    """They take less memory than Python would give them, and are sets like others."""
    names = [f"field_{number}" for number in range(count)]
    model = create_model("Wide", **dict.fromkeys(names, (int, 0)))
    codec = Face([RecordCodec(row_type(model), 1)], names[0])
    back = codec.decode(codec.encode(model(**dict.fromkeys(names, 1)))[1])
    found = back.model_fields_set
    assert found == set(names) and sorted(found) == sorted(names)
    assert sys.getsizeof(found) <= sys.getsizeof(set(names))
    assert all(name in found for name in names) and "other" not in found
    for name in names:
        found.add(name + "_more")
    for name in names[::2]:
        found.discard(name)
    assert found == {name + "_more" for name in names} | set(names[1::2])
    assert codec.decode(codec.encode(back)[1]).model_fields_set == found
    assert codec.decode(codec.encode(model(**dict.fromkeys(names, 1)))[1]).model_fields_set == set(names)


def test_a_small_set_takes_half():
    codec = Face([RecordCodec(row_type(Nine), 1)], "a")
    back = codec.decode(codec.encode(Nine(**dict.fromkeys("abcdefghi", 1)))[1])
    assert sys.getsizeof(back.model_fields_set) < sys.getsizeof(set("abcdefghi"))


class Nine(BaseModel):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int


def test_short_texts_that_come_again_are_made_once():
    codec = one(Type("list", (Type("string"),)))
    texts = ["new", "old", "x" * 32, "é" * 4, "ab", "abc"]
    record = codec.encode({"v": texts})
    first, second = codec.decode(record)["v"], codec.decode(record)["v"]
    assert first == second == texts
    shared = [text for text, other in zip(first, second, strict=True) if text is other]
    assert [text for text in shared if text.isascii()] == ["new", "old", "x" * 32, "ab", "abc"]


def test_texts_that_are_new_each_time_are_not_kept():
    codec = one(Type("string"))
    for number in range(500):
        assert codec.decode(codec.encode({"v": f"text {number}"}))["v"] == f"text {number}"
    again = codec.encode({"v": "text"})
    assert codec.decode(again)["v"] is not codec.decode(again)["v"]
    for _ in range(10_000):  # and are tried again, now and then
        codec.decode(again)
    assert codec.decode(again)["v"] is codec.decode(again)["v"]


@given(st.lists(st.text(max_size=34), max_size=20), st.randoms())
def test_texts_are_themselves_whatever_came_before(texts, chance):
    for _ in range(10):
        some = [chance.choice(texts) for _ in texts]
        assert SHORT_TEXTS.decode(SHORT_TEXTS.encode({"v": some})) == {"v": some}


SHORT_TEXTS = one(Type("list", (Type("string"),)))


def test_extras_are_kept():
    back = check_model(Open(a=1, zz="x", deep={"k": [1, None]}))
    assert back.model_extra == {"zz": "x", "deep": {"k": [1, None]}}
    assert back.model_fields_set == {"a", "zz", "deep"}
    assert check_model(Open(a=1)).model_extra == {}


def test_private_attributes_are_kept():
    source = Secretive(a=1)
    source._b = 6
    source._c.append(3)
    back = check_model(source)
    assert (back._b, back._c) == (6, [3])
    source._d = 7
    assert check_model(source)._d == 7


def test_private_attributes_of_rows_without_them_have_their_defaults():
    plain = RecordCodec(row(a=Type("int")), 1)
    back = RecordCodec(row_type(Secretive), 1).decode(plain.encode({"a": 1}))
    assert (back._b, back._c) == (5, [])
    back._b = 9
    assert back.__pydantic_private__["_b"] == 9


def test_what_no_type_describes_is_refused_by_name():
    source = Secretive(a=1)
    source._c = object()
    with pytest.raises(TypeError, match="_c: 'object' object cannot be stored as Any"):
        RecordCodec(row_type(Secretive), 1).encode(source)


def test_models_of_other_kinds():
    check_model(FrozenModel(a=1))
    check_model(Aliased(A=1, b="x"))
    check_model(Root([1, 2]))
    check_model(Box[int](value=3))
    check_model(Box[list[str]](value=["a"]))
    back = RecordCodec(row_type(Noisy), 1).decode(one(Type("int")).encode({"v": 4}).replace(b"v", b"a"))
    assert back.a == 4 and back.model_dump() == {"a": 4}


def test_instances_are_as_good_as_constructed_ones():
    back = check_model(Open(a=1, zz=2))
    back.a = 5
    back.other = 6
    assert back.model_dump() == {"a": 5, "b": 2, "zz": 2, "other": 6}
    assert back.model_copy(update={"b": 1}).b == 1
    assert "a" in back.model_fields_set and repr(back) == "Open(a=5, b=2, zz=2, other=6)"
    again = RecordCodec(row_type(Open), 1).decode(RecordCodec(row_type(Open), 1).encode(Open(a=1)))
    again.b = 7
    assert Open(a=1).model_fields_set == {"a"} and again.model_fields_set == {"a", "b"}


def test_recursion():
    tree = Node(name="a", children=[Node(name="b", children=[Node(name="c")]), Node(name="d")], parent=Node(name="e"))
    check_model(tree)


def nested(depth):
    node = Node(name="leaf")
    for _ in range(depth - 1):
        node = Node.model_construct(name="n", children=[node], parent=None)
    return node


def test_depth_is_bounded():
    codec = RecordCodec(row_type(Node), 1)
    assert codec.decode(codec.encode(nested(100))) == nested(100)
    with pytest.raises(ModelVaultValidationError, match="nested deeper than 100 levels"):
        codec.encode(nested(101))
    itself = Node(name="a")
    itself.children.append(itself)
    with pytest.raises(ModelVaultValidationError, match="nested deeper than 100 levels"):
        codec.encode(itself)
    assert codec.decode(codec.encode(nested(3))) == nested(3)


def test_depth_of_a_stored_value_is_bounded():
    codec = one(Type("any"))
    deep: list = []
    for _ in range(98):
        deep = [deep]
    assert codec.decode(codec.encode({"v": deep})) == {"v": deep}
    with pytest.raises(ModelVaultValidationError, match="nested deeper than 100 levels"):
        codec.encode({"v": [[deep]]})
    with pytest.raises(CorruptionError, match="nested deeper than 100 levels"):
        codec.decode(bytes.fromhex("010001d007") + b"\x0d\x01" * 1000)


class SameFields(Address):
    pass


class MoreFields(Address):
    country: str = "uk"


def test_subclasses():
    codec = RecordCodec(row_type(Address), 1)
    back = codec.decode(codec.encode(SameFields(street="s", city="c")))
    assert type(back) is Address and back.city == "c"
    with pytest.raises(TypeError, match="country would be lost"):
        codec.encode(MoreFields(street="s", city="c"))
    with pytest.raises(TypeError, match="'Point' object is not an instance of 'Address'"):
        codec.encode(Point(1))


# Dataclasses


@dataclass
class Watched:
    x: int
    double: int = field(init=False)

    def __post_init__(self):
        if self.x < 0:
            raise AssertionError("initialised")
        self.double = self.x * 2
        self.cache = [1]


@dataclass
class Base:
    a: int


@dataclass(slots=True)
class Half(Base):
    b: int


def test_dataclasses():
    check_model(Point(1, -0.0))
    check_model(Frozen(1, ("a",)))
    check_model(Slotted(1))
    check_model(Half(1, 2))
    back = check_model(Watched(3))
    assert back.cache == [1] and vars(back) == vars(Watched(3))
    source = Watched(3)
    source.x = -1
    assert check_model(source).x == -1
    with pytest.raises(dataclasses.FrozenInstanceError):
        check_model(Frozen(1)).x = 5


def test_a_dataclass_that_lacks_an_attribute():
    source = Point(1)
    del source.x
    with pytest.raises(ModelVaultValidationError, match="validation error at x: missing field"):
        RecordCodec(row_type(Point), 1).encode(source)


# The dict interface


def test_returned_dicts_are_sorted_and_whole():
    codec = RecordCodec(row(z=INTEGER, b=optional(STRING), a=row(y=INTEGER, x=optional(INTEGER))), 1)
    back = codec.decode(codec.encode({"z": 1, "a": {"y": 2}}))
    assert list(back) == ["a", "b", "z"] and list(back["a"]) == ["x", "y"]
    assert back == {"a": {"x": None, "y": 2}, "b": None, "z": 1}
    back["a"]["y"] = 5
    assert codec.decode(codec.encode({"z": 1, "a": {"y": 2}}))["a"]["y"] == 2


def test_conversions_of_the_dict_interface():
    stamp = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    micros = int(stamp.timestamp()) * 1000000
    for type, value, expected in [
        (Type("int64"), True, 1),
        (Type("float64"), 1, 1.0),
        (Type("float64"), Decimal("1.5"), 1.5),
        (Type("timestamp"), stamp, micros),
        (Type("timestamp"), micros, micros),
        (Type("timestamp"), stamp.astimezone().replace(tzinfo=None), micros),
        (Type("uuid"), "0" * 31 + "5", UUID(int=5)),
        (Type("uuid"), [0] * 15 + [5], UUID(int=5)),
        (Type("bytes"), [1, 2], b"\1\2"),
        (Type("bytes"), bytearray(b"x"), b"x"),
        (Type("string"), Name.ADA, "ada"),
        (Type("enum", values=("ada",)), Name.ADA, "ada"),
        (Type("decimal"), 5, Decimal(5)),
    ]:
        codec = one(type)
        assert same(codec.decode(codec.encode({"v": value})), {"v": expected})


REFUSED = [
    (Type("int64"), "1", TypeError, "v: 'str' object cannot be interpreted as an integer"),
    (Type("int64"), None, TypeError, "v: 'NoneType' object cannot be interpreted as an integer"),
    (Type("int64"), 1 << 63, OverflowError, "v: Python int too large to convert to C long"),
    (Type("uint64"), -1, OverflowError, "v: can't convert negative int to unsigned"),
    (Type("uint64"), 1 << 64, OverflowError, "v: int too big to convert"),
    (Type("int"), 1 << 64, OverflowError, "v: int too big to convert"),
    (Type("float64"), "1", TypeError, "v: must be real number, not str"),
    (Type("bool"), 1, TypeError, "v: 'int' object is not an instance of 'bool'"),
    (Type("string"), None, TypeError, "v: 'None' object is not an instance of 'str'"),
    (Type("string"), "\ud800", UnicodeEncodeError, "surrogates not allowed (v)"),
    (Type("bytes"), "x", TypeError, "v: Can't extract `str` to `Vec`"),
    (Type("uuid"), b"1", ValueError, "v: uuid must be 16 bytes"),
    (Type("uuid"), 5, AttributeError, "v: 'int' object has no attribute 'replace'"),
    (Type("timestamp"), 1.5, ValueError, "v: timestamp field expects int64 (Unix microseconds) or datetime.datetime"),
    (Type("list", (INTEGER,)), (1,), ValueError, "v: expected list for list type"),
    (Type("list", (INTEGER,)), None, ValueError, "v: expected list for list type"),
    (Type("list", (INTEGER,)), [1, None], TypeError, "v.1: 'NoneType' object cannot be interpreted as an integer"),
    (Type("tuple", (INTEGER,)), (1, 2), ValueError, "v: expected a tuple of 1, not of 2"),
    (Type("dict", (STRING, INTEGER)), {"a": "b"}, TypeError, "v.a: 'str' object cannot be interpreted"),
    (
        Type("enum", values=("p", "q")),
        "z",
        ModelVaultValidationError,
        'validation error at v: enum value must be one of ["p", "q"]',
    ),
    (Type("enum", values=("p",)), 5, ValueError, "v: expected string for enum"),
    (Type("enum", values=("p",)), Color.RED, ValueError, "v: expected string for enum"),
    (row(x=INTEGER), None, ValueError, "v: expected dict for object type"),
    (row(x=INTEGER), [], ValueError, "v: expected dict for object type"),
    (row(x=INTEGER), {}, ValueError, 'v: missing object field "x"'),
    (row(x=INTEGER), {"x": None}, ValueError, 'v: unexpected None for required field "x"'),
    (row(x=INTEGER), {"x": 1, "z": 2}, ValueError, 'v: unknown field in object: "z"'),
    (row(x=INTEGER), {"x": "1"}, TypeError, "v.x: 'str' object cannot be interpreted as an integer"),
    (Type("any"), object(), TypeError, "v: 'object' object cannot be stored as Any"),
    (Type("string"), "x" * 16777217, ModelVaultFormatError, "field length 16777217 exceeds maximum 16777216"),
    (
        Type("timestamp", python="datetime"),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(microseconds=1))),
        ValueError,
        "v: a UTC offset has whole seconds",
    ),
    (Type("time"), time(1, tzinfo=ZoneInfo("Europe/Berlin")), ValueError, "v: a time whose zone has no fixed offset"),
]


@pytest.mark.parametrize(("type", "value", "error", "words"), REFUSED)
def test_wrong_values_of_the_dict_interface(type, value, error, words):
    codec = one(type)
    with pytest.raises(error, match=re.escape(words)) as caught:
        codec.encode({"v": value})
    assert caught.type is error
    assert codec.decode(one(INTEGER).encode({"v": 1})) if type == INTEGER else True


def test_rows_that_are_none():
    codec = RecordCodec(row(id=INTEGER, s=STRING), 1, "id")
    for source, error, words in [
        ([], TypeError, "argument 'row': 'list' object is not an instance of 'dict'"),
        ({5: 1}, TypeError, "'int' object is not an instance of 'str'"),
        ({"s": "x"}, ModelVaultSchemaError, 'schema error: insert row missing primary key field "id"'),
        ({"id": 1}, ModelVaultValidationError, "validation error at s: missing field"),
        ({"id": 1, "zz": 2}, ValueError, 'unknown field "zz"'),
        ({"id": "x", "s": 5, "zz": 2}, ValueError, 'unknown field "zz"'),
        ({"id": 1, "s": "x", "zz": 2}, ValueError, 'unknown field "zz"'),
    ]:
        with pytest.raises(error) as caught:
            codec.encode(source)
        assert caught.type is error and str(caught.value).startswith(words)


def test_groups_of_paths():
    inner = Type("object", fields=(Part("c", optional(INTEGER)),), group=True)
    group = Type("object", fields=(Part("a", optional(INTEGER)), Part("b", inner)), group=True)
    codec = RecordCodec(row(id=INTEGER, p=group), 1)
    assert codec.decode(codec.encode({"id": 1})) == {"id": 1, "p": {"a": None, "b": {"c": None}}}
    assert codec.decode(codec.encode({"id": 1, "p": {}}))["p"] == {"a": None, "b": {"c": None}}
    needed = RecordCodec(row(p=Type("object", fields=(Part("age", INTEGER),), group=True)), 1)
    for source, words in [
        ({}, 'p: missing field "age"'),
        ({"p": None}, "p: expected dict for nested object"),
        ({"p": {"age": 1, "zz": 2}}, 'p: unknown field in object: "zz"'),
    ]:
        with pytest.raises(ValueError, match=words):
            needed.encode(source)


def test_defaults_fill_what_a_row_leaves_out():
    type = Type(
        "object",
        fields=(
            Part("id", INTEGER),
            Part("n", optional(INTEGER), default=5),
            Part("l", Type("list", (INTEGER,)), factory=list),
        ),
    )
    codec = RecordCodec(type, 1)
    assert codec.decode(codec.encode({"id": 1})) == {"id": 1, "n": 5, "l": []}
    assert codec.decode(codec.encode({"id": 1, "n": None}))["n"] is None


def test_a_dict_in_place_of_an_instance():
    codec = RecordCodec(row_type(Open), 1)
    back = codec.decode(codec.encode({"a": 1, "more": [2]}))
    assert back == Open(a=1, more=[2])
    plain = RecordCodec(Schema.from_json(Schema("t", "a", row_type(Open)).to_json()).type, 1)
    assert plain.decode(codec.encode(Open(a=1, zz=3, aa=4))) == {"a": 1, "aa": 4, "b": 2, "zz": 3}


# Constraints


def constrained(kind, *constraints, items=()):
    return Type(kind, items, constraints=tuple(Constraint(name, value) for name, value in constraints))


V = "validation error at v: "
BROKEN = (
    [
        (constrained("int64", ("min_i64", 2000)), 1999, "value 1999 is below minimum 2000"),
        (constrained("int64", ("max_i64", 10)), 11, "value 11 is above maximum 10"),
        (constrained("uint64", ("min_u64", 1 << 63)), 5, "value 5 is below minimum 9223372036854775808"),
        (constrained("uint64", ("max_u64", 10)), 1 << 63, "value 9223372036854775808 is above maximum 10"),
        (constrained("float64", ("min_f64", 0.5)), 0.4, "value 0.4 is below minimum 0.5"),
        (constrained("float64", ("min_f64", 0.5)), -math.inf, "value -inf is below minimum 0.5"),
        (constrained("float64", ("min_f64", 0.5)), -5.0, "value -5 is below minimum 0.5"),
        (constrained("float64", ("max_f64", 0.5)), math.nan, "value NaN is above maximum 0.5"),
        (constrained("float64", ("ge", 0)), math.nan, "value NaN is below minimum 0"),
        (constrained("string", ("min_length", 3)), "ab", "string length 2 is below minimum 3"),
        (constrained("string", ("max_length", 5)), "ééé", "string length 6 is above maximum 5"),
        (constrained("string", ("max_len", 2)), "ééé", "string length 3 is above maximum 2"),
        (constrained("bytes", ("max_length", 3)), b"abcd", "bytes length 4 is above maximum 3"),
        (constrained("list", ("min_length", 2), items=(INTEGER,)), [1], "list length 1 is below minimum 2"),
        (constrained("dict", ("max_len", 0), items=(INTEGER, INTEGER)), {1: 1}, "dict length 1 is above maximum 0"),
        (constrained("string", ("regex", "^[a-z]+$")), "ABC", "string does not match regex"),
        (constrained("string", ("regex", "^[a-z]+$")), "abc\n", "string does not match regex"),
        (constrained("string", ("nonempty", True)), "", "string must be non-empty"),
        (constrained("bytes", ("nonempty", True)), b"", "bytes must be non-empty"),
        (constrained("list", ("nonempty", True), items=(INTEGER,)), [], "list must be non-empty"),
        (constrained("int", ("ge", 18)), 17, "value 17 is below minimum 18"),
        (constrained("int", ("gt", 18)), 18, "value 18 is not above 18"),
        (constrained("int", ("gt", 17.5)), 17, "value 17 is not above 17.5"),
        (constrained("int", ("lt", 0), ("ge", -5)), 0, "value 0 is not below 0"),
        (constrained("int", ("le", 5)), 1 << 63, "value 9223372036854775808 is above maximum 5"),
        (constrained("int", ("multiple_of", 5)), 7, "value 7 is not a multiple of 5"),
        (constrained("float64", ("gt", 0.0)), 0.0, "value 0 is not above 0"),
        (constrained("float64", ("multiple_of", 0.1)), 0.25, "value 0.25 is not a multiple of 0.1"),
        (constrained("decimal", ("ge", Decimal("1.5"))), Decimal("1.4"), "value 1.4 is below minimum 1.5"),
        (constrained("date", ("lt", date(2020, 1, 1))), date(2020, 1, 1), "value 2020-01-01 is not below 2020-01-01"),
        (constrained("timedelta", ("ge", timedelta(0))), timedelta(-1), "is below minimum 0:00:00"),
        (constrained("bytes", ("ge", b"b")), b"a", "is below minimum"),
    ]
    + [
        (constrained("string", ("email", True)), text, "string is not a valid email shape")
        for text in ("bad", "a@b", "a@", "")
    ]
    + [
        (constrained("string", ("url", True)), text, "string must be an http(s) URL")
        for text in ("ftp://x", "HTTP://x", "")
    ]
)


@pytest.mark.parametrize(("type", "value", "words"), BROKEN)
def test_broken_constraints(type, value, words):
    with pytest.raises(ModelVaultValidationError) as caught:
        one(type).encode({"v": value})
    assert str(caught.value).startswith("validation error at v: ") and words in str(caught.value)


def test_constraints_hold_everywhere():
    small = constrained("int", ("le", 5))
    for type, value, path in [
        (Type("list", (small,)), [1, 6], "v.1"),
        (optional(small), 6, "v"),
        (row(a=row(b=small)), {"a": {"b": 6}}, "v.a.b"),
        (Type("list", (row(n=small),)), [{"n": 1}, {"n": 6}], "v.1.n"),
        (Type("dict", (STRING, small)), {"k": 6}, "v.k"),
        (Type("custom", (small,), python=(int, str)), "6", "v"),
    ]:
        with pytest.raises(ModelVaultValidationError, match=f"validation error at {path}: value 6 is above maximum 5"):
            one(type).encode({"v": value})
    assert one(optional(small)).decode(one(optional(small)).encode({"v": None})) == {"v": None}


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("email", ["@b.c", "a b@c.d", "a@b@c.d", "a@.c", "x@y."]),
        ("url", ["http://", "https://x"]),
        ("nonempty", [" "]),
    ],
)
def test_shapes_are_as_loose_as_before(kind, good):
    codec = one(constrained("string", (kind, True)))
    for text in good:
        assert codec.decode(codec.encode({"v": text})) == {"v": text}


BOUNDS = {"ge": lambda a, b: a >= b, "gt": lambda a, b: a > b, "le": lambda a, b: a <= b, "lt": lambda a, b: a < b}
NEAR = st.sampled_from([-(1 << 63), -1, 0, 1, 5, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])


RULES = st.lists(st.tuples(st.sampled_from(sorted(BOUNDS)), NEAR | st.floats(allow_nan=False)), max_size=3)


@given(RULES, NEAR, st.data())
def test_bounds_agree_with_python(bounds, value, data):
    for kind, number in (("int", value), ("float64", data.draw(st.floats()))):
        codec = one(constrained(kind, *bounds))
        good = all(BOUNDS[name](number, bound) for name, bound in bounds)
        try:
            codec.encode({"v": number})
            assert good
        except ModelVaultValidationError:
            assert not good


class Limits(BaseModel):
    a: Annotated[int, Ge(0), Lt(10)]
    b: Annotated[str, MinLen(1), MaxLen(3)]
    c: list[Annotated[float, Gt(0), Le(1)]]
    d: int = Field(0, multiple_of=2)
    e: str | None = Field(None, pattern="^x")


def test_constraints_of_models():
    good = Limits(a=1, b="a", c=[0.5])
    check_model(good)
    for name, value, path in [("a", 10, "a"), ("b", "", "b"), ("c", [0.5, 0.0], "c.1"), ("d", 3, "d"), ("e", "y", "e")]:
        with pytest.raises(ModelVaultValidationError, match=f"validation error at {path}: "):
            RecordCodec(row_type(Limits), 1).encode(good.model_copy(update={name: value}))


# Layout


GOLDEN = row(
    id=Type("int"),
    ok=Type("bool"),
    n=optional(Type("int64")),
    big=Type("int"),
    f=Type("float64"),
    s=STRING,
    b=optional(Type("bytes")),
    t=Type("timestamp", python="datetime"),
    d=Type("date"),
    k=Type("enum", values=("p", "q")),
    m=Type("decimal"),
    l=Type("list", (optional(Type("int")),)),
    o=row(x=STRING),
    u=Type("union", (INTEGER, STRING), python=(int, str)),
    a=Type("any"),
)
GOLDEN_ROW = {
    "id": 1,
    "ok": True,
    "n": None,
    "big": 1 << 63,
    "f": 1.0,
    "s": "é",
    "b": b"\1",
    "d": date(1970, 1, 1),
    "k": "q",
    "t": datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    "m": Decimal("1.50"),
    "l": [1, None],
    "o": {"x": "y"},
    "u": "z",
    "a": {"k": [None, True, (2.0,)]},
}
GOLDEN_BYTES = (
    ("0700", "schema version"),
    ("00", "flags: ends are u8, no tail"),
    ("06", "bits: wide id, null n, wide big, null b"),
    ("0100000000000000", "id"),
    ("01", "ok"),
    ("0000000000000000", "n, null"),
    ("0000000000000080", "big, wide"),
    ("000000000000f03f", "f"),
    ("0000000000000000 201c0000", "t: the instant, 3600 seconds * 2"),
    ("3bf90a00", "d: day 719163"),
    ("0100", "k: place 1"),
    ("02 03 07 0c 0f 12 26", "ends of s b m l o u a"),
    ("c3a9", "s"),
    ("01", "b"),
    ("312e3530", "m"),
    ("02 01 8101 00", "l: count, there, 1, absent"),
    ("00 01 79", "o: flags, end, x"),
    ("01 017a", "u: member 1, size, text"),
    ("11 01 05016b 0d03 00 02 0e01 04 0000000000000040", "a: dict of one, a list of three, a tuple of one"),
)


def test_bytes_of_the_format_document():
    record = RecordCodec(GOLDEN, 7).encode(GOLDEN_ROW)
    assert record.hex() == "".join(part for part, _ in GOLDEN_BYTES).replace(" ", "")
    assert RecordCodec(GOLDEN, 7).decode(record) == GOLDEN_ROW


def test_bytes_of_a_tail():
    record = RecordCodec(row_type(Open), 1).encode(Open(a=1, x=True))
    # Version, flags, bits, a, b, end of the tail; mask, fields-set, other names in fields-set, extras.
    expected = "0100 04 00 0100000000000000 0200000000000000 0b 0b 01 01050178 0105017802"
    assert record.hex() == expected.replace(" ", "")


def test_ends_are_as_wide_as_the_data_needs():
    """One byte each up to 255 bytes of data, two up to 65,535; which of the fields passes the limit does not matter."""
    codec = RecordCodec(row(a=STRING, b=STRING, c=row(d=Type("bytes")), e=optional(STRING)), 1)
    around = [0, 1, 250, 251, 252, 253, 254, 255, 256, 257, 65528, 65529, 65530, 65531, 65532, 65533, 65535]
    for place in range(3):
        for size in around:
            sizes = [3, 0, 2]
            sizes[place] = size
            source = {"a": "a" * sizes[0], "b": "b" * sizes[1], "c": {"d": b"d" * sizes[2]}, "e": None}
            record = codec.encode(source)
            nested = sizes[2] + (2 if sizes[2] < 256 else 3 if sizes[2] < 65536 else 5)
            data = sizes[0] + sizes[1] + nested
            code = 0 if data < 256 else 1 if data < 65536 else 2
            assert record[2] == code and len(record) == 4 + (4 << code) + data
            assert codec.decode(record) == source
            assert codec.read(record, ("c", "d")) == source["c"]["d"]
    with pytest.raises(CorruptionError):
        codec.decode(b"\1\0\3" + bytes(40))


def test_long_data_has_wide_ends():
    codec = RecordCodec(row(a=STRING, b=STRING, c=row(d=Type("bytes")), e=optional(STRING)), 1)
    for sizes in [(65535, 0, 0), (65534, 0, 2), (10, 70000, 70000), (0, 0, 65536), (65536, 1, 1), (1 << 20, 3, 1)]:
        source = {"a": "a" * sizes[0], "b": "b" * sizes[1], "c": {"d": b"d" * sizes[2]}, "e": None}
        record = codec.encode(source)
        assert codec.decode(record) == source
        assert codec.read(record, ("c", "d")) == source["c"]["d"]
    wide_tail = Open(a=1, text="x" * 70000)
    check_model(wide_tail)


def test_read_takes_one_field():
    codec = RecordCodec(row_type(Everything), 1)
    record = codec.encode(Everything(q=[Address(street="s", city="c")]))
    assert codec.read(record, ("q",)) == [Address(street="s", city="c")]
    assert codec.read(record, ("w", "x")) == 1
    assert codec.read(record, ("ee", "x")) is None
    assert codec.read(record, ("z",)) == IPv4Address("127.0.0.1")
    for path in (("nope",), ("a", "b"), ("w", "nope"), ("q", "0"), ()):
        with pytest.raises(ModelVaultQueryError, match="path"):
            codec.read(record, path)


# Faces


def test_a_face_writes_the_newest_version_and_reads_all():
    old = RecordCodec(row(id=INTEGER, a=STRING), 1, "id")
    new = RecordCodec(row(id=INTEGER, a=STRING, b=optional(STRING)), 2, "id")
    face = Face([old, new], "id")
    key, record = face.encode({"id": 5, "a": "x", "b": "y"})
    assert key == b"\x81\x05" and record == new.encode({"id": 5, "a": "x", "b": "y"})
    assert face.decode(record) == {"id": 5, "a": "x", "b": "y"}
    assert face.decode(old.encode({"id": 5, "a": "x"})) == {"a": "x", "b": None, "id": 5}
    assert face.read(record, ("b",)) == "y"
    with pytest.raises(CorruptionError, match="no known schema version"):
        face.decode(b"\x09\x00")


class Older(BaseModel):
    id: int


class Newer(BaseModel):
    id: int
    tags: list[str] = Field(default_factory=lambda: ["new"])
    rank: int = 3


def test_rows_older_than_a_field_have_its_default():
    newest = row_type(Newer)
    shape = dataclasses.replace(newest.python, attributes=("id",))
    old = RecordCodec(Type("object", fields=newest.fields[:1], python=shape), 1, "id")
    face = Face([old, RecordCodec(newest, 2, "id")], "id")
    back = face.decode(old.encode({"id": 1}))
    assert back == Newer(id=1) and back.model_fields_set == {"id"}


def test_a_class_that_knows_a_part_of_the_collection():
    stored = row(id=INTEGER, a=STRING, b=optional(INTEGER), c=Type("list", (STRING,)))
    shape = dataclasses.replace(row_type(Older).python, attributes=("id", None, None, None))
    codec = RecordCodec(dataclasses.replace(stored, python=shape), 1, "id")
    assert codec.decode(RecordCodec(stored, 1).encode({"id": 1, "a": "x", "c": ["y"]})) == Older(id=1)
    with pytest.raises(ModelVaultValidationError, match="validation error at a: missing field"):
        codec.encode(Older(id=1))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_primary_key_floats_are_finite(value):
    face = Face([RecordCodec(row(id=Type("float64")), 1, "id")], "id")
    with pytest.raises(ModelVaultValidationError, match="validation error: primary key float must be finite"):
        face.encode({"id": value})


# Hostile Python


def test_containers_that_change_while_they_are_stored():
    victim: list[Any] = []

    def dump(value):
        victim.clear()
        return 1

    codec = one(Type("list", (Type("custom", (INTEGER,), python=(dump, int)),)))
    victim.extend([1, 2, 3])
    with pytest.raises(RuntimeError, match="changed while it was being stored"):
        codec.encode({"v": victim})


def test_a_dump_may_encode_another_row():
    inner = one(INTEGER)

    def dump(value):
        return codec.encode({"v": value[1:]}) if value else b""

    codec = one(Type("custom", (Type("bytes"),), python=(dump, bytes)))
    assert inner.decode(inner.encode({"v": 1})) == {"v": 1}
    nested = codec.decode(codec.encode({"v": "abc"}))["v"]
    assert codec.decode(codec.decode(nested)["v"]) == {"v": codec.encode({"v": ""})}


def test_a_failed_row_leaves_the_codec_as_it_was():
    codec = RecordCodec(row_type(Node), 1)
    good = codec.encode(nested(3))
    for _ in range(3):
        with pytest.raises(ModelVaultValidationError, match="nested deeper"):
            codec.encode(nested(150))
        with pytest.raises(TypeError, match=r"^children\.0\.name: "):
            codec.encode(Node.model_construct(name="x", children=[Node.model_construct(name=5)]))
    assert codec.encode(nested(3)) == good


def test_ordered_dicts_are_dicts():
    codec = one(Type("dict", (STRING, INTEGER)))
    assert codec.decode(codec.encode({"v": OrderedDict(b=1, a=2)})) == {"v": {"b": 1, "a": 2}}


def test_a_dict_of_another_class_is_refused_in_the_same_words() -> None:
    codec = RecordCodec(row(x=INTEGER), 1)
    for wrong in ({"x": "no"}, {"x": 1, "y": 2}, {}):
        with pytest.raises(Exception) as plain:
            codec.encode(wrong)
        with pytest.raises(plain.type) as other:
            codec.encode(OrderedDict(wrong))
        assert str(other.value) == str(plain.value)


def test_nothing_is_leaked():
    instance = Everything(q=[Address(street="s", city="c")], y={"k": [1]}, ee=Slotted(1))
    record = WHOLE.encode(instance)
    fields = row_type(Everything).fields
    paths = [(field.name,) for field in fields]

    def work():
        for _ in range(50):
            WHOLE.decode(WHOLE.encode(instance))
            for path in paths:
                WHOLE.read(record, path)
            with suppress(ModelVaultFormatError):
                WHOLE.decode(record[:-1])
            with suppress(TypeError):
                WHOLE.encode(instance.model_copy(update={"q": [Address(street="s", city="c"), 5]}))
        gc.collect()

    work()
    before = sys.getallocatedblocks()
    work()
    assert sys.getallocatedblocks() - before < 50
