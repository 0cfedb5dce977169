"""`checkpoint`, `stats`: what is done with a file as a whole."""

from __future__ import annotations

from modelvault.cli.output import Output
from modelvault.cli.parts import File, Json
from modelvault.cli.places import reading, writing

__all__ = ["checkpoint", "stats"]


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
