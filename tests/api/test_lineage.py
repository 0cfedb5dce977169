"""What a change of a model makes of unions, recursive models and names that move on; and calls that cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import BaseModel

from modelvault import Database, ModelVaultSchemaError, models
from tests.api.test_migrations import model


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    """The same fields as a Cat: only the class tells them apart."""

    name: str


class OldDog(BaseModel):
    """A Dog of a later version."""

    called: Annotated[str, models.RenamedFrom("name")]
    tricks: list[str] = []
    age: int | None = None


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Item(BaseModel):
    size: Annotated[float, models.RenamedFrom("value")]
    children: list[Item] = []
    note: str = "old"


class Point(BaseModel, frozen=True):
    x: int


class Place(BaseModel, frozen=True):
    x: int
    y: int | None = None


def changed(old: Any, rows: list[dict[str, Any]], new: Any, **options: Any) -> list[Any]:
    """The rows after a change of the model, by whichever way it needs."""
    with Database.open_in_memory() as db:
        models.collection(db, old).insert_many(old(**row) for row in rows)
        automatic = not options and models.plan(db, new).automatic
        if automatic:
            found = models.collection(db, new, migrate="safe").all()
        else:
            models.apply(db, new, **options)
            found = models.collection(db, new).all()
        assert dict(models.plan(db, new)) == {"change": "safe", "steps": []}
        db.verify()
    return [{name: getattr(row, name) for name in new.model_fields if name != "id"} for row in found]


PETS: list[dict[str, Any]] = [
    {"id": 1, "n": 1, "pet": Cat(name="a"), "pets": [Dog(name="b"), Cat(name="c")], "where": Path("d")},
    {"id": 2, "n": 2, "pet": Dog(name="e"), "pets": [], "where": "f"},
]


def test_a_rewrite_leaves_values_of_unions_in_their_members() -> None:
    """Though another field is what changes, and their plain values fit several."""
    old = model(n=int, pet=Cat | Dog, pets=list[Cat | Dog], where=Path | str)
    new = model(n=float, pet=Cat | Dog, pets=list[Cat | Dog], where=Path | str)
    expected = [{name: value for name, value in row.items() if name != "id"} for row in PETS]
    assert changed(old, PETS, new) == expected

    def upgrade(row: dict[str, Any]) -> None:
        assert row["pet"] in ({"name": "a"}, {"name": "e"})  # plain, for who changes it
        row["n"] += 0.5
        if row["id"] == 1:
            row["pet"] = Dog(name="new")

    found = changed(old, PETS, new, upgrade={2: upgrade})
    assert found == [expected[0] | {"n": 1.5, "pet": Dog(name="new")}, expected[1] | {"n": 2.5}]


def test_models_in_unions_change_without_a_rewrite() -> None:
    old = model(n=int, pet=Cat | Dog, pets=list[Cat | Dog], where=Path | str)
    new = model(n=int, pet=Cat | OldDog, pets=list[Cat | OldDog], where=Path | str | int)
    with Database.open_in_memory() as db:
        models.collection(db, old).insert(old(**PETS[0]))
        plan = models.plan(db, new)
        assert not plan.rewrite and "~ pet.name is called called" in str(plan) and "~ where: also int" in str(plan)
        assert "no row is touched" in str(plan)
    found = changed(old, PETS, new)
    assert found[0]["pets"] == [OldDog(called="b"), Cat(name="c")] and found[0]["pets"][0].tricks == []
    assert found[1]["pet"] == OldDog(called="e", age=None) and type(found[0]["where"]) is type(Path("d"))


def test_members_that_move_or_appear() -> None:
    class Kitten(BaseModel):
        kind: Literal["cat"] = "cat"
        name: str

    rows = [{"id": 1, "pet": Kitten(name="a")}, {"id": 2, "pet": 5}]
    old, new = model(pet=Kitten | int), model(pet=str | int | Kitten)
    assert [row["pet"] for row in changed(old, rows, new)] == [Kitten(name="a"), 5]
    assert [row["pet"] for row in changed(model(pet=int), [{"id": 1, "pet": 5}], model(pet=str | int))] == [5]
    with pytest.raises(ModelVaultSchemaError, match=r"cannot be read under it \(1: "):
        changed(old, rows, model(pet=int), force=True)
    assert changed(old, rows[1:], model(pet=int), force=True) == [{"pet": 5}]


def test_recursive_models() -> None:
    tree = Node(value=1, children=[Node(value=2, children=[Node(value=3)])])
    (found,) = changed(model(top=Node), [{"id": 1, "top": tree}], model(top=Item))
    inner = found["top"].children[0].children[0]
    assert (inner.size, inner.note, type(inner.size)) == (3.0, "old", float)


def test_models_in_sets_and_as_keys() -> None:
    old = model(seen=frozenset[Point], named=dict[Point, int])
    new = model(seen=frozenset[Place], named=dict[Place, int])
    (found,) = changed(old, [{"id": 1, "seen": frozenset([Point(x=1)]), "named": {Point(x=2): 3}}], new)
    assert found == {"seen": frozenset([Place(x=1)]), "named": {Place(x=2): 3}}


def test_models_in_sets_and_as_keys_are_written_anew() -> None:
    """As plain values they are lists, and lists of pairs: what holds dicts has no hash."""

    class Spot(BaseModel, frozen=True):
        x: float

    row = {"id": 1, "seen": frozenset([Point(x=1)]), "named": {Point(x=2): 3, Point(x=4): 5}}
    old = model(seen=frozenset[Point], named=dict[Point, int])
    (found,) = changed(old, [row], model(seen=frozenset[Spot], named=dict[Spot, float]))
    assert found == {"seen": frozenset([Spot(x=1.0)]), "named": {Spot(x=2.0): 3.0, Spot(x=4.0): 5.0}}
    with Database.open_in_memory() as db:
        models.collection(db, old).insert(old(**row))
        plain = db.get("users", 1)
        assert plain == {"id": 1, "seen": [{"x": 1}], "named": [({"x": 2}, 3), ({"x": 4}, 5)]}
        db.delete("users", 1)
        db.insert("users", plain)
        assert models.collection(db, old).get(1) == old(**row)


def test_names_move_on() -> None:
    former = models.RenamedFrom
    rows = [{"id": 1, "a": 1, "b": 2}]
    old = model(a=int, b=int)
    for kind in (int, float):  # by new names for the older layout, and by writing the rows anew
        chain = model(b=Annotated[kind, former("a")], c=Annotated[int, former("b")])
        assert changed(old, rows, chain) == [{"b": 1, "c": 2}]
        successor = model(a=(int, 9), b=int, x=Annotated[kind, former("a")])
        assert changed(old, rows, successor) == [{"a": 9, "b": 2, "x": 1}]
        several = model(b=int, z=Annotated[kind, former("a"), former("y")])
        assert changed(old, rows, several) == [{"b": 2, "z": 1}]


def test_the_primary_key_is_renamed_but_stays() -> None:
    old = model(n=int)

    def keyed(annotation: Any) -> Any:
        cls = type("User", (BaseModel,), {"__annotations__": {"key": annotation, "n": int}})
        cls.__modelvault_primary_key__ = "key"  # type: ignore[attr-defined]
        cls.__modelvault_collection__ = "users"  # type: ignore[attr-defined]
        return cls

    with Database.open_in_memory() as db:
        models.collection(db, old).insert(old(id=1, n=2))
        with pytest.raises(
            ModelVaultSchemaError, match=r'must retain .* "id" of users; User has "key" for it; for another'
        ):
            models.plan(db, keyed(int))
        with pytest.raises(ModelVaultSchemaError, match=r'must retain .* "id" of users, int: it cannot become string'):
            models.apply(db, keyed(Annotated[str, models.RenamedFrom("id")]), force=True)
        renamed = keyed(Annotated[int, models.RenamedFrom("id")])
        assert models.plan(db, renamed).steps == ["rename_field:id->key"]
        assert models.collection(db, renamed, migrate="safe").get(1) == renamed(key=1, n=2)


def test_upgrades_see_and_give_what_they_say() -> None:
    rows = [{"id": 1, "n": 1}]

    def typo(row: dict[str, Any]) -> None:
        row["nn"] = row.pop("n")

    refused = [
        (typo, r'1: unknown field "nn"|1: validation error at n: missing field'),
        (lambda row: 5, "1: an upgrade function gives a dict, or None for the one it was given, not 5"),
        (lambda row: row | {"n": "x"}, "1: n: "),
    ]
    for function, message in refused:
        with pytest.raises(ModelVaultSchemaError, match=message):
            changed(model(n=int), rows, model(n=int), upgrade={2: function})


async def coroutine(row: dict[str, Any]) -> None:
    """No upgrade function."""


BAD_CALLS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"upgrade": [lambda row: row]}, TypeError, "functions by version"),
    ({"upgrade": {"2": lambda row: row}}, TypeError, "an int, not '2'"),
    ({"upgrade": {True: lambda row: row}}, TypeError, "an int, not True"),
    ({"upgrade": {1: lambda row: row}}, ValueError, "no version before 1"),
    ({"upgrade": {2: None}}, TypeError, "for version 2 a plain function"),
    ({"upgrade": {2: coroutine}}, TypeError, "for version 2 a plain function"),
    ({"chunk": 0}, ValueError, "at least 1"),
    ({"chunk": "5"}, TypeError, "chunk must be an int or None"),
    ({"chunk": True}, TypeError, "chunk must be an int or None"),
    ({"force": 1}, TypeError, "argument 'force'"),
    ({"dry_run": "yes"}, TypeError, "argument 'dry_run'"),
    ({"progress": 5}, TypeError, "progress must be True, False or a function"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_CALLS, ids=lambda part: str(part)[:30])
def test_calls_that_cannot_be_meant(options: dict[str, Any], error: type[Exception], message: str) -> None:
    cls = model(n=int)
    with Database.open_in_memory() as db:
        models.collection(db, cls).insert(cls(id=1, n=1))
        with pytest.raises(error, match=message):
            models.apply(db, cls, **options)
        assert models.plan(db, cls).version == 1


@pytest.mark.parametrize(("name", "error"), [(5, TypeError), ("", ValueError)])
def test_a_former_name_is_a_name(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="former name"):
        models.RenamedFrom(name)


def test_versions_count_even_when_nothing_changes() -> None:
    """And cost nothing: what is stored is the number."""
    cls = model(n=int)
    with Database.open_in_memory() as db:
        models.collection(db, cls).insert(cls(id=1, n=1))
        for number in range(2, 40):
            assert models.apply(db, cls) == number
        assert len(db.__catalog__.definitions(None)["users"]["schemas"]) == 1
        tight = model(n=Annotated[int, Ge(0)])
        assert models.apply(db, tight) == 40 and models.plan(db, tight).version == 40
        assert models.apply(db, tight, upgrade={41: lambda row: row | {"n": 7}, 40: lambda row: 1 / 0}) == 41
        assert models.collection(db, tight).get(1) == tight(id=1, n=7)


def test_a_plan_says_what_happens_to_the_rows() -> None:
    old = model([models.index("n")], n=int, s=str)
    with Database.open_in_memory() as db:
        models.collection(db, old).insert(old(id=1, n=1, s="x"))

        def head(cls: Any, **options: Any) -> str:
            return str(models.plan(db, cls, **options)).splitlines()[0]

        assert head(old) == "users: nothing changed"
        more = model([models.index("n", "other")], n=int, s=str, z=(str | None, None))
        assert head(more) == "users, version 1 -> 2: safe, no row is touched"
        unique = model([models.unique("n")], n=int, s=str)
        assert head(unique) == "users, version 1 -> 2: needs_migration, every row is read"
        wider = model(n=float, s=str)
        assert head(wider) == "users, version 1 -> 2: needs_migration, every row is written anew"
        less = model([models.index("n")], n=int)
        assert head(less).endswith("breaking, no row is touched; needs an upgrade function, or force")
        assert head(less, upgrade={5: lambda row: row}) == "users, version 1 -> 5: breaking, every row is written anew"
