"""What a command prints: tables with colours on a terminal, tab-separated lines elsewhere, JSON if it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from modelvault._plain import as_json
from modelvault.cli.values import as_text

__all__ = ["Output", "progress", "rows", "size"]

PAGE: Final = 500  # rows of one table, so that a long result streams


class Output:
    """Where a command's answer goes: `json`, a terminal, or a pipe."""

    def __init__(self, json: bool) -> None:
        self.json = json
        self.console: Console = Console(highlight=False, soft_wrap=True)
        self._ascii = not self.console.encoding.startswith("utf")  # what cannot be shown is JSON's \uXXXX

    @property
    def terminal(self) -> bool:
        """Is someone looking?"""
        return self.console.is_terminal and not self.json

    def table(self, names: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str | None] = ()) -> int:
        """Rows under names; how many there were. As JSON an array of objects."""
        kinds = kinds or [None] * len(names)
        if self.json:
            return self._array(names, rows, kinds)
        if not self.terminal:
            return self._lines(names, rows, kinds)
        return self._tables(names, rows, kinds)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Names and values, one below the other. As JSON an object."""
        if self.json:
            self.document(facts)
            return
        for name, value in facts.items():
            shown = as_text(value) if not isinstance(value, Mapping | list) else json.dumps(as_json(value))
            if self.terminal:
                self.console.print(f"[bold]{name.replace('_', ' '):<18}[/bold] ", end="")
                self.console.print(shown, markup=False)
            else:
                self.write(f"{name}\t{shown}")

    def document(self, value: Any) -> None:
        """A value as JSON, indented."""
        self.write(json.dumps(as_json(value), ensure_ascii=self._ascii, indent=2))

    def done(self, text: str, good: bool = True, **facts: Any) -> None:
        """What was done, in a sentence; as JSON the facts."""
        if self.json:
            self.document(facts)
        else:
            self.console.print(text, style=("green" if good else "red") if self.terminal else None, markup=False)

    def write(self, text: str) -> None:
        """A line as it is."""
        sys.stdout.write(text + "\n")

    def _array(self, names: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str | None]) -> int:
        """Write rows as a JSON array of objects, as they come; how many."""
        count = 0
        for row in rows:
            value = {name: as_json(cell, kind) for name, cell, kind in zip(names, row, kinds, strict=True)}
            sys.stdout.write(",\n " if count else "[")
            sys.stdout.write(json.dumps(value, ensure_ascii=self._ascii))
            count += 1
        self.write("]" if count else "[]")
        return count

    def _lines(self, names: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str | None]) -> int:
        """Write a heading and rows, separated by tabs, for other programs; how many rows."""
        count = 0
        self.write("\t".join(names))
        for row in rows:
            cells = (as_text(cell, kind) for cell, kind in zip(row, kinds, strict=True))
            self.write("\t".join(cell.translate(ESCAPES) for cell in cells))
            count += 1
        return count

    def _tables(self, names: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str | None]) -> int:
        """Write rows as tables of PAGE rows, so that the first ones show at once; how many."""
        count = 0
        rows = iter(rows)
        while True:
            part = list(islice(rows, PAGE))
            if count and not part:
                return count
            table = Table(header_style="bold cyan")
            for name, kind in zip(names, kinds, strict=True):
                table.add_column(visible(name), justify="right" if kind in NUMBERS else "left", overflow="fold")
            for row in part:
                cells = (as_text(cell, kind) for cell, kind in zip(row, kinds, strict=True))
                table.add_row(*(Text(NULL, "dim") if cell == NULL else visible(cell) for cell in cells))
            Console(highlight=False).print(table)
            count += len(part)
            if len(part) < PAGE:
                return count


NULL: Final = "NULL"
NUMBERS: Final = frozenset(("int", "int64", "uint64", "float64", "decimal"))
ESCAPES: Final = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})
# What a terminal would obey rather than show; a new line is one in a table, too.
CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in b"\t\n"}


def visible(text: str) -> Text:
    """Text that is neither markup nor anything else but text."""
    return Text(text.translate(CONTROLS))


def rows(count: int) -> str:
    """A number of rows, for people."""
    return f"{count:,} row{'s' * (count != 1)}"


def size(count: int) -> str:
    """A number of bytes, for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


@contextmanager
def progress(output: Output, text: str, total: int | None = None) -> Generator[Callable[[int], object], None, None]:
    """A bar on a terminal; the function is called with the count so far."""
    console = Console(stderr=True)
    if output.json or not console.is_terminal:
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.update(task, completed=count)
