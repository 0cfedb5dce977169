"""What an instance has besides its fields, which of them were set and its private attributes, outlives every change."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from modelvault import Database, models
from tests.worlds import World, bare


class Home(BaseModel):
    city: str = "nowhere"
    size: int = 1
    _seen: int = PrivateAttr(0)


class User(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "users"
    __modelvault_indexes__ = [models.index("age")]
    id: int
    name: str = "?"
    age: int = 7
    home: Home = Home()
    homes: list[Home] = []
    either: Home | str = ""
    _note: str = PrivateAttr("")
    _log: list[int] = PrivateAttr(default_factory=list)


def user(n: int) -> User:
    """One of four: all is set, nothing is, some is inside, in a union and a list."""
    if n % 4 == 0:
        found = User(id=n, name="a", age=1, home=Home(city="b", size=2), homes=[], either="x")
    elif n % 4 == 1:
        found = User(id=n)
    elif n % 4 == 2:
        found = User(id=n, home=Home(size=5), name="?")
    else:
        found = User(id=n, homes=[Home(city="x"), Home(size=n)], either=Home(size=3))
        found.homes[1]._seen = n
        assert isinstance(found.either, Home)
        found.either._seen = 2 * n
    found._note = f"note {n}"
    found._log = [n]
    found.home._seen = n
    return found


def hidden(value: Any) -> Any:
    """What there is to a model besides its values, at each place."""
    if isinstance(value, BaseModel):
        inside = {name: hidden(item) for name, item in value.__dict__.items()}
        return value.model_fields_set, value.__pydantic_private__, {n: i for n, i in inside.items() if i is not None}
    if isinstance(value, dict):
        return {name: hidden(item) for name, item in value.items()}
    return [hidden(item) for item in value] if isinstance(value, list) else None


ROWS = [user(n) for n in range(40)]


class Wider(User):
    age: float = 7.0  # type: ignore[assignment]


class Renamed(User):
    __modelvault_indexes__ = [models.index("years")]
    full_name: Annotated[str, models.RenamedFrom("name")] = "?"
    years: Annotated[float, models.RenamedFrom("age")] = 7.0
    name: str | None = None
    age: int | None = None  # type: ignore[assignment]
    extra: list[float] = []


async def filled(world: World, db: Any) -> Any:
    users = await db.collection(User)
    await users.insert_many(ROWS)
    return users


@pytest.mark.parametrize("chunk", [7, None])
async def test_a_wider_type(world: World, chunk: int | None) -> None:
    async with world.open() as db:
        await filled(world, db)
        assert await models.async_apply(bare(db), Wider, chunk=chunk) == 2
        for row in await (await db.collection(Wider)).all():
            assert hidden(row) == hidden(ROWS[row.id])


def nothing(row: dict[str, Any]) -> None:
    assert type(row) is dict and type(row["home"]) is dict


def copied(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "home": {**row["home"]}, "homes": [{**home} for home in row["homes"]]}


@pytest.mark.parametrize("function", [nothing, copied])
@pytest.mark.parametrize("chunk", [7, None])
async def test_an_upgrade_function_that_changes_nothing(world: World, chunk: int | None, function: Any) -> None:
    async with world.open() as db:
        await filled(world, db)
        await models.async_apply(bare(db), User, upgrade={2: function}, chunk=chunk)
        for row in await (await db.collection(User)).all():
            assert row == ROWS[row.id] and hidden(row) == hidden(ROWS[row.id])


class Tree(BaseModel):
    children: list[Tree] = []
    _seen: int = PrivateAttr(0)


class Plain(BaseModel):
    """No unions: what a row hides is at one of these places, or nowhere."""

    __modelvault_primary_key__ = "id"
    id: int
    home: Home
    maybe: Home | None
    homes: list[Home]
    by_name: dict[str, Home]
    tree: Tree


PLACES: dict[str, Any] = {
    "nowhere": None,
    "home": Home(size=2),
    "maybe": Home(size=2),
    "homes": [Home(city="a", size=1), Home(size=2)],
    "by_name": {"a": Home(city="a", size=1), "b": Home(size=2)},
    "tree": Tree(children=[Tree(children=[Tree()])]),
}


@pytest.mark.parametrize("where", PLACES)
async def test_an_upgrade_function_is_not_shown_what_one_place_hides(where: str, world: World) -> None:
    full = Home(city="a", size=1)
    parts = {"home": full, "maybe": None, "homes": [full], "by_name": {"a": full}, "tree": Tree(children=[])}
    row = Plain(id=1, **{**parts, **({} if where == "nowhere" else {where: PLACES[where]})})
    shown: list[dict[str, Any]] = []
    async with world.open() as db:
        await (await db.collection(Plain)).insert(row)
        await models.async_apply(bare(db), Plain, upgrade={2: lambda row: shown.append(row)})
        found = await (await db.collection(Plain)).get(1)
        assert found == row and hidden(found) == hidden(row)
    assert plain(shown) == shown


def plain(value: Any) -> Any:
    """A copy of dicts and lists that are nothing more than that."""
    if isinstance(value, dict):
        assert type(value) is dict
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


async def test_what_an_upgrade_function_changes_is_set(world: World) -> None:
    def change(row: dict[str, Any]) -> None:
        row["age"] += 1
        row["home"]["city"] += "!"
        row["homes"] = [{"city": "new", "size": 0}, *reversed(row["homes"])]  # they know themselves wherever they are

    async with world.open() as db:
        await filled(world, db)
        await models.async_apply(bare(db), User, upgrade={2: change})
        for row in await (await db.collection(User)).all():
            old = ROWS[row.id]
            assert row.model_fields_set == old.model_fields_set | {"age", "home", "homes"}
            assert row.home.model_fields_set == old.home.model_fields_set | {"city"}
            assert (row._note, row._log, row.home._seen) == (old._note, old._log, old.home._seen)
            assert row.homes[0].model_fields_set == {"city", "size"} and row.homes[0]._seen == 0
            assert hidden(row.homes[1:]) == hidden(old.homes[::-1])
            assert hidden(row.either) == hidden(old.either)


async def test_an_upgrade_function_may_put_in_models(world: World) -> None:
    def change(row: dict[str, Any]) -> None:
        row["home"] = Home(size=3)
        row["home"]._seen = 9

    async with world.open() as db:
        await filled(world, db)
        await models.async_apply(bare(db), User, upgrade={2: change})
        for row in await (await db.collection(User)).all():
            assert row.home.model_fields_set == {"size"} and row.home._seen == 9
            assert row._note == ROWS[row.id]._note


NAMES = {"name": "full_name", "age": "years"}


@pytest.mark.parametrize("upgrade", [None, {2: nothing}])
async def test_names_and_defaults(world: World, upgrade: Any) -> None:
    """A renamed field is as it was; one that gets its default, or is new, is not set."""
    async with world.open() as db:
        await filled(world, db)
        await models.async_apply(bare(db), Renamed, upgrade=upgrade)
        for row in await (await db.collection(Renamed)).all():
            old = ROWS[row.id]
            assert row.model_fields_set == {NAMES.get(name, name) for name in old.model_fields_set}
            assert (row._note, row._log, hidden(row.homes)) == (old._note, old._log, hidden(old.homes))


class More(User):
    city: str = "Bern"
    nickname: str | None = None
    _more: list[str] = PrivateAttr(default_factory=lambda: ["x"])


class MoreWider(More):
    age: float = 7.0  # type: ignore[assignment]
    inside: list[str] = []


class Other(MoreWider):
    age: str = ""  # type: ignore[assignment]


async def test_a_field_that_a_row_is_too_old_for_is_not_set(world: World) -> None:
    """Neither while rows stay as they are, nor when they are written anew."""
    async with world.open() as db:
        await filled(world, db)
        await models.async_apply(bare(db), More)
        new = More(id=100, city="Rome")
        await (await db.collection(More)).insert(new)
        for cls in (More, MoreWider):
            await models.async_apply(bare(db), cls)
            for row in await (await db.collection(cls)).all():
                if row.id == 100:
                    assert row.model_fields_set == {"id", "city"} and row._more == ["x"]
                    continue
                assert row.model_fields_set == ROWS[row.id].model_fields_set
                assert (row.city, row.nickname, row._more, row._note) == ("Bern", None, ["x"], f"note {row.id}")
        await models.async_apply(bare(db), Other, upgrade={5: lambda row: {**row, "age": str(row["age"])}})
        for row in await (await db.collection(Other)).all():
            if row.id != 100:
                assert row.model_fields_set == ROWS[row.id].model_fields_set | {"age"}


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "open"
    id: int
    age: int = 1


class OpenWider(Open):
    age: float = 1.0  # type: ignore[assignment]


@pytest.mark.parametrize("upgrade", [None, {2: lambda row: row.update(more=1)}])
async def test_extras(world: World, upgrade: Any) -> None:
    async with world.open() as db:
        await (await db.collection(Open)).insert(Open(id=1, colour="red"))
        await models.async_apply(bare(db), OpenWider, upgrade=upgrade)
        row = await (await db.collection(OpenWider)).get(1)
        more = {"more": 1} if upgrade else {}
        assert row.model_extra == {"colour": "red"} | more
        assert row.model_fields_set == {"id", "colour"} | more.keys()


def test_upkeep(tmp_path: Any) -> None:
    """Indexes, compaction, snapshots, salvage: bytes are bytes."""
    path = tmp_path / "a"
    with Database.open(path) as db:
        db.collection(User).insert_many(ROWS)
        db.rebuild_indexes("users")
        db.compact()
        db.compact_to(str(tmp_path / "b"))
        db.export_snapshot(str(tmp_path / "c"))
    Database.restore_snapshot(str(tmp_path / "c"), str(tmp_path / "d"))
    Database.salvage(path, tmp_path / "e")
    for name in "abcde":
        with Database.open(tmp_path / name) as db:
            assert [hidden(row) for row in db.collection(User).all()] == [hidden(row) for row in ROWS]


class Cat(BaseModel):
    age: int = 1


class Dog(BaseModel):
    age: int = 1


class Zoned(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "zoned"
    id: int
    name: str = "?"
    at: datetime = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    pet: Cat | Dog = Dog()
    home: Home = Home()


async def test_a_dict_changes_what_it_names_and_nothing_else(world: World) -> None:
    """Private attributes, which fields were set, members of unions and zones are not in a dict; they stay."""
    for in_transaction in (False, True):
        async with world.open() as db, AsyncExitStack() as stack:
            models_of, zoned = await filled(world, db), await db.collection(Zoned)
            await zoned.insert(Zoned(id=1))
            place = db
            if in_transaction:
                place = await stack.enter_async_context(db.transaction())
            users, dicts = await place.collection("users"), await place.collection("zoned")
            for old in ROWS:
                assert (await users.update(old.id, {"age": old.age + 1}))["age"] == old.age + 1
            await users.where("age", 2).update({"name": "two"})
            await dicts.update(1, {"name": "new"})
            await dicts.where("name", "new").update({"name": "newer"})
            if in_transaction:
                await stack.aclose()
            for row in await models_of.all():
                old = ROWS[row.id]
                named = {"age", "name"} if row.age == 2 else {"age"}
                assert row.model_copy(update={"age": old.age, "name": old.name}) == old
                assert row.model_fields_set == old.model_fields_set | named
                assert hidden(row)[1:] == hidden(old)[1:]
            found = await zoned.get(1)
            assert found.model_fields_set == {"id", "name"} and found.name == "newer"
            assert found.pet == Dog() and type(found.pet) is Dog
            assert found.at.isoformat() == "2020-01-01T12:00:00+02:00"


async def test_a_dict_changes_a_part_of_an_object(world: World) -> None:
    async with world.open() as db:
        users = await filled(world, db)
        dicts = await db.collection("users")
        await dicts.where("id", 3).update({"home.city": "Bern"})
        found = await users.get(3)
        assert (found.home.city, found.home.size, found.home._seen) == ("Bern", 1, 3)
        assert found.home.model_fields_set == {"city"} and found.model_fields_set == ROWS[3].model_fields_set | {"home"}
        assert found._note == "note 3" and hidden(found.homes) == hidden(ROWS[3].homes)
        await dicts.update(3, {"home": {"city": "Basel", "size": 9}, "either": "now a text"})
        found = await users.get(3)
        assert (found.home.city, found.home.size, found.either) == ("Basel", 9, "now a text")
        assert found.home.model_fields_set == {"city", "size"} and found._log == [3]


async def test_a_dict_changes_some_of_a_list(world: World) -> None:
    """What was in it is as it was, wherever it is now."""
    async with world.open() as db:
        users = await filled(world, db)
        dicts = await db.collection("users")
        one, two = (await dicts.get(3))["homes"]
        await dicts.update(3, {"homes": [{"city": "new", "size": 0}, two, one]})
        found = await users.get(3)
        assert [home.city for home in found.homes] == ["new", "nowhere", "x"] and found._note == "note 3"
        assert hidden(found.homes[1:]) == hidden(ROWS[3].homes[::-1])
        assert found.homes[0].model_fields_set == {"city", "size"} and found.homes[0]._seen == 0


class Price(BaseModel):
    __modelvault_primary_key__ = "id"
    id: int
    value: Decimal = Decimal("1.0")
    rate: float = 0.0
    _note: str = PrivateAttr("")


async def test_a_dict_changes_what_is_equal_but_not_the_same(world: World) -> None:
    async with world.open() as db:
        prices = await db.collection(Price)
        price = Price(id=1)
        price._note = "kept"
        await prices.insert(price)
        await (await db.collection(prices.name)).update(1, {"value": Decimal("1.00"), "rate": -0.0})
        found = await prices.get(1)
        assert (str(found.value), str(found.rate), found._note) == ("1.00", "-0.0", "kept")
