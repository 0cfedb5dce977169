"""The commands, and what happens when one fails: a line on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Final

import typer

import modelvault
from modelvault.cli import ask, bench, carry, look, migrate, shell, upkeep
from modelvault.cli.parts import UsageError
from modelvault.errors import CorruptionError, ModelVaultError, ModelVaultFormatError

__all__ = ["run"]

FAILED: Final = 1  # the question or the data was wrong
USAGE: Final = 2  # the command line was wrong
UNREADABLE: Final = 3  # the file could not be opened, read or written
DAMAGED: Final = 4  # the file is damaged, or no database
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

app: typer.Typer = typer.Typer(
    help="Look into modelvault databases, move rows in and out, and look after the files.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("inspect")(look.inspect)
app.command("verify")(upkeep.verify)
app.command("dump-catalog")(look.dump_catalog)
app.command("query")(ask.query)
app.command("shell")(shell.shell)
app.command("import")(carry.load)
app.command("export")(carry.export)
app.command("backup")(upkeep.backup)
app.command("restore")(upkeep.restore)
app.command("compact")(upkeep.compact)
app.command("checkpoint")(upkeep.checkpoint)
app.command("salvage")(upkeep.salvage)
app.command("stats")(upkeep.stats)
app.add_typer(migrate.app, name="migrate")
app.command("bench")(bench.bench)


def show_version(wanted: bool) -> None:
    """The callback of --version: print it and end."""
    if wanted:
        print(f"modelvault {modelvault.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Look into modelvault databases, move rows in and out, and look after the files."""
    if context.invoked_subcommand is None:
        print(context.get_help())  # noqa: T201
        raise typer.Exit(USAGE)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Errors of the user are one line on standard error."""
    show_everything()
    try:
        code = app(arguments, prog_name="modelvault", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # Typer knows that, too, but does not say it
            return failed("interrupted", INTERRUPTED)
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return pipe_closed()
    except SystemExit as error:  # what Typer makes of a BrokenPipeError
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return pipe_closed()
    except UsageError as error:
        return failed(str(error), USAGE)
    except (CorruptionError, ModelVaultFormatError) as error:
        return failed(str(error), DAMAGED)
    except OSError as error:
        text = error.strerror or str(error)
        return failed(f"{error.filename}: {text}" if error.filename else text, UNREADABLE)
    except (ModelVaultError, ValueError, TypeError, ArithmeticError, LookupError, UnicodeError) as error:
        return failed(str(error) or type(error).__name__, FAILED)
    except Exception as error:
        message = getattr(error, "format_message", None)  # a ClickException, which Typer keeps to itself
        if message is None:
            raise
        return failed(message(), USAGE)


def show_everything() -> None:
    """Let nobody fail for a character that the terminal has not: it is shown by its number."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - a caller that has closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    standard: object = sys.stdout
    if isinstance(standard, TextIOWrapper):
        standard.reconfigure(errors="backslashreplace")


def pipe_closed() -> int:
    """Nobody reads the output any more: that is no error of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)  # for the flush at exit
    return PIPE_CLOSED


def failed(text: str, code: int) -> int:
    """Say what went wrong, on one line."""
    print(f"modelvault: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
    return code
