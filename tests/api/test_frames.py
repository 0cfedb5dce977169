"""Queries as tables and tables as rows: values of every type, there and back, in every world."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from annotated_types import Ge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, create_model

from modelvault import Database, DuplicateKeyError, ModelVaultQueryError, ModelVaultValidationError, fields, models
from tests.api.cases import CASES, custom_given, dataclass_of, model_of
from tests.models import Address, Person, User, person, user
from tests.worlds import World, bare

UTC = timezone.utc

# What JSON, or the lack of a column, changes: values of any type, of unions that JSON does not tell apart, extras.
LOSSY = {"bare list", "any", "sequence", "open model", "many kinds", "enum or str", "collection"}
# Extras are not shown, a key that may be missing is a list of one value, and those of a set come in any order.
UNLIKE = {"open model", "sparse dict", "set of dataclasses"}


# Values


def leaves(value: Any) -> Iterator[Any]:
    """What a value is made of."""
    if isinstance(value, BaseModel):
        value = dict(value.__dict__)
    if hasattr(type(value), "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def is_unfit(value: Any) -> bool:
    """Does no column hold it?"""
    if isinstance(value, int):
        return value >= 2**63
    if isinstance(value, time):
        return value.tzinfo is not None
    if isinstance(value, timedelta):
        return abs(value) >= timedelta(106751990)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return True
        return bool(value) and (value.normalize().as_tuple().exponent < -18 or value.adjusted() >= 20)  # type: ignore[operator]
    return False


def same(found: Any, value: Any, type: Any) -> bool:
    """Is this what a column of this type shows of a plain value?"""
    if getattr(type, "extension_name", None) == "arrow.json":
        return found is None if value is None else json.loads(found) is not ...
    if found is None or value is None:
        return found is value
    if pa.types.is_struct(type):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        if isinstance(value, dict) and list(value) != list(found):
            return False
        return all(same(a, b, part.type) for a, b, part in zip(found.values(), parts, type, strict=True))
    if pa.types.is_map(type):
        return len(found) == len(value) and all(
            same(a, c, type.key_type) and same(b, d, type.item_type)
            for (a, b), (c, d) in zip(found, value.items(), strict=True)
        )
    if isinstance(found, list):
        if isinstance(value, set | frozenset):
            return len(found) == len(value) and all(part in value for part in found)
        return len(found) == len(value) and all(same(a, b, type.value_type) for a, b in zip(found, value, strict=True))
    if isinstance(value, float) and math.isnan(value):
        return math.isnan(found)
    return bool(found == value)


def check_case(cls: type, name: str, values: list[Any]) -> None:
    rows = []
    for number, value in enumerate(values):
        with suppress(ValidationError):  # as of an infinite Decimal
            rows.append(cls(id=number, v=value))
    with Database.open_in_memory() as db, Database.open_in_memory() as other:
        collection, copy = db.collection(cls), other.collection(cls)
        collection.insert_many(rows)
        rows = collection.all()
        try:
            table = collection.to_arrow()
        except ModelVaultQueryError:
            assert any(is_unfit(part) for row in rows for part in leaves(row.v))
            return
        table.validate(full=True)
        type = table.schema.field("v").type
        plain = CASES[name].into or custom_given
        for row, found in zip(rows, table.to_pylist(), strict=True):
            assert found["id"] == row.id
            assert name in UNLIKE or same(found["v"], plain(row.v), type), (found["v"], row.v, type)
        if name not in LOSSY:
            assert copy.insert_arrow(table) == len(rows)
            for row, found in zip(rows, copy.all(), strict=True):
                assert found == row or repr(found) == repr(row)  # NaN is not equal to itself


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_column_has_the_values_and_gives_them_back(name: str) -> None:
    case, classes = CASES[name], [model_of(name, CASES[name]), dataclass_of(name, CASES[name])]

    @settings(max_examples=8)
    @given(st.lists(case.values, max_size=4), st.sampled_from(classes))
    def check(values: list[Any], cls: type) -> None:
        check_case(cls, name, values)

    check()
    for value in case.edges:
        for cls in classes:
            check_case(cls, name, [value])


MANY = [
    *(
        "bool",
        "int",
        "float",
        "str",
        "bytes",
        "uuid",
        "aware",
        "date",
        "timedelta",
        "decimal",
        "enum",
        "str enum",
        "int flag",
    ),
    *(
        "list",
        "list of optional",
        "matrix",
        "tuple",
        "long tuple",
        "set",
        "dict",
        "dict by date",
        "model",
        "list of models",
    ),
    *(
        "dict of models",
        "tuple of models",
        "dataclass",
        "pydantic dataclass",
        "models",
        "path",
        "complex",
        "int or str",
    ),
]
Wide: Any = create_model(
    "Wide", id=(int, ...), **{f"f{n}": (CASES[name].annotation | None, None) for n, name in enumerate(MANY)}
)
Wide.__modelvault_primary_key__ = "id"
WIDE = st.fixed_dictionaries(
    {},
    optional={
        f"f{n}": st.none() | CASES[name].values.filter(lambda value: not any(map(is_unfit, leaves(value))))
        for n, name in enumerate(MANY)
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.lists(WIDE, min_size=1, max_size=5))
def test_rows_with_fields_of_every_type(values: list[dict[str, Any]]) -> None:
    with Database.open_in_memory() as db, Database.open_in_memory() as other:
        wide, copy = db.collection(Wide), other.collection(Wide)
        wide.insert_many(Wide(id=number, **part) for number, part in enumerate(values))
        table = wide.to_arrow()
        table.validate(full=True)
        rows = wide.all()
        for row, found in zip(rows, table.to_pylist(), strict=True):
            for n, name in enumerate(MANY):
                value = getattr(row, f"f{n}")
                plain = None if value is None else (CASES[name].into or custom_given)(value)
                assert same(found[f"f{n}"], plain, table.schema.field(f"f{n}").type), (name, value)
        assert copy.insert_arrow(wide) == len(rows)
        assert repr(copy.all()) == repr(rows) or copy.all() == rows


def test_the_types_of_columns() -> None:
    with Database.open_in_memory() as db:
        schema = db.collection(User).to_arrow().schema
    address = pa.struct([("street", pa.string()), ("city", pa.string()), ("zip", pa.string())])
    assert schema == pa.schema(
        [
            ("id", pa.int64()),
            ("email", pa.string()),
            ("name", pa.string()),
            ("age", pa.int64()),
            ("active", pa.bool_()),
            ("score", pa.float64()),
            ("created", pa.timestamp("us", "UTC")),
            ("tags", pa.list_(pa.string())),
            ("address", address),
        ]
    )


class Event(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    at: datetime | None = None


def test_points_in_time_with_and_without_a_zone() -> None:
    naive, aware = datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)
    with Database.open_in_memory() as db:
        events = db.collection(Event)
        events.insert_many([Event(id=1), Event(id=2), Event(id=3, at=naive)])
        assert events.to_arrow()["at"].type == pa.timestamp("us")
        assert events.limit(2).to_arrow()["at"].type == pa.timestamp("us", "UTC")
        with pytest.raises(ModelVaultQueryError, match='column "at": its first datetime comes after so many rows'):
            list(events.to_arrow_batches(2))
        events.insert(Event(id=4, at=aware))
        with pytest.raises(ModelVaultQueryError, match='"at", row with the primary key 4: naive and aware'):
            events.to_arrow()
        events.delete(3)
        assert [row["at"] for row in events.to_arrow().to_pylist()] == [None, None, aware]


# Queries


async def filled(db: Any, count: int = 300) -> Any:
    users = db.collection(User)
    await users.insert_many([user(number) for number in range(1, count + 1)])
    return users


def plain_row(row: Any) -> dict[str, Any]:
    shown: dict[str, Any] = row.model_dump()
    return shown


async def test_a_table_has_the_rows_of_the_query(db: Any) -> None:
    users = await filled(db)
    u = fields(User)
    for query in (
        users.order_by(u.id),
        users.where(u.age > 40),
        users.where(u.address.city == "City 7"),
        users.where(u.email.in_(["user3@example.com", "user5@example.com"]) | (u.id > 290)),
        users.where(u.tags.contains("tag3"), u.active == True),  # noqa: E712
        users.order_by(u.score.desc(), u.name),
        users.order_by(u.address.city).offset(5).limit(50),
        users.offset(290),
        users.limit(0),
        users.where(u.id < 0),
    ):
        table = await query.to_arrow()
        assert table.to_pylist() == [plain_row(row) for row in await query.all()]
    batches = [batch async for batch in users.to_arrow_batches(64)]
    assert [batch.num_rows for batch in batches] == [64, 64, 64, 64, 44]
    assert pa.Table.from_batches(batches).to_pylist() == (await users.to_arrow()).to_pylist()
    assert [batch.num_rows async for batch in users.where(u.id < 0).to_arrow_batches()] == [0]


class Card(BaseModel):
    name: str
    address: Address


async def test_selected_fields_are_the_columns(db: Any) -> None:
    users = await filled(db, 200)
    u = fields(User)
    query = users.where(u.id > 190).select(u.email, u.address.city, u.tags)
    assert (await query.to_arrow()).to_pylist() == [
        {"email": email, "address.city": city, "tags": tags} for email, city, tags in await query.all()
    ]
    cities = users.select(u.address.city).distinct().order_by(u.address.city).offset(3).limit(90)
    assert (await cities.to_arrow())["address.city"].to_pylist() == await cities.all()
    tags = users.select(u.tags).distinct()
    assert (await tags.to_arrow())["tags"].to_pylist() == await tags.all()
    cards = users.where(u.id == 7).select(Card)
    assert (await cards.to_arrow()).to_pylist() == [card.model_dump() for card in await cards.all()]


@dataclass
class Line:
    item: str
    price: float | None = None


@dataclass
class Order:
    __modelvault_primary_key__ = "id"

    id: int
    lines: list[Line | None] = field(default_factory=list)
    ship: Line | None = None
    free: list[dict[str, Any]] = field(default_factory=list)


async def test_paths_through_lists_and_below_none(db: Any) -> None:
    orders = db.collection(Order)
    await orders.insert_many([Order(1, [Line("a", 1.0), None, Line("b")]), Order(2, ship=Line("c")), Order(3)])
    query = orders.select("lines.item", "lines.price", "ship.item", "ship")
    assert (await query.to_arrow()).to_pydict() == {
        "lines.item": [["a", None, "b"], [], []],
        "lines.price": [[1.0, None, None], [], []],
        "ship.item": [None, "c", None],
        "ship": [None, {"item": "c", "price": None}, None],
    }
    assert [row[:3] for row in await query.all()] == [
        (["a", None, "b"], [1.0, None, None], None),
        ([], [], "c"),
        ([], [], None),
    ]


async def test_dicts_too(db: Any) -> None:
    fields_json = json.dumps(
        [
            {"path": ["id"], "type": "int64"},
            {"path": ["at"], "type": "timestamp"},
            {"path": ["place", "city"], "type": {"optional": "string"}},
        ]
    )
    await db.register_collection("logs", fields_json, "id")
    await db.insert("logs", {"id": 1, "at": 1_000_000, "place": {"city": "Rome"}})
    await db.insert("logs", {"id": 2, "at": datetime(2024, 1, 1, tzinfo=UTC)})
    logs = await db.collection("logs")
    table = await logs.to_arrow()
    assert table.to_pylist() == [
        {"id": 1, "at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "place": {"city": "Rome"}},
        {"id": 2, "at": datetime(2024, 1, 1, tzinfo=UTC), "place": {"city": None}},
    ]
    rows = await logs.all()
    for row in rows:
        await logs.delete(row["id"])
    assert await logs.insert_arrow(table) == 2
    assert await logs.all() == rows
    assert (await logs.select("place.city").to_arrow()).to_pydict() == {"place.city": ["Rome", None]}


async def test_rows_of_older_schema_versions(db: Any) -> None:
    class Old(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_collection__ = "things"
        id: int
        name: str
        place: Address
        gone: int = 0

    class Place(BaseModel):
        city: str
        street: str
        zip: str
        country: str | None = None

    class New(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_collection__ = "things"
        tags: list[str] = ["none"]
        id: int
        place: Place
        level: int = 3
        note: str | None = None

    old = db.collection(Old)
    for number in range(3):
        await old.insert(Old(id=number, name=f"n{number}", place=Address(street="s", city="c", zip="z")))
    await models.async_apply(bare(db), New, force=True)
    new = db.collection(New)
    await new.insert(New(id=9, place=Place(city="c", street="s", zip="z", country="fr"), tags=[]))
    table = await new.where(fields(New).id == 9).to_arrow()
    assert table.to_pylist() == [row.model_dump() for row in await new.where(fields(New).id == 9).all()]
    names = new.select("tags", "id", "place", "place.country", "level", "note")
    assert (await names.to_arrow()).to_pydict() == {
        "tags": [["none"], ["none"], ["none"], []],
        "id": [0, 1, 2, 9],
        "place": [{"city": "c", "street": "s", "zip": "z", "country": c} for c in (None, None, None, "fr")],
        "place.country": [None, None, None, "fr"],
        "level": [3, 3, 3, 3],
        "note": [None, None, None, None],
    }


async def test_batches_are_of_one_snapshot(db: Any) -> None:
    users = await filled(db)
    batches = users.to_arrow_batches(100)
    first = await batches.__anext__()
    await users.where("active", True).delete()
    await users.insert(user(1000))
    rest = [batch async for batch in batches]
    found = pa.Table.from_batches([first, *rest])
    assert found["id"].to_pylist() == list(range(1, 301))
    left = users.to_arrow_batches(10)
    await left.__anext__()
    await left.aclose()
    assert [batch async for batch in left] == []
    assert db.stats()["pins"] == 0


async def test_a_transaction_shows_its_own_rows(db: Any) -> None:
    users = await filled(db, 50)
    async with db.transaction():
        await users.delete(7)
        await users.insert(user(51, name="é"))
        table = await users.to_arrow()
        assert table["id"].to_pylist() == [number for number in range(1, 52) if number != 7]
        assert table["name"].to_pylist()[-1] == "é"
        batches = users.to_arrow_batches(20)
        await batches.__anext__()
        await users.delete(45)
        assert 45 not in [number async for batch in batches for number in batch["id"].to_pylist()]


async def test_frames(db: Any) -> None:
    users = await filled(db, 20)
    frame = await users.to_pandas()
    assert frame["id"].tolist() == list(range(1, 21))
    assert str(frame.dtypes["created"]) == "datetime64[us, UTC]"
    assert (await users.select("id", "score").to_pandas(types_mapper=pd.ArrowDtype)).dtypes["id"] == "int64[pyarrow]"
    polars = await users.to_polars()
    assert isinstance(polars, pl.DataFrame)
    assert polars["address"].struct.field("city").to_list() == [f"City {number}" for number in range(1, 21)]


def test_whoever_knows_the_capsule_reads_a_query() -> None:
    with Database.open_in_memory() as db:
        users = db.collection(User)
        users.insert_many([user(number) for number in range(1, 301)])
        query = users.where("active", True).select("id", "address.city")
        rows = [{"id": number, "address.city": f"City {number % 100}"} for number in range(1, 301) if number % 3]
        assert pa.table(query).to_pylist() == rows
        assert pl.DataFrame(query).to_dicts() == rows
        assert pd.DataFrame.from_arrow(query).to_dict("records") == rows
        assert pa.table(users.where("id", -1)).num_rows == 0
        narrow = pa.schema([("id", pa.int32()), ("address.city", pa.large_string())])
        assert pa.table(query, schema=narrow).schema == narrow
        stream = pa.RecordBatchReader.from_stream(users)
        assert db.stats()["pins"] == 0  # the first batch was the last
        del stream


def test_an_abandoned_stream_gives_its_snapshot_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelvault.sync_frames.BATCH", 100)
    monkeypatch.setattr("modelvault.sync_frames.Frames.to_arrow_batches.__defaults__", (100,))
    with Database.open_in_memory() as db:
        users = db.collection(User)
        users.insert_many([user(number) for number in range(1, 301)])
        stream = pa.RecordBatchReader.from_stream(users)
        assert stream.read_next_batch().num_rows == 100
        assert db.stats()["pins"] == 1
        users.delete(300)
        assert stream.read_next_batch().num_rows == 100
        del stream
        users.count()
        assert db.stats()["pins"] == 0


def test_a_batch_has_rows() -> None:
    with Database.open_in_memory() as db:
        for rows in (0, -1, 1 << 21):
            with pytest.raises(ValueError, match="a batch has 1 to 1,048,576 rows"):
                db.collection(User).to_arrow_batches(rows)


@pytest.mark.parametrize(("name", "verb"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas"), ("polars", "to_polars")])
def test_what_is_missing_is_named(name: str, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, name, None)
    words = rf"{verb}\(\) needs {name}: pip install modelvault\[arrow\]"
    with Database.open_in_memory() as db, pytest.raises(ImportError, match=words):
        getattr(db.collection(User), verb)()


# Rows out of tables


class Member(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("name")]

    id: int
    name: str
    age: Annotated[int, Ge(0)] = 18
    tags: set[str] = set()
    home: Address | None = None


async def test_a_table_becomes_rows(db: Any) -> None:
    users = await filled(db, 100)
    table = await users.to_arrow()
    await users.where("id", 50).delete()
    told: list[int] = []
    assert await users.insert_arrow(table, progress=told.append) == 100
    assert told[-1] == 100
    assert await users.all() == [user(number) for number in range(1, 101)]
    people = db.collection(Person)
    assert await people.insert_arrow(table.to_reader(max_chunksize=7), chunk=30) == 100
    assert await people.all() == [person(number) for number in range(1, 101)]
    assert await people.insert_arrow(table.slice(0, 0)) == 0
    assert await people.insert_arrow(table.to_batches()[0].slice(0, 5)) == 5


async def test_frames_become_rows(db: Any) -> None:
    members = db.collection(Member)
    frame = pd.DataFrame({"id": [1, 2], "name": ["a", "b"], "age": [20.0, 30.0]})
    assert await members.insert_arrow(frame) == 2
    assert await members.insert_arrow(pl.DataFrame({"id": [3], "name": ["c"], "tags": [["x", "y", "x"]]})) == 1
    home = {"street": "s", "city": "c", "zip": "z"}
    assert await members.insert_arrow(pa.table({"id": [4], "name": ["d"], "home": [home]})) == 1
    assert await members.all() == [
        Member(id=1, name="a", age=20),
        Member(id=2, name="b", age=30),
        Member(id=3, name="c", tags={"x", "y"}),
        Member(id=4, name="d", home=Address(**home)),
    ]


GOOD = {"id": [1, 2, 3], "name": ["a", "b", "c"], "age": [1, 2, 3]}
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"age": [1, "x", 3]}, TypeError, ""),
    ({"age": ["1", "x", "3"]}, ModelVaultValidationError, 'row 1, column "age": Input should be a valid integer'),
    ({"age": [1, 2, -3]}, ModelVaultValidationError, 'row 2, column "age": Input should be greater than or equal to 0'),
    ({"age": [1, None, 3]}, ModelVaultValidationError, 'row 1, column "age": Input should be a valid integer'),
    ({"name": ["a", "b", "a"]}, DuplicateKeyError, "name"),
    ({"name": None}, ModelVaultValidationError, 'there is no column for the field "name"'),
    ({"ages": [1, 2, 3]}, ModelVaultValidationError, 'no field for the column "ages": did you mean "age"?'),
    ({"home": [None, {"city": "c"}, None]}, ModelVaultValidationError, 'row 1, column "home": street: Field required'),
    ({"home": ["x"] * 3}, ModelVaultValidationError, 'row 0, column "home": Input should be a valid dictionary'),
]


@pytest.mark.parametrize(("changes", "error", "words"), WRONG)
def test_wrong_tables_are_refused_as_a_whole(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    columns = {name: values for name, values in (GOOD | changes).items() if values is not None}
    with Database.open_in_memory() as db:
        members = db.collection(Member)
        if error is TypeError:
            with pytest.raises((TypeError, pa.ArrowInvalid)):
                members.insert_arrow(pa.table(columns))
            return
        with pytest.raises(error, match=words.replace("?", r"\?")):
            members.insert_arrow(pa.table(columns))
        assert members.count() == 0


async def test_what_is_no_table(db: Any) -> None:
    users = await filled(db, 1)
    with pytest.raises(TypeError, match="takes what has __arrow_c_stream__, not list"):
        await users.insert_arrow([user(1)])
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    with pytest.raises(ModelVaultValidationError, match='several columns "id"'):
        await users.insert_arrow(doubled)
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        await users.insert_arrow(await users.to_arrow(), chunk=0)


def test_errors_of_dataclasses_name_row_and_column() -> None:
    with Database.open_in_memory() as db:
        orders = db.collection(Order)
        with pytest.raises(
            ModelVaultValidationError, match=r"row 1: id: 'float' object cannot be interpreted as an int"
        ):
            orders.insert_arrow(pa.table({"id": [1.0, 1.5]}))
        with pytest.raises(ModelVaultValidationError, match=r'row 0, column "lines": .*unexpected keyword'):
            orders.insert_arrow(pa.table({"id": [1], "lines": [[{"items": "a"}]]}))
        assert orders.count() == 0


def test_nanoseconds_are_taken_where_nothing_is_lost() -> None:
    moment = datetime(2024, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    stamps = pa.array([moment], pa.timestamp("ns", "UTC"))
    with Database.open_in_memory() as db:
        events = db.collection(Event)
        events.insert_arrow(pa.table({"id": [1], "at": stamps}))
        assert events.get(1) == Event(id=1, at=moment)
        finer = pa.array([1], pa.int64()).cast(pa.timestamp("ns", "UTC"))
        with pytest.raises(ModelVaultValidationError, match=r'column "at": Casting .* would lose data'):
            events.insert_arrow(pa.table({"id": [2], "at": finer}))


async def test_a_query_of_the_same_database_can_be_the_source(disk_world: World) -> None:
    if not disk_world.blocking:
        return
    with Database.open(disk_world.path) as db:
        users, people = db.collection(User), db.collection(Person)
        users.insert_many([user(number) for number in range(1, 3000)])
        with db.transaction():
            users.delete(7)
            assert people.insert_arrow(users.where("active", True)) == 1999
        assert people.get(7) is None
        assert people.count() == 1999
