"""`import` and `export`: rows as JSON lines or CSV."""

from __future__ import annotations

import csv
import json as jsonlib
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer

from modelvault import Database
from modelvault._core.drive import drive
from modelvault._selections import Selections
from modelvault._sql.names import resolved
from modelvault._sql.plan import planned
from modelvault._sql.run import PORTION
from modelvault.cli.ask import select_of
from modelvault.cli.infer import infer_cells, infer_rows
from modelvault.cli.output import Output, progress
from modelvault.cli.output import rows as counted_rows
from modelvault.cli.parts import File, Json, Model, Name, UsageError
from modelvault.cli.places import exact, model, reading, schema_of, writing
from modelvault.cli.values import columns, dumper, from_json, nested
from modelvault.conditions import Selection
from modelvault.errors import DuplicateKeyError, ModelVaultError, ModelVaultQueryError, ModelVaultSchemaError
from modelvault.patches import built
from modelvault.schema import Schema
from modelvault.sync import Collection

__all__ = ["export", "load"]

CHUNK = 10_000  # rows of one commit
STANDARD = Path("-")


class Format(str, Enum):
    """How rows are written in a file."""

    JSONL = "jsonl"
    CSV = "csv"


FormatOption = Annotated[
    Format | None, typer.Option("--format", "-f", help="jsonl or csv; else the file's name tells.", show_default=False)
]


def format_of(path: Path, given: Format | None) -> Format:
    """The format that is asked for, else that of the file's name; JSON lines for a pipe."""
    if given is not None:
        return given
    suffix = path.suffix.lower()
    if path == STANDARD or suffix in (".jsonl", ".ndjson", ".json"):
        return Format.JSONL
    if suffix == ".csv":
        return Format.CSV
    raise UsageError(f"{path}: say --format jsonl or --format csv")


# Export


def export(
    file: File,
    collection: Name,
    words: Annotated[list[str] | None, typer.Argument(metavar="[CONDITION]...", help="As of query: age>=18.")] = None,
    to: Annotated[Path, typer.Option("--to", "-o", help="The file to write; - is standard output.")] = STANDARD,
    format: FormatOption = None,
    json: Json = False,
) -> None:
    """Write the rows of a collection, of one moment, as JSON lines or CSV."""
    output = Output(json)
    with reading(file) as db:
        schema = schema_of(db, collection)
        rows = asked(exact(db.collection(collection)), schema, words or [])
        writer = write_csv if format_of(to, format) is Format.CSV else write_lines
        total = None if words else db.collection(collection).count()
        with progress(output, "rows", total) as tell, opened(to, "w") as stream:
            count = writer(schema, counted(rows, tell), stream)
    if to != STANDARD:
        output.done(f"{counted_rows(count)} written to {to}", rows=count, path=str(to))


def asked(collection: Collection[dict[str, Any]], schema: Schema, words: list[str]) -> Iterator[dict[str, Any]]:
    """The rows that satisfy conditions, as dicts with all fields."""
    source = Selections(collection.__handle__)
    plan = planned(resolved(select_of(schema, words, None, None), source, schema), None, source, schema.primary)
    if plan.rest is not None:
        raise ModelVaultQueryError(f"export cannot test {' '.join(words)}: compare with a value of the field's type")
    rows = source.rows(Selection(plan.selection.condition))
    try:
        while part := drive(rows.batch()):
            yield from part
    finally:
        drive(rows.aclose())


def counted(rows: Iterable[Any], tell: Callable[[int], object]) -> Iterator[Any]:
    """The rows, each counted for the bar."""
    for count, row in enumerate(rows, 1):
        yield row
        if not count % PORTION:
            tell(count)


def write_lines(schema: Schema, rows: Iterable[Mapping[str, Any]], stream: IO[str]) -> int:
    """One JSON object a line; how many."""
    dump, encode = dumper(schema.type) or dict, jsonlib.JSONEncoder(ensure_ascii=False).encode
    count = 0
    for row in rows:
        stream.write(encode(dump(row)) + "\n")
        count += 1
    return count


def write_csv(schema: Schema, rows: Iterable[Mapping[str, Any]], stream: IO[str]) -> int:
    """A line with the names, then one for each row; nested fields with dots, lists as JSON."""
    writer = csv.writer(stream)
    paths = list(columns(schema.type))
    writer.writerow(".".join(path) for path in paths)
    dump = cast("Callable[[Any], dict[str, Any]]", dumper(schema.type) or dict)
    count, known = 0, {field.name for field in schema.fields}
    for row in rows:
        found = dump(row)
        if schema.type.extras and not found.keys() <= known:
            extra = next(name for name in found if name not in known)
            raise ModelVaultQueryError(f'CSV has no column for "{extra}", an extra field of a row: use JSON lines')
        writer.writerow([cell(found, path) for path in paths])
        count += 1
    return count


def cell(value: Any, path: tuple[str, ...]) -> str:
    """What stands at a path of a JSON object, as CSV has it; nothing below None."""
    for name in path:
        value = None if value is None else value.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else jsonlib.dumps(value, ensure_ascii=False)


@contextmanager
def opened(path: Path, mode: str) -> Generator[IO[str], None, None]:
    """A file of text, or the standard stream: UTF-8, whatever the terminal has; a mark at its beginning is no text."""
    encoding = "utf-8-sig" if mode == "r" else "utf-8"
    if path == STANDARD:
        standard = sys.stdout if mode == "w" else sys.stdin
        if isinstance(standard, TextIOWrapper):
            standard.reconfigure(encoding=encoding, errors="strict", newline="")
        yield standard
    elif mode == "r" or (path.exists() and not path.is_file()):
        with path.open(mode, encoding=encoding, newline="") as stream:
            yield stream
    else:
        with replaced(path.resolve()) as stream:
            yield stream


@contextmanager
def replaced(path: Path) -> Generator[IO[str], None, None]:
    """A new file, which gets its name when it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        stream = part.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# Import

Target = Annotated[
    str | None, typer.Argument(help="The collection; with --model it is the model's.", show_default=False)
]
Create = Annotated[
    bool, typer.Option("--create", help="Fail if a row with the same key is there; else it is replaced.")
]


def load(
    file: File,
    collection: Target = None,
    source: Annotated[Path, typer.Option("--from", "-i", help="The file to read; - is standard input.")] = STANDARD,
    format: FormatOption = None,
    place: Model = None,
    key: Annotated[str | None, typer.Option(help="The primary key of a new collection; else it is id.")] = None,
    create: Create = False,
    chunk: Annotated[int, typer.Option(min=1, help="Rows of one commit.")] = CHUNK,
    json: Json = False,
) -> None:
    """Read rows from JSON lines or CSV. A new collection's schema is that of --model, else inferred from the rows."""
    output = Output(json)
    kind = format_of(source, format)
    cls = None if place is None else model(place)
    if cls is None and collection is None:
        raise UsageError("name the collection, or give a --model")
    with opened(source, "r") as stream:
        text: Iterable[str] = stream
        fields = primary = ""
        if cls is None and not exists(file, collection or ""):
            text = stream if stream.seekable() else list(stream)
            with progress(output, "schema: rows") as tell:
                fields, primary = inferred(text, kind, key, tell)
            if stream.seekable():
                stream.seek(0)
        with writing(file, create=True) as db:
            if fields:
                db.register_collection(collection or "", fields, primary)
            target: Collection[Any] = db.collection(cls) if cls is not None else exact(db.collection(collection or ""))
            if collection is not None and target.name != collection.strip():
                raise ModelVaultQueryError(f"{place} is the model of {target.name}, not of {collection}")
            rows = Rows(target.__handle__.schema, lines_of(text, kind), kind)
            with progress(output, "rows") as tell:
                count = put(db, target, rows, create, chunk, tell)
    output.done(f"{counted_rows(count)} stored in {target.name}", rows=count, collection=target.name)


def exists(file: Path, collection: str) -> bool:
    """Is there such a collection?"""
    if not file.exists():
        return False
    with reading(file) as db:
        return collection.strip() in db.collection_names()


def inferred(text: Iterable[str], kind: Format, key: str | None, tell: Callable[[int], object]) -> tuple[str, str]:
    """The schema that rows have in common, and its primary key."""
    infer = infer_cells if kind is Format.CSV else infer_rows
    fields, primary = infer((value for _, value in counted(lines_of(text, kind), tell)), key)
    return jsonlib.dumps(fields), primary


def lines_of(text: Iterable[str], kind: Format) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file, with the numbers of their lines."""
    try:
        yield from read_cells(text) if kind is Format.CSV else read_lines(text)
    except UnicodeDecodeError as error:  # in some line of those that were read at once
        raise NoText(f"the rows are not UTF-8: there is a byte 0x{error.object[error.start]:02x}") from None


def read_lines(text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines, with the numbers of their lines."""
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            value = jsonlib.loads(line)
        except jsonlib.JSONDecodeError as error:
            raise ModelVaultSchemaError(f"line {number}: no JSON: {error.msg}: column {error.pos + 1}") from None
        except ValueError as error:  # a number of thousands of digits
            raise ModelVaultSchemaError(f"line {number}: {error}") from None
        except RecursionError:
            raise ModelVaultSchemaError(f"line {number}: lists or objects nest too deeply") from None
        if not isinstance(value, dict):
            raise ModelVaultSchemaError(f"line {number}: no JSON object: {line.strip()[:40]}")
        yield number, value


def read_cells(text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of CSV by the names in its first line, with the numbers of their lines."""
    reader = csv.DictReader(text, strict=True)
    try:
        twice = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
        if twice:
            raise ModelVaultSchemaError(f'line 1: the column "{twice[0]}" is there twice')
        for row in reader:
            if None in row or None in row.values():
                raise ModelVaultSchemaError(f"line {reader.line_num}: another number of cells than of names")
            yield reader.line_num, row
    except csv.Error as error:
        raise ModelVaultSchemaError(f"line {reader.reader.line_num}: no CSV: {error}") from None


class NoText(ModelVaultSchemaError):
    """What is to be read is no text in UTF-8."""


class Rows:
    """The rows of a file as the collection takes them; `line` is where the last one came from."""

    def __init__(self, schema: Schema, lines: Iterable[tuple[int, Any]], kind: Format) -> None:
        self.line: int = 0
        self._lines = lines
        self._schema = schema
        self._strange: list[str] | None = None  # columns that are no fields
        self._read = self._from_cells if kind is Format.CSV else partial(from_json, schema.type)

    def __iter__(self) -> Iterator[Any]:
        for line, value in self._lines:
            self.line = line
            yield built(self._schema.type, self._read(value))

    def _from_cells(self, cells: dict[str, str]) -> dict[str, Any]:
        """The row of CSV cells; those of other columns are in it, too: the collection says what it thinks of them."""
        if self._strange is None:
            known = {".".join(path) for path in columns(self._schema.type)}
            self._strange = [
                name for name in cells if name not in known and self._schema.find(tuple(name.split("."))) is None
            ]
        return {**(nested(self._schema.type, cells) or {}), **{name: cells[name] for name in self._strange}}


def put(
    db: Database, target: Collection[Any], rows: Rows, create: bool, chunk: int, tell: Callable[[int], object]
) -> int:
    """Store the rows; an error says in which line."""
    try:
        if not create:
            return target.insert_many(rows, chunk=chunk, progress=tell)
        count, each = 0, ((rows.line, row) for row in rows)
        while part := list(islice(each, chunk)):
            with db.transaction():
                for line, row in part:
                    rows.line = line
                    target.create(row)
            count += len(part)
            tell(count)
        return count
    except (ModelVaultError, ValueError, TypeError, ArithmeticError) as error:
        if isinstance(error, NoText) or str(error).startswith("line "):
            raise
        if isinstance(error, DuplicateKeyError) and not create:
            raise  # it was found out behind its line: the key is in the message
        raise ModelVaultSchemaError(f"line {rows.line}: {error}") from error
