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

COMMANDS: Final = (".help", ".tables", ".schema", ".json", ".timer", ".quit")
NAME: Final = re.compile(r"\w+")
WORD: Final = re.compile(r"[\w.]*\Z")  # that the cursor stands behind
COLLECTION: Final = re.compile(r"(\bfrom|^\s*\.schema)\s+\Z", re.IGNORECASE)  # behind which there is one


def typed(db: Database, begun: Callable[[], str]) -> Iterator[str]:
    """The lines that are typed, until Ctrl-D; an empty one for Ctrl-C. begun: the statement of the lines before."""
    session: PromptSession[str] = PromptSession(
        history=history(), completer=Words(db, begun), complete_while_typing=False, reserve_space_for_menu=6
    )
    while True:
        try:
            yield session.prompt("       ...> " if begun().strip() else "modelvault> ") + "\n"
        except KeyboardInterrupt:
            yield ""
        except EOFError:
            return


def history() -> History:
    """What was typed before: in MODELVAULT_HISTORY, else a file in the home directory; an empty name keeps none."""
    place = os.environ.get("MODELVAULT_HISTORY", str(Path.home() / ".modelvault_history"))
    return FileHistory(place) if place else InMemoryHistory()


class Words(Completer):
    """Completion: commands, collections, fields of those that the statement names, words of SQL."""

    def __init__(self, db: Database, begun: Callable[[], str]) -> None:
        self._db = db
        self._begun = begun

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        typed = WORD.findall(document.text_before_cursor)[0]
        before = self._begun() + document.text_before_cursor[: -len(typed) or None]
        words = dict.fromkeys(self._words(before, self._begun() + document.text, typed))
        found = [word for word in words if word.lower().startswith(typed.lower())]
        if found != [typed]:  # beside others a complete word is one of several, or Tab would make orders of ORDER
            yield from (Completion(word, start_position=-len(typed)) for word in found)

    def _words(self, before: str, text: str, typed: str) -> Iterator[str]:
        """What may follow, whatever of it has been typed. text: the statement, with what stands behind the cursor."""
        collections = self._db.collection_names()
        if not before.strip() and typed.startswith("."):
            yield from COMMANDS
        elif COLLECTION.search(before):
            yield from collections
        else:
            named = set(NAME.findall(text)).intersection(collections)
            for name in collections:
                if name in named or not named:
                    yield from names(
                        schema_of(self._db, name).fields, f"{name}." if typed.startswith(f"{name}.") else ""
                    )
            yield from collections
            yield from (like(typed, word) for word in WORDS)


def like(typed: str, word: str) -> str:
    """A word of SQL in the case of what has been typed of it, which then stays as it is."""
    return word.lower() if typed.islower() else word.upper() if typed.isupper() else word


def names(fields: tuple[Field, ...], above: str) -> Iterator[str]:
    """The paths of fields, those inside objects too."""
    for field in fields:
        yield f"{above}{field.name}"
        inner = field.type.items[0] if field.type.kind == "optional" else field.type
        yield from names(inner.fields, f"{above}{field.name}.")
