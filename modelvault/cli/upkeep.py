"""`checkpoint`, `compact`, `backup`, `restore`, `stats`: what is done with a file as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelvault import Database
from modelvault.cli.output import Output, progress, size
from modelvault.cli.parts import File, Json
from modelvault.cli.places import reading, writing
from modelvault.errors import ModelVaultQueryError

__all__ = ["backup", "checkpoint", "compact", "restore", "stats"]

To = Annotated[Path, typer.Option("--to", "-o", help="The file to write.", show_default=False)]
Verify = Annotated[bool, typer.Option("--verify", help="Then read the whole copy and check it.")]


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
        raise ModelVaultQueryError("say where: --in-place, or --to FILE")
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


def checked_copy(path: Path) -> dict[str, Any]:
    """What `--verify` found."""
    with reading(path) as db:
        db.verify()
        return {"sound": True, "collections": len(db.collection_names())}


def refuse_itself(file: Path, to: Path) -> None:
    """Raise if a copy would be written over its source."""
    if to.exists() and file.exists() and to.samefile(file):
        raise ModelVaultQueryError(f"{to} is the database itself")


def file_size(path: Path) -> int:
    """How long a file is; OSError if it is not there."""
    return path.stat().st_size
