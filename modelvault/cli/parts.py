"""The arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelvault.errors import ModelVaultQueryError

__all__ = ["Collection", "File", "Json", "Model", "Name", "UsageError"]

File = Annotated[Path, typer.Argument(help="The database file.", show_default=False)]
Collection = Annotated[str | None, typer.Argument(help="A collection.", show_default=False)]
Name = Annotated[str, typer.Argument(help="A collection.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODULE:CLASS", help="The model class.", show_default=False)
]


class UsageError(ModelVaultQueryError):
    """The command line is wrong, whatever is in the file."""
