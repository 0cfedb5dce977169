"""What looks after files: verify, salvage, backup, restore, compact, checkpoint, stats, migrate, bench."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelvault import Database, models
from tests.api.users import USERS, User
from tests.cli.test_commands import Run, document, file, good, run

__all__ = ["file", "run"]


@dataclass
class Person:
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "people"

    id: int
    name: str


@dataclass
class PersonToday:
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "people"
    __modelvault_indexes__ = (models.index("name"),)

    id: int
    name: str
    points: int = 7


@dataclass
class PersonWithoutName:
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "people"

    id: int


def everything(path: str | Path) -> list[User]:
    with Database.open(path, read_only=True) as db:
        return db.collection(User).all()


def damage(path: str | Path) -> None:
    """Change a byte of every page behind the meta pages."""
    data = bytearray(Path(path).read_bytes())
    for place in range(4 * 8192 + 100, len(data), 8192):
        data[place] ^= 255
    Path(path).write_bytes(data)


def test_a_backup_is_a_database_and_can_be_put_back(run: Run, file: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.modelvault")
    found = document(run, "backup", file, "--to", copy, "--verify")
    assert found == {"path": copy, "size": Path(copy).stat().st_size, "sound": True, "collections": 1, "rows": 4}
    assert everything(copy) == USERS
    with Database.open(file) as db:
        db.collection(User).delete(1)
    code, _, err = run("restore", copy, file)
    assert (code, "--force replaces it" in err) == (1, True)
    assert len(everything(file)) == 3
    assert document(run, "restore", copy, file, "--force")["path"] == file
    assert everything(file) == USERS
    good(run, "restore", copy, str(tmp_path / "fresh.modelvault"))
    assert everything(tmp_path / "fresh.modelvault") == USERS


@pytest.mark.damaged
def test_a_damaged_backup_replaces_nothing(run: Run, file: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.modelvault"
    good(run, "backup", file, "--to", str(copy))
    damage(copy)
    assert run("restore", str(copy), file, "--force")[0] == 4
    assert everything(file) == USERS
    copy.write_bytes(b"junk")
    assert run("restore", str(copy), file, "--force")[0] == 4


def test_compact(run: Run, file: str, tmp_path: Path) -> None:
    with Database.open(file) as db:
        users = db.collection(User)
        users.insert_many(User(n, f"user {n}" * 20, n, USERS[0].address) for n in range(100, 1000))
        users.where("age", 36).delete()
        users.where(models.fields(User).id >= 100).delete()
    short = str(tmp_path / "short.modelvault")
    found = document(run, "compact", file, "--to", short)
    assert found["after"] < found["before"] == Path(file).stat().st_size
    assert everything(short) == everything(file) == USERS[1:3]
    found = document(run, "compact", file, "--in-place")
    assert found["after"] < found["before"]
    assert everything(file) == USERS[1:3]
    for words in ([], ["--in-place", "--to", short]):
        code, _, err = run("compact", file, *words)
        assert (code, "say where" in err) == (2, True)
    assert run("backup", file, "--to", file)[0] == run("compact", file, "--to", file)[0] == 1
    assert everything(file) == USERS[1:3]


@pytest.mark.damaged
def test_what_is_damaged_is_listed_and_what_is_left_can_be_saved(run: Run, file: str, tmp_path: Path) -> None:
    found = document(run, "verify", file)
    assert (found["sound"], found["rows"], found["collections"], found["problems"]) == (True, 4, 1, [])
    saved = str(tmp_path / "saved.modelvault")
    assert document(run, "salvage", file, "--to", saved)["collections"]["users"]["rows"] == 4
    assert everything(saved) == USERS
    assert "is there already" in run("salvage", file, "--to", saved)[2]
    data = Path(file).read_bytes()
    place = data.rindex(b"admin")  # in no index
    Path(file).write_bytes(data[:place] + b"A" + data[place + 1 :])
    code, out, err = run("verify", file, "--json")
    assert (code, err) == (4, "")
    assert json.loads(out)["problems"]
    other = str(tmp_path / "other.modelvault")
    code, out, err = run("salvage", file, "--to", other)
    assert (code, err) == (4, "")
    assert "lost" in out


def test_checkpoint_and_stats(run: Run, file: str) -> None:
    assert document(run, "checkpoint", file)["path"] == file
    assert document(run, "stats", file)["page_size"] == 8192


def test_migrate(run: Run, tmp_path: Path) -> None:
    path, here = str(tmp_path / "people.modelvault"), "tests.cli.test_upkeep"
    with Database.open(path) as db:
        db.collection(Person).insert(Person(1, "ada"))
    assert run("migrate", "plan", path, f"{here}:Person", "--check")[0] == 0
    code, out, _ = run("migrate", "plan", path, f"{here}:PersonToday", "--check")
    assert (code, "points" in out) == (5, True)
    assert document(run, "migrate", "plan", path, f"{here}:PersonToday")["change"] != "breaking"
    tried = document(run, "migrate", "apply", path, f"{here}:PersonToday", "--dry-run")
    assert tried == {"version": 2, "dry_run": True}
    with Database.open(path) as db:
        assert db.collection(Person).get(1) == Person(1, "ada")
    assert document(run, "migrate", "apply", path, f"{here}:PersonToday")["version"] == 2
    with Database.open(path) as db:
        assert db.collection(PersonToday).all() == [PersonToday(1, "ada", 7)]
    assert run("migrate", "apply", path, f"{here}:PersonWithoutName")[0] == 1
    good(run, "migrate", "apply", path, f"{here}:PersonWithoutName", "--force")
    assert document(run, "query", path, "people") == [{"id": 1}]


def test_bench_leaves_the_file_as_it_is(run: Run, file: str) -> None:
    before = Path(file).read_bytes()
    found = document(run, "bench", file, "--seconds", "0.01")
    assert [row["what"] for row in found] == [
        "get by key, warm",
        "scan, every row as a dict",
        "count every row",
        "insert, a durable commit each",
        "insert many, one commit",
    ]
    assert Path(file).read_bytes() == before
    assert sorted(Path(file).parent.iterdir()) == [Path(file)]
