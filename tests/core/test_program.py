"""Conditions over record bytes mean what they mean in plain Python."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault._core.program import Program
from modelvault._core.record import RecordCodec
from modelvault.annotations import row_type
from modelvault.conditions import ALL, NONE, Condition, Every, Negation, Some, Test
from modelvault.errors import CorruptionError, ModelVaultQueryError, ModelVaultValidationError
from modelvault.types import SCALARS, Field, Type
from tests.models import User, user

UTC = timezone.utc
STRING = Type("string")
INT = Type("int")
FLOAT = Type("float64")
DATETIME = Type("timestamp", python="datetime")


def optional(type: Type) -> Type:
    return Type("optional", (type,))


def many(type: Type, kind: str = "list") -> Type:
    return Type(kind, (type,))


def row(**types: Type) -> Type:
    return Type("object", fields=tuple(Field(name, type) for name, type in types.items()))


def check(path: str, op: str, *values: Any) -> Test:
    return Test(tuple(path.split(".")), op, values)


def holds(codecs: list[RecordCodec], condition: Any, record: bytes) -> bool:
    """What a Program says; what it says without Python must not differ."""
    program = Program(codecs, condition)
    answer = program.test(record)
    verdict = program.verdict(record)
    assert verdict == answer or (verdict == 2 and not program.complete)
    return answer


def one(type: Type, value: Any, op: str, *values: Any) -> bool:
    """A test of a row with this one value."""
    codec = RecordCodec(row(v=type), 1)
    return holds([codec], check("v", op, *values), codec.encode({"v": value}))


# The meaning, in plain Python

NUMBERS = (bool, int, float, Decimal)
TEXT_OPS = ("startswith", "endswith", "contains", "like", "regex")
ORDER_OPS = ("lt", "le", "gt", "ge", "between")


def bare(type: Type) -> Type:
    while type.kind == "optional" or (type.kind == "custom" and type.items):
        type = type.items[0]
    return type


def is_listed(type: Type) -> bool:
    return bare(type).kind in ("list", "set", "frozenset", "vartuple")


def leaves(type: Type, value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The values at a path, None below None; the elements of a list."""
    type = bare(type)
    if value is not None and is_listed(type):
        for item in value:
            yield from leaves(type.items[0], item, path)
    elif value is None or not path:
        yield value
    else:
        inner = next(part.type for part in type.fields if part.name == path[0])
        yield from leaves(inner, value.get(path[0]), path[1:])


def moment(value: Any) -> Any:
    """Instants: naive ones as they stand, after equal naive ones the aware."""
    if isinstance(value, int):
        return (value, True)
    zero = datetime(1970, 1, 1, tzinfo=None if value.tzinfo is None else UTC)
    return ((value - zero) // timedelta(microseconds=1), value.tzinfo is not None)


def time_of_day(value: time) -> Any:
    offset = value.utcoffset() or timedelta()
    since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return (since - offset, value.tzinfo is not None)


def comparable(value: Any) -> Any:
    """(class, what Python compares)."""
    if isinstance(value, NUMBERS):
        return ("number", (value != value, 0 if value != value else value))
    if isinstance(value, datetime):
        return ("moment", moment(value))
    if isinstance(value, time):
        return ("time", time_of_day(value))
    return (type(value).__name__, value)


def in_order(kind: Type, value: Any) -> Any:
    """A scalar as what Python compares in its order."""
    if kind.kind == "timestamp":
        return ("moment", moment(value))
    found = comparable(value.value if isinstance(value, Enum) else value)
    if kind.kind == "literal" and len({comparable(other)[0] for other in kind.values}) > 1:
        return (("number", "str", "bytes").index(found[0]), found[1])
    return found[1] if kind.kind in SCALARS | {"enum", "literal"} else found


def like(pattern: str, text: str) -> bool:
    parts = re.findall(r"\\(.)|(%)|(_)|(.)", pattern, re.DOTALL)
    source = "".join(".*" if many else "." if one else re.escape(quoted or plain) for quoted, many, one, plain in parts)
    return re.fullmatch(source, text, re.DOTALL) is not None


def fits(kind: Type, op: str, value: Any, operands: list[Any]) -> bool:
    """One value, which is not None."""
    if isinstance(value, Enum):
        value = value.value
    first = operands[0] if operands else None
    if op in TEXT_OPS:
        if type(value) is not type(first):
            return False
        return {
            "startswith": lambda: value.startswith(first),
            "endswith": lambda: value.endswith(first),
            "contains": lambda: first in value,
            "like": lambda: like(first, value),
            "regex": lambda: re.search(first, value) is not None,
        }[op]()
    here, others = in_order(kind, value), [in_order(kind, other) for other in operands]
    if op in ("eq", "in"):
        return here in others
    if kind.kind in ("any", "union") and any(here[0] != other[0] for other in others):
        return False
    return {
        "lt": lambda: here < others[0],
        "le": lambda: here <= others[0],
        "gt": lambda: here > others[0],
        "ge": lambda: here >= others[0],
        "between": lambda: others[0] <= here <= others[1],
    }[op]()


def meant(type: Type, value: dict[str, Any], condition: Condition) -> bool:
    """Whether a condition holds for a decoded row."""
    if isinstance(condition, Every):
        return all(meant(type, value, part) for part in condition.parts)
    if isinstance(condition, Some):
        return any(meant(type, value, part) for part in condition.parts)
    if isinstance(condition, Negation):
        return not meant(type, value, condition.part)
    op, kind = condition.op, type
    for name in condition.path:
        while bare(kind).kind != "object":
            kind = bare(kind).items[0]
        kind = next(part.type for part in bare(kind).fields if part.name == name)
    if op == "ne":
        return not meant(type, value, Test(condition.path, "eq", condition.values))
    if op == "contains" and is_listed(kind):
        op = "eq"
    while is_listed(kind):
        kind = bare(kind).items[0]
    operands = [other for other in condition.values if other is not None]
    none = op == "null" or (op in ("eq", "in") and len(operands) < len(condition.values))
    return any(
        none if leaf is None else op != "null" and bool(operands) and fits(bare(kind), op, leaf, operands)
        for leaf in leaves(type, value, condition.path)
    )


# Random conditions over random rows

LITERAL = Type("literal", values=("b", "a", 7, True, b"x"))
ENUM = Type("enum", values=("z", "k", "", "kk"))
UNION = Type("union", (INT, STRING, Type("decimal"), many(INT)))
INNER = row(a=STRING, b=optional(INT), c=many(optional(STRING)), d=optional(row(e=FLOAT)))
ROW = row(
    id=INT,
    i64=Type("int64"),
    u64=optional(Type("uint64")),
    big=optional(INT),
    flag=Type("bool"),
    number=optional(FLOAT),
    name=optional(STRING),
    data=Type("bytes"),
    key=Type("uuid"),
    stamp=optional(Type("timestamp")),
    when=optional(DATETIME),
    day=Type("date"),
    clock=Type("time"),
    span=optional(Type("timedelta")),
    price=optional(Type("decimal")),
    kind=optional(ENUM),
    literal=LITERAL,
    union=optional(UNION),
    thing=Type("any"),
    inner=optional(INNER),
    items=optional(many(optional(INNER))),
    ints=optional(many(optional(INT))),
    names=many(STRING, "set"),
    prices=many(Type("decimal"), "frozenset"),
    kinds=many(ENUM, "vartuple"),
    flags=many(Type("bool")),
    moments=many(DATETIME),
)
CODEC = RecordCodec(ROW, 3, "id")

SMALL_TEXT = st.text("ab%_\\é\0", max_size=4)
SMALL: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-2, 2) | st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 63, (1 << 64) - 1]),
    "int64": st.integers(-2, 2) | st.sampled_from([-(1 << 63), (1 << 63) - 1]),
    "uint64": st.integers(0, 2) | st.sampled_from([1 << 63, (1 << 64) - 1]),
    "float64": st.sampled_from([0.0, -0.0, 1.5, -1.5, float("nan"), float("inf"), -float("inf"), 5e-324]),
    "bool": st.booleans(),
    "string": SMALL_TEXT,
    "bytes": st.binary(max_size=2),
    "uuid": st.sampled_from([UUID(int=0), UUID(int=1), UUID(int=1 << 64), UUID(int=(1 << 128) - 1)]),
    "timestamp": st.integers(-1, 1) | st.sampled_from([-(1 << 63), (1 << 63) - 1]),
    "date": st.dates(date(2024, 1, 1), date(2024, 1, 3)),
    "time": st.times(timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-23))])),
    "timedelta": st.sampled_from([timedelta(0), timedelta(-1), timedelta(1, 1), timedelta(microseconds=-1)]),
    "decimal": st.sampled_from([Decimal(x) for x in ("0", "-0", "1", "1.0", "-1.50", "1E+30", "NaN", "-Infinity")]),
    "enum": st.sampled_from(ENUM.values),
    "literal": st.sampled_from(LITERAL.values),
    "union": st.integers(-1, 1) | SMALL_TEXT | st.sampled_from([Decimal(1), Decimal("1.5")]) | st.just([1, 2]),
    "any": st.none()
    | st.integers(-1, 1)
    | SMALL_TEXT
    | st.sampled_from([1.0, 1.5, True, b"a", date(2024, 1, 1), [1], {"a": 1}]),
}
ZONED = st.datetimes(
    datetime(2024, 1, 1), datetime(2024, 1, 1, 2), timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=1))])
).map(lambda value: value.replace(microsecond=0, second=0, minute=0))


def small(type: Type) -> st.SearchStrategy[Any]:
    """Few different values, so that equal ones meet."""
    if type.kind == "optional":
        return st.none() | small(type.items[0])
    if type.kind == "object":
        return st.fixed_dictionaries({part.name: small(part.type) for part in type.fields})
    if is_listed(type):
        build = {"list": list, "vartuple": tuple, "set": set, "frozenset": frozenset}[type.kind]
        return st.lists(small(type.items[0]), max_size=3).map(build)
    return ZONED if type.python == "datetime" else SMALL[type.kind]


def paths(type: Type, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Type]]:
    """Every path to scalars, with the type of one value; `contains` of the last element says whether it is listed."""
    for part in type.fields:
        kind = bare(part.type)
        element = bare(kind.items[0]) if is_listed(kind) else kind
        if element.kind == "object":
            yield from paths(element, (*above, part.name))
        else:
            yield (*above, part.name), element


PATHS = dict(paths(ROW))


@st.composite
def single(draw: st.DrawFn) -> Test:
    path = draw(st.sampled_from(sorted(PATHS)))
    kind = PATHS[path]
    value = small(kind)
    ops = ["eq", "ne", "in", "null"]
    if kind.kind in ("union", "any"):
        value = value.filter(lambda value: not isinstance(value, list | dict))
    ops += ORDER_OPS
    if kind.kind in ("string", "enum", "union", "any"):
        ops += TEXT_OPS
    if kind.kind == "bytes":
        ops += ["startswith", "endswith", "contains"]
    op = draw(st.sampled_from(ops))
    if op in TEXT_OPS and kind.kind != "bytes":
        value = SMALL_TEXT
        if path[-1] in ("names", "c", "kinds") and op == "contains":
            value = small(kind)
    if op == "like":
        value = SMALL_TEXT.filter(lambda text: not (len(text) - len(text.rstrip("\\"))) % 2)
    if op == "regex":
        value = st.sampled_from(["^a", "b$", "a.b", "é", "[%_]", ""])
    maybe = st.none() | value if op in ("eq", "ne", "in") else value.filter(lambda other: other is not None)
    counts = {"in": (0, 5), "between": (2, 2), "null": (0, 0)}
    least, most = counts.get(op, (1, 1))
    return Test(path, op, tuple(draw(st.lists(maybe, min_size=least, max_size=most))))


CONDITIONS = st.recursive(
    single(),
    lambda inner: (
        st.builds(Negation, inner)
        | st.lists(inner, max_size=4).map(lambda parts: Every(tuple(parts)))
        | st.lists(inner, max_size=4).map(lambda parts: Some(tuple(parts)))
    ),
    max_leaves=5,
)


@settings(max_examples=150)
@given(st.lists(small(ROW), min_size=1, max_size=4), st.lists(CONDITIONS, min_size=1, max_size=6))
def test_random_conditions(rows: list[dict[str, Any]], conditions: list[Condition]) -> None:
    for value in rows:
        record = CODEC.encode(value)
        shown = CODEC.decode(record)
        for condition in conditions:
            assert holds([CODEC], condition, record) == meant(ROW, shown, condition), (condition, shown)


@settings(max_examples=200)
@given(st.data())
def test_each_test_of_one_field(data: st.DataObject) -> None:
    test = data.draw(single())
    top = next(part for part in ROW.fields if part.name == test.path[0])
    kind = row(**{top.name: top.type})
    codec = RecordCodec(kind, 1)
    for value in data.draw(st.lists(small(kind), min_size=3, max_size=8)):
        record = codec.encode(value)
        assert holds([codec], test, record) == meant(kind, codec.decode(record), test), (test, value)


# Other schema versions


def test_fields_that_old_records_lack() -> None:
    old = RecordCodec(row(id=INT, inner=optional(row(a=INT))), 1)
    parts = (
        Field("id", INT),
        Field("inner", optional(Type("object", fields=(Field("a", INT), Field("b", STRING, default="x"))))),
        Field("size", INT, default=7),
        Field("note", optional(STRING)),
        Field("tags", many(STRING), factory=lambda: ["t"]),
        Field("mixed", Type("any"), default=5),
    )
    codecs = [old, RecordCodec(Type("object", fields=parts), 2)]
    full, empty = old.encode({"id": 1, "inner": {"a": 1}}), old.encode({"id": 1, "inner": None})
    for condition, there, absent in [
        (check("size", "eq", 7), True, True),
        (check("size", "ne", 7), False, False),
        (check("size", "gt", 7), False, False),
        (check("note", "null"), True, True),
        (check("note", "eq", "x"), False, False),
        (check("tags", "eq", "t"), True, True),
        (check("tags", "eq", ["t"]), True, True),
        (check("mixed", "lt", 6), True, True),
        (check("inner.b", "eq", "x"), True, False),
        (check("inner.b", "ne", "x"), False, True),
        (check("inner.b", "null"), False, True),
        (check("inner.a", "eq", 1), True, False),
    ]:
        assert holds(codecs, condition, full) == there, condition
        assert holds(codecs, condition, empty) == absent, condition


def test_kinds_that_changed_between_versions() -> None:
    old = RecordCodec(row(n=Type("int64"), k=Type("enum", values=("b", "a"))), 1)
    new = RecordCodec(row(n=INT, k=Type("enum", values=("a", "c", "b"))), 2)
    record = old.encode({"n": -5, "k": "b"})
    for condition in (check("n", "lt", 1 << 63), check("n", "eq", -5), check("k", "eq", "b"), check("k", "gt", "a")):
        assert holds([old, new], condition, record), condition


def test_a_record_of_no_known_version() -> None:
    program = Program([CODEC], ALL)
    for record in (b"", b"\x03", b"\x04\x00\x00"):
        assert program.verdict(record) == -1
        with pytest.raises(CorruptionError):
            program.test(record)


# Damage

EVERYTHING = [Test(path, "ne", (None,)) for path in sorted(PATHS)] + [
    check("items.c", "eq", "a"),
    check("items.d.e", "gt", 0.0),
    check("names", "startswith", "zz"),
    check("ints", "in", 1, 5, 9),
    check("ints", "between", -1 << 63, -1 << 62),
    check("moments", "lt", datetime(1, 1, 1)),
    check("kinds", "eq", "k"),
    check("name", "like", "%a_b%"),
    check("name", "contains", "abc"),
    check("data", "endswith", b"zz"),
    check("literal", "eq", "b"),
    check("kind", "ge", "k"),
    check("price", "lt", Decimal(0)),
    check("prices", "eq", Decimal(1)),
    check("union", "eq", 1),
    check("thing", "gt", 1),
    check("key", "ge", UUID(int=1 << 64)),
    check("ints", "eq", [1, None]),
]


PROGRAMS = [Program([CODEC], condition) for condition in EVERYTHING]


@settings(max_examples=150)
@given(small(ROW), st.data())
def test_damaged_records(value: dict[str, Any], data: st.DataObject) -> None:
    """Damage is told, or has no part in the answer; without Python and with it alike."""
    record = bytearray(CODEC.encode(value))
    for _ in range(data.draw(st.integers(0, 4))):
        record[data.draw(st.integers(2, len(record) - 1))] = data.draw(st.integers(0, 255))
    # A copy of exactly this length, so that a debug build or a sanitizer sees what reads on.
    damaged = bytes(record[: data.draw(st.integers(2, len(record)) | st.just(len(record)))])
    if data.draw(st.booleans()):
        damaged = damaged[:2] + data.draw(st.binary(max_size=80))
    for program in PROGRAMS:
        verdict = program.verdict(damaged)
        try:
            assert program.test(damaged) == (verdict == 1) or verdict == 2
        except CorruptionError:
            assert verdict in (-1, 2)


# Models, and what cannot be asked


def test_the_benchmark_model() -> None:
    codec = RecordCodec(row_type(User), 1, "id")
    record = codec.encode(user(7))
    yes = [
        check("id", "in", 1, 7, 9),
        check("age", "between", 20, 30),
        check("active", "eq", True),
        check("score", "lt", 3.75),
        check("email", "startswith", "user7@"),
        check("name", "like", "User%_7"),
        check("name", "regex", re.compile(r"^USER \w+ 7$", re.IGNORECASE)),
        check("tags", "contains", "tag0"),
        check("tags", "eq", ("tag0", "tag7", "common")),
        check("address.city", "eq", "City 7"),
        check("created", "gt", datetime(2024, 1, 1, tzinfo=UTC)),
    ]
    for condition in yes:
        assert holds([codec], condition, record), condition
        assert not holds([codec], Negation(condition), record), condition
    assert holds([codec], Every((ALL, *yes)), record)
    assert not holds([codec], Every((*yes, NONE)), record)


def test_what_is_undecided_matters_only_where_it_decides() -> None:
    codec = RecordCodec(row(n=INT, s=STRING), 1)
    record = codec.encode({"n": 1, "s": "abc"})
    yes, no, asks = check("n", "eq", 1), check("n", "eq", 2), check("s", "regex", "b")
    for condition, verdict in [
        (asks, 2),
        (Negation(asks), 2),
        (Every((asks, no)), 0),
        (Every((asks, yes)), 2),
        (Some((asks, yes)), 1),
        (Some((asks, no)), 2),
        (Every((Some((asks, no)), Some((asks, yes)), Every((yes, no)))), 0),
    ]:
        program = Program([codec], condition)
        assert program.verdict(record) == verdict
        assert not program.complete
        assert program.test(record) == meant(row(n=INT, s=STRING), {"n": 1, "s": "abc"}, condition)


def test_groups_of_one_kind_may_be_as_long_and_deep_as_they_like() -> None:
    codec = RecordCodec(row(n=INT), 1)
    chain: Condition = check("n", "eq", 0)
    for number in range(1, 3000):
        chain = Some((chain, check("n", "eq", number)))
    assert holds([codec], chain, codec.encode({"n": 2999}))
    for number in range(300):
        chain = Every((check("n", "eq", number), Some((check("n", "eq", number), chain))))
    with pytest.raises(ModelVaultQueryError, match="nested deeper than"):
        Program([codec], chain)


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        (check("nope", "eq", 1), ModelVaultQueryError),
        (check("id.x", "eq", 1), ModelVaultQueryError),
        (check("id", "eq", "x"), TypeError),
        (check("id", "eq", 1 << 64), OverflowError),
        (check("id", "lt", None), ModelVaultQueryError),
        (check("id", "startswith", "x"), ModelVaultQueryError),
        (check("data", "like", b"x"), ModelVaultQueryError),
        (check("name", "startswith", b"x"), TypeError),
        (check("name", "regex", "("), ModelVaultQueryError),
        (check("name", "like", "x\\"), ModelVaultQueryError),
        (check("kind", "eq", "nope"), ModelVaultValidationError),
        (check("ints", "eq", ["x"]), TypeError),
        (check("inner", "lt", {"a": "x"}), ModelVaultQueryError),
        ("id", TypeError),
    ],
)
def test_what_cannot_be_asked(condition: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Program([CODEC], condition)


def test_an_operator_that_there_is_not_is_an_error() -> None:
    codec = RecordCodec(Type("object", fields=(Field("n", Type("int")),)), 1)
    for condition in (Test(("n",), "=="), Test(("n",), "", (1,)), Negation(Test(("n",), "nearly", (1,)))):
        with pytest.raises(ModelVaultQueryError, match="there is no operator"):
            Program([codec], Every((condition, Test(("n",), "eq", (1,)))))
