"""What goes in comes out equal and of the same type: through models, dataclasses, dicts; before and after reopening."""

import warnings
from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, create_model

from modelvault.errors import ModelVaultFormatError, ModelVaultValidationError
from modelvault.mapping import collection_name
from tests import models
from tests.alike import assert_same
from tests.api.cases import CASES, SCALARS, dataclass_of, model_of
from tests.api.content import now_and_reopened, play
from tests.strategies import ANYTHING, INTS, TEXT, instances
from tests.worlds import World

UTC = timezone.utc

quick = settings(
    max_examples=2,
    derandomize=True,
    deadline=None,
    print_blob=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@cache
def classes_of(name: str) -> list[Any]:
    """The case's field in a Pydantic model, a dataclass, and a frozen dataclass with slots."""
    case = CASES[name]
    return [model_of(name, case), dataclass_of(name, case), dataclass_of(name, case, frozen=True, slots=True)]


def build(cls: Any, number: int, value: Any) -> Any:
    """An instance that holds exactly this value, unconverted."""
    return cls.model_construct(id=number, v=value) if issubclass(cls, BaseModel) else cls(id=number, v=value)


def rows_of(cls: Any, values: list[Any]) -> list[Any]:
    return [build(cls, number, value) for number, value in enumerate(values)]


# Every type


@pytest.mark.parametrize("name", CASES)
@quick
@given(data=st.data())
def test_fields_of_every_type(name: str, world: World, data: Any) -> None:
    """In two models and a dataclass. Where dicts can be given, half of the plain dataclass's rows come that way."""
    case, classes = CASES[name], classes_of(name)
    values = [*case.edges, *data.draw(st.lists(case.values, min_size=1, max_size=9))]
    numbers = range(len(values))
    plain = classes[1]

    async def write(db: Any) -> None:
        async with db.transaction():
            for cls in classes:
                await db.collection(cls).insert_many(rows_of(cls, values))
            if case.into is not None:
                for number in numbers[::2]:
                    await db.delete(collection_name(plain), number)
                    await db.insert(collection_name(plain), {"v": case.into(values[number]), "id": number})

    async def check(db: Any) -> None:
        for cls in classes:
            back = await db.collection(cls).get_many(numbers)
            assert_same(back, rows_of(cls, values), exact=cls is not plain)
            if case.out is not None and cls is not classes[2]:
                dicts = [{"id": number, "v": case.out(values[number])} for number in numbers]
                assert_same(await db.collection(collection_name(cls)).get_many(numbers), dicts, exact=False)
                assert_same(await db.get(collection_name(cls), 0), dicts[0], exact=False)

    play(world, write, check)


# Features of classes


class Dated(BaseModel):
    __modelvault_primary_key__ = "id"
    model_config = ConfigDict(extra="allow")

    id: int
    stamp: datetime
    _note: str = "n"


def unset(instance: Any, **private: Any) -> Any:
    for name, value in private.items():
        setattr(instance, name, value)
    return instance


def noted() -> models.Careful:
    careful = models.Careful(1, 3)
    careful.note = "changed"
    return careful


def derived() -> models.Derived:
    return models.Derived(1, seed=4, name="x")


def open_model() -> models.Open:
    extra = {"a": 1, "when": datetime(2024, 1, 1, tzinfo=UTC), "deep": {"x": [1, (2.5, None)], 3: {b"y"}}}
    return models.Open(id=1, **extra)


def partly_set() -> models.Optionals:
    return models.Optionals(id="x", text=None, parts=[1, None])


INSTANCES: dict[str, Callable[[], Any]] = {
    "the benchmark model": models.user,
    "the benchmark dataclass": models.person,
    "aliases, a computed field, one that is excluded": lambda: models.Aliased(_id=1, userName="ada", hidden="secret"),
    "extras": open_model,
    "no extras": lambda: models.Open(id=1),
    "private attributes": lambda: unset(models.Private(id=1), _seen=8, _log=["x"], _unset="set"),
    "private defaults": lambda: models.Private(id=1),
    "frozen": lambda: models.Frozen(id=1, tags=("a", "b")),
    "defaults": lambda: models.Defaults(id=1),
    "some defaults": lambda: models.Defaults(id=1, items=[]),
    "optionals": partly_set,
    "customs": models.customs,
    "enum by value": lambda: models.ByValue(id=1, color=models.Color.GREEN),
    "root model inside": lambda: models.Root(id=1, names=["a"]),
    "a tree of models": lambda: models.Node(
        id=1,
        parent=models.Node(id=2, edge=models.Edge(label="x", to=models.Node(id=3))),
        children=[models.Node(id=4, children=[models.Node(id=5)])],
    ),
    "a tree of dataclasses": lambda: models.Tree("r", [models.Tree("a", [models.Tree("b")]), models.Tree("c")]),
    "generics": lambda: models.Generics(
        id=1,
        box=models.Box[int](value=1, others=[2]),
        loose=models.Box(value={"any": 1}),
        crate=models.Crate("a", ["b"]),
    ),
    "slots": lambda: models.Slotted(1, "x"),
    "frozen dataclass": lambda: models.Fixed(1, "x"),
    "frozen, slots, keywords": lambda: models.Strict(id=1, name="x"),
    "init-only, class and derived fields": derived,
    "an attribute that is no field": noted,
    "pydantic dataclass": lambda: models.Checked(1, 0.25, models.Place("s", "c", "z")),
    "alias types": lambda: models.AliasTypes(id=1, pair=(1, 2), tangle={"a": ["b"]}, json_value={"x": [1, None, "y"]}),
    "validators": lambda: models.Validated.model_construct(id=1, low=1, high=2, name="abc"),
    "constraints": lambda: models.Constrained(id=1, maybe=None, items=[1]),
    "private, extra and a datetime": lambda: unset(Dated(id=1, stamp=datetime(2024, 1, 1), more="x"), _note="m"),
}


@pytest.mark.parametrize("make", INSTANCES.values(), ids=INSTANCES)
async def test_features_of_classes(make: Callable[[], Any], world: World) -> None:
    expected = make()
    cls = type(expected)

    async def write(db: Any) -> None:
        await db.collection(cls).insert(expected)

    async def check(db: Any) -> None:
        rows = db.collection(cls)
        (back,) = await rows.all()
        assert_same(back, expected)
        assert back is not expected
        assert_same(await rows.get(expected), expected)
        if isinstance(expected, BaseModel):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert back.model_dump_json() == expected.model_dump_json()
                assert back.model_dump_json(exclude_unset=True) == expected.model_dump_json(exclude_unset=True)

    await now_and_reopened(world, write, check)


async def test_what_was_stored_does_not_change_with_the_instance(db: Any) -> None:
    users = await db.collection(models.User)
    ada = models.user(1)
    await users.insert(ada)
    ada.tags.append("later")
    ada.address.city = "elsewhere"
    back = await users.get(1)
    assert_same(back, models.user(1))
    back.tags.append("later")
    assert_same(await users.get(1), models.user(1))


async def test_rows_are_not_validated_again_but_can_be(db: Any) -> None:
    wrong = models.Validated.model_construct(id=1, low=5, high=1, name="abc")
    rows = await db.collection(models.Validated)
    await rows.insert(wrong)
    assert_same(await rows.get(1), wrong)
    careful = db.collection(models.Validated, validate_on_read=True)
    with pytest.raises(ValueError, match="low must not be above high"):
        await careful.get(1)


async def test_a_dataclass_is_filled_without_its_constructor(db: Any) -> None:
    rows = await db.collection(models.Careful)
    careful = models.Careful(1, 3)
    careful.width = -1
    await rows.insert(careful)
    assert (await rows.get(1)).width == -1


async def test_nesting_has_a_limit_and_says_so(db: Any) -> None:
    rows = await db.collection(models.Tree)
    deep = models.Tree("leaf")
    for _ in range(2000):
        deep = models.Tree("x", [deep])
    with pytest.raises(ValueError, match="nest"):
        await rows.insert(deep)
    assert await rows.count() == 0


@pytest.mark.parametrize(
    "cls", [models.Scalars, models.PlainScalars, models.Optionals, models.Choices, models.Containers, models.Unions]
)
@quick
@given(data=st.data())
def test_whole_rows(cls: Any, world: World, data: Any) -> None:
    special = {"groups": CASES["default dict"].values} if cls is models.Containers else {}
    if cls is models.Choices:
        special = {"rights": CASES["flag"].values}
    rows = data.draw(st.lists(instances(cls, **special), min_size=1, max_size=4, unique_by=lambda row: row.id))

    async def write(db: Any) -> None:
        await db.collection(cls).insert_many(rows)

    async def check(db: Any) -> None:
        assert_same(await db.collection(cls).get_many(row.id for row in rows), rows)

    play(world, write, check)


@quick
@given(
    extra=st.dictionaries(TEXT.filter(lambda name: name not in ("id", "self")), ANYTHING, max_size=3),
    fields_set=st.sets(st.sampled_from(["id", "number", "items", "stamp"])),
    seen=INTS,
)
def test_extras_fields_set_and_private_attributes(extra: Any, fields_set: Any, seen: int, world: World) -> None:
    opened = models.Open.model_construct(id=1)
    object.__setattr__(opened, "__pydantic_extra__", extra)
    defaults = models.Defaults.model_construct(fields_set, id=1, number=1, items=[], stamp=datetime(2024, 1, 1))
    rows = (opened, defaults, unset(models.Private(id=1), _seen=seen))

    async def write(db: Any) -> None:
        for row in rows:
            await db.collection(type(row)).insert(row)

    async def check(db: Any) -> None:
        for row in rows:
            assert_same(await db.collection(type(row)).get(1), row)

    play(world, write, check)


# Primary keys

KEYS = {name: case for name, case in SCALARS.items() if name != "bool"}


def comparable(value: Any) -> bool:
    """Can Python sort it? Not aware times beside naive ones, nor a zone's repeated hour, which is equal to nothing."""
    if isinstance(value, datetime | time):
        return value.tzinfo is None if isinstance(value, time) else not isinstance(value.tzinfo, ZoneInfo)
    return not isinstance(value, float | Decimal) or Decimal(value).is_finite()


@pytest.mark.parametrize("name", KEYS)
@quick
@given(data=st.data())
def test_primary_keys_of_every_scalar_type(name: str, world: World, data: Any) -> None:
    case = KEYS[name]
    values = [*case.edges, *data.draw(st.lists(case.values, max_size=12))]
    keys = list({value: value for value in values if comparable(value) and len(repr(value)) < 500})
    cls = keyed(name)

    async def write(db: Any) -> None:
        await db.collection(cls).insert_many(cls.model_construct(id=key, v=str(key)) for key in keys)

    async def check(db: Any) -> None:
        found = await db.collection(cls).get_many(keys)
        assert_same([row.v for row in found], [str(key) for key in keys])
        assert [row.id for row in await db.collection(cls).all()] == sorted(keys)

    play(world, write, check)


@cache
def keyed(name: str) -> Any:
    made: Any = create_model("K" + name, id=(KEYS[name].annotation, ...), v=(str, ...))
    made.__modelvault_primary_key__ = "id"
    return made


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
async def test_a_primary_key_is_a_finite_number(value: Any, db: Any) -> None:
    cls = keyed("float" if isinstance(value, float) else "decimal")
    rows = await db.collection(cls)
    with pytest.raises(ModelVaultValidationError, match="finite"):
        await rows.insert(cls.model_construct(id=value, v=""))
    assert await rows.count() == 0


async def test_both_zeros_are_one_key_and_the_last_sign_stays(db: Any) -> None:
    cls = keyed("float")
    rows = await db.collection(cls)
    for key in (0.0, -0.0):
        await rows.insert(cls(id=key, v=str(key)))
    assert [(str(row.id), row.v) for row in await rows.all()] == [("-0.0", "-0.0")]


# What does not fit is refused


class Held(BaseModel):
    __modelvault_primary_key__ = "id"

    id: int
    number: int = 0
    maybe: int | None = None
    many: list[int] = []
    either: int | str = 0
    named: dict[str, int] = {}
    anything: Any = None


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
@pytest.mark.parametrize(
    "held",
    [lambda n: {"number": n}, lambda n: {"maybe": n}, lambda n: {"many": [1, n]}, lambda n: {"either": n}]
    + [lambda n: {"named": {"a": n}}, lambda n: {"anything": {"x": [n]}}],
    ids=["number", "maybe", "many", "either", "named", "anything"],
)
async def test_larger_integers_are_refused(number: int, held: Any, db: Any) -> None:
    rows = await db.collection(Held)
    with pytest.raises(OverflowError, match=r"64|too (large|big)"):
        await rows.insert(Held(id=1, **held(number)))
    with pytest.raises(OverflowError):
        await db.insert("helds", {"id": 1, "number": 0, "many": [], "either": 0, "named": {}} | held(number))
    assert await rows.all() == []


async def test_a_larger_integer_is_no_key(db: Any) -> None:
    rows = await db.collection(Held)
    with pytest.raises(OverflowError):
        await rows.insert(Held(id=2**64))
    with pytest.raises(OverflowError):
        await rows.get(2**64)
    assert await rows.count() == 0


class Socket:
    """Nothing that anybody could store."""


@pytest.mark.parametrize("value", [Socket(), Socket, len, iter([])], ids=["object", "class", "function", "iterator"])
async def test_what_is_no_value_is_refused(value: Any, db: Any) -> None:
    rows = await db.collection(Held)
    with pytest.raises(TypeError, match="cannot be stored"):
        await rows.insert(Held.model_construct(id=1, anything=value, many=[], named={}))
    assert await rows.count() == 0


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
async def test_lone_surrogates_are_refused(text: str, db: Any) -> None:
    cls = classes_of("str")[0]
    rows = await db.collection(cls)
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        await rows.insert(build(cls, 1, text))
    assert await rows.count() == 0


async def test_an_offset_has_whole_seconds(db: Any) -> None:
    cls = classes_of("aware")[0]
    rows = await db.collection(cls)
    zone = timezone(timedelta(seconds=1, microseconds=1))
    with pytest.raises(ValueError, match="whole seconds"):
        await rows.insert(build(cls, 1, datetime(2024, 1, 1, tzinfo=zone)))


async def test_values_up_to_the_limit_are_kept(world: World) -> None:
    cls = classes_of("bytes")[0]
    largest = bytes(16 * 1024 * 1024)

    async def write(db: Any) -> None:
        rows = await db.collection(cls)
        await rows.insert(build(cls, 1, largest))
        with pytest.raises(ModelVaultFormatError, match="exceeds maximum 16777216"):
            await rows.insert(build(cls, 2, largest + b"x"))

    async def check(db: Any) -> None:
        (back,) = await db.collection(cls).all()
        assert back.v == largest

    await now_and_reopened(world, write, check)


async def test_extras_through_dicts(db: Any) -> None:
    opens, plain = await db.collection(models.Open), db.collection("opens")
    await opens.insert(models.Open(id=1, more="x"))
    assert_same(await plain.get(1), {"id": 1, "more": "x"})
    await plain.update(1, {"when": datetime(2024, 1, 1)})
    expected = models.Open(id=1, more="x", when=datetime(2024, 1, 1))
    assert_same(await opens.get(1), expected, exact=False)
    await db.insert("opens", await plain.get(1))
    assert_same(await opens.get(1), expected, exact=False)
    with pytest.raises(TypeError, match="is not an instance of 'str'"):
        await plain.insert({"id": 2, 5: 6})


async def test_attributes_that_are_no_fields_are_not_for_dicts(db: Any) -> None:
    rows, plain = await db.collection(models.Careful), db.collection("carefuls")
    await rows.insert(noted())
    assert_same(await plain.get(1), {"area": 9, "id": 1, "width": 3})
    await plain.update(1, {"area": 10})
    assert (await rows.get(1)).area == 10
    with pytest.raises(ValueError, match='unknown field "note"'):
        await plain.update(1, {"note": "x"})
