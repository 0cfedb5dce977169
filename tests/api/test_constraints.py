"""Declared constraints hold on every way to write, for models, dataclasses and dicts; what fails changes nothing."""

# ruff: noqa: UP045
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Optional

import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from hypothesis import strategies as st
from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt, SecretStr, StringConstraints, conint, constr

from modelvault.errors import ModelVaultValidationError
from modelvault.models import constrained
from tests.alike import assert_same
from tests.api.cases import Case, custom_given, dataclass_of, model_of
from tests.api.content import content, now_and_reopened
from tests.worlds import World

NAN = float("nan")
UTC = timezone.utc
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Part(BaseModel):
    n: Annotated[int, Ge(1)] = 1
    word: str = Field(default="w", max_length=3)


@dataclass
class Piece:
    n: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class Rule:
    annotation: Any
    good: tuple[Any, ...]
    bad: tuple[Any, ...]
    phrase: str
    where: str = "v"


BELOW, ABOVE = "is below minimum", "is above maximum"

RULES: dict[str, Rule] = {
    # annotated_types
    "ge": Rule(Annotated[int, Ge(1)], (1, 2**64 - 1), (0, -(2**63)), BELOW),
    "gt": Rule(Annotated[int, Gt(1)], (2,), (1,), "is not above 1"),
    "le": Rule(Annotated[int, Le(-1)], (-1, -(2**63)), (0, 2**64 - 1), ABOVE),
    "lt": Rule(Annotated[int, Lt(1)], (0,), (1,), "is not below 1"),
    "interval": Rule(Annotated[int, Interval(ge=0, lt=10)], (0, 9), (-1, 10), "value"),
    "multiple of": Rule(Annotated[int, MultipleOf(3)], (0, -3, 9), (4, -1), "is not a multiple of 3"),
    "float ge": Rule(Annotated[float, Ge(0.5)], (0.5, float("inf")), (0.4, NAN, float("-inf")), f"{BELOW} 0.5"),
    "float gt": Rule(Annotated[float, Gt(0)], (5e-324,), (0.0, -0.0, NAN), "is not above 0"),
    "float lt": Rule(Annotated[float, Lt(1)], (0.9, float("-inf")), (1.0, NAN), "is not below 1"),
    "float multiple": Rule(Annotated[float, MultipleOf(0.1)], (0.3, -7.0), (0.25, NAN), "is not a multiple"),
    "decimal": Rule(Annotated[Decimal, Ge(0)], (Decimal(0), Decimal("1e99")), (Decimal("-0.01"),), BELOW),
    "decimal multiple": Rule(
        Annotated[Decimal, MultipleOf(Decimal("0.05"))], (Decimal("1.15"),), (Decimal("1.12"),), "multiple"
    ),
    "date": Rule(Annotated[date, Ge(date(2000, 1, 1))], (date(2000, 1, 1),), (date(1999, 12, 31),), BELOW),
    "datetime": Rule(Annotated[datetime, Gt(NOON)], (NOON + timedelta(1),), (NOON,), "is not above"),
    "time": Rule(Annotated[time, Le(time(12))], (time(0), time(12)), (time(12, 1),), ABOVE),
    "timedelta": Rule(Annotated[timedelta, Ge(timedelta(0))], (timedelta(1),), (timedelta(-1),), BELOW),
    "text order": Rule(Annotated[str, Ge("b")], ("b", "\xe9"), ("a", ""), BELOW),
    "min len": Rule(Annotated[str, MinLen(2)], ("ab",), ("a", "\xe9"), "length 1 is below minimum 2"),
    "max len": Rule(Annotated[str, MaxLen(3)], ("abc", "\xe9\xe9\xe9"), ("abcd",), "length 4 is above maximum 3"),
    "len": Rule(Annotated[str, Len(1, 2)], ("a", "ab"), ("", "abc"), "length"),
    "bytes len": Rule(Annotated[bytes, MaxLen(3)], (b"abc",), (b"abcd",), "bytes length 4 is above maximum 3"),
    "list len": Rule(Annotated[list[int], MinLen(1), MaxLen(2)], ([1], [1, 2]), ([], [1, 2, 3]), "list length"),
    "set len": Rule(Annotated[set[int], MinLen(1)], ({1},), (set(),), "length 0 is below minimum 1"),
    "tuple len": Rule(Annotated[tuple[int, ...], MaxLen(1)], ((), (1,)), ((1, 2),), "tuple length 2"),
    "dict len": Rule(Annotated[dict[str, int], MinLen(1)], ({"a": 1},), ({},), "dict length 0"),
    # Pydantic's
    "field": Rule(Annotated[int, Field(gt=0, le=10)], (1, 10), (0, 11), "value"),
    "pattern": Rule(Annotated[str, Field(pattern="^[a-z]+$")], ("abc",), ("ABC", "", "a1"), "does not match"),
    "constraints": Rule(
        Annotated[str, StringConstraints(min_length=1, max_length=2, pattern="a")],
        ("a", "ba"),
        ("", "aaa", "b"),
        "string",
    ),
    "conint": Rule(conint(ge=5), (5,), (4,), BELOW),
    "constr": Rule(constr(max_length=1), ("a",), ("ab",), ABOVE),
    "positive": Rule(PositiveInt, (1,), (0, -1), "is not above 0"),
    "non-negative": Rule(NonNegativeFloat, (0.0,), (-0.5, NAN), BELOW),
    "secret": Rule(Annotated[SecretStr, Field(min_length=3)], (SecretStr("abc"),), (SecretStr("ab"),), "length 2"),
    # Where they stand
    "optional": Rule(Annotated[int | None, Ge(1)], (None, 1), (0,), BELOW),
    "optional inside": Rule(Optional[Annotated[int, Ge(1)]], (None, 1), (0,), BELOW),
    "elements": Rule(list[Annotated[int, Ge(1)]], ([], [1]), ([1, 0],), BELOW, "v.1"),
    "elements of elements": Rule(
        list[list[Annotated[str, MaxLen(1)]]], ([["a"]],), ([[], ["a", "ab"]],), ABOVE, "v.1.1"
    ),
    "values": Rule(dict[str, Annotated[int, Ge(1)]], ({"a": 1},), ({"a": 1, "b": 0},), BELOW, "v.b"),
    "keys": Rule(dict[Annotated[str, MinLen(1)], int], ({"a": 1},), ({"": 1},), "length 0"),
    "places": Rule(tuple[int, Annotated[int, Ge(1)]], ((0, 1),), ((0, 0),), BELOW, "v.1"),
    "set elements": Rule(set[Annotated[int, Ge(1)]], ({1, 2},), ({0},), BELOW),
    "nested": Rule(Part, (Part(),), (Part.model_construct(n=0, word="w"),), BELOW, "v.n"),
    "nested text": Rule(Part, (Part(),), (Part.model_construct(n=1, word="long"),), ABOVE, "v.word"),
    "nested dataclass": Rule(Piece, (Piece(),), (Piece(0),), BELOW, "v.n"),
    "list of nested": Rule(list[Part], ([Part()],), ([Part(), Part.model_construct(n=0, word="w")],), BELOW, "v.1.n"),
    "optional nested": Rule(Part | None, (None, Part()), (Part.model_construct(n=0, word="w"),), BELOW, "v.n"),
    # 0.16's
    "min_i64": Rule(Annotated[int, constrained(min_i64=2000)], (2000,), (1999,), "value 1999 is below minimum 2000"),
    "max_i64": Rule(Annotated[int, constrained(max_i64=10)], (10, -5), (11,), "value 11 is above maximum 10"),
    "min_u64": Rule(Annotated[int, constrained(min_u64=2**63)], (2**64 - 1,), (1,), BELOW),
    "max_u64": Rule(Annotated[int, constrained(max_u64=10)], (10,), (2**64 - 1,), ABOVE),
    "min_f64": Rule(Annotated[float, constrained(min_f64=0.5)], (0.5,), (0.4, NAN), BELOW),
    "max_f64": Rule(Annotated[float, constrained(max_f64=-5.0)], (-5.0,), (0.0, NAN), "is above maximum -5"),
    "min_length": Rule(
        Annotated[str, constrained(min_length=3)], ("abc", "\xe9b"), ("ab", "\xe9"), "length 2 is below minimum 3"
    ),
    "max_length": Rule(
        Annotated[str, constrained(max_length=3)], ("abc",), ("abcd", "\xe9\xe9"), "length 4 is above maximum 3"
    ),
    "bytes length": Rule(
        Annotated[bytes, constrained(max_length=3)], (b"abc",), (b"abcd",), "bytes length 4 is above maximum 3"
    ),
    "list length": Rule(
        Annotated[list[int], constrained(min_length=2)], ([1, 2],), ([1],), "list length 1 is below minimum 2"
    ),
    "regex": Rule(
        Annotated[str, constrained(regex="^[a-z]+$")], ("abc",), ("ABC", "abc\n", ""), "string does not match regex"
    ),
    "regex inside": Rule(Annotated[str, constrained(regex="b")], ("abc",), ("ac",), "string does not match regex"),
    "email": Rule(
        Annotated[str, constrained(email=True)],
        ("a@b.c", "@b.c", "a b@c.d", "a@b@c.d", "a@.c", "x@y."),
        ("bad", "a@b", "a@", ""),
        "string is not a valid email shape",
    ),
    "url": Rule(
        Annotated[str, constrained(url=True)],
        ("http://", "https://x"),
        ("ftp://x", "HTTP://x", ""),
        r"string must be an http\(s\) URL",
    ),
    "nonempty": Rule(Annotated[str, constrained(nonempty=True)], (" ",), ("",), "string must be non-empty"),
    "nonempty bytes": Rule(Annotated[bytes, constrained(nonempty=True)], (b"\0",), (b"",), "bytes must be non-empty"),
    "nonempty list": Rule(Annotated[list[int], constrained(nonempty=True)], ([0],), ([],), "list must be non-empty"),
    "two at once": Rule(Annotated[int, constrained(min_i64=1, max_i64=5)], (1, 5), (0, 6), "value"),
    "switched off": Rule(Annotated[str, constrained(email=False, max_length=1)], ("a",), ("ab",), ABOVE),
    "elements of 0.16": Rule(
        list[Annotated[str, constrained(nonempty=True)]], (["a"],), (["a", ""],), "non-empty", "v.1"
    ),
}


@cache
def classes_of(name: str) -> tuple[Any, Any]:
    case = Case(RULES[name].annotation, st.nothing())
    return model_of("rule " + name, case), dataclass_of("rule " + name, case)


def build(cls: Any, number: int, value: Any) -> Any:
    """An instance with this value, whatever Pydantic would say."""
    return cls.model_construct(id=number, v=value) if issubclass(cls, BaseModel) else cls(id=number, v=value)


@pytest.mark.parametrize("kind", ["model", "dataclass"])
@pytest.mark.parametrize("name", RULES)
async def test_every_constraint_on_every_way_to_write(name: str, kind: str, db: Any) -> None:
    rule = RULES[name]
    cls = classes_of(name)[kind == "dataclass"]
    rows = await db.collection(cls)
    plain = db.collection(rows.name)
    good = rule.good[0]
    await rows.insert(build(cls, 0, good))
    before = await content(db)
    for bad in rule.bad:
        row = {"id": 5, "v": custom_given(bad)}
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "insert": lambda bad=bad: rows.insert(build(cls, 5, bad)),
            "replace": lambda bad=bad: rows.insert(build(cls, 0, bad)),
            "create": lambda bad=bad: rows.create(build(cls, 5, bad)),
            "upsert": lambda bad=bad: rows.upsert(build(cls, 5, bad)),
            "insert_many": lambda bad=bad: rows.insert_many([build(cls, 5, good), build(cls, 6, bad)]),
            "dict": lambda row=row: db.insert(rows.name, row),
            "dict create": lambda row=row: plain.create(row),
            "dict insert_many": lambda row=row: plain.insert_many([row]),
            "dict update": lambda row=row: plain.update(0, {"v": row["v"]}),
        }
        for way in ways.values():
            with pytest.raises(ModelVaultValidationError, match=rule.phrase) as info:
                await way()
            assert str(info.value).startswith(f"validation error at {rule.where}"), info.value
        with pytest.raises(ValueError):
            await rows.update(0, {"v": bad})
    assert_same(await content(db), before)
    await rows.insert_many(build(cls, number, value) for number, value in enumerate(rule.good, 10))
    assert_same([(await rows.get(number)).v for number in range(10, 10 + len(rule.good))], list(rule.good))


async def test_a_patch_that_pydantic_does_not_check_is_checked(db: Any) -> None:
    for name in ("min_i64", "regex", "elements of 0.16"):
        rule, cls = RULES[name], classes_of(name)[0]
        rows = await db.collection(cls)
        await rows.insert(build(cls, 0, rule.good[0]))
        with pytest.raises(ModelVaultValidationError, match=rule.phrase):
            await rows.update(0, {"v": rule.bad[0]})
        assert (await rows.get(0)).v == rule.good[0]


class Keyed(BaseModel):
    __modelvault_primary_key__ = "code"

    code: Annotated[str, constrained(regex="^[A-Z]{3}$")]
    n: int = 0


async def test_a_primary_key_may_have_constraints(db: Any) -> None:
    rows = await db.collection(Keyed)
    await rows.insert(Keyed(code="ABC"))
    with pytest.raises(ModelVaultValidationError, match="validation error at code: string does not match regex"):
        await rows.insert(Keyed(code="abc"))
    assert await rows.get("abc") is None
    assert [row.code for row in await rows.all()] == ["ABC"]


async def test_in_a_transaction_only_the_statement_fails(db: Any) -> None:
    rows = await db.collection(Keyed)
    async with db.transaction():
        await rows.insert(Keyed(code="AAA"))
        with pytest.raises(ModelVaultValidationError):
            await rows.insert_many([Keyed(code="BBB"), Keyed(code="bbb")])
        await rows.insert(Keyed(code="CCC"))
    assert [row.code for row in await rows.all()] == ["AAA", "CCC"]


async def test_chunks_before_the_failing_one_stay(db: Any) -> None:
    rows = await db.collection(Keyed)
    with pytest.raises(ModelVaultValidationError):
        await rows.insert_many([Keyed(code=code) for code in ("AAA", "BBB", "CCC", "DDD", "eee")], chunk=2)
    assert [row.code for row in await rows.all()] == ["AAA", "BBB", "CCC", "DDD"]


# The dict interface's own declarations


def fields(type: Any, *constraints: dict[str, Any]) -> str:
    return json.dumps(
        [{"path": ["id"], "type": "int64"}, {"path": ["v"], "type": type, "constraints": list(constraints)}]
    )


PRICE = {"object": [{"path": ["amount"], "type": "float64", "constraints": [{"min_f64": 0}]}]}

DECLARED: dict[str, tuple[Any, list[dict[str, Any]], list[Any], list[tuple[Any, str]]]] = {
    "min_i64": ("int64", [{"min_i64": 2000}], [2000], [(1999, "at v: value 1999 is below minimum 2000")]),
    "max_i64": ("int64", [{"max_i64": 10}], [-(2**63)], [(11, "at v: value 11 is above maximum 10")]),
    "min_u64": ("uint64", [{"min_u64": 2**63}], [2**64 - 1], [(0, "at v: value 0 is below minimum")]),
    "max_u64": ("uint64", [{"max_u64": 10}], [0], [(2**63, "is above maximum 10")]),
    "min_f64": ("float64", [{"min_f64": 0.5}], [0.5, 1], [(0.4, "value 0.4 is below minimum 0.5"), (NAN, "NaN")]),
    "max_f64": (
        "float64",
        [{"max_f64": -5}],
        [-5.0],
        [(0.0, "value 0 is above maximum -5"), (NAN, "value NaN is above")],
    ),
    "infinite": ("float64", [{"min_f64": 0}], [float("inf")], [(float("-inf"), "value -inf is below minimum 0")]),
    "min_length": ("string", [{"min_length": 3}], ["\xe9b"], [("ab", "string length 2 is below minimum 3")]),
    "max_length": ("string", [{"max_length": 5}], ["abcde"], [("\xe9\xe9\xe9", "string length 6 is above maximum 5")]),
    "bytes": ("bytes", [{"max_length": 3}], [b"abc"], [(b"abcd", "bytes length 4 is above maximum 3")]),
    "list": ({"list": "int64"}, [{"min_length": 2}], [[1, 2]], [([1], "list length 1 is below minimum 2")]),
    "regex": ("string", [{"regex": "^[a-z]+$"}], ["abc"], [("ABC", "string does not match regex"), ("a\n", "regex")]),
    "email": ("string", [{"email": True}], ["@b.c"], [("bad", "string is not a valid email shape")]),
    "url": ("string", [{"url": True}], ["http://"], [("HTTP://x", r"string must be an http\(s\) URL")]),
    "nonempty": ("string", [{"nonempty": True}], [" "], [("", "string must be non-empty")]),
    "nonempty bytes": ("bytes", [{"nonempty": True}], [b"x"], [(b"", "bytes must be non-empty")]),
    "nonempty list": ({"list": "string"}, [{"nonempty": True}], [[""]], [([], "list must be non-empty")]),
    "enum": ({"enum": ["p", "q"]}, [], ["p"], [("z", r'at v: enum value must be one of \["p", "q"\]')]),
    "optional": ({"optional": "int64"}, [{"min_i64": 1}], [None, 1], [(0, "value 0 is below minimum 1")]),
    "object": (PRICE, [], [{"amount": 0.0}], [({"amount": -1.0}, r"at v\.amount: value -1 is below minimum 0")]),
    "list of objects": (
        {"list": PRICE},
        [],
        [[{"amount": 1}]],
        [([{"amount": 1}, {"amount": -1}], r"at v\.1\.amount: value -1 is below")],
    ),
    "two objects": ("int64", [{"min_i64": 1}, {"max_i64": 5}], [1, 5], [(0, "below"), (6, "above")]),
    "one object": ("int64", [{"min_i64": 1, "max_i64": 5}], [1, 5], [(0, "below"), (6, "above")]),
}


@pytest.mark.parametrize("name", DECLARED)
async def test_declared_constraints(name: str, db: Any) -> None:
    type, constraints, good, bad = DECLARED[name]
    await db.register_collection("c", fields(type, *constraints), "id")
    rows = db.collection("c")
    for number, value in enumerate(good):
        await db.insert("c", {"id": number, "v": value})
    before = await content(db)
    for value, phrase in bad:
        for way in (
            lambda row: db.insert("c", row),
            lambda row: rows.create(row),
            lambda row: rows.insert_many([{"id": 8, "v": good[0]}, row]),
            lambda row: rows.update(0, {"v": row["v"]}),
        ):
            with pytest.raises(ModelVaultValidationError, match=f"^validation error .*{phrase}"):
                await way({"id": 9, "v": value})
    assert_same(await content(db), before)


async def test_constraints_survive_reopening(world: World) -> None:
    async def write(db: Any) -> None:
        await db.register_collection("c", fields("string", {"regex": "^a"}, {"max_length": 2}), "id")

    async def check(db: Any) -> None:
        for value in ("b", "aaa"):
            with pytest.raises(ModelVaultValidationError):
                await db.insert("c", {"id": 1, "v": value})
        assert await db.get("c", 1) is None

    await now_and_reopened(world, write, check)


async def test_an_unsound_constraint_is_refused_when_it_is_declared(db: Any) -> None:
    for type, constraint, phrase in [
        ("bool", {"min_i64": 1}, "validation error at v: MinI64 constraint requires int64"),
        ("int64", {"min_u64": 1}, "MinU64 constraint requires uint64"),
        ("string", {"min_f64": 1}, "MinF64 constraint requires float64"),
        ("bytes", {"regex": "a"}, "Regex constraint requires string"),
        ("int64", {"nonempty": True}, "NonEmpty applies to string, bytes, or list"),
        ("string", {"regex": "a" * 513}, "regex pattern length 513 exceeds maximum 512"),
        ("string", {"regex": "(a"}, "regex pattern has unbalanced parentheses"),
        ("string", {"regex": "(a+)+"}, "regex pattern contains nested quantifiers"),
        ("string", {"regex": "["}, "invalid regex in schema"),
    ]:
        with pytest.raises(ModelVaultValidationError, match=phrase):
            await db.register_collection("c", fields(type, constraint), "id")
    assert db.collection_names() == []
