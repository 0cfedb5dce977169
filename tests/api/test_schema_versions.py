"""Schema versions of the dict interface: plans, registration, backfills, in every world."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelvault import DuplicateKeyError, ModelVaultSchemaError
from tests.worlds import World

BASE = {"id": "int64", "n": "string", "v": "int64"}


def fields(*more: dict[str, Any], **types: Any) -> str:
    """`fields_json` of these top-level fields; a name with "__" is a path."""
    declared = [{"path": name.split("__"), "type": type} for name, type in types.items()]
    return json.dumps([*declared, *more])


def index(path: str, kind: str = "index", name: str = "i") -> str:
    return json.dumps([{"name": name, "path": path.split("."), "kind": kind}])


async def filled(db: Any, count: int = 5, indexes: str | None = None, **types: Any) -> None:
    await db.register_collection("books", fields(**(BASE | types)), "id", indexes)
    for number in range(count):
        await db.insert("books", {"id": number, "n": f"n{number}", "v": number % 3})


OPTIONAL_N = {"optional": "string"}
PLANS: list[tuple[Any, ...]] = [
    ("the same", BASE, "safe", None, []),
    ("an optional field", BASE | {"z": OPTIONAL_N}, "safe", None, []),
    ("an optional path", BASE | {"p__q": OPTIONAL_N}, "safe", None, []),
    (
        "required fields",
        BASE | {"z": "int64", "y": "string"},
        "needs_migration",
        'new required field ["z"] needs backfill; new required field ["y"] needs backfill',
        ["backfill_top_level_field:z", "backfill_top_level_field:y"],
    ),
    (
        "a required path",
        BASE | {"p__q": "int64"},
        "needs_migration",
        'new required field ["p", "q"] needs backfill',
        ["backfill_field_at_path:p.q"],
    ),
    ("a field less", {"id": "int64", "v": "int64"}, "breaking", 'field removed: ["n"]', []),
    ("a wider type", BASE | {"v": "float64"}, "breaking", 'type changed for field ["v"]', []),
    ("None allowed", BASE | {"n": OPTIONAL_N}, "breaking", 'type changed for field ["n"]', []),
    (
        "another order",
        {"id": "int64", "v": "int64", "n": "string"},
        "breaking",
        "field reorder breaks positional record encoding",
        [],
    ),
]


@pytest.mark.parametrize(
    ("types", "change", "reason", "steps"), [case[1:] for case in PLANS], ids=[c[0] for c in PLANS]
)
async def test_plans_are_those_of_0_16(
    types: dict[str, Any], change: str, reason: str | None, steps: list[str], db: Any, world: World
) -> None:
    await filled(db)
    plan = await db.plan_schema_version("books", fields(**types))
    expected = {"change": change, "steps": steps} | ({} if reason is None else {"reason": reason})
    assert plan == expected
    assert (plan.change, plan.reason, plan.steps) == (change, reason or "", steps)


async def test_plans_of_enums_constraints_and_indexes(db: Any, world: World) -> None:
    kinds = {"e": {"enum": ["a", "b"]}}
    await db.register_collection("books", fields(**(BASE | kinds)), "id", index("v"))

    async def plan(source: str, indexes: str | None = index("v")) -> Any:
        return await db.plan_schema_version("books", source, indexes)

    same = fields(**(BASE | kinds))
    assert await plan(fields(**(BASE | {"e": {"enum": ["c", "b", "a"]}}))) == {"change": "safe", "steps": []}
    assert (await plan(fields(**(BASE | {"e": {"enum": ["a"]}}))))["reason"] == 'type changed for field ["e"]'
    assert await plan(same, None) == {"change": "safe", "steps": []}
    assert await plan(same, index("n", name="other")) == {"change": "safe", "steps": []}
    assert (await plan(same, index("n")))["reason"] == 'index changed: "i"'
    unique = await plan(same, index("n", "unique", "ni"))
    assert unique["reason"] == 'new unique index "ni" needs rebuild/validation'
    assert (unique["change"], unique["steps"]) == ("needs_migration", ["rebuild_indexes"])
    bounded = json.loads(same)
    bounded[2]["constraints"] = [{"min_i64": 0}]
    constrained = await plan(json.dumps(bounded))
    assert constrained["change"] == "breaking" and constrained["reason"] == 'constraints changed for field ["v"]'
    assert str(unique).splitlines() == [
        "books, version 1 -> 2: needs_migration, every row is read; needs force",
        "  + unique index ni on n",
        "  - index i",
    ]


async def test_refusals(db: Any, world: World) -> None:
    await filled(db)
    refused = [
        (fields(**BASE, z="int64"), r'migration required: new required field \["z"\]'),
        (fields(id="int64", n="string"), r'incompatible schema change: field removed: \["v"\]'),
    ]
    for source, message in refused:
        with pytest.raises(ModelVaultSchemaError, match=f"schema error: {message}"):
            await db.register_schema_version("books", source)
    for force in (False, True):
        with pytest.raises(ModelVaultSchemaError, match='must retain top-level primary field "id"'):
            await db.register_schema_version("books", fields(n="string", v="int64"), None, force)
        with pytest.raises(ModelVaultSchemaError, match='must retain top-level primary field "id"'):
            await db.register_schema_version("books", fields(**(BASE | {"id": "string"})), None, force)
    with pytest.raises(ModelVaultSchemaError, match='unknown collection name "nope"'):
        await db.plan_schema_version("nope", fields(**BASE))
    with pytest.raises(TypeError, match="argument 'force'"):
        await db.register_schema_version("books", fields(**BASE), None, 1)
    assert await db.register_schema_version("books", fields(**BASE)) == 2  # the first that was not refused


async def test_old_rows_are_filled_with_none(db: Any, world: World) -> None:
    await filled(db)
    assert await db.register_schema_version("books", fields(**BASE, z=OPTIONAL_N), index("z")) == 2
    books = db.collection("books")
    await books.insert({"id": 9, "n": "n9", "v": 1, "z": "new"})
    assert await books.get(1) == {"id": 1, "n": "n1", "v": 1, "z": None}
    assert [row["id"] for row in await books.where("z", "new").all()] == [9]
    await books.update(1, {"z": "new"})
    assert [row["id"] for row in await books.where("z", "new").all()] == [1, 9]
    await db.verify()


async def test_a_required_field_is_absent_until_it_is_backfilled(db: Any, world: World) -> None:
    await filled(db, 3)
    both = fields(**BASE, z="int64", y={"list": "string"})
    assert await db.register_schema_version("books", both, index("z"), True) == 2
    books = db.collection("books")
    await books.insert({"id": 9, "n": "n9", "v": 1, "z": 1, "y": ["own"]})
    assert await books.get(0) == {"id": 0, "n": "n0", "v": 0}
    await db.backfill_top_level_field("books", "z", 7)
    assert await books.get(0) == {"id": 0, "n": "n0", "v": 0, "z": 7}
    await db.backfill_top_level_field("books", "y", ["old"])
    await db.backfill_top_level_field("books", "z", 8)  # nothing is overwritten
    assert await books.get(0) == {"id": 0, "n": "n0", "v": 0, "z": 7, "y": ["old"]}
    assert [row["id"] for row in await books.where("z", 7).all()] == [0, 1, 2]
    assert [row["id"] for row in await books.where("z", 1).all()] == [9]
    row = await books.get(1)
    row["y"].append("more")
    assert (await books.get(2))["y"] == ["old"]
    with pytest.raises(ValueError, match='unknown field "nope"'):
        await db.backfill_top_level_field("books", "nope", 1)
    await db.verify()


async def test_a_path_is_backfilled(db: Any, world: World) -> None:
    await filled(db, 3, p__a=OPTIONAL_N)
    await db.register_schema_version("books", fields(**BASE, p__a=OPTIONAL_N, p__q="int64"), index("p.q"), True)
    await db.backfill_field_at_path("books", ["p", "q"], 4)
    books = db.collection("books")
    assert await books.get(1) == {"id": 1, "n": "n1", "v": 1, "p": {"a": None, "q": 4}}
    assert await books.where(("p", "q"), 4).count() == 3
    with pytest.raises(ValueError, match=r'unknown field path \["p", "nope"\]'):
        await db.backfill_field_at_path("books", ["p", "nope"], 4)
    await db.verify()


async def test_a_path_is_backfilled_beside_required_fields(db: Any, world: World) -> None:
    await filled(db, 0, p__a="int64")
    await db.insert("books", {"id": 1, "n": "n1", "v": 1, "p": {"a": 3}})
    more = {"p__a": "int64", "p__q": "int64", "p__g__x": "int64", "p__g__y": "int64"}
    await db.register_schema_version("books", fields(**BASE, **more), index("p.q"), True)
    await db.backfill_field_at_path("books", ["p", "q"], 4)
    books = db.collection("books")
    assert (await books.get(1))["p"] == {"a": 3, "q": 4}
    await db.backfill_field_at_path("books", ["p", "g", "y"], 6)
    assert (await books.get(1))["p"] == {"a": 3, "q": 4}  # an object has all that it must have, or is not there
    await db.backfill_field_at_path("books", ["p", "g", "x"], 5)
    assert (await books.get(1))["p"] == {"a": 3, "g": {"x": 5, "y": 6}, "q": 4}
    assert await books.where(("p", "q"), 4).count() == await books.where(("p", "g", "y"), 6).count() == 1
    await db.verify()


async def test_a_whole_object_is_backfilled_path_by_path(db: Any, world: World) -> None:
    await filled(db, 2)
    await db.register_schema_version("books", fields(**BASE, p__a="int64", p__q="int64"), index("p.a"), True)
    books = db.collection("books")
    await db.backfill_field_at_path("books", ["p", "a"], 4)
    assert "p" not in await books.get(1) and await books.where(("p", "a"), 4).count() == 0
    with pytest.raises(TypeError):
        await db.backfill_field_at_path("books", ["p", "q"], "text")
    await db.backfill_field_at_path("books", ["p", "q"], 5)
    assert (await books.get(1))["p"] == {"a": 4, "q": 5} and await books.where(("p", "a"), 4).count() == 2
    await db.backfill_top_level_field("books", "p", {"a": 8, "q": 9})  # nothing is overwritten
    assert (await books.get(0))["p"] == {"a": 4, "q": 5}
    await db.verify()


async def test_a_filled_object_gets_another_required_field(db: Any, world: World) -> None:
    """Rows that are older than the object have none until it is whole, and lose nothing of what it was given."""
    await filled(db, 1)
    types = BASE | {"p__a": OPTIONAL_N, "p__b": "int64"}
    await db.register_schema_version("books", fields(**types), index("p.a"), True)
    await db.backfill_top_level_field("books", "p", {"a": "old", "b": 2})
    await db.insert("books", {"id": 7, "n": "n7", "v": 1, "p": {"a": None, "b": 3}})
    await db.register_schema_version("books", fields(**types, p__q="int64"), index("p.a"), True)
    books = db.collection("books")
    assert "p" not in await books.get(0) and (await books.get(7))["p"] == {"a": None, "b": 3}
    assert await books.where(("p", "a"), "old").count() == 0
    await db.verify()
    await db.backfill_field_at_path("books", ["p", "q"], 4)
    assert (await books.get(0))["p"] == {"a": "old", "b": 2, "q": 4}
    assert (await books.get(7))["p"] == {"a": None, "b": 3, "q": 4}
    assert await books.where(("p", "a"), "old").count() == 1
    await db.verify()


async def test_a_field_goes_that_kept_an_object_from_being_whole(db: Any, world: World) -> None:
    await filled(db, 1)
    await db.register_schema_version("books", fields(**BASE, p__a="int64", p__q="int64"), index("p.a"), True)
    await db.backfill_field_at_path("books", ["p", "a"], 4)
    await db.register_schema_version("books", fields(**BASE, p__a="int64"), index("p.a"), True)
    assert (await db.get("books", 0))["p"] == {"a": 4}
    assert await db.collection("books").where(("p", "a"), 4).count() == 1
    await db.verify()


async def test_an_object_that_rows_were_given_cannot_need_more(db: Any, world: World) -> None:
    def place(*names: str) -> dict[str, Any]:
        return {"object": [{"path": [name], "type": "int64"} for name in names]}

    await filled(db, 1)
    await db.register_schema_version("books", fields(**BASE, z=place("a")), None, True)
    await db.backfill_top_level_field("books", "z", {"a": 1})
    with pytest.raises(ModelVaultSchemaError, match=r'older than the field "z" does not fit it .*"b"'):
        await db.register_schema_version("books", fields(**BASE, z=place("a", "b")), None, True)
    assert (await db.get("books", 0))["z"] == {"a": 1}


async def test_a_forced_unique_index_over_duplicates_names_them(db: Any, world: World) -> None:
    await filled(db)
    with pytest.raises(DuplicateKeyError, match="unique index violation") as caught:
        await db.register_schema_version("books", fields(**BASE), index("v", "unique", "vi"), True)
    assert caught.value.duplicates == ((0, (0, 3)), (1, (1, 4)))
    assert (caught.value.index, caught.value.collection, caught.value.key) == ("vi", "books", 0)
    assert await db.plan_schema_version("books", fields(**BASE)) == {"change": "safe", "steps": []}
    await db.register_schema_version("books", fields(**BASE), index("n", "unique", "ni"), True)
    books = db.collection("books")
    with pytest.raises(DuplicateKeyError):
        await books.insert({"id": 9, "n": "n1", "v": 1})
    assert [row["id"] for row in await books.where("n", "n1").all()] == [1]
    await db.verify()


async def test_as_many_duplicates_as_anybody_reads(db: Any, world: World) -> None:
    """Of rows that all have one value some are named, and not all of them are read."""
    await filled(db, 0)
    await db.collection("books").insert_many({"id": n, "n": "same", "v": n} for n in range(5000))
    with pytest.raises(
        DuplicateKeyError, match=r"'same' in the rows 0, 1, 2, .*18, 19, \.\.\.; perhaps more"
    ) as caught:
        await db.register_schema_version("books", fields(**BASE), index("n", "unique"), True)
    assert caught.value.duplicates[0][0] == "same" and 20 <= len(caught.value.duplicates[0][1]) < 2000
    await db.verify()


async def test_indexes_that_do_not_fit_into_memory(disk_world: World) -> None:
    """They are put in several parts; the last rows are those that do not go into a unique one."""
    async with disk_world.open(cache_size=64 * 1024, page_size=4096) as db:
        await filled(db, 0)
        await db.collection("books").insert_many({"id": n, "n": f"n{n * 7919 % 5000}", "v": n % 7} for n in range(5000))
        both = json.dumps([*json.loads(index("n", "unique", "ni")), *json.loads(index("v", name="vi"))])
        await db.register_schema_version("books", fields(**BASE), both, True)
        books = db.collection("books")
        assert [row["id"] for row in await books.where("v", 3).all()] == list(range(3, 5000, 7))
        assert [row["n"] for row in await books.where("n", "n4999").all()] == ["n4999"]
        with pytest.raises(DuplicateKeyError):
            await books.insert({"id": 5000, "n": "n17", "v": 1})
        await db.verify()
        await db.register_schema_version("books", fields(**BASE), index("v", name="vi"), True)
        await books.insert({"id": 5000, "n": "n17", "v": 1})
        with pytest.raises(DuplicateKeyError) as caught:
            await db.register_schema_version("books", fields(**BASE), both, True)
        ((value, keys),) = caught.value.duplicates
        assert value == "n17" and len(keys) == 2 and keys[1] == 5000
        await db.verify()


async def test_a_value_that_is_none_of_the_field_is_refused(db: Any, world: World) -> None:
    """Also where every row has a value already."""
    await filled(db)
    await db.register_schema_version("books", fields(**BASE, z="string"), None, True)
    for _ in range(2):
        with pytest.raises(TypeError):
            await db.backfill_top_level_field("books", "z", 5)
        await db.backfill_top_level_field("books", "z", "a")
    assert (await db.get("books", 1))["z"] == "a"


async def test_a_forced_change_of_type(db: Any, world: World) -> None:
    """Values that fit are written anew; if one does not, nothing changes."""
    await filled(db)
    with pytest.raises(ModelVaultSchemaError, match=r"\(0, 1, 2, 3, 4: n: ") as caught:
        await db.register_schema_version("books", fields(**(BASE | {"n": "int64"})), None, True)
    assert isinstance(caught.value.__cause__, TypeError)
    books = db.collection("books")
    assert await books.get(1) == {"id": 1, "n": "n1", "v": 1}
    await db.register_schema_version("books", fields(**(BASE | {"v": "float64"})), index("v"), True)
    row = await books.get(1)
    assert row == {"id": 1, "n": "n1", "v": 1.0} and type(row["v"]) is float
    assert [row["id"] for row in await books.where("v", 1.0).all()] == [1, 4]
    bounded = json.loads(fields(**(BASE | {"v": "float64"})))
    bounded[2]["constraints"] = [{"max_f64": 1.5}]
    with pytest.raises(ModelVaultSchemaError, match=r"constraints changed for field .*2: .*above maximum"):
        await db.register_schema_version("books", json.dumps(bounded), None, True)
    await books.delete(2)
    await db.register_schema_version("books", json.dumps(bounded), None, True)
    with pytest.raises(ValueError, match="above maximum"):
        await books.insert({"id": 7, "n": "n", "v": 2.0})
    await db.verify()


async def test_a_field_that_comes_back_is_another(disk_world: World) -> None:
    """What a dropped field held stays hidden, whatever type its successor has."""
    async with disk_world.open() as db:
        await filled(db, 2)
        await db.register_schema_version("books", fields(id="int64", v="int64"), None, True)
        assert await db.get("books", 1) == {"id": 1, "v": 1}
    async with disk_world.open() as db:
        await db.register_schema_version("books", fields(id="int64", v="int64", n={"optional": "int64"}), index("n"))
        await db.insert("books", {"id": 5, "v": 5, "n": 5})
    async with disk_world.open() as db:
        assert await db.get("books", 1) == {"id": 1, "v": 1, "n": None}
        assert [row["id"] for row in await db.collection("books").where("n", 5).all()] == [5]
        await db.verify()


async def test_in_a_transaction(db: Any, world: World) -> None:
    await filled(db)
    books = db.collection("books")

    async def change() -> None:
        assert await db.register_schema_version("books", fields(**BASE, z=OPTIONAL_N), index("z")) == 2
        assert (
            await db.register_schema_version("books", fields(**(BASE | {"v": "float64"}), z=OPTIONAL_N), None, True)
            == 3
        )
        await books.insert({"id": 9, "n": "n9", "v": 0.5, "z": "q"})
        assert await books.get(0) == {"id": 0, "n": "n0", "v": 0.0, "z": None}

    async def stopped() -> None:
        async with db.transaction():
            await change()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await stopped()
    assert await books.get(0) == {"id": 0, "n": "n0", "v": 0}
    with pytest.raises(ValueError, match="unknown field"):
        await books.insert({"id": 9, "n": "n9", "v": 0, "z": "q"})
    async with db.transaction():
        await change()
    assert await books.get(9) == {"id": 9, "n": "n9", "v": 0.5, "z": "q"}
    await db.verify()


async def test_indexes_are_rebuilt(db: Any, world: World) -> None:
    await filled(db, indexes=index("v"))
    await db.rebuild_indexes("books")
    assert [row["id"] for row in await db.collection("books").where("v", 1).all()] == [1, 4]
    await db.verify()


async def test_handles_and_iterations_live_through_a_change(db: Any, world: World) -> None:
    await filled(db, 300, indexes=index("v"))
    books = db.collection("books")
    rows = books.__aiter__()
    first = await rows.__anext__()
    await db.register_schema_version("books", fields(**(BASE | {"v": "float64"}), z=OPTIONAL_N), index("v"), True)
    await books.insert({"id": 1000, "n": "late", "v": 1.0})
    seen = [first] + [row async for row in rows]
    assert len(seen) == 300 and all("z" not in row for row in seen)
    assert await books.count() == 301 and (await books.get(0))["z"] is None


async def test_a_change_in_another_process_is_followed(disk_world: World) -> None:
    """A read-only handle sees new versions; here it shares the process with the writer."""
    async with disk_world.open() as db:
        await filled(db)
        async with disk_world.open(read_only=True) as reader:
            books = reader.collection("books")
            assert await books.get(1) == {"id": 1, "n": "n1", "v": 1}
            await db.register_schema_version("books", fields(**(BASE | {"v": "float64"}), z=OPTIONAL_N), None, True)
            await db.insert("books", {"id": 9, "n": "n9", "v": 1.5, "z": "q"})
            assert await books.get(9) == {"id": 9, "n": "n9", "v": 1.5, "z": "q"}
            assert await books.count() == 6
            with pytest.raises(OSError, match="read-only"):
                await reader.register_schema_version("books", fields(**BASE))


async def test_an_update_gives_an_old_row_the_field_that_it_lacks(db: Any) -> None:
    """As a row of the version before it has no value for a field that is required, it cannot be stored as it is."""
    await db.register_collection("items", '[{"path": ["id"], "type": "int64"}]', "id")
    items = await db.collection("items")
    await items.insert({"id": 1})
    wider = '[{"path": ["id"], "type": "int64"}, {"path": ["name"], "type": "string"}]'
    await db.register_schema_version("items", wider, force=True)
    assert await items.get(1) == {"id": 1}
    with pytest.raises(ValueError, match="name"):
        await items.update(1, {"id": 1})
    assert await items.update(1, {"name": "x"}) == {"id": 1, "name": "x"}
    assert await items.get(1) == {"id": 1, "name": "x"}
