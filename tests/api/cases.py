"""One case for each type that a field may have: its values, and what the dict interface makes of them."""

# ruff: noqa: UP007, UP045
import collections
import dataclasses
import enum
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Network
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ByteSize,
    ConfigDict,
    EmailStr,
    Field,
    HttpUrl,
    Json,
    JsonValue,
    NaiveDatetime,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    create_model,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass

from tests import models
from tests.strategies import ANYTHING, INTS, TEXT, ZONES

EPOCH = datetime(1970, 1, 1)
UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")


def micros(value: datetime) -> int:
    """Microseconds since 1970; of a naive datetime, of what the clock on the wall showed."""
    wall = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    return (wall - EPOCH) // timedelta(microseconds=1)


def plain(value: Any, stamp: Callable[[datetime], Any] = micros) -> Any:
    """The value as the dict interface gives it back, where the field's type says nothing else."""

    def inner(part: Any) -> Any:
        return plain(part, stamp)

    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, BaseModel):
        return {name: inner(part) for name, part in value.__dict__.items()} | (value.__pydantic_extra__ or {})
    if dataclasses.is_dataclass(value):
        return {field.name: inner(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {inner(key): inner(part) for key, part in value.items()}
    if isinstance(value, list | collections.deque):
        return [inner(part) for part in value]
    if isinstance(value, tuple | set | frozenset):
        base = next(cls for cls in (tuple, set, frozenset) if isinstance(value, cls))
        return base(inner(part) for part in value)
    return value


def same(value: Any) -> Any:
    return value


def given(value: Any) -> Any:
    """The value as the dict interface takes it: like `plain`, but datetimes stay."""
    return plain(value, same)


@dataclass(frozen=True)
class Case:
    """`out` is what the dict interface gives for a value, `into` what it takes for it; None: it takes it in no form."""

    annotation: Any
    values: st.SearchStrategy[Any]
    edges: tuple[Any, ...] = ()
    out: Callable[[Any], Any] | None = plain
    into: Callable[[Any], Any] | None = given


class Country(str, enum.Enum):
    FRANCE = "fr"
    JAPAN = "jp"


class Weekday(enum.IntEnum):
    MONDAY = 0
    SUNDAY = 2**63


class Instant(enum.Enum):
    """Values of every scalar kind."""

    FLAG = True
    ONE = 1
    RATIO = 1.5
    TEXT = "x"
    DATA = b"x"
    UID = UUID(int=7)
    DAY = date(2024, 2, 29)
    SPAN = timedelta(-1)


class Modes(enum.IntFlag):
    R = 4
    W = 2


@dataclass(frozen=True, slots=True)
class Coin:
    face: str
    value: int = 1


@dataclass
class Purse:
    coins: list[Coin]
    best: Coin | None = None


@pydantic_dataclass
class Stamp:
    price: Decimal = Decimal("1.50")


class Inner(BaseModel):
    name: str
    when: datetime | None = None


class Outer(BaseModel):
    inner: Inner
    others: list[Inner] = []
    by_name: dict[str, Inner] = {}


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")

    n: int = 0


class Names(RootModel[list[str]]):
    pass


COINS = st.builds(Coin, face=TEXT, value=INTS)
SECONDS = st.integers(-86399, 86399)
AWARE = st.datetimes(timezones=SECONDS.map(lambda n: timezone(timedelta(seconds=n))), allow_imaginary=True)
SOME = st.datetimes(datetime(1000, 1, 1), datetime(3000, 1, 1), timezones=st.just(UTC))
INNERS = st.builds(Inner, name=TEXT, when=st.none() | SOME) | st.builds(Inner, name=TEXT)
CATS = st.builds(models.Cat, lives=INTS)
DOGS = st.builds(models.Dog, name=TEXT)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_é", min_size=1, max_size=20)
DECIMALS = st.decimals(allow_nan=True) | st.decimals(allow_nan=False, places=2)
IPS = st.integers(0, 2**32 - 1).map(IPv4Address)
BIG = (0, -1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
FLOATS = (0.0, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "\0", "\U0010ffff", "\xe9", "e\u0301", "a" * 5000)
FOLDS = tuple(datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=BERLIN) for fold in (0, 1))


def plain_coins(value: frozenset[Coin]) -> Any:
    """Dicts have no hash: the dict interface has a list of them."""
    return [plain(coin) for coin in value] or frozenset()


def pattern_plain(value: Any) -> Any:
    return (value.pattern, value.flags)


SCALARS: dict[str, Case] = {
    "bool": Case(bool, st.booleans()),
    "int": Case(int, INTS, BIG),
    "float": Case(float, st.floats(), FLOATS),
    "str": Case(str, TEXT, TEXTS),
    "bytes": Case(bytes, st.binary(), (b"", b"\0", b"\xff" * 5000)),
    "uuid": Case(UUID, st.uuids(), (UUID(int=0), UUID(int=2**128 - 1))),
    "aware": Case(datetime, AWARE, (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), *FOLDS)),
    "naive": Case(datetime, st.datetimes(), (datetime.min, datetime.max, datetime(2024, 10, 27, 2, fold=1)), into=None),
    "date": Case(date, st.dates(), (date.min, date.max, date(1970, 1, 1), date(2024, 2, 29))),
    "time": Case(time, st.times(timezones=ZONES), (time.min, time.max, time(2, 30, fold=1))),
    "timedelta": Case(timedelta, st.timedeltas(), (timedelta.min, timedelta.max, timedelta(microseconds=-1))),
    "decimal": Case(
        Decimal, DECIMALS, tuple(map(Decimal, ("0", "-0", "0E+5", "1.50", "1E-100", "sNaN", "-NaN7", "-Infinity")))
    ),
}

CHOICES: dict[str, Case] = {
    "enum": Case(models.Color, st.sampled_from(models.Color)),
    "int enum": Case(Weekday, st.sampled_from(Weekday)),
    "str enum": Case(Country, st.sampled_from(Country)),
    "enum of pairs": Case(models.Shape, st.sampled_from(models.Shape), out=lambda e: e.name, into=lambda e: e.name),
    "enum of many kinds": Case(Instant, st.sampled_from(Instant)),
    "enum of alike": Case(models.Mixed, st.sampled_from(models.Mixed)),
    "flag": Case(models.Rights, st.integers(0, 3).map(models.Rights)),
    "int flag": Case(Modes, st.integers(0, 7).map(Modes)),
    "literal": Case(Literal["a", 1, True, b"x"], st.sampled_from(["a", 1, True, b"x"])),
    "literal of members": Case(Literal[models.Color.RED, "plain"], st.sampled_from([models.Color.RED, "plain"])),
    "literal or none": Case(Literal["yes", None], st.sampled_from(["yes", None])),
    "optional": Case(Optional[int], st.none() | INTS),
    "optional text": Case(str | None, st.none() | TEXT, (None, "")),
    "optional enum": Case(models.Level | None, st.none() | st.sampled_from(models.Level)),
}
if sys.version_info >= (3, 11):
    Word = enum.StrEnum("Word", ["A", "B"])
    CHOICES["strenum"] = Case(Word, st.sampled_from(Word))

CONTAINERS: dict[str, Case] = {
    "list": Case(list[int], st.lists(INTS, max_size=5), ([], list(BIG))),
    "list of optional": Case(list[str | None], st.lists(st.none() | TEXT, max_size=5)),
    "list of aware": Case(list[datetime], st.lists(SOME, max_size=3)),
    "bare list": Case(list, st.lists(ANYTHING, max_size=3), out=same, into=same),
    "matrix": Case(list[list[float]], st.lists(st.lists(st.floats(), max_size=3), max_size=3), ([[]],)),
    "tuple": Case(tuple[int, str], st.tuples(INTS, TEXT)),
    "empty tuple": Case(tuple[()], st.just(())),
    "long tuple": Case(tuple[float, ...], st.lists(st.floats(), max_size=5).map(tuple), ((),)),
    "set": Case(set[str], st.sets(TEXT, max_size=5), (set(),)),
    "set of enum": Case(set[models.Color], st.sets(st.sampled_from(models.Color))),
    "frozenset": Case(frozenset[int], st.frozensets(INTS, max_size=5), (frozenset(),)),
    "dict": Case(
        dict[str, list[int]], st.dictionaries(TEXT, st.lists(INTS, max_size=2), max_size=3), ({}, {"b": [], "a": []})
    ),
    "dict by date": Case(dict[date, Decimal], st.dictionaries(st.dates(), st.decimals(allow_nan=False), max_size=3)),
    "dict by tuple": Case(
        dict[tuple[int, str], bool], st.dictionaries(st.tuples(INTS, TEXT), st.booleans(), max_size=3)
    ),
    "dict by enum": Case(dict[models.Color, int], st.dictionaries(st.sampled_from(models.Color), INTS, max_size=2)),
    "sequence": Case(Sequence[int], st.lists(INTS, max_size=3) | st.lists(INTS, max_size=3).map(tuple)),
    "mapping": Case(Mapping[str, int], st.dictionaries(TEXT, INTS, max_size=3)),
    "deque": Case(collections.deque[int], st.lists(INTS, max_size=3).map(collections.deque)),
    "ordered dict": Case(
        collections.OrderedDict[str, int], st.dictionaries(TEXT, INTS, max_size=3).map(collections.OrderedDict)
    ),
    "default dict": Case(
        collections.defaultdict[str, list[int]],
        st.dictionaries(TEXT, st.lists(INTS, max_size=2), max_size=3).map(lambda d: collections.defaultdict(list, d)),
    ),
    "counter": Case(collections.Counter[str], st.lists(TEXT, max_size=5).map(collections.Counter)),
    "typed dict": Case(models.Movie, st.builds(models.Movie, title=TEXT, year=INTS)),
    "sparse dict": Case(
        models.Sparse, st.builds(dict, title=TEXT) | st.builds(dict, title=TEXT, year=INTS), out=None, into=None
    ),
    "named tuple": Case(models.Point, st.builds(models.Point, st.floats(), st.dates())),
    "any": Case(Any, ANYTHING, (None, [(1, "x"), {1: {2.5}}], datetime(2024, 1, 1), b"", True), out=same, into=same),
    "json": Case(
        JsonValue,
        INTS | TEXT | st.none() | st.lists(INTS | st.booleans(), max_size=2),
        ({"a": [1.5, None]},),
        same,
        same,
    ),
}

NESTED: dict[str, Case] = {
    "model": Case(Inner, INNERS),
    "optional model": Case(Inner | None, st.none() | INNERS),
    "model of models": Case(
        Outer,
        st.builds(Outer, inner=INNERS, others=st.lists(INNERS, max_size=2), by_name=st.dictionaries(TEXT, INNERS)),
    ),
    "list of models": Case(list[Inner], st.lists(INNERS, max_size=3)),
    "dict of models": Case(dict[str, Inner], st.dictionaries(TEXT, INNERS, max_size=2)),
    "tuple of models": Case(tuple[Inner, Coin], st.tuples(INNERS, COINS)),
    "dataclass": Case(Purse, st.builds(Purse, st.lists(COINS, max_size=3), st.none() | COINS)),
    "set of dataclasses": Case(frozenset[Coin], st.frozensets(COINS, max_size=3), out=plain_coins, into=plain_coins),
    "pydantic dataclass": Case(Stamp, st.builds(Stamp, price=st.decimals(allow_nan=False, allow_infinity=False))),
    "generic model": Case(models.Box[int], st.builds(models.Box[int], value=INTS, others=st.lists(INTS, max_size=2))),
    "generic dataclass": Case(models.Crate[str], st.builds(models.Crate, TEXT, st.lists(TEXT, max_size=2))),
    "root model": Case(Names, st.lists(TEXT, max_size=3).map(Names)),
    "open model": Case(
        Loose,
        st.builds(lambda n, e: Loose(n=n, **e), INTS, st.dictionaries(NAMES.map("x".__add__), ANYTHING, max_size=2)),
    ),
}

UNIONS: dict[str, Case] = {
    "int or str": Case(int | str, INTS | TEXT),
    "numbers": Case(Union[int, float, bool], INTS | st.floats() | st.booleans(), (1, 1.0, True, 0, 0.0, False)),
    "date or datetime": Case(date | datetime, st.dates() | SOME),
    "many kinds": Case(
        UUID | bytes | Decimal | timedelta | time | None,
        st.uuids() | st.binary() | st.decimals() | st.timedeltas() | st.times() | st.none(),
    ),
    "containers": Case(
        list[int] | list[str] | dict[str, int],
        st.lists(INTS, max_size=3) | st.lists(TEXT, max_size=3) | st.dictionaries(TEXT, INTS, max_size=2),
    ),
    "enum or str": Case(models.Color | str, st.sampled_from(models.Color) | st.just("red") | TEXT, into=None),
    "models": Case(models.Cat | models.Dog, CATS | DOGS),
    "discriminated": Case(Annotated[models.Cat | models.Dog, Field(discriminator="kind")], CATS | DOGS),
    "list of discriminated": Case(
        list[Annotated[models.Cat | models.Dog, Field(discriminator="kind")]], st.lists(CATS | DOGS, max_size=3)
    ),
    "model or dataclass": Case(Inner | Coin, INNERS | COINS),
}

CUSTOMS: dict[str, Case] = {
    "path": Case(Path, st.lists(NAMES, min_size=1).map(lambda parts: Path(*parts)), (Path("/"), Path("."))),
    "pure path": Case(PurePosixPath, NAMES.map(PurePosixPath)),
    "ipv4": Case(IPv4Address, IPS),
    "ipv6": Case(IPv6Address, st.integers(0, 2**128 - 1).map(IPv6Address)),
    "interface": Case(IPv4Interface, IPS.map(lambda ip: IPv4Interface((ip, 24)))),
    "network": Case(IPv6Network, st.integers(0, 2**64 - 1).map(lambda n: IPv6Network((n << 64, 64)))),
    "ip or ip": Case(IPv4Address | IPv6Address, IPS | st.integers(0, 2**128 - 1).map(IPv6Address), into=None),
    "url": Case(HttpUrl, st.integers(0, 9999).map(lambda n: HttpUrl(f"https://example.com/{n}?q=é#x"))),
    "any url": Case(AnyUrl, st.integers(1, 9999).map(lambda n: AnyUrl(f"postgres://u:p@host:{n}/db"))),
    "email": Case(EmailStr, st.integers(0, 9999).map(lambda n: f"user{n}@example.com")),
    "secret": Case(SecretStr, TEXT.map(SecretStr)),
    "secret bytes": Case(SecretBytes, st.binary().map(SecretBytes)),
    "secret date": Case(Secret[date], st.dates().map(Secret[date])),
    "fraction": Case(Fraction, st.fractions()),
    "complex": Case(complex, st.complex_numbers(), (complex(-0.0, float("inf")),)),
    "pattern": Case(
        re.Pattern[str],
        st.sampled_from([re.compile("a+"), re.compile("B", re.IGNORECASE | re.MULTILINE)]),
        out=pattern_plain,
    ),
    "zone": Case(ZoneInfo, st.sampled_from([BERLIN, ZoneInfo("UTC")])),
    "byte size": Case(ByteSize, st.integers(0, 2**63 - 1).map(ByteSize)),
    "bytearray": Case(bytearray, st.binary().map(bytearray)),
    "parsed json": Case(Json[list[int]], st.lists(INTS, max_size=3)),
    "aware only": Case(AwareDatetime, AWARE),
    "naive only": Case(NaiveDatetime, st.datetimes(), into=None),
    "subclass": Case(models.Code, TEXT.map(models.Code)),
    "new type": Case(models.Number, INTS),
    "alias": Case(models.Pair[int], st.tuples(INTS, INTS)),
    "recursive alias": Case(models.Tangle, st.recursive(TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=4)),
}

TEXTUAL = (
    Path
    | PurePosixPath
    | IPv4Address
    | IPv6Address
    | IPv4Interface
    | IPv6Network
    | HttpUrl
    | AnyUrl
    | Fraction
    | ZoneInfo
)


def custom_plain(value: Any, stamp: Callable[[datetime], Any] = micros) -> Any:
    """`plain`, for types that are stored as something simpler."""
    if isinstance(value, TEXTUAL):
        return value.key if isinstance(value, ZoneInfo) else str(value)
    if isinstance(value, SecretStr | SecretBytes | Secret):
        return value.get_secret_value()
    if isinstance(value, complex):
        return (value.real, value.imag)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, ByteSize):
        return int(value)
    if isinstance(value, models.Code):
        return str.__str__(value)
    if isinstance(value, re.Pattern):
        return pattern_plain(value)
    return plain(value, stamp)


def custom_given(value: Any) -> Any:
    return custom_plain(value, same)


CASES: dict[str, Case] = SCALARS | CHOICES | CONTAINERS | NESTED | UNIONS
for name, case in CUSTOMS.items():
    CASES[name] = dataclasses.replace(case, out=custom_plain, into=custom_given if case.into else None)


def model_of(name: str, case: Case) -> type[BaseModel]:
    """A Pydantic model with an id and one field `v` of the case's type."""
    title = "P" + name.title().replace(" ", "")
    made: Any = create_model(
        title,
        __config__=ConfigDict(arbitrary_types_allowed=True),
        __module__=__name__,
        id=(int, ...),
        v=(case.annotation, ...),
    )
    made.__modelvault_primary_key__ = "id"
    return made  # type: ignore[no-any-return]


def dataclass_of(name: str, case: Case, **options: bool) -> type:
    """A dataclass with an id and one field `v` of the case's type."""
    title = ("S" if options else "D") + name.title().replace(" ", "")
    fields = [("id", int), ("v", case.annotation)]
    return dataclasses.make_dataclass(title, fields, namespace={"__modelvault_primary_key__": "id"}, **options)
