"""`shell`: SELECTs one after the other, with history and completion; or those that come through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Annotated, Any, Final

import typer

from modelvault import Database, dbapi
from modelvault.cli.ask import show
from modelvault.cli.look import show_collection
from modelvault.cli.output import Output, rows
from modelvault.cli.parts import File, Json
from modelvault.cli.places import reading, schema_of
from modelvault.errors import ModelVaultError, ModelVaultQueryError

__all__ = ["shell"]

HELP: Final = """\
A SELECT ends with ; and may have several lines.
.tables              the collections
.schema COLLECTION   its fields and indexes
.json on|off         answers as JSON
.timer on|off        how long each answer took
.quit                leave (or Ctrl-D)"""


def shell(
    file: File,
    command: Annotated[str | None, typer.Option("--command", "-c", help="Run this, and leave.")] = None,
    json: Json = False,
) -> None:
    """Ask with SQL, interactively: history, completion with Tab. Reads only."""
    with reading(file) as db, dbapi.connect(db) as connection:
        session = Session(db, connection, Output(json))
        if command is not None:
            session.run(command.splitlines(keepends=True))
        elif not sys.stdin.isatty():
            session.run(sys.stdin)
        else:
            session.converse()


class Session:
    """One conversation about one database."""

    def __init__(self, db: Database, connection: dbapi.Connection, output: Output) -> None:
        self._db = db
        self._connection = connection
        self._output = output
        self._timer = False
        self._waiting = ""  # the beginning of a statement

    def run(self, lines: Iterable[str]) -> None:
        """Every statement of a text; the first error ends it."""
        for statement in statements(lines):
            if self.execute(statement):
                return

    def converse(self) -> None:
        """Statements from the terminal, until the end; an error is said, and it goes on."""
        from modelvault.cli.terminal import typed

        hints = "a statement ends with ;  .help for help, Ctrl-D to leave"
        self._output.console.print(self._db.path(), style="bold", markup=False, end="")
        self._output.console.print(f": {hints}")
        for line in typed(self._db, lambda: self._waiting):
            self._waiting = self._waiting + line if line else ""
            found = list(statements([self._waiting], complete=True))
            if found:
                self._waiting = ""
            if any(self._attempt(statement) for statement in found):
                return

    def _attempt(self, statement: str) -> bool:
        """Answer a statement, or say why not; whether it was the last."""
        try:
            return self.execute(statement)
        except (ModelVaultError, ValueError, TypeError, OSError) as error:
            self._output.console.print(" ".join(str(error).split()), style="red", markup=False)
        except KeyboardInterrupt:
            self._output.console.print("interrupted", style="red")
        return False

    def execute(self, statement: str) -> bool:
        """Answer one statement; whether it was the last."""
        if statement.startswith("."):
            return self._command(statement)
        start = perf_counter()
        with self._connection.cursor() as cursor:
            count = show(cursor.execute(statement), self._output)
        if self._output.terminal:
            took = f", {(perf_counter() - start) * 1e3:,.1f} ms" if self._timer else ""
            self._output.console.print(f"[dim]{rows(count)}{took}[/dim]")
        return False

    def _show_schema(self, name: str) -> None:
        """.schema: the fields and indexes of a collection."""
        show_collection(self._db, schema_of(self._db, name), self._output)

    def _command(self, text: str) -> bool:
        """Carry out a command with a dot; True if it ends the shell."""
        word, *arguments = text.split()
        if word in (".quit", ".exit"):
            return True
        commands: dict[str, Callable[..., Any]] = {
            ".help": lambda: self._output.write(HELP),
            ".tables": lambda: self._output.table(["collection"], [(name,) for name in self._db.collection_names()]),
            ".schema": self._show_schema,
            ".json": self._set_json,
            ".timer": self._set_timer,
        }
        try:
            commands[word](*arguments)
        except (KeyError, TypeError):
            raise ModelVaultQueryError(f"{text!r} is no command: .help lists them") from None
        return False

    def _set_json(self, value: str) -> None:
        """.json on or off."""
        self._output = Output(switch(value))

    def _set_timer(self, value: str) -> None:
        """.timer on or off."""
        self._timer = switch(value)


def switch(value: str) -> bool:
    """Whether it is "on"; TypeError for what is neither that nor "off"."""
    if value not in ("on", "off"):
        raise TypeError(value)
    return value == "on"


def statements(lines: Iterable[str], *, complete: bool = False) -> Iterator[str]:
    """The statements of a text: each ends with a semicolon outside quotes, a command with its line.

    complete: not the one at the end that lacks its semicolon.
    """
    waiting = ""
    for line in lines:
        waiting += line
        *whole, waiting = divided(waiting)
        yield from (statement.strip() for statement in whole if statement.strip())
        if waiting.lstrip().startswith("."):
            yield waiting.strip()
            waiting = ""
    if waiting.strip() and not complete:
        yield waiting.strip()


def divided(text: str) -> list[str]:
    """A text cut at its semicolons, those inside quotes left out."""
    found: list[str] = []
    start, quote = 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter == ";":
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]
