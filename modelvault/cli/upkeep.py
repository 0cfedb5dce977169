"""`checkpoint`: what is done with a file as a whole."""

from __future__ import annotations

from modelvault.cli.output import Output
from modelvault.cli.parts import File, Json
from modelvault.cli.places import writing

__all__ = ["checkpoint"]


def checkpoint(file: File, json: Json = False) -> None:
    """Bring what is committed from the log into the trees."""
    with writing(file) as db:
        db.checkpoint()
        generation = db.stats()["generation"]
    Output(json).done(f"{file}: checkpoint {generation}", path=str(file), generation=generation)
