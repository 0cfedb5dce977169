"""Mistakes that type checkers find: "both" of them, or only one; never run."""

# pyright: strict, reportUnusedExpression=false

from typing import Any

from modelvault import AsyncCollection, col, count, fields, max_
from tests.typing.right import Address, Card, User

u = fields(User)
c = fields(Card)


async def mistakes(users: AsyncCollection[User]) -> None:
    users.where(c.name == "x")  # wrong: both
    users.where((u.age > 1) & (c.name == "x"))  # wrong: both
    users.where(lambda row: row.age > 1)  # wrong: both
    users.where(u.active)  # wrong: both
    users.where("age")  # wrong: both
    users.where(u.age.desc())  # wrong: both
    users.where(User.agee >= 18)  # wrong: both
    users.where(User.age >= "x")  # wrong: both
    users.where(col(User.age) >= "x")  # wrong: both
    users.where(col(User.age).in_(["x"]))  # wrong: both
    users.where(col(User.age).startswith("x"))  # wrong: both
    users.where(col(User.tags).contains(3))  # wrong: both
    users.where(col(User.name).contains(3))  # wrong: both
    users.where(col(User.name).like(3))  # wrong: both
    users.where((u.age > 1) & 3)  # wrong: both
    users.where("x" in u.tags)  # wrong: both
    if 1 in users:  # wrong: both
        pass
    if 1 in users.where(u.age > 1):  # wrong: both
        pass
    users.where(not u.active)  # wrong: pyright
    if u.age > 1:  # wrong: pyright
        pass
    users.order_by(u.age > 1)  # wrong: both
    users.order_by(c.name)  # wrong: both
    users.where(c.name, 3)  # wrong: both
    users.group_by(c.name)  # wrong: both
    users.select(c.name)  # wrong: both
    users.order_by(c.name.desc())  # wrong: both
    users.limit("3")  # wrong: both
    for _ in u.tags:  # wrong: both
        pass
    u.age.dsc()  # wrong: both
    await users.agg(n=count)  # wrong: both
    await users.agg(n=max_(c.name))  # wrong: both
    await users.group_by(u.age).agg(n=3)  # wrong: both
    await users.where().update({c.name: 3})  # wrong: both
    await users.page(after=3)  # wrong: both
    rows: list[Address] = await users.all()  # wrong: both
    ages: list[str] = await users.select(col(User.age)).all()  # wrong: both
    nothing: Any = (rows, ages)
    del nothing
