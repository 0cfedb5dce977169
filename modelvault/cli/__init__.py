"""The command line: `modelvault`, or `python -m modelvault`. Needs the extra `cli`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

NEEDED = ("typer", "rich", "prompt_toolkit", "sqlglot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    try:
        from modelvault.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        print(f"modelvault: the command line needs {error.name}: pip install 'modelvault[cli]'", file=sys.stderr)  # noqa: T201
        return 2
    return run(arguments)
