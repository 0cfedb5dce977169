"""verify lists all that is wrong with a file; salvage saves what is left of one."""

# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import os
import random
from copy import deepcopy
from pathlib import Path

import pytest
from pydantic import BaseModel

from modelvault import CorruptionError, Database, LockedError, ModelVaultFormatError, models
from modelvault._core.file import DiskFile, MemoryFile
from modelvault._core.meta import read_meta, write_meta
from modelvault._core.space import free_runs
from modelvault._core.walk import Tree
from modelvault._engine import Engine
from modelvault._frozen import replace
from tests.models import User, user
from tests.worlds import World, bare

SIZE = 4096
DELETED = {*range(1000, 1200), 2000}
ROWS = 400


def rows() -> list[User]:
    """Some of them with values of several pages."""
    return [
        user(number).model_copy(update={"name": "x" * 9000}) if number % 40 == 0 else user(number)
        for number in range(ROWS)
    ]


def make(path: Path) -> bytes:
    """A file with free pages in it."""
    with Database.open(path, page_size=SIZE) as db:
        users = db.collection(User)
        users.insert_many(rows())
        users.insert_many(user(number) for number in range(1000, 1200))
        with db.transaction():
            for number in range(1000, 1200):
                users.delete(number)
        users.insert(user(2000))
        users.delete(2000)
    return path.read_bytes()


def pages_of(data: bytes) -> dict[int, int]:
    """The pages that are in use, by type: 1 leaf, 2 branch, 3 long value."""
    engine = Engine.open_file(MemoryFile(data), read_only=True)
    free = {
        page for _, first, count in free_runs(engine.pager, engine.latest.roots) for page in range(first, first + count)
    }
    used = {page: data[page * SIZE + 24] for page in range(4, engine.latest.page_count) if page not in free}
    engine.close()
    return used


async def test_a_sound_database(world: World) -> None:
    async with world.open() as db:
        users = await db.collection(User)
        await users.insert_many(rows())
        await users.insert(user(5000))
        await users.delete(7)
        told: list[int] = []
        report = await db.verify(progress=told.append)
        assert report.ok and report.problems == [] and told
        assert (report.rows, report.collections) == (ROWS, 1)
        assert report.entries >= 2 * ROWS and report.pages > 20
        assert str(report).startswith(f"{db.path()}: ok (")
        report.raise_if_damaged()


@pytest.mark.parametrize("lie", [{"next_tree": 0}, {"next_tree": 3}, {"next_collection": 0}], ids=str)
def test_a_file_that_knows_fewer_trees_or_collections_than_it_has_is_damaged(
    lie: dict[str, int], tmp_path: Path
) -> None:
    """Else the next one would take the place of one that is there."""
    path = tmp_path / "db"
    with Database.open(path) as db:
        db.collection(User).insert(user(1))
    file = DiskFile(str(path))
    write_meta(file, replace(read_meta(file), **lie))
    file.close()
    for read_only in (True, False):
        with pytest.raises(CorruptionError):
            Database.open(path, read_only=read_only)


async def test_verify_while_others_write(loop_disk_world: World) -> None:
    async with loop_disk_world.open() as db:
        users = await db.collection(User)
        await users.insert_many(rows())
        for number in range(3):
            await users.insert(user(3000 + number))
            assert (await db.verify()).ok


@pytest.mark.damaged
async def test_verify_lists_every_damaged_page(disk_world: World) -> None:
    path = Path(disk_world.path or "")
    data = make(path)
    leaves = [page for page, kind in pages_of(data).items() if kind == 1]
    chosen = random.Random(3).sample(leaves, 4)
    damaged = bytearray(data)
    for page in chosen:
        damaged[page * SIZE + 700] ^= 1
    path.write_bytes(damaged)
    async with disk_world.open(read_only=True) as db:
        report = await db.verify(raises=False)
        assert not report.ok
        assert set(chosen) <= {problem.page for problem in report.problems}
        assert all(problem.collection == "users" for problem in report.problems if problem.page in chosen)
        with pytest.raises(CorruptionError, match=r"damaged.*see the report") as info:
            await db.verify()
        assert str(info.value.report) == str(report)
        assert len(str(report).splitlines()) == 1 + len(report.problems)


@pytest.mark.damaged
def test_verify_finds_every_damaged_page(tmp_path: Path) -> None:
    """Also one that the cache has as it was."""
    path = tmp_path / "db"
    data = make(path)
    with Database.open(path) as db:
        db.collection(User).all()
        db.verify()
        for page, kind in pages_of(data).items():
            with path.open("r+b") as file:
                file.seek(page * SIZE + 2000)
                file.write(bytes([data[page * SIZE + 2000] ^ 8]))
            report = db.verify(raises=False)
            found = {problem.page for problem in report.problems}
            assert found and (page in found or kind not in (1, 2)), page
            with path.open("r+b") as file:
                file.seek(page * SIZE + 2000)
                file.write(data[page * SIZE + 2000 : page * SIZE + 2001])
        db.verify()


@pytest.mark.damaged
def test_verify_names_each_page_that_is_used_and_free_besides(tmp_path: Path) -> None:
    """Of a run of free pages those that a tree has, and no others."""
    path = tmp_path / "db"
    used = sorted(pages_of(make(path)))
    first = next(page for page in used if page + 1 in used and page + 2 not in used)
    with Database.open(path) as db:
        engine = bare(db)._access.engine
        write = engine.begin()
        write.take_room()
        write.draft.free_sealed(first, 3)
        engine.commit(write)
        report = db.verify(raises=False)
    named = [problem.page for problem in report.problems if "used besides" in str(problem)]
    assert {first, first + 1} <= set(named) and len(named) == len(set(named))


@pytest.mark.damaged
async def test_verify_compares_rows_and_indexes(world: World) -> None:
    """A lost entry, one too many, and a value twice in a unique index, all named."""
    async with world.open() as db:
        users = await db.collection(User)
        await users.insert_many(rows())
        engine = bare(db)._access.engine
        definition = engine.latest.definitions["users"]
        indexes = dict(definition["indexes"])
        write = engine.begin()
        write.take_room()
        name, number = next(iter(indexes.items()))
        tree = Tree(write.draft, write.roots[number])
        entries = [key for key, _ in tree.items()]
        tree.delete(entries[5])
        tree.put(entries[9][:-1] + b"\x7f", b"")
        write.roots[number] = tree.root
        engine.commit(write)
        report = await db.verify(raises=False)
        assert {problem.index for problem in report.problems} == {name}
        assert all(problem.collection == "users" for problem in report.problems)
        words = str(report)
        assert "has no entry in index" in words and "without a row" in words


@pytest.mark.damaged
async def test_verify_holds_rows_to_their_constraints(world: World) -> None:
    """Of all versions: a row that lacks a field breaks none, one whose value is not allowed does."""

    class Part(BaseModel):
        size: int

    class Thing(BaseModel):
        __modelvault_primary_key__ = "id"
        id: int
        count: int
        parts: list[Part]

    class Named(Thing):
        __modelvault_collection__ = "things"
        name: str

    async with world.open() as db:
        things = await db.collection(Thing)
        await things.insert_many(Thing(id=n, count=n, parts=[Part(size=n)]) for n in range(20))
        await models.async_apply(bare(db), Named, force=True)
        await (await db.collection(Named)).insert(Named(id=99, count=1, parts=[Part(size=8)], name="x"))
        await db.verify()
        engine = bare(db)._access.engine
        definition = deepcopy(engine.latest.definitions["things"])
        fields = dict(definition["schemas"][-1]["fields"])
        fields["count"] = {"kind": fields["count"], "constraints": [["ge", 2]]}
        size = fields["parts"]["items"][0]["fields"][0]
        size[1] = {"kind": size[1], "constraints": [["le", 17]]}
        definition["schemas"][-1]["fields"] = [list(field) for field in fields.items()]
        write = engine.begin()
        write.define(definition)
        engine.commit(write)
        report = await db.verify(raises=False)
        assert [problem.key for problem in report.problems] == [0, 1, 18, 19, 99]
        assert all("things: the row" in str(problem) and "breaks a rule" in str(problem) for problem in report.problems)
        with pytest.raises(CorruptionError, match=r"the row 0 breaks a rule: .*count"):
            await db.verify()


# Salvage


def saved(path: Path) -> dict[int, User]:
    """The rows of a file that was made by salvage, which is sound."""
    with Database.open(path) as db:
        db.verify()
        db.collection(User).insert(user(9999))
        db.collection(User).delete(9999)
        return {row.id: row for row in db.collection(User).all()}


async def test_salvage_of_a_sound_file(disk_world: World, tmp_path: Path) -> None:
    path, dest = Path(disk_world.path or ""), tmp_path / "dest"
    data = make(path)
    async with disk_world.open_in_memory() as db:
        report = await db.salvage(path, dest)
    assert report.complete and report.problems == []
    one = report.collections["users"]
    assert (one.rows, one.lost, one.strays, one.ranges, one.refused) == (ROWS, 0, 0, [], [])
    assert saved(dest) == {row.id: row for row in rows()}
    assert path.read_bytes() == data


def test_salvage_with_a_log(tmp_path: Path) -> None:
    """What only the log has is saved too: of a process that was killed."""
    path = tmp_path / "db"
    with Database.open(path) as db:
        users = db.collection(User)
        users.insert_many(rows())
        for number in range(600, 640):
            users.insert(user(number))
        users.delete(3)
        users.update(5, {"age": 99})
        assert db.stats()["log_used"]
        (tmp_path / "killed").write_bytes(path.read_bytes())
        expected = {row.id: row for row in users.all()}
    report = Database.salvage(tmp_path / "killed", tmp_path / "dest")
    assert report.complete, report
    assert saved(tmp_path / "dest") == expected


@pytest.mark.damaged
def test_salvage_with_each_page_damaged(tmp_path: Path) -> None:
    """A leaf costs its own rows, which are named; a branch, the catalog and the free list cost none."""
    path = tmp_path / "db"
    data = make(path)
    expected = {row.id: row for row in rows()}
    lost_somewhere = 0
    for page, kind in pages_of(data).items():
        if kind not in (1, 2, 3):
            continue
        damaged = bytearray(data)
        damaged[page * SIZE + 2000] ^= 8
        path.write_bytes(damaged)
        report = Database.salvage(path, tmp_path / "dest")
        found = saved(tmp_path / "dest")
        one = report.collections["users"]
        if any("stands in for it" in problem for problem in report.problems):  # the catalog of the last commit but one
            assert (
                all(found.get(key) == row for key, row in expected.items())
                and found.keys() <= expected.keys() | DELETED
            )
            continue
        assert all(expected[key] == row for key, row in found.items()), page
        missing = sorted(expected.keys() - found.keys())
        assert one.rows == len(found) and one.lost == len(missing), (page, one)
        assert all(
            any((low is None or low <= key) and (high is None or key <= high) for low, high in one.ranges)
            for key in missing
        ), (page, one)
        assert len(missing) <= 40 and (kind != 2 or not missing), (page, kind, one)
        lost_somewhere += bool(missing)
        assert "users: " in str(report)
    assert lost_somewhere > 5


@pytest.mark.damaged
def test_salvage_of_a_file_full_of_holes(tmp_path: Path) -> None:
    path = tmp_path / "db"
    data = make(path)
    expected = {row.id: row for row in rows()}
    draw = random.Random(11)
    for _ in range(6):
        damaged = bytearray(data)
        for page in draw.sample(range(4, len(data) // SIZE), len(data) // SIZE // 4):
            damaged[page * SIZE : (page + 1) * SIZE] = os.urandom(SIZE)
        path.write_bytes(damaged)
        report = Database.salvage(path, tmp_path / "dest")
        assert not report.complete
        if "users" in report.collections:
            found = saved(tmp_path / "dest")
            current = {key: row for key, row in found.items() if key in expected}
            assert all(expected[key] == row for key, row in current.items())
            assert len(found) == report.collections["users"].rows
            assert set(found) - set(expected) <= DELETED, "a deleted row may come back"
            older = any("stands in for it" in problem for problem in report.problems)
            assert current.keys() == found.keys() or older or report.collections["users"].strays


async def test_where_salvage_is_refused(disk_world: World, tmp_path: Path) -> None:
    path = Path(disk_world.path or "")
    (tmp_path / "junk").write_bytes(b"junk" * 4000)
    async with disk_world.open() as db:
        for source, dest, error in [
            (tmp_path / "missing", tmp_path / "x", FileNotFoundError),
            (tmp_path, tmp_path / "x", IsADirectoryError),
            (tmp_path / "junk", tmp_path / "x", ModelVaultFormatError),
        ]:
            with pytest.raises(error):
                await db.salvage(source, dest)
        with pytest.raises(OSError, match="another file") as info:
            await db.salvage(tmp_path / "junk", tmp_path / "junk")
        assert info.value.errno == errno.EINVAL
        make(tmp_path / "other")
        with pytest.raises(LockedError):
            await db.salvage(tmp_path / "other", path)
        with pytest.raises(TypeError, match="argument 'source_path'"):
            await db.salvage(None, path)
    assert not (tmp_path / "x").exists()
