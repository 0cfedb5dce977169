"""`migrate plan` and `migrate apply`: a stored collection and its model class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from modelvault import models
from modelvault.cli.output import Output, progress
from modelvault.cli.parts import File, Json
from modelvault.cli.places import model, reading, writing

__all__ = ["app"]

NEEDED: Final = 5  # exit code of `plan --check` when there is something to do

app: typer.Typer = typer.Typer(
    help="Make a stored collection fit its model class.", no_args_is_help=False, rich_markup_mode=None
)

Class = Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="The model class.", show_default=False)]


@app.command("plan")
def plan(
    file: File,
    place: Class,
    check: Annotated[bool, typer.Option("--check", help="Exit code 5 if there is something to do.")] = False,
    json: Json = False,
) -> None:
    """What it would take, change by change."""
    cls = model(place)
    with reading(file) as db:
        found = models.plan(db, cls)
    output = Output(json)
    if json:
        output.document(dict(found))
    else:
        output.write(str(found))
    if check and found.changes:
        raise typer.Exit(NEEDED)


@app.command("apply")
def apply(
    file: File,
    place: Class,
    force: Annotated[
        bool, typer.Option("--force", help="Drop fields that the class no longer has, and what else needs a decision.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, and take it back.")] = False,
    json: Json = False,
) -> None:
    """Do it; nothing has changed if it fails."""
    cls, output = model(place), Output(json)
    with writing(file) as db, progress(output, "rows") as tell:
        version = models.apply(db, cls, force=force, dry_run=dry_run, progress=tell)
    verb = "would be" if dry_run else "is"
    output.done(f"{name_of(file, cls)} {verb} at version {version}", version=version, dry_run=dry_run)


def name_of(file: Path, cls: type) -> str:
    """What is migrated, for messages."""
    return f"{cls.__name__} in {file}"
