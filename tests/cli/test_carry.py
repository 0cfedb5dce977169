"""`import` and `export`: what goes out comes back, and what does not fit says where."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from modelvault import Database, models
from tests.api.users import USERS, User
from tests.cli.test_commands import Run, document, file, good, run

__all__ = ["file", "run"]


@dataclass
class Item:
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.unique("name"),)

    id: int
    name: str
    count: int = 0


class Careless(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "careless"

    id: int
    name: str


class Curious(Careless, extra="allow"):
    __modelvault_collection__ = "curious"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_rows_go_out_and_come_back(run: Run, file: str, tmp_path: Path, kind: str) -> None:
    rows = str(tmp_path / f"rows.{kind}")
    assert document(run, "export", file, "users", "--to", rows) == {"rows": 4, "path": rows}
    other = str(tmp_path / "other.modelvault")
    done = document(run, "import", other, "--model", "tests.api.users:User", "--from", rows)
    assert done == {"rows": 4, "collection": "users"}
    with Database.open(other, read_only=True) as db:
        assert db.collection(User).all() == USERS
        assert document(run, "inspect", other, "users") == document(run, "inspect", file, "users")


def test_an_export_may_have_conditions_and_go_through_a_pipe(run: Run, file: str) -> None:
    lines = good(run, "export", file, "users", "age>=18", "name!~^d").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1]
    header, first = good(run, "export", file, "users", "id=2", "--format", "csv").splitlines()
    assert header.startswith("id,name,age,address.city,address.zip,")
    assert first.startswith("2,bob,,Paris,75,2.5,low,false,1999-05-05,")


def test_a_schema_is_inferred_from_json(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "new.modelvault")
    rows = [
        {"id": 1, "name": "a", "score": 1, "tags": ["x"], "home": {"city": "Rome", "zip": None}, "ok": True},
        {"id": 2, "name": None, "score": 2.5, "tags": [], "home": {"city": "Oslo"}, "ok": False, "late": 7},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(json.dumps, rows)) + "\n\n"))
    assert document(run, "import", path, "things") == {"rows": 2, "collection": "things"}
    fields = document(run, "inspect", path, "things")["fields"]
    assert {field["name"]: field["type"] for field in fields} == {
        "id": "int64",
        "name": "optional[string]",
        "score": "float64",
        "tags": "list[string]",
        "home": "object[city, zip]",
        "ok": "bool",
        "late": "optional[int64]",
    }
    with Database.open(path, read_only=True) as db:
        assert db.get("things", 1) == {**rows[0], "late": None}
        assert db.get("things", 2) == {**rows[1], "home": {"city": "Oslo", "zip": None}}


def test_a_schema_is_inferred_from_csv(run: Run, tmp_path: Path) -> None:
    path, source = str(tmp_path / "new.modelvault"), tmp_path / "rows.csv"
    source.write_text('code,n,x,flag,home.city,note\n007,1,1.5,true,Rome,"a,b"\n008,-2,2,false,,\n')
    assert "say which is the primary key" in run("import", path, "things", "--from", str(source))[2]
    assert not Path(path).exists()
    good(run, "import", path, "things", "--from", str(source), "--key", "code")
    with Database.open(path, read_only=True) as db:
        assert db.get("things", "007") == {
            "code": "007",
            "n": 1,
            "x": 1.5,
            "flag": True,
            "home": {"city": "Rome"},
            "note": "a,b",
        }
        assert db.get("things", "008")["note"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"id": 1}\nhello\n', "line 2: no JSON"),
        ("a.jsonl", "[1]\n", "line 1: no JSON object"),
        ("a.jsonl", '{"id": 1, "x": 1}\n{"id": 2, "x": "a"}\n', '"x" is int64 in one row and string in another'),
        ("a.jsonl", '{"id": 1}\n{"x": 2}\n', '"id" cannot be the primary key: a row lacks it'),
        ("a.jsonl", '{"id": 99999999999999999999}\n', "no 64-bit integer"),
        ("a.jsonl", "", "there are no rows"),
        ("a.csv", "id,x\n1\n", "line 2: another number of cells"),
        ("a.csv", 'id,x\n1,"a\n2,b', "line 3: no CSV"),
        ("a.csv", "id,x,id\n1,2,3\n", 'line 1: the column "id" is there twice'),
        ("a.csv", "id,x\n1,\udce9\n", "the rows are not UTF-8: there is a byte 0xe9"),
        ("a.jsonl", '{"id": 1, "x": "\udce9"}\n', "the rows are not UTF-8: there is a byte 0xe9"),
        ("a.jsonl", f'{{"id": 1, "x": {"[" * 100_000}', "line 1: lists or objects nest too deeply"),
        ("a.jsonl", f'{{"id": {"7" * 5000}}}\n', "line 1: Exceeds the limit"),
    ],
)
def test_what_cannot_be_inferred_says_why(run: Run, tmp_path: Path, name: str, text: str, message: str) -> None:
    path, source = tmp_path / "new.modelvault", tmp_path / name
    source.write_bytes(text.encode(errors="surrogateescape"))
    code, out, err = run("import", str(path), "things", "--from", str(source))
    assert (code, out) == (1, "")
    assert message in err
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "text"), [("jsonl", '{"id": 1, "x": "\u00e9"}\r\n'), ("csv", 'id,x\r\n1,"\u00e9"\r\n')]
)
def test_files_of_other_systems(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str
) -> None:
    """A mark at the beginning, ends of lines; and through a pipe it is UTF-8, too, whatever the terminal has."""
    source, data = tmp_path / f"rows.{kind}", text.encode("utf-8-sig")
    source.write_bytes(data)
    for name, words in [("file", ["--from", str(source)]), ("pipe", ["--format", kind])]:
        path = str(tmp_path / name)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="latin-1"))
        good(run, "import", path, "things", *words)
        assert document(run, "query", path, "things") == [{"id": 1, "x": "\u00e9"}]


def test_a_column_that_is_no_field_is_refused_as_a_field_is(run: Run, tmp_path: Path) -> None:
    """In CSV as in JSON: dicts and dataclasses want to know what it is, a Pydantic model may pass it over."""
    path, model = str(tmp_path / "a.modelvault"), ["--model", "tests.cli.test_carry:Item"]
    for name, text in [
        ("a.jsonl", '{"id": 1, "name": "a", "cuont": 5}\n'),
        ("a.csv", "id,name,cuont\n1,a,5\n"),
        ("b.csv", "id,name,cuont\n1,a,\n"),
    ]:
        source = tmp_path / name
        source.write_text(text)
        for words in (model, ["items"]):
            code, _, err = run("import", path, *words, "--from", str(source))
            assert code == 1 and "cuont" in err
    assert document(run, "query", path, "items") == []
    other = str(tmp_path / "b.modelvault")
    for model in (["--model", "tests.cli.test_carry:Careless"], ["--model", "tests.cli.test_carry:Curious"]):
        good(run, "import", other, *model, "--from", str(tmp_path / "a.csv"))
    assert document(run, "query", other, "careless") == [{"id": 1, "name": "a"}]
    assert json.loads(good(run, "export", other, "curious")) == {"id": 1, "name": "a", "cuont": "5"}
    code, _, err = run("export", other, "curious", "--format", "csv")
    assert (code, 'no column for "cuont"' in err) == (1, True)


def test_a_bad_row_says_its_line_and_nothing_of_its_commit_is_stored(run: Run, tmp_path: Path) -> None:
    path, source = str(tmp_path / "new.modelvault"), tmp_path / "rows.jsonl"
    model = ["--model", "tests.cli.test_carry:Item"]
    source.write_text('{"id": 1, "name": "a"}\n\n{"id": 2, "name": "b", "count": "many"}\n')
    code, _, err = run("import", path, *model, "--from", str(source))
    assert code == 1
    assert "modelvault: line 3: " in err
    with Database.open(path, read_only=True) as db:
        assert db.collection(Item).count() == 0
    source.write_text("id,name,count\n1,a,\n2,b,5\n3,c,x\n")
    source = source.rename(tmp_path / "rows.csv")
    assert "line 4" in run("import", path, *model, "--from", str(source), "--chunk", "2")[2]
    with Database.open(path, read_only=True) as db:
        assert db.collection(Item).all() == [Item(1, "a"), Item(2, "b", 5)]


def test_rows_that_are_there_are_replaced_or_refused(run: Run, tmp_path: Path) -> None:
    path, source = str(tmp_path / "new.modelvault"), tmp_path / "rows.jsonl"
    model = ["--model", "tests.cli.test_carry:Item", "--from", str(source)]
    source.write_text('{"id": 1, "name": "a"}\n')
    good(run, "import", path, "items", *model)
    source.write_text('{"id": 2, "name": "b", "count": 0}\n{"id": 1, "name": "c", "count": 0}\n')
    code, _, err = run("import", path, *model, "--create")
    assert (code, "line 2" in err) == (1, True)
    good(run, "import", path, *model)
    assert document(run, "query", path, "items", "--columns", "id,name") == [
        {"id": 1, "name": "c"},
        {"id": 2, "name": "b"},
    ]
    good(run, "import", path, "items", "--from", str(source))  # the stored schema, no model
    assert "is the model of items" in run("import", path, "things", *model)[2]


def test_an_export_that_fails_leaves_what_was_there(
    run: Run, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("before")

    def stop(rows: object, tell: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelvault.cli.carry.counted", stop)
    assert run("export", file, "users", "--to", str(target))[0] == 130
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if "rows" in path.name) == ["rows.jsonl"]
    code, _, err = run("export", file, "users", "--to", str(tmp_path / "no" / "rows.jsonl"))
    assert (code, err) == (3, f"modelvault: {tmp_path}/no/rows.jsonl: No such file or directory\n")


def test_a_duplicate_names_its_key_or_its_line(run: Run, tmp_path: Path) -> None:
    path, rows = str(tmp_path / "a.modelvault"), tmp_path / "rows.jsonl"
    rows.write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": "b"}\n{"id": 3, "name": "a"}\n{"id": 4, "name": "c"}\n')
    words = ["import", path, "--model", "tests.cli.test_carry:Item", "--from", str(rows)]
    code, _, err = run(*words)
    assert code == 1 and "line" not in err and "'a'" in err
    code, _, err = run(*words, "--create")
    assert code == 1 and err.startswith("modelvault: line 3: ")


def test_datetimes_are_shown_as_they_were_put_in(run: Run, tmp_path: Path) -> None:
    path, rows = str(tmp_path / "a.modelvault"), tmp_path / "rows.jsonl"
    rows.write_text('{"id": 1, "at": "2024-01-02T03:04:05"}\n{"id": 2, "at": "2024-01-02T03:04:05Z"}\n')
    good(run, "import", path, "--model", "tests.cli.test_carry:Moment", "--from", str(rows))
    for words in (["SELECT id, at FROM moments"], ["moments"]):
        assert good(run, "query", path, *words) == "id\tat\n1\t2024-01-02T03:04:05\n2\t2024-01-02T03:04:05Z\n"


@dataclass
class Moment:
    __modelvault_primary_key__ = "id"

    id: int
    at: datetime
