"""Lines typed on a terminal: history, and completion with Tab. Loaded by the shell, when someone is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from modelvault import Database
from modelvault.cli.places import schema_of
from modelvault.schema import Field

__all__ = ["typed"]

WORDS: Final = re.findall(
    r"\w+",
    "SELECT DISTINCT FROM WHERE AND OR NOT IN BETWEEN LIKE IS NULL ORDER BY ASC DESC NULLS FIRST LAST GROUP HAVING "
    "LIMIT OFFSET AS CASE WHEN THEN ELSE END EXPLAIN TRUE FALSE count sum min max avg coalesce lower upper length",
)


def typed(db: Database, inside: Callable[[], bool]) -> Iterator[str]:
    """The lines that are typed, until Ctrl-D; an empty one for Ctrl-C. inside: is a statement not complete yet?"""
    session: PromptSession[str] = PromptSession(history=history(), completer=Words(db))
    while True:
        try:
            yield session.prompt("       ...> " if inside() else "modelvault> ") + "\n"
        except KeyboardInterrupt:
            yield ""
        except EOFError:
            return


def history() -> History:
    """What was typed before: in MODELVAULT_HISTORY, else a file in the home directory; an empty name keeps none."""
    place = os.environ.get("MODELVAULT_HISTORY", str(Path.home() / ".modelvault_history"))
    return FileHistory(place) if place else InMemoryHistory()


class Words(Completer):
    """Completion: words of SQL, collections, fields, commands."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        typed = document.get_word_before_cursor(WORD=True).rpartition("(")[2].rpartition(",")[2]
        if not typed:
            return
        for word in self._words(document.text_before_cursor):
            if word.lower().startswith(typed.lower()) and word != typed:
                yield Completion(word, start_position=-len(typed))

    def _words(self, text: str) -> Iterator[str]:
        """What could be typed next, whatever has been begun: commands, words of SQL, collections, their fields."""
        if text.lstrip().startswith("."):
            yield from (".help", ".tables", ".schema", ".json", ".timer", ".quit")
        yield from WORDS
        for name in self._db.collection_names():
            yield name
            yield from names(schema_of(self._db, name).fields, "")


def names(fields: tuple[Field, ...], above: str) -> Iterator[str]:
    """The paths of fields, those inside objects too."""
    for field in fields:
        yield f"{above}{field.name}"
        inner = field.type.items[0] if field.type.kind == "optional" else field.type
        yield from names(inner.fields, f"{above}{field.name}.")
