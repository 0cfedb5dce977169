"""`verify`, `salvage`, `backup`, `restore`, `compact`, `checkpoint`, `stats`: what is done with a file as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from modelvault import Database
from modelvault.cli.output import Output, progress, size
from modelvault.cli.parts import File, Json, UsageError
from modelvault.cli.places import reading, writing
from modelvault.errors import ModelVaultQueryError

__all__ = ["backup", "checkpoint", "compact", "restore", "salvage", "stats", "verify"]

DAMAGED: Final = 4  # the exit code of `app`
PROBLEM: Final = ("message", "page", "collection", "index", "key")
SAVED: Final = ("rows", "strays", "lost", "ranges", "refused")

To = Annotated[Path, typer.Option("--to", "-o", help="The file to write.", show_default=False)]
Verify = Annotated[bool, typer.Option("--verify", help="Then read the whole copy and check it.")]


def verify(file: File, json: Json = False) -> None:
    """Read the whole file: every page sound, every row in its indexes. Exit code 4 if something is wrong."""
    output = Output(json)
    with reading(file) as db, progress(output, "bytes", file_size(file)) as tell:
        report = db.verify(raises=False, progress=tell)
    facts = {
        "path": str(file),
        "sound": report.ok,
        "problems": [parts_of(problem, PROBLEM) for problem in report.problems],
    }
    counts = {name: getattr(report, name) for name in ("pages", "rows", "entries", "collections")}
    output.done(str(report), good=report.ok, **facts, **counts)
    if not report.ok:
        raise typer.Exit(DAMAGED)


def salvage(file: File, to: To, json: Json = False) -> None:
    """Save what is left of a damaged file into a new one. Exit code 4 if something is missing."""
    output = Output(json)
    if to.exists():
        raise ModelVaultQueryError(f"{to} is there already: what is saved goes into a new file")
    with progress(output, "bytes") as tell:
        report = Database.salvage(file, to, progress=tell)
    saved = {name: parts_of(one, SAVED) for name, one in report.collections.items()}
    facts = {"path": str(to), "complete": report.complete, "collections": saved, "problems": report.problems}
    output.done(str(report), good=report.complete, **facts)
    if not report.complete:
        raise typer.Exit(DAMAGED)


def checkpoint(file: File, json: Json = False) -> None:
    """Bring what is committed from the log into the trees."""
    with writing(file) as db:
        db.checkpoint()
        generation = db.stats()["generation"]
    Output(json).done(f"{file}: checkpoint {generation}", path=str(file), generation=generation)


def stats(file: File, json: Json = False) -> None:
    """Counters and sizes in bytes."""
    with reading(file) as db:
        Output(json).facts(db.stats())


def compact(
    file: File,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="Write a compact copy, and leave the file.", show_default=False)
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Make the file itself shorter.")] = False,
    json: Json = False,
) -> None:
    """Give unused space back: --in-place, while others read; or --to another file, every tree in order."""
    if in_place == (to is not None):
        raise UsageError("say where: --in-place, or --to FILE")
    output, before = Output(json), file_size(file)
    if to is None:
        with writing(file) as db, progress(output, "bytes") as tell:
            db.compact(progress=tell)
        result = file
    else:
        refuse_itself(file, to)
        with reading(file) as db, progress(output, "bytes") as tell:
            db.compact_to(to, progress=tell)
        result = to
    after = file_size(result)
    output.done(f"{result}: {size(before)} -> {size(after)}", path=str(result), before=before, after=after)


def backup(file: File, to: To, verify: Verify = False, json: Json = False) -> None:
    """Copy the last commit to a file, checked on the way, while others read and write."""
    output = Output(json)
    refuse_itself(file, to)
    with reading(file) as db, progress(output, "bytes", file_size(file)) as tell:
        db.export_snapshot(to, progress=tell)
    checked = checked_copy(to) if verify else {}
    text = f"{to}: {size(file_size(to))}{', sound' if verify else ''}"
    output.done(text, path=str(to), size=file_size(to), **checked)


def restore(
    backup: Annotated[Path, typer.Argument(help="The copy to put back.", show_default=False)],
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace a database that is there.")] = False,
    json: Json = False,
) -> None:
    """Put a copy in the place of a database, checked before; or leave everything as it is."""
    output = Output(json)
    if file.exists() and not force:
        raise ModelVaultQueryError(f"{file} is there already: --force replaces it")
    with progress(output, "bytes", file_size(backup)) as tell:
        Database.restore_snapshot(backup, file, progress=tell)
    output.done(f"{file}: restored from {backup}, {size(file_size(file))}", path=str(file), size=file_size(file))


def parts_of(report: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Parts of a report, for JSON."""
    return {name: getattr(report, name) for name in names}


def checked_copy(path: Path) -> dict[str, Any]:
    """What `--verify` found; CorruptionError if something is wrong."""
    with reading(path) as db:
        report = db.verify()
        return {"sound": True, "collections": report.collections, "rows": report.rows}


def refuse_itself(file: Path, to: Path) -> None:
    """Raise if a copy would be written over its source."""
    if to.exists() and file.exists() and to.samefile(file):
        raise ModelVaultQueryError(f"{to} is the database itself")


def file_size(path: Path) -> int:
    """How long a file is; OSError if it is not there."""
    return path.stat().st_size
