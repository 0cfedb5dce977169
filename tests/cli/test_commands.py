"""The commands: what they print for people, for pipes and as JSON, and how they fail."""

from __future__ import annotations

import io
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelvault import Database
from modelvault.cli import main
from tests.api.users import USERS, User

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "app.modelvault")
    with Database.open(path) as db:
        db.collection(User).insert_many(USERS)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: its exit code, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def good(run: Run, *words: str) -> str:
    """What a command prints that must not fail."""
    code, out, err = run(*words)
    assert (code, err) == (0, ""), err
    return out


def document(run: Run, *words: str) -> Any:
    return json.loads(good(run, *words, "--json"))


# Looking


def test_inspect(run: Run, file: str) -> None:
    found = document(run, "inspect", file)
    assert found["path"] == file
    assert found["size"] == os.path.getsize(file)
    assert found["collections"] == [
        {"collection": "users", "rows": 4, "version": 1, "primary_key": "id", "fields": 13, "indexes": 3}
    ]
    assert "users\t4\t1\tid\t13\t3\n" in good(run, "inspect", file)
    users = document(run, "inspect", file, "users")
    assert users["indexes"][0] == {"name": "age_idx", "paths": "age", "kind": "index"}
    assert users["fields"][2] == {"name": "age", "type": "optional[int]", "constraints": ""}
    assert "name_idx\tname\tunique\n" in good(run, "inspect", file, "users")


def test_dump_catalog(run: Run, file: str) -> None:
    catalog = json.loads(good(run, "dump-catalog", file))
    assert [entry["name"] for entry in catalog] == ["users"]
    assert catalog[0]["schemas"][0]["primary"] == "id"


# Asking


def test_query_by_conditions(run: Run, file: str) -> None:
    def ids(*words: str) -> list[int]:
        return [row["id"] for row in document(run, "query", file, "users", *words)]

    assert ids() == [1, 2, 3, 4]
    assert ids("age>=18") == [1, 4]
    assert ids("age>=18", "address.city=London") == [1]
    assert ids("age != 36") == [3]
    assert ids("age=null") == [2]
    assert ids("age!=null", "age<20") == [3]
    assert ids("name~^[ab]") == [1, 2]
    assert ids("name!~^[ab]") == [3, 4]
    assert ids("level=high") == [1]
    assert ids("active=false") == [2]
    assert ids("born<2000-01-01") == [2]
    assert ids("seen>=2024-06-01") == [3]
    assert ids("tags=admin") == [1, 4]
    assert ids("price>1.5") == [4]
    assert ids("key=00000000-0000-0000-0000-000000000009") == [4]
    assert ids("--order=-age,id", "--limit=2") == [2, 1]
    assert ids("--order", "id", "--offset", "3") == [4]
    assert document(run, "query", file, "users", "age>1", "--count") == [{"count": 3}]
    found = document(run, "query", file, "users", "id=3", "--columns", "name,address.city,seen")
    assert found == [{"name": "cid", "address.city": "London", "seen": "2024-06-01T12:00:00Z"}]
    assert 'IndexRangeLookup index="age_idx"' in good(run, "query", file, "users", "age>3", "--explain")


def test_query_by_sql(run: Run, file: str) -> None:
    sql = "SELECT name, age FROM users WHERE id > ? AND name <> ? ORDER BY id"
    assert document(run, "query", file, sql, "-p", "1", "-p", "'cid'") == [
        {"name": "bob", "age": None},
        {"name": "d%n", "age": 36},
    ]
    assert good(run, "query", file, sql, "-p", "2", "-p", "cid") == "name\tage\nd%n\t36\n"
    assert good(run, "query", file, "SELECT 1 AS a, NULL AS b, 'x\ty' AS c") == "a\tb\tc\n1\tNULL\tx\\ty\n"
    assert "CollectionScan" in good(run, "query", file, "SELECT name FROM users", "--explain")
    assert document(run, "query", file, "SELECT id FROM users WHERE id > 9") == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["query", "FILE", "users", "agee>3"], 1, "did you mean 'age'"),
        (["query", "FILE", "users", "age>x"], 1, "'x' is no int"),
        (["query", "FILE", "users", "hello"], 1, "is no condition"),
        (["query", "FILE", "nope"], 1, 'unknown collection name "nope"'),
        (["query", "FILE", "SELECT x FROM users"], 1, "unknown field path"),
        (["query", "FILE", "SELECT (1"], 1, "expected ')'"),
        (["query", "FILE", "SELECT 1", "--limit", "1"], 2, "use SQL"),
        (["query", "FILE", "users", "-p", "1"], 2, "--param is for SQL"),
        (["query", "FILE", "DELETE FROM users"], 2, "neither a SELECT nor a collection"),
        (["inspect", "nowhere.modelvault"], 3, "nowhere.modelvault: No such file or directory"),
        (["checkpoint", "nowhere.modelvault"], 3, "nowhere.modelvault: No such file or directory"),
        (["inspect", "."], 3, "directory"),
        (["verify", __file__], 4, "format error"),
        (["inspekt", "FILE"], 2, "inspekt"),
        (["inspect"], 2, "file"),
        (["query", "FILE", "users", "--limit", "x"], 2, "limit"),
        (["import", "FILE", "users", "--from", "nowhere.csv"], 3, "nowhere.csv"),
        (["import", "FILE", "users", "--from", "rows.txt"], 2, "say --format"),
        (["import", "FILE", "--format", "csv"], 2, "name the collection"),
        (["migrate", "plan", "FILE", "nowhere:User"], 1, "there is no module 'nowhere'"),
        (["migrate", "plan", "FILE", "tests.api.users:Nope"], 1, "has no class 'Nope'"),
        (["migrate", "plan", "FILE", "users"], 2, "module:Class"),
        (["bench", "FILE", "nope"], 1, "unknown collection"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    run: Run, file: str, words: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*(file if word == "FILE" else word for word in words))
    assert (found, out) == (code, "")
    assert err.startswith("modelvault: ")
    assert err.count("\n") == 1
    assert message.lower() in err.lower()
    assert not Path("nowhere.modelvault").exists()


def test_a_file_that_another_writes_can_be_read_but_not_written(run: Run, file: str) -> None:
    code = "import sys; from modelvault import Database\nwith Database.open(sys.argv[1]): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert document(run, "query", file, "users", "--count") == [{"count": 4}]
        assert run("checkpoint", file)[0] == 3
        holder.communicate("\n")


def test_help_says_what_there_is(run: Run) -> None:
    code, out, _ = run()
    assert code == 2
    commands = re.findall(r"^  ([a-z-]+) ", out, re.MULTILINE)
    assert {"inspect", "verify", "dump-catalog", "query", "shell", "import", "export", "migrate"} <= set(commands)
    for command in commands:
        assert run(command, "--help")[0] == 0
    assert good(run, "--version").startswith("modelvault 1.")


# The shell


def test_the_shell_runs_what_comes_through_a_pipe(run: Run, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ".tables\nSELECT name\nFROM users WHERE id = 1;\nSELECT ';' AS s; .json on\nSELECT 2 AS two"
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert good(run, "shell", file) == 'collection\nusers\nname\nada\ns\n;\n[{"two": 2}]\n'
    assert good(run, "shell", file, "-c", "SELECT 1 AS a; SELECT 2 AS b") == "a\n1\nb\n2\n"
    assert "age_idx\tage\tindex" in good(run, "shell", file, "-c", ".schema users")
    code, out, err = run("shell", file, "-c", "SELECT 1 AS a; SELECT x FROM users; SELECT 2 AS b")
    assert (code, out) == (1, "a\n1\n")
    assert "unknown field path" in err
    assert run("shell", file, "-c", ".nope")[0] == 1


def in_a_terminal(words: list[str], typed: str = "", *more: tuple[str, str], **environment: str) -> str:
    """What a command shows on a terminal, escapes and all. more: what to wait for, and what to type then."""
    pty = pytest.importorskip("pty")
    here, there = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **environment}
    env.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
    process = subprocess.Popen(
        [sys.executable, "-m", "modelvault", *words], stdin=there, stdout=there, stderr=there, env=env, close_fds=True
    )
    os.close(there)
    os.write(here, typed.encode())
    shown, seen, waiting = b"", 0, list(more)
    while True:
        if not select.select([here], [], [], 30)[0]:
            process.kill()
            raise AssertionError(f"nothing happens after {shown.decode()}")
        try:
            part = os.read(here, 65536)
        except OSError:
            break
        if b"\x1b[6n" in part:  # where is the cursor?
            os.write(here, b"\x1b[1;1R")
        shown += part
        while waiting and waiting[0][0].encode() in shown[seen:]:
            seen = len(shown)
            os.write(here, waiting.pop(0)[1].encode())
        if not part:
            break
    process.wait()
    os.close(here)
    return shown.decode()


def test_a_terminal_gets_tables_and_colours_unless_no_color(file: str) -> None:
    coloured = in_a_terminal(["query", file, "users", "--columns", "id,name"])
    assert "┃" in coloured
    assert "\x1b[" in coloured
    plain = in_a_terminal(["query", file, "users", "--columns", "id,name"], NO_COLOR="1")
    assert "┃" in plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain)


def test_a_terminal_shows_what_it_must_not_obey(file: str) -> None:
    with Database.open(file) as db:
        db.collection(User).update(1, {"name": "a\x1b]0;title\x07\x9bb\nc"})
    shown = in_a_terminal(["query", file, """SELECT name, '\\[/b]' AS "[/red]" FROM users WHERE id = 1"""])
    assert r"a\x1b]0;title\x07\x9bb" in shown and "\x1b]0;" not in shown
    assert r"\[/b]" in shown and "[/red]" in shown and "Traceback" not in shown


def test_what_a_terminal_cannot_show_is_no_error(file: str) -> None:
    """Other characters than the encoding has: by their numbers. JSON stays JSON, and an export is UTF-8."""
    with Database.open(file) as db:
        db.collection(User).update(1, {"name": "\u00e9\u20ac"})

    def shown(*words: str) -> bytes:
        environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        command = [sys.executable, "-m", "modelvault", words[0], file, *words[1:]]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout

    assert shown("query", "users", "id=1", "--columns", "name") == b"name\n\xe9\\u20ac\n"
    assert shown("query", "users", "id=1", "--columns", "name", "--json") == b'[{"name": "\\u00e9\\u20ac"}]\n'
    assert b'"name": "\xc3\xa9\xe2\x82\xac"' in shown("export", "users", "id=1")


def test_the_shell_talks_on_a_terminal(file: str, tmp_path: Path) -> None:
    history = tmp_path / "history"
    typed = "SELECT name\rFROM users WHERE id = 3;\rSELECT nope FROM users;\r.timer on\rSELECT 40 + 2;\r.quit\r"
    shown = in_a_terminal(["shell", file], typed, MODELVAULT_HISTORY=str(history))
    assert "cid" in shown
    assert "unknown field path" in shown
    assert "42" in shown
    assert " ms" in shown
    assert "Traceback" not in shown
    assert "+SELECT name" in history.read_text()


def test_the_shell_completes_with_tab(file: str) -> None:
    """One candidate is put in at once, in the case that was typed; of several what they share, and a menu."""
    steps = [
        ("modelvault>", "sel\t"),
        ("ect", " addr\t"),
        ("address.zip", ".c\t"),  # in the menu
        ("ity", " from u\t"),
        ("sers", " WHERE id = 3\r"),
        ("...>", "ord\t"),
        ("er", " by na\t"),
        ("me", ";\r"),
        ("1 row", ""),
        ("modelvault>", ".quit\r"),
    ]
    shown = in_a_terminal(["shell", file], "", *steps, MODELVAULT_HISTORY="")
    assert "address.city" in shown and "Traceback" not in shown and "error" not in shown


# Being run


@pytest.mark.skipif(sys.platform == "win32", reason="the command is for a POSIX shell")
@pytest.mark.parametrize("words", [["query", "SELECT id FROM users"], ["export", "users"]])
def test_a_closed_pipe_is_no_error(file: str, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "modelvault", words[0], file, *words[1:]]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="the command is for a POSIX shell")
def test_a_closed_output_is_no_error(file: str) -> None:
    command = f'exec "{sys.executable}" -m modelvault inspect "{file}" >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class Interrupted(io.StringIO):
    """Somebody presses Ctrl-C while this is read."""

    def __next__(self) -> str:
        raise KeyboardInterrupt


def test_ctrl_c_is_said_on_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Interrupted())
    found = run("import", str(tmp_path / "new.modelvault"), "--model", "tests.api.users:User")
    assert found == (130, "", "modelvault: interrupted\n")


def test_without_the_extra_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['typer'] = None; from modelvault.cli import main; sys.exit(main(['--version']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "modelvault: the command line needs typer: pip install 'modelvault[cli]'\n"


def test_the_page_names_every_command_and_option(run: Run) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    commands = re.findall(r"^  ([a-z][a-z-]+) ", run()[1], re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        texts = [run(command, "--help")[1]]
        assert f"`{command} " in page, f"docs/cli.md says nothing of {command}"
        if command == "migrate":
            texts = [run("migrate", verb, "--help")[1] for verb in ("plan", "apply")]
        for option in set(re.findall(r"--[a-z-]+", "".join(texts))) - {"--help", "--json"}:
            assert f"{option}" in page, f"docs/cli.md does not mention {option} of {command}"


def test_words_are_completed(file: str) -> None:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from modelvault.cli.terminal import Words

    with Database.open(file) as db:
        db.register_collection("uses", '[{"path": ["id"], "type": "int64"}, {"path": ["many"], "type": "int64"}]', "id")

        def found(text: str, begun: str = "") -> list[str]:
            words = Words(db, lambda: begun)
            return [word.text for word in words.get_completions(Document(text), CompleteEvent())]

        assert found("SELECT address.") == ["address.city", "address.zip"]
        assert found("SELECT id,na") == ["name"]
        assert found("SELECT max(sc") == ["score"]
        assert found("SELECT id FROM us") == ["users", "uses"]
        assert found("SELECT id FROM ") == found("FROM users;SELECT id FROM ") == ["users", "uses"]
        assert found("us", "SELECT id\nFROM\n") == ["users", "uses"]
        assert (found("sel"), found("Sel"), found("SEL")) == (["select"], ["SELECT"], ["SELECT"])
        assert found("SELECT id FROM users WHERE age>sc") == ["score"]
        assert "many" not in found("SELECT id FROM users WHERE m")
        assert "many" in found("SELECT id FROM uses WHERE m") and "many" in found("m", "SELECT id FROM uses WHERE ")
        assert found("SELECT id FROM users WHERE age") == [] and found("SELECT id FROM uses US") == ["users", "uses"]
        db.register_collection("orders", '[{"path": ["id"], "type": "int64"}]', "id")
        assert found("SELECT id FROM users ORDER") == ["orders", "ORDER"]
        assert found("SELECT users.na") == ["users.name"]
        assert found(".sc") == [".schema"]
        assert found(".schema us") == ["users", "uses"]
        assert found("SELECT id FROM users WHERE i").count("id") == 1
