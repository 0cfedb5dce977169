"""A program that mypy --strict and pyright strict accept; never run."""

# pyright: strict, reportUnusedExpression=false

from typing import Any

from pydantic import BaseModel
from typing_extensions import assert_type

from modelvault import (
    AsyncCollection,
    AsyncDatabase,
    Collection,
    Database,
    Page,
    avg,
    col,
    count,
    desc,
    fields,
    max_,
    min_,
    models,
    sum_,
)
from modelvault.expressions import Aggregate, Expression, FieldRef, Formula


class Address(BaseModel):
    city: str


class User(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    age: int
    name: str
    nick: str | None = None
    maybe: int | None = None
    tags: list[str] = []
    seen: set[int] | None = None
    active: bool = True
    address: Address


class Admin(User):
    level: int


class Card(BaseModel):
    name: str


u = fields(User)
a = fields(Admin)

assert_type(u.age, FieldRef[User, Any])
assert_type(u.age >= 18, Expression[User])
assert_type(u.address.city == "Paris", Expression[User])
assert_type(~(u.age >= 18) & u.name.startswith("A") | u.tags.contains("x"), Expression[User])
assert_type(col(User.age), FieldRef[Any, int])
assert_type(col(User.nick), FieldRef[Any, str | None])
assert_type(col(u.age), FieldRef[User, Any])
assert_type(u.age + 1, Formula)
assert_type(max_(col(User.age)), Aggregate[Any, int | None])


async def tour(db: AsyncDatabase, users: AsyncCollection[User], admins: AsyncCollection[Admin]) -> None:
    assert_type(models.async_collection(db, User), AsyncCollection[User])
    query = (
        users.where(u.age >= 18, u.address.city.in_(["London", "Paris"]))
        .where(u.tags.contains("admin") | u.email.startswith("a"))
        .order_by(u.age.desc(), u.email)
        .limit(50)
    )
    assert_type(await query.all(), list[User])
    assert_type(await query.first(), User | None)
    assert_type(await query.one(), User)
    assert_type(await query.one_or_none(), User | None)
    assert_type(await query.count(), int)
    assert_type(await query.exists(), bool)
    async for user in query:
        assert_type(user, User)
    page = await query.page(size=20, after=None)
    assert_type(page, Page[User])
    assert_type(page.next, str | None)
    for user in page:
        assert_type(user, User)

    users.where("age", 36).and_where("address.city", "London").or_where(query).gte_where("age", 18)
    users.where(User.age >= 18, User.name == "Ada")
    users.where((User.age >= 18) & col(User.name).startswith("A"))
    users.where(col(User.maybe) < 3, col(User.tags).contains("x"), col(User.nick).contains("x"))
    users.where(col(User.seen).contains(3), col(User.age).between(1, 2), col(User.name).like("A%"))
    users.where(u.nick == None, u.maybe.is_null(), u["address.city"] == "Paris")
    admins.where(u.age > 18, a.level > 3)
    users.order_by("age", desc("name"), col(User.age).desc())
    admins.order_by(u.age, a.level.desc())

    assert_type(await users.select(Card).all(), list[Card])
    assert_type(await users.select(col(User.age)).all(), list[int])
    assert_type(await users.select(col(User.age), col(User.nick)).first(), tuple[int, str | None] | None)
    assert_type(await users.select(u.age, u.name).all(), list[tuple[Any, Any]])
    assert_type(await users.min_(col(User.name)), str | None)
    assert_type(await users.sum(col(User.age)), int)

    await query.update({u.age: u.age + 1, u.name: "Ada"})
    await query.update({"age": 3})
    await query.delete()
    rows = await users.group_by(u.address.city).agg(n=count(), oldest=max_(u.age), total=sum_("age"))
    assert_type(rows, list[dict[str, Any]])
    assert_type(await users.agg(youngest=min_(u.age), mean=avg(u.age)), dict[str, Any])
    print(await query.explain())


def blocking(db: Database, users: Collection[User]) -> None:
    query = users.where(u.age >= 18).order_by(u.age.desc())
    assert_type(query.all(), list[User])
    assert_type(query.page(), Page[User])
    assert_type(users.select(col(User.age), col(User.name)).all(), list[tuple[int, str]])
    assert_type(db.collection("users").where("age", 3).all(fields=["name"]), list[dict[str, Any]])
    for user in query:
        assert_type(user, User)
