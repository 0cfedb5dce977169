"""Queries: every builder and verb, on models and dicts, in every world; and what misuse says."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from modelvault import (
    ModelVaultQueryError,
    ModelVaultSchemaError,
    NotFoundError,
    avg,
    count,
    desc,
    fields,
    max_,
    min_,
    models,
    sum_,
)
from tests.models import Address, Constrained, Optionals, Person, User, person, user

u = fields(User)
o = fields(Optionals)

ITEMS = json.dumps(
    [
        {"path": ["id"], "type": "int64"},
        {"path": ["s"], "type": "string"},
        {"path": ["n"], "type": {"optional": "int64"}},
        {"path": ["f"], "type": "float64"},
        {"path": ["e"], "type": {"enum": ["p", "q"]}},
        {"path": ["l"], "type": {"list": "string"}},
        {"path": ["when"], "type": "timestamp"},
        {"path": ["o"], "type": {"optional": {"object": [{"path": ["x"], "type": "int64"}]}}},
    ]
)
WHEN = datetime(2024, 1, 1, tzinfo=timezone.utc)


def item(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "s": f"s{number % 3}",
        "n": None if number % 4 == 0 else number % 5,
        "f": number / 2,
        "e": "pq"[number % 2],
        "l": [f"a{number}", "b"],
        "when": 1_000_000 * number,
        "o": None if number % 2 else {"x": number},
    } | changes


async def items(db: Any) -> Any:
    index = [{"name": "by_s", "path": ["s"], "kind": "index"}]
    await db.register_collection("items", ITEMS, "id", json.dumps(index))
    collection = await db.collection("items")
    await collection.insert_many(item(number) for number in range(12))
    return collection


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


@dataclass
class Day:
    __modelvault_primary_key__ = "id"

    id: int
    mood: Mood | None


async def users(db: Any, number: int = 60) -> Any:
    collection = await db.collection(User)
    await collection.insert_many(user(n) for n in range(number))
    return collection


async def ids(query: Any) -> list[Any]:
    return [row["id"] if isinstance(row, dict) else row.id for row in await query.all()]


# 0.16's builder


async def test_the_builder_on_dicts(db: Any) -> None:
    rows = await items(db)
    where = rows.where("s", "s0")
    assert await ids(where) == [0, 3, 6, 9]
    assert await ids(where.and_where("e", "p")) == [0, 6]
    assert await ids(where.gt_where("id", 3)) == [6, 9]
    assert await ids(where.gte_where("id", 3)) == [3, 6, 9]
    assert await ids(where.lt_where("id", 3)) == [0]
    assert await ids(where.lte_where("id", 3)) == [0, 3]
    assert await ids(where.or_where(rows.where("id", 1))) == [0, 1, 3, 6, 9]
    assert await ids(where.or_where(rows.where("id", 1)).and_where("e", "q")) == [1, 3, 9]
    assert await ids(where.limit(2)) == [0, 3]
    assert await ids(where.order_by("id", desc=True)) == [9, 6, 3, 0]
    assert await ids(rows.gte_where(["o", "x"], 8)) == [8, 10]
    assert await ids(rows.where(("o", "x"), 2)) == [2]
    assert await ids(rows.where(path="s", value="s0")) == [0, 3, 6, 9]
    assert await ids(rows.where("when", datetime(1970, 1, 1, 0, 0, 3, tzinfo=timezone.utc))) == [3]
    assert await ids(rows.where("e", "q").limit(2)) == [1, 3]
    assert await ids(rows.where("l", "a5")) == [5]
    assert await ids(where) == [0, 3, 6, 9]  # unchanged by all of the above


async def test_the_builder_on_models(db: Any) -> None:
    rows = await users(db)
    assert await ids(rows.where("age", 20).or_where(rows.where(User.id, 5))) == [2, 5]
    assert await ids(rows.gte_where("age", 76).and_where("active", True)) == [58, 59]
    assert await ids(rows.where("address.city", "City 3").lt_where(u.score, 10)) == [3]


async def test_or_takes_order_and_limit_where_it_has_none(db: Any) -> None:
    rows = await items(db)
    plain, shaped = rows.where("id", 3), rows.gt_where("id", 8).order_by("id", desc=True).limit(2)
    assert await ids(plain.or_where(shaped)) == [11, 10]
    assert await ids(plain.order_by("id").limit(3).or_where(shaped)) == [3, 9, 10]
    assert await ids(plain.or_where(u.id == 4)) == [3, 4]
    assert await ids(plain.or_where("id", 4)) == [3, 4]
    assert await rows.where().or_where(plain).count() == 12


async def test_projection(db: Any) -> None:
    rows = await items(db)
    first = rows.where("id", 2)
    assert await first.all(fields=["id"]) == [{"id": 2}]
    assert await first.all(fields="id") == [{"id": 2}]
    assert await first.all(("id", "s")) == [{"id": 2, "s": "s2"}]
    assert await first.all(fields=["o.x"]) == [{"o": {"x": 2}}]
    assert await first.all(fields=[("o", "x"), "id"]) == [{"o": {"x": 2}, "id": 2}]
    assert await first.all(fields=["o", "o.x"]) == [{"o": {"x": 2}}]
    assert await rows.where("id", 1).all(fields=["o.x"]) == [{}]
    assert await first.select("id", "o.x").all() == [{"id": 2, "o": {"x": 2}}]
    with pytest.raises(ModelVaultQueryError, match=r'unknown field path for this collection: \["x"\]'):
        await first.all(fields=("o", "x"))
    for empty in ([], ()):
        with pytest.raises(ModelVaultQueryError, match="fields must list at least one schema path"):
            await first.all(fields=empty)
    with pytest.raises(ModelVaultQueryError, match="path must be a dotted string"):
        await first.all(fields=5)


async def test_projection_of_models(db: Any) -> None:
    rows = await users(db, 3)
    (row,) = await rows.where("id", 2).all(fields=["name", "address.city"])
    assert type(row) is User
    assert repr(row) == "User(name='User Number 2', address=Address(city='City 2'))"
    assert row.model_fields_set == {"name", "address"}
    assert not hasattr(row, "id")
    people = await db.collection(Person)
    await people.insert(person(2))
    (one,) = await people.all([fields(Person).name, "address.city"])
    assert (type(one), one.name, one.address.city) == (Person, "User Number 2", "City 2")
    assert not hasattr(one, "email")


# Conditions


async def test_every_operator(db: Any) -> None:
    rows = await users(db)
    for expression, test in [
        (u.age == 20, lambda r: r.age == 20),
        (u.age != 20, lambda r: r.age != 20),
        (u.age < 20, lambda r: r.age < 20),
        (u.age <= 20, lambda r: r.age <= 20),
        (u.age > 70, lambda r: r.age > 70),
        (u.age >= 70, lambda r: r.age >= 70),
        (u.age.in_([20, 30, 1000]), lambda r: r.age in (20, 30)),
        (u.age.in_([]), lambda r: False),
        (u.age.between(20, 22), lambda r: 20 <= r.age <= 22),
        (u.age.is_null(), lambda r: False),
        (u.email.startswith("user1"), lambda r: r.email.startswith("user1")),
        (u.email.endswith("1@example.com"), lambda r: r.email.endswith("1@example.com")),
        (u.email.contains("r5"), lambda r: "r5" in r.email),
        (u.name.like("User%_5"), lambda r: re.fullmatch("User.*.5", r.name)),
        (u.name.like("user%"), lambda r: False),
        (u.name.regex("[12]$"), lambda r: re.search("[12]$", r.name)),
        (u.name.regex(re.compile("NUMBER 7", re.IGNORECASE)), lambda r: r.id == 7),
        (u.tags.contains("tag3"), lambda r: "tag3" in r.tags),
        (u.tags == "tag3", lambda r: "tag3" in r.tags),
        (u.tags == ["tag3", "tag3", "common"], lambda r: r.tags == ["tag3", "tag3", "common"]),
        (u.tags.in_(["tag3", "tag4"]), lambda r: {"tag3", "tag4"} & set(r.tags)),
        (u.address.city == "City 7", lambda r: r.address.city == "City 7"),
        (u.created >= user(50).created, lambda r: r.id >= 50),
        (u.active == True, lambda r: r.active),  # noqa: E712
        (u.score < 3, lambda r: r.score < 3),
    ]:
        everything = await rows.all()
        fitting = [row.id for row in everything if test(row)]
        assert await ids(rows.where(expression)) == fitting, expression
        assert await ids(rows.where(~expression)) == [row.id for row in everything if row.id not in fitting], expression
        assert await rows.where(expression).count() == len(fitting)
        assert await rows.where(expression).exists() == bool(fitting)


async def test_joined_conditions(db: Any) -> None:
    rows = await users(db)
    both = rows.where(u.age >= 20, u.age < 30)
    assert await ids(both) == await ids(rows.where((u.age >= 20) & (u.age < 30))) == [*range(2, 12)]
    assert await ids(rows.where(u.age >= 20).where(u.age < 30)) == [*range(2, 12)]
    assert await ids(rows.where((u.id == 3) | (u.id == 1))) == [1, 3]
    assert await ids(rows.where((u.id == 3) | (u.id == 1), u.age > 20)) == [3]
    assert await ids(rows.where(User.age >= 20, User.age < 22)) == [2, 3]
    assert await ids(rows.where(*[])) == [*range(60)]


async def test_none(db: Any) -> None:
    rows = await db.collection(Optionals)
    await rows.insert_many(Optionals(id=str(n), number=n if n % 2 else None) for n in range(6))
    assert await ids(rows.where(o.number == None)) == ["0", "2", "4"]  # noqa: E711
    assert await ids(rows.where("number", None)) == ["0", "2", "4"]
    assert await ids(rows.where(o.number != None)) == ["1", "3", "5"]  # noqa: E711
    assert await ids(rows.where(o.number.is_null())) == ["0", "2", "4"]
    assert await ids(rows.where(o.number.in_([None, 1]))) == ["0", "1", "2", "4"]
    assert await ids(rows.where(o.number < 3)) == ["1"]
    assert await ids(rows.where(~(o.number < 3))) == ["0", "2", "3", "4", "5"]
    assert await ids(rows.where(o.number != 3)) == ["0", "1", "2", "4", "5"]
    assert await ids(rows.order_by(o.number)) == ["1", "3", "5", "0", "2", "4"]
    assert await ids(rows.order_by(o.number.desc())) == ["4", "2", "0", "5", "3", "1"]


async def test_below_none(db: Any) -> None:
    rows = await items(db)
    assert await ids(rows.where("o.x", None)) == [1, 3, 5, 7, 9, 11]
    assert await ids(rows.where("o", None)) == [1, 3, 5, 7, 9, 11]
    assert await ids(rows.lt_where("o.x", 3)) == [0, 2]


async def test_enums_and_literals(db: Any) -> None:
    d = fields(Day)
    rows = await db.collection(Day)
    await rows.insert_many([Day(1, Mood.BAD), Day(2, Mood.GOOD), Day(3, None)])
    assert await ids(rows.where(d.mood == Mood.BAD)) == [1]
    assert await ids(rows.order_by(d.mood)) == [2, 1, 3]
    assert await rows.group_by(d.mood).count() == [
        {"mood": Mood.GOOD, "count": 1},
        {"mood": Mood.BAD, "count": 1},
        {"mood": None, "count": 1},
    ]


async def test_floats(db: Any) -> None:
    rows = await items(db)
    await rows.insert_many([item(20, f=math.nan), item(21, f=math.inf), item(22, f=-0.0), item(23, f=-math.inf)])
    assert await ids(rows.where("f", math.nan)) == [20]
    assert await ids(rows.where("f", 0)) == [0, 22]
    assert await ids(rows.gt_where("f", 5)) == [11, 20, 21]
    assert (await ids(rows.order_by("f")))[-3:] == [11, 21, 20]


async def test_lists_of_models(db: Any) -> None:
    class Line(BaseModel):
        price: Decimal
        labels: list[str] = []

    class Order(BaseModel):
        __modelvault_primary_key__ = "id"
        id: int
        lines: list[Line]

    x = fields(Order)
    rows = await db.collection(Order)
    await rows.insert_many(Order(id=n, lines=[Line(price=k, labels=[f"l{k}"]) for k in range(n)]) for n in range(4))
    assert await ids(rows.where(x.lines.price == 2)) == [3]
    assert await ids(rows.where(x.lines.price < 1)) == [1, 2, 3]
    assert await ids(rows.where(x.lines.labels.contains("l1"))) == [2, 3]
    (part,) = await rows.where(x.id == 2).all(fields=["lines.price"])
    assert repr(part) == "Order(lines=[Line(price=Decimal('0')), Line(price=Decimal('1'))])"


# Order, limits, parts


async def test_order_by_several_terms(db: Any) -> None:
    rows = await users(db)
    everything = await rows.all()

    def ordered(*keys: Any) -> list[int]:
        found = everything
        for key, reverse in reversed(keys):
            found = sorted(found, key=key, reverse=reverse)
        return [row.id for row in found]

    key, active, city = (lambda r: r.id, False), (lambda r: r.active, False), (lambda r: r.address.city, True)
    assert await ids(rows.order_by(u.active, u.address.city.desc(), u.id)) == ordered(active, city, key)
    assert await ids(rows.order_by(desc("address.city"), "active", "id")) == ordered(city, active, key)
    assert await ids(rows.order_by(u.active)) == ordered(active, key)
    assert await ids(rows.order_by(u.active.desc())) == ordered((active[0], True), (key[0], True))
    assert await ids(rows.order_by("active", u.address.city, desc=True)) == ordered(
        (active[0], True), city, (key[0], True)
    )
    assert await ids(rows.order_by(u.age).order_by(u.id.desc())) == [*range(59, -1, -1)]
    assert await ids(rows.order_by(u.id.desc()).limit(0)) == []
    assert await ids(rows.order_by(u.id.desc()).offset(57)) == [2, 1, 0]
    assert await ids(rows.offset(3).limit(2)) == [3, 4]
    assert await rows.offset(58).count() == 2
    assert await rows.offset(100).count() == 0
    assert await rows.limit(7).count() == 7


async def test_select(db: Any) -> None:
    rows = await users(db, 8)
    assert await rows.select(u.email).limit(2).all() == ["user0@example.com", "user1@example.com"]
    assert await rows.select("id", "address.city").offset(6).all() == [(6, "City 6"), (7, "City 7")]
    assert await rows.select(u.address).first() == user(0).address
    assert await rows.where(u.id == 3).select(u.age).one() == 21
    assert [row async for row in rows.select(u.id, u.active).limit(2)] == [(0, False), (1, True)]
    assert await rows.select(u.active).distinct().all() == [False, True]
    assert await rows.select(u.active).order_by(u.active.desc()).distinct().all() == [True, False]
    assert await rows.select(u.active).distinct().count() == 2
    assert await rows.select(u.id, u.active).order_by(u.id.desc()).distinct().limit(1).all() == [(7, True)]
    assert await rows.select(u.age).order_by(u.id.desc()).distinct().offset(6).all() == [19, 18]
    assert await rows.distinct().count() == 8


async def test_select_a_part_of_the_model(db: Any) -> None:
    class Card(BaseModel):
        name: str
        id: int
        address: Address

    @dataclass
    class Slip:
        email: str
        tags: list[str] = field(default_factory=list)

    rows = await users(db, 3)
    assert await rows.select(Card).first() == Card(id=0, name="User Number 0", address=user(0).address)
    assert await rows.where(u.id == 1).select(Slip).all() == [Slip("user1@example.com", user(1).tags)]
    assert [row.name async for row in rows.select(Card).where(u.id > 0)] == ["User Number 1", "User Number 2"]
    fresh = await db.collection(Constrained)

    class Even(BaseModel):
        even: int

    assert await fresh.select(Even).all() == []
    await fresh.insert(Constrained(id=1, even=4))
    assert await fresh.select(Even).all() == [Even(even=4)]

    class Wrong(BaseModel):
        nope: int

    with pytest.raises(ModelVaultQueryError, match='unknown field path "nope" in users: Wrong has it'):
        rows.select(Wrong)


# Verbs


async def test_one_row(db: Any) -> None:
    rows = await users(db, 5)
    assert await rows.where(u.id == 3).one() == user(3)
    assert await rows.where(u.id == 3).one_or_none() == user(3)
    assert await rows.where(u.id == 9).one_or_none() is None
    assert await rows.where(u.id == 9).first() is None
    assert await rows.order_by(u.id.desc()).first() == user(4)
    assert await rows.first() == user(0)
    assert await rows.where(u.id > 1).limit(1).one() == user(2)
    with pytest.raises(NotFoundError) as caught:
        await rows.where(u.id == 9).one()
    assert isinstance(caught.value, LookupError)
    assert caught.value.collection == "users"
    for verb in ("one", "one_or_none"):
        with pytest.raises(ModelVaultQueryError, match="more than one row of users fits"):
            await getattr(rows.where(u.id > 1), verb)()


async def test_iteration(db: Any) -> None:
    rows = await users(db, 200)
    query = rows.where(u.age > 20).order_by(u.age)
    assert [row.id async for row in query] == await ids(query)
    iterator = aiter(query)
    await anext(iterator)
    await iterator.aclose()
    assert not [row async for row in iterator]


async def test_summaries(db: Any) -> None:
    rows = await users(db, 10)
    assert await rows.sum(u.id) == 45
    assert await rows.where(u.id > 5).sum("id") == 30
    assert await rows.avg(u.score) == 2.25
    assert (await rows.min_(u.name), await rows.max_("age")) == ("User Number 0", 27)
    nobody = rows.where(u.id > 100)
    assert [await nobody.sum(u.id), await nobody.avg(u.id), await nobody.min_(u.id), await nobody.max_(u.id)] == [
        0,
        None,
        None,
        None,
    ]
    assert await nobody.agg(n=count(), oldest=max_(u.age)) == {"n": 0, "oldest": None}
    assert await rows.agg(
        n=count(), cities=count(u.address.city, distinct=True), flags=count(u.active, distinct=True)
    ) == {
        "n": 10,
        "cities": 10,
        "flags": 2,
    }


async def test_none_does_not_count(db: Any) -> None:
    rows = await db.collection(Optionals)
    await rows.insert_many(Optionals(id=str(n), number=n if n % 2 else None) for n in range(6))
    assert await rows.agg(all=count(), some=count(o.number), mean=avg(o.number), least=min_(o.number)) == {
        "all": 6,
        "some": 3,
        "mean": 3,
        "least": 1,
    }


async def test_groups(db: Any) -> None:
    rows = await users(db, 10)
    assert await rows.group_by(u.active).agg(n=count(), oldest=max_(u.age), total=sum_(u.id)) == [
        {"active": False, "n": 4, "oldest": 27, "total": 18},
        {"active": True, "n": 6, "oldest": 26, "total": 27},
    ]
    assert await rows.where(u.id < 2).group_by("active", city=u.address.city).count() == [
        {"active": False, "city": "City 0", "count": 1},
        {"active": True, "city": "City 1", "count": 1},
    ]
    assert await rows.where(u.id < 0).group_by(u.active).count() == []
    with pytest.raises(ModelVaultQueryError, match="'active' is a group already"):
        await rows.group_by(u.active).agg(active=count())
    with pytest.raises(ModelVaultQueryError, match=r"group_by\(\) needs values that have an order"):
        rows.group_by(u.tags)


async def test_update_by_query(db: Any) -> None:
    rows = await users(db, 6)
    assert await rows.where(u.id < 2).update({u.age: u.age + 1, u.name: "Ada"}) == 2
    assert await rows.select(u.id, u.age, u.name).limit(3).all() == [
        (0, 19, "Ada"),
        (1, 20, "Ada"),
        (2, 20, "User Number 2"),
    ]
    assert await rows.where(u.id == 1).update({u.address.city: "Paris", "score": u.score * 2 + u.age}) == 1
    one = await rows.get(1)
    assert (one.address, one.score) == (user(1).address.model_copy(update={"city": "Paris"}), 21.0)
    assert await rows.where(u.address.city == "Paris").count() == 1  # the index has it
    assert await rows.where(u.id == 1).update({"name": u.email, ("address", "zip"): "z"}) == 1
    assert ((await rows.get(1)).name, (await rows.get(1)).address.zip) == (one.email, "z")
    assert await rows.where(u.id > 100).update({u.age: 1}) == 0
    assert await rows.order_by(u.id.desc()).limit(2).update({u.name: "last"}) == 2
    assert await rows.select(u.id).where(u.name == "last").all() == [4, 5]


async def test_update_dicts_by_query(db: Any) -> None:
    rows = await items(db)
    assert await rows.where("id", 2).update({"n": 7, "o.x": 30}) == 1
    assert await rows.get(2) == item(2, n=7, o={"x": 30})
    with pytest.raises(ValueError, match="cannot change a field of 'o', which is None in a row"):
        await rows.where("id", 1).update({"o.x": 30})
    assert await rows.get(1) == item(1)


async def test_an_update_that_fails_changes_nothing(db: Any) -> None:
    rows = await users(db, 6)
    before = await rows.all()
    for changes, error in [
        ({u.age: "x"}, ValueError),
        ({u.email: "same@example.com"}, ModelVaultSchemaError),
        ({u.id: 3}, ModelVaultSchemaError),
        ({"nope": 3}, ModelVaultQueryError),
        ({}, ModelVaultQueryError),
        ({u.address: user(1).address, u.address.city: "x"}, ModelVaultQueryError),
        ({u.age: u.age > 3}, TypeError),
        ([1], TypeError),
        ({fields(Person).name: "x"}, ModelVaultQueryError),
        ({u.score: fields(Person).score + 1}, ModelVaultQueryError),
    ]:
        with pytest.raises(error):
            await rows.where(u.id >= 2).update(changes)
    assert await rows.all() == before


async def test_a_formula_of_none_is_none(db: Any) -> None:
    rows = await db.collection(Optionals)
    await rows.insert_many([Optionals(id="a", number=None), Optionals(id="b", number=1)])
    assert await rows.where().update({o.number: o.number + 1}) == 2
    assert await rows.select(o.number).all() == [None, 2]


async def test_delete_by_query(db: Any) -> None:
    rows = await users(db, 10)
    assert await rows.where(u.age.between(20, 22)).delete() == 3
    assert await ids(rows) == [0, 1, 5, 6, 7, 8, 9]
    assert await rows.order_by(u.id.desc()).limit(2).delete() == 2
    assert await ids(rows) == [0, 1, 5, 6, 7]
    assert await rows.where(u.id > 100).delete() == 0
    assert await rows.where().delete() == 5
    assert not await rows.exists()


async def test_in_a_transaction(db: Any) -> None:
    rows = await users(db, 10)
    with contextlib.suppress(KeyError):
        async with db.transaction():
            assert await rows.where(u.id < 5).delete() == 5
            await rows.insert(user(20))
            assert await ids(rows.order_by(u.id.desc())) == [20, 9, 8, 7, 6, 5]
            assert await rows.where(u.id == 20).update({u.age: 1}) == 1
            assert await rows.sum(u.age) == 1 + sum(user(n).age for n in range(5, 10))
            raise KeyError
    assert await rows.count() == 10


# Misuse


async def test_what_is_no_condition(db: Any) -> None:
    rows = await users(db, 3)
    for given, text in [
        ((True,), "Python has evaluated it already"),
        ((u.age > 1, False), "Python has evaluated it already"),
        ((lambda row: row.age > 1,), "rather than as a function"),
        ((u.active,), "compare it, as in active == True"),
        (("age",), r"a path needs a value: where\('age', value\)"),
        ((None,), "takes expressions, not None"),
        ((u.age.desc(),), "takes expressions"),
        (("age", 1, 2), "takes expressions"),
        ((rows.where("age", 1),), r"join queries with or_where\(\)"),
    ]:
        with pytest.raises(TypeError, match=text):
            rows.where(*given)
    for named in ({"path": "age"}, {"value": 3}, {"path": "age", "value": 3, "more": 1}):
        with pytest.raises(TypeError, match="a path and a value"):
            rows.where(**named)
    with pytest.raises(TypeError, match="compared with a value"):
        rows.where("age", u.score)


async def test_a_query_is_neither_true_nor_false(db: Any) -> None:
    rows = await users(db, 1)
    query = rows.where(u.age > 1000)
    with pytest.raises(TypeError, match=r"ask exists\(\) whether there is a row"):
        bool(getattr(query, "bare", query))
    assert rows  # a collection is there, whatever it holds


async def test_an_order_turned_around_with_minus(db: Any) -> None:
    rows = await users(db, 1)
    with pytest.raises(TypeError, match=r"order_by\(u\.age\.desc\(\), u\.name\)"):
        rows.order_by(-u.age)


async def test_fields_of_another_model(db: Any) -> None:
    rows = await users(db, 3)
    p = fields(Person)
    for call in (
        lambda: rows.where(p.age > 1),
        lambda: rows.where((u.age > 1) | ~(p.age > 1)),
        lambda: rows.where(p.age, 1),
        lambda: rows.order_by(p.age),
        lambda: rows.order_by(p.age.desc()),
        lambda: rows.select(p.age),
        lambda: rows.group_by(p.age),
    ):
        with pytest.raises(ModelVaultQueryError, match=r"a field of Person in a query of users.*: use fields\(User\)"):
            call()
    with pytest.raises(ModelVaultQueryError, match="a field of Person"):
        await rows.agg(n=max_(p.age))


async def test_fields_of_a_base_class_or_of_a_part(db: Any) -> None:
    class Admin(User):
        __modelvault_collection__ = "admins"
        level: int

    class Part(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_collection__ = "admins"
        id: int
        level: int

    rows = await db.collection(Admin)
    await rows.insert(Admin(**user(1).model_dump(), level=3))
    assert await rows.where(u.age > 1, fields(Admin).level == 3, fields(Part).level == 3).count() == 1
    parts = await db.collection(Part)
    assert await parts.where(fields(Admin).level == 3).one() == Part(id=1, level=3)


async def test_paths_and_values_are_checked_as_the_query_is_built(db: Any) -> None:
    rows = await items(db)
    for path, text in [
        ("", "path must be non-empty"),
        (" ", "path must be non-empty"),
        (".", "invalid path"),
        ("o..x", "invalid path"),
        ((), "path must have at least one segment"),
        (5, r'path must be a dotted string \("a.b"\) or list\[str\]'),
        (None, "path must be a dotted string"),
        ("nope", "unknown field path"),
        ("o.y", 'unknown field path "o.y" in items'),
        ("l.0", "unknown field path"),
        ("s.x", "unknown field path"),
        ("o", "compare one of its parts"),
    ]:
        with pytest.raises(ModelVaultQueryError, match=text):
            rows.where(path, 1)
    for path, value, error in [
        ("id", "3", TypeError),
        ("id", 1 << 64, OverflowError),
        ("s", 3, TypeError),
        ("when", "now", ValueError),
        ("f", "x", TypeError),
        ("l", 3, TypeError),
        ("l", ["a", 3], TypeError),
    ]:
        with pytest.raises(error):
            rows.where(path, value)
    with pytest.raises(TypeError, match='cannot be interpreted as an integer: field "id" of items'):
        rows.where("id", "3")
    for verb in ("gt_where", "gte_where", "lt_where", "lte_where"):
        with pytest.raises(TypeError, match="cannot be compared with None"):
            getattr(rows, verb)("n", None)
        with pytest.raises(TypeError):
            getattr(rows, verb)("n", "x")


async def test_operators_that_a_type_does_not_have(db: Any) -> None:
    rows = await users(db, 1)
    for expression, text in [
        (u.age.startswith("x"), r"startswith\(\) needs a string or bytes: field \"age\" of users is int"),
        (u.age.contains(1), r"contains\(\) needs a string, bytes or list"),
        (u.score.like("x"), r"like\(\) needs a string"),
        (u.active.regex("x"), r"regex\(\) needs a string"),
        (u.name.regex("["), "invalid regular expression"),
        (u.address == 1, "compare one of its parts"),
    ]:
        with pytest.raises(ModelVaultQueryError, match=text):
            rows.where(expression)
    untyped: Any = u
    for expression in (
        untyped.name.like(3),
        untyped.name.regex(3),
        untyped.name.startswith(3),
        untyped.tags.contains(3),
    ):
        with pytest.raises(TypeError):
            rows.where(expression)


async def test_orders_that_cannot_be(db: Any) -> None:
    rows = await users(db, 1)
    for term in ("tags", "address", u.tags.desc()):
        with pytest.raises(ModelVaultQueryError, match=r"order_by\(\) needs values that have an order"):
            rows.order_by(term)
    with pytest.raises(ModelVaultQueryError, match="unknown field path \"agee\" in users: did you mean 'age'"):
        rows.order_by("agee")
    with pytest.raises(TypeError, match="takes fields, not"):
        rows.order_by(u.age > 3)
    with pytest.raises(TypeError, match="needs a field"):
        rows.order_by()
    with pytest.raises(TypeError, match="argument 'desc'"):
        rows.order_by("age", desc=1)


async def test_numbers_that_cannot_be(db: Any) -> None:
    rows = await users(db, 1)
    for verb in ("limit", "offset"):
        with pytest.raises(OverflowError, match="can't convert negative int to unsigned"):
            getattr(rows, verb)(-1)
        for wrong in (None, 1.5, "1"):
            with pytest.raises(TypeError):
                getattr(rows, verb)(wrong)
    assert await rows.limit(1_048_576).count() == 1
    with pytest.raises(ModelVaultQueryError, match="query limit 1048577 exceeds maximum 1048576"):
        rows.limit(1_048_577)


async def test_sums_that_cannot_be(db: Any) -> None:
    rows = await users(db, 1)
    for verb in ("sum", "avg"):
        with pytest.raises(ModelVaultQueryError, match=rf"{verb}\(\) needs numbers: field \"name\" of users is string"):
            await getattr(rows, verb)(u.name)
    with pytest.raises(ModelVaultQueryError, match=r"max\(\) needs values that have an order"):
        await rows.max_(u.tags)
    with pytest.raises(TypeError, match="needs a function"):
        await rows.agg()
    with pytest.raises(TypeError, match="takes count"):
        await rows.agg(n=len)
    with pytest.raises(TypeError, match=r"group_by\(\) needs a field"):
        rows.group_by()


async def test_or_with_something_else(db: Any) -> None:
    rows, others = await users(db, 1), await items(db)
    query = rows.where("age", 1)
    for wrong in (("age", 1), 5, None, "age"):
        with pytest.raises(TypeError, match="object is not an instance of 'Query'"):
            query.or_where(wrong)
    with pytest.raises(TypeError, match="takes another query, an expression, or a path and a value"):
        query.or_where()
    with pytest.raises(ModelVaultQueryError, match="or_where requires the same collection"):
        query.or_where(others.where("id", 1))


def test_names_of_0_16() -> None:
    assert models.ModelQuery.__name__ == "Query"
    assert models.fields is fields


async def test_before_the_collection_exists(loop_db: Any) -> None:
    rows = loop_db.collection(User)
    query = rows.where(u.age > 3).order_by(u.name)
    with pytest.raises(TypeError):
        rows.where("age", "x")
    assert await query.all() == []
    await rows.insert(user(1))
    assert await query.all() == [user(1)]
