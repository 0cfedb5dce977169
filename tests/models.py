"""The models that all tests share: the benchmark's, and one for each feature that a stored class may have."""

# Annotations are spelled in every way that users spell them.
# ruff: noqa: RUF012, UP007, UP045

import collections
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Optional, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

from annotated_types import Ge, Interval, MaxLen, MinLen, MultipleOf
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    IPvAnyAddress,
    Json,
    JsonValue,
    NaiveDatetime,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    StringConstraints,
    Tag,
    computed_field,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import NotRequired, Self, TypeAliasType, TypedDict

from modelvault.specs import constrained, index, unique

T = TypeVar("T")
UTC = timezone.utc


class Address(BaseModel):
    street: str
    city: str
    zip: str


class User(BaseModel):
    """The benchmark model."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [unique("email"), index("address.city")]

    id: int
    email: str
    name: str
    age: int
    active: bool
    score: float
    created: datetime
    tags: list[str]
    address: Address


def user(number: int = 1, **changes: Any) -> User:
    """A benchmark row, the same for the same number."""
    values: dict[str, Any] = {
        "id": number,
        "email": f"user{number}@example.com",
        "name": f"User Number {number}",
        "age": 18 + number % 60,
        "active": number % 3 != 0,
        "score": number * 0.5,
        "created": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        "tags": [f"tag{number % 7}", f"tag{number % 11}", "common"],
        "address": Address(street=f"{number} Main St", city=f"City {number % 100}", zip=f"{number:05d}"),
    }
    return User(**(values | changes))


@dataclass
class Place:
    street: str
    city: str
    zip: str


@dataclass
class Person:
    """The benchmark model as a standard dataclass."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [unique("email"), index("address.city")]

    id: int
    email: str
    name: str
    age: int
    active: bool
    score: float
    created: datetime
    tags: list[str]
    address: Place


def person(number: int = 1, **changes: Any) -> Person:
    """The dataclass twin of `user`."""
    source = user(number)
    values = {name: getattr(source, name) for name in User.model_fields}
    return Person(**(values | {"address": Place(**source.address.model_dump())} | changes))


# Enums and other kinds of values


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Mood(str, enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Shape(enum.Enum):
    """Its values are no scalars: stored by name."""

    POINT = (0, 0)
    LINE = (0, 1)


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "1"
    RATIO = 1.5


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Code(str):
    """A user's own subclass of a scalar."""

    __slots__ = ()


class Point(NamedTuple):
    x: float
    when: date


class Movie(TypedDict):
    title: str
    year: int


class Sparse(TypedDict):
    title: str
    year: NotRequired[int]


class Scalars(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    flag: bool
    number: int
    ratio: float
    text: str
    data: bytes
    uid: UUID
    stamp: datetime
    day: date
    clock: time
    span: timedelta
    amount: Decimal


@dataclass
class PlainScalars:
    __modelvault_primary_key__ = "id"

    id: int
    flag: bool
    number: int
    ratio: float
    text: str
    data: bytes
    uid: UUID
    stamp: datetime
    day: date
    clock: time
    span: timedelta
    amount: Decimal


class Optionals(BaseModel):
    __modelvault_primary_key__ = "id"

    id: str
    number: int | None = None
    text: Optional[str] = None
    stamp: datetime | None = None
    parts: list[int | None] | None = None
    bare: int = None  # type: ignore[assignment]


class Choices(BaseModel):
    __modelvault_primary_key__ = "id"

    id: UUID
    color: Color
    level: Level
    mood: Mood
    shape: Shape
    mixed: Mixed
    rights: Rights
    literal: Literal["a", 1, True, b"x"]
    maybe: Literal["yes", None]
    member: Literal[Color.RED, "plain"]


class Containers(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    numbers: list[int]
    anything: list[Any]
    pair: tuple[int, str]
    many: tuple[float, ...]
    unique: set[str]
    frozen: frozenset[int]
    by_name: dict[str, list[int]]
    by_day: dict[date, Decimal]
    sequence: Sequence[int]
    mapping: Mapping[str, int]
    queue: collections.deque[int]
    groups: collections.defaultdict[str, list[int]]
    ordered: collections.OrderedDict[str, int]
    counts: collections.Counter[str]
    movie: Movie
    sparse: Sparse
    point: Point
    matrix: list[list[float]]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


def pet_tag(value: Any) -> str:
    return str(value["kind"] if isinstance(value, dict) else value.kind)


class Unions(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    simple: int | str
    numeric: int | float | bool
    dates: date | datetime
    maybe: Union[int, str, None] = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tagged: Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(pet_tag)]
    lists: list[int] | list[str] | dict[str, int]
    color: Color | str


class Customs(BaseModel):
    __modelvault_primary_key__ = "id"
    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: Path
    ip: IPv4Address
    network: IPv6Network
    either: IPvAnyAddress
    url: HttpUrl
    dsn: AnyUrl
    password: SecretStr = Field(min_length=3)
    token: SecretBytes
    hidden: Secret[date]
    fraction: Fraction
    complex: complex
    pattern: re.Pattern[str]
    zone: ZoneInfo
    size: ByteSize
    buffer: bytearray
    parsed: Json[list[int]]
    aware: AwareDatetime
    naive: NaiveDatetime


def customs(**changes: Any) -> Customs:
    values: dict[str, Any] = {
        "id": "/etc/hosts",
        "ip": "10.0.0.1",
        "network": "2001:db8::/32",
        "either": "::1",
        "url": "https://example.com/a?b=c",
        "dsn": "postgres://u:p@host:5432/db",
        "password": "hunter2",
        "token": b"\x00\xff",
        "hidden": date(2024, 2, 29),
        "fraction": Fraction(1, 3),
        "complex": 1 - 2.5j,
        "pattern": re.compile("a+", re.IGNORECASE),
        "zone": "Europe/Berlin",
        "size": "3KiB",
        "buffer": bytearray(b"\x01\x02"),
        "parsed": "[1, 2]",
        "aware": datetime(2024, 1, 1, tzinfo=UTC),
        "naive": datetime(2024, 1, 1),
    }
    return Customs(**(values | changes))


# Features of model classes


class Node(BaseModel):
    """Recursive, directly and through another model."""

    __modelvault_primary_key__ = "id"

    id: int
    parent: Optional["Node"] = None
    children: "list[Node]" = []
    edge: "Edge | None" = None


class Edge(BaseModel):
    label: str
    to: "Node | None" = None


@dataclass
class Tree:
    __modelvault_primary_key__ = "name"

    name: str
    branches: "list[Tree]" = field(default_factory=list)


class Box(BaseModel, Generic[T]):
    value: T
    others: list[T] = []


@dataclass
class Crate(Generic[T]):
    value: T
    others: list[T]


class Generics(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    box: Box[int]
    loose: Box[Any]
    crate: Crate[str]


class Aliased(BaseModel):
    """Stored under its Python names, whatever JSON calls them."""

    __modelvault_primary_key__ = "id"

    id: int = Field(alias="_id")
    name: str = Field(validation_alias="userName", serialization_alias="user-name")
    hidden: str = Field(default="h", exclude=True)

    @computed_field
    def shout(self) -> str:
        return self.name.upper()


class Open(BaseModel):
    __modelvault_primary_key__ = "id"
    model_config = ConfigDict(extra="allow")

    id: int


class Private(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    _seen: int = PrivateAttr(default=7)
    _log: list[str] = PrivateAttr(default_factory=list)
    _unset: str


class Frozen(BaseModel):
    __modelvault_primary_key__ = "id"
    model_config = ConfigDict(frozen=True)

    id: int
    tags: tuple[str, ...] = ()


class Defaults(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    number: int = 5
    items: list[int] = [1, 2]
    stamp: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Root(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    names: RootModel[list[str]]


class ByValue(BaseModel):
    """Its instances hold the values of the enum, not the members."""

    __modelvault_primary_key__ = "id"
    model_config = ConfigDict(use_enum_values=True)

    id: int
    color: Color


class Validated(BaseModel):
    """Has validators of every sort, so that patches can be seen to run them."""

    __modelvault_primary_key__ = "id"

    id: int
    low: int
    high: int
    name: str = Field(default="x", max_length=8, pattern="^[a-z]+$")

    @field_validator("name")
    @classmethod
    def strip(cls, value: str) -> str:
        return value + "!"

    @model_validator(mode="after")
    def ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class Constrained(BaseModel):
    __modelvault_primary_key__ = "id"

    id: Annotated[int, Ge(1)]
    even: Annotated[int, MultipleOf(2)] = 2
    between: Annotated[float, Interval(gt=0, le=1)] = 0.5
    few: Annotated[list[int], MinLen(1), MaxLen(3)] = [1]
    code: str = Field(default="ab", pattern="^[a-z]+$", max_length=4)
    short: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = "s"
    maybe: Annotated[int, Field(ge=0)] | None = None
    price: Decimal = Field(default=Decimal(1), ge=0, max_digits=6)
    since: Annotated[date, Ge(date(2000, 1, 1))] = date(2000, 1, 1)
    mail: Annotated[str, constrained(email=True, max_length=40)] = "a@b.c"
    year: Annotated[int, constrained(min_i64=1900, max_i64=2100)] = 2000
    items: list[Annotated[int, Field(lt=100)]] = []


# Features of dataclasses


@dataclass(slots=True)
class Slotted:
    __modelvault_primary_key__ = "id"

    id: int
    name: str = "n"


@dataclass(frozen=True)
class Fixed:
    __modelvault_primary_key__ = "id"

    id: int
    name: str = "n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    __modelvault_primary_key__ = "id"

    id: int
    name: str = "n"


@dataclass
class Base:
    __modelvault_primary_key__ = "id"

    count: ClassVar[int] = 0
    id: int


@dataclass
class Derived(Base):
    seed: InitVar[int] = 0
    _: KW_ONLY
    name: str = "d"
    made: int = field(init=False)

    def __post_init__(self, seed: int) -> None:
        self.made = seed * 2


@dataclass
class Careful:
    """Derives and checks in __post_init__, and keeps an attribute that is no field."""

    __modelvault_primary_key__ = "id"

    id: int
    width: int
    area: int = field(init=False)

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("width must not be negative")
        self.area = self.width**2
        self.note = f"area {self.area}"


@pydantic_dataclass
class Checked:
    __modelvault_primary_key__ = "id"

    id: int
    ratio: float = Field(default=0.5, ge=0)
    place: Place | None = None


Number = TypeAliasType("Number", int)
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))
Tangle = TypeAliasType("Tangle", "dict[str, Tangle] | list[Tangle] | str")


class AliasTypes(BaseModel):
    __modelvault_primary_key__ = "id"

    id: Number
    pair: Pair[int]
    tangle: Tangle
    json_value: JsonValue
