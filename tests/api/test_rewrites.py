"""What a rewrite leaves alone: indexes whose entries stay, fields that stay what they are."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from modelvault import Database, DuplicateKeyError, ModelVaultSchemaError, models
from modelvault._progress import Progress
from tests.worlds import World, bare

START = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=3)))


class Home(BaseModel):
    city: str
    size: int = 1


class User(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "users"
    __modelvault_indexes__ = [models.unique("email"), models.index("home.city"), models.index("age")]
    id: int
    email: str
    age: int
    home: Home
    tags: list[str] = []
    seen: datetime = START
    price: Decimal | None = None
    either: int | str = 0
    big: int = 0
    data: dict[str, Any] = {}


def user(n: int) -> User:
    return User(
        id=n,
        email=f"u{n}@x",
        age=n % 50,
        home=Home(city=f"c{n % 7}", size=n),
        tags=["x", "y" * (n % 300)][: n % 3],
        seen=START + timedelta(microseconds=n),
        price=None if n % 2 else Decimal(n),
        either="s" if n % 5 else n,
        big=2**63 + n if n % 2 else -n,
        data={"n": n, "l": [1, 2.5, None]},
    )


class Older(User):
    __modelvault_indexes__ = [models.unique("mail"), models.index("home.city"), models.index("age")]
    mail: Annotated[str, models.RenamedFrom("email")]
    email: str | None = None
    age: float  # type: ignore[assignment]


def trees(db: Any) -> dict[str, int]:
    """The trees of the indexes by their names."""
    return dict(bare(db)._access.engine.latest.definitions["users"]["indexes"])


def plus(row: dict[str, Any]) -> None:
    row["big"] = 1
    row["home"]["size"] += 1


async def test_a_wider_type_leaves_the_other_indexes_alone(world: World) -> None:
    rows = [user(n) for n in range(3000)]
    async with world.open() as db:
        await (await db.collection(User)).insert_many(rows)
        before = trees(db)
        assert await models.async_apply(bare(db), Older, chunk=700) == 2
        after = trees(db)
        assert (after["mail_idx"], after["home.city_idx"]) == (before["email_idx"], before["home.city_idx"])
        assert after["age_idx"] != before["age_idx"]
        users = await db.collection(Older)
        await db.verify()
        for row in rows:
            found = await users.get(row.id)
            assert found.model_dump(exclude={"mail", "email"}) == row.model_dump(exclude={"email"})
            assert (found.mail, found.email, found.age, found.age.__class__) == (row.email, None, row.age, float)
        assert await users.where("home.city", "c3").count() == len([n for n in range(3000) if n % 7 == 3])
        with pytest.raises(DuplicateKeyError):
            await users.insert(Older(**users_fields(9999), mail="u5@x"))


def users_fields(n: int) -> dict[str, Any]:
    return user(n).model_dump(exclude={"email"})


@pytest.mark.parametrize("chunk", [600, None])
async def test_upgrade_functions_leave_indexes_alone_that_they_do_not_touch(world: World, chunk: int | None) -> None:
    async with world.open() as db:
        await (await db.collection(User)).insert_many(user(n) for n in range(2000))
        before = trees(db)
        assert await models.async_apply(bare(db), User, upgrade={2: plus}, chunk=chunk) == 2
        assert trees(db) == before
        users = await db.collection(User)
        assert [(row.big, row.home.size) for row in await users.all()] == [(1, n + 1) for n in range(2000)]
        await db.verify()


@pytest.mark.parametrize("chunk", [600, None])
@pytest.mark.parametrize("first", [0, 1500])
async def test_an_entry_that_moves_lets_all_indexes_be_built(world: World, chunk: int | None, first: int) -> None:
    """Also when it is one of the last rows in which it moves."""

    def move(row: dict[str, Any]) -> None:
        plus(row)
        if row["id"] >= first:
            row["home"]["city"] += "!"

    async with world.open() as db:
        await (await db.collection(User)).insert_many(user(n) for n in range(2000))
        before = trees(db)
        assert await models.async_apply(bare(db), User, upgrade={2: move}, chunk=chunk) == 2
        assert not set(trees(db).values()) & set(before.values())
        users = await db.collection(User)
        await db.verify()
        moved = [n for n in range(first, 2000) if n % 7 == 3]
        assert [row.id for row in await users.where("home.city", "c3!").all()] == moved
        assert (await users.where("home.city", "c3").count()) == len([n for n in range(first) if n % 7 == 3])
        assert {row.home.size - row.id for row in await users.all()} == {1}


async def test_an_upgrade_that_takes_a_unique_value(world: World) -> None:
    """The rows that have it are named, and nothing has changed."""

    def same(row: dict[str, Any]) -> None:
        row["email"] = "one" if row["id"] in (3, 1900) else row["email"]

    async with world.open() as db:
        await (await db.collection(User)).insert_many(user(n) for n in range(2000))
        before = trees(db)
        with pytest.raises(DuplicateKeyError, match=r"'one' in the rows 3, 1900"):
            await models.async_apply(bare(db), User, upgrade={2: same}, chunk=600)
        assert trees(db) == before
        assert await (await db.collection(User)).get(3) == user(3)
        await db.verify()


async def test_rows_that_cannot_be_changed_are_named(world: World) -> None:
    def fails(row: dict[str, Any]) -> None:
        if row["id"] in (7, 700, 1999):
            raise LookupError("no such thing")

    async with world.open() as db:
        await (await db.collection(User)).insert_many(user(n) for n in range(2000))
        words = r"\(7, 700, 1999: LookupError: no such thing\)"
        with pytest.raises(ModelVaultSchemaError, match=words) as caught:
            await models.async_apply(bare(db), User, upgrade={2: fails}, chunk=600)
        assert isinstance(caught.value.__cause__, LookupError)
        assert await (await db.collection(User)).count() == 2000


class Stop(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("corrected", [False, True])
def test_a_row_that_cannot_be_changed_is_not_lost_in_a_crash(tmp_path: Path, corrected: bool) -> None:
    """The crash comes when some chunks behind it are done; whoever goes on comes to the row again."""

    def fails(row: dict[str, Any]) -> None:
        if row["id"] == 1500 and stops:
            raise Stop
        if row["id"] == 5 and not (corrected and not stops):
            raise ValueError("this one")
        row["big"] = 1

    path, stops = tmp_path / "file", True
    with Database.open(path) as db:
        db.collection(User).insert_many(user(n) for n in range(2000))
        with pytest.raises(Stop):
            models.apply(db, User, upgrade={2: fails}, chunk=300)
    stops = False
    with Database.open(path) as db:
        if corrected:
            models.apply(db, User, upgrade={2: fails}, chunk=300)
            assert [row.big for row in db.collection(User).all()] == [1] * 2000
        else:
            with pytest.raises(ModelVaultSchemaError, match="5: this one"):
                models.apply(db, User, upgrade={2: fails}, chunk=300)
            assert db.collection(User).all() == [user(n) for n in range(2000)]
        db.verify()


def test_a_changed_row_that_cannot_be_changed_is_not_lost_in_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for rows that others wrote meanwhile, so many that they are caught up with in several commits."""

    def fails(row: dict[str, Any]) -> None:
        if row["age"] == 99 and stops:
            if row["id"] == 60:
                raise Stop
            if row["id"] == 5:
                raise ValueError("this one")
        row["big"] = 1

    def change(meter: Progress, count: int) -> None:
        meter.count += count
        if meter.count == 100:
            for n in range(100):
                db.collection(User).update(n, {"age": 99})

    path, stops = tmp_path / "file", True
    monkeypatch.setattr(Progress, "add", change)
    with Database.open(path) as db:
        db.collection(User).insert_many(user(n) for n in range(300))
        with pytest.raises(Stop):
            models.apply(db, User, upgrade={2: fails}, chunk=50)
    monkeypatch.undo()
    stops = False
    with Database.open(path) as db:
        models.apply(db, User, upgrade={2: fails}, chunk=50)
        assert [(row.id, row.big) for row in db.collection(User).all()] == [(n, 1) for n in range(300)]
        db.verify()


def test_one_transaction_writes_each_page_about_once(tmp_path: Path) -> None:
    """The file of a rewrite in one transaction, which does not fit into the cache, holds two sets of pages."""
    path = tmp_path / "file"
    with Database.open(path, cache_size=1 << 20) as db:
        db.collection(User).insert_many(user(n) for n in range(20_000))
    size = os.path.getsize(path)
    with Database.open(path, cache_size=1 << 20) as db:
        models.apply(db, Older, chunk=None)
        assert os.path.getsize(path) < 3 * size
        db.verify()
