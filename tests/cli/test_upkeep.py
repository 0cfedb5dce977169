"""`checkpoint`, `stats`, `migrate` and `bench`: what changes files, and what does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelvault import Database, models
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
    assert document(run, "migrate", "apply", path, f"{here}:PersonToday", "--dry-run") == {
        "version": 2,
        "dry_run": True,
    }
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
