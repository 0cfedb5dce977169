"""`make guard`: instructions of the core, counted by callgrind, against a stored baseline.

Counts do not depend on how busy the machine is. They do depend on the interpreter, the compiler and Pydantic: there is
a baseline for each combination of these, and one that was never stored is reported, not failed. TOLERANCE covers
what is left: the addresses of objects decide about collisions in tables of the interpreter.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.counted import CALLS
from benchmarks.table import aligned

BASELINE = Path(__file__).with_name("guard.json")
TOLERANCE = 0.03
GATE = "PyRun_SimpleStringFlags"
SETTINGS = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
NAMES = (
    "nothing",  # what the gate itself takes
    "codec: encode",
    "codec: decode",
    "keys: pack integers",
    "keys: pack strings",
    "tree: find",
    "get",
    "get, awaited",
    "get by unique index",
    "range, ordered, limit 20",
    "equality, 10 rows",
    "update, in memory",
    "insert, two indexes",
)


def environment() -> str:
    """What counts depend on besides our sources."""
    from importlib.metadata import version

    compiler = re.sub(r"\s+", " ", platform.python_compiler())
    pydantic = ".".join(version("pydantic").split(".")[:2])
    return f"{platform.machine()}, Python {platform.python_version()} ({compiler}), pydantic {pydantic}"


def count() -> dict[str, float]:
    """Instructions of one call, by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        gates = (f"--toggle-collect={GATE}", f"--zero-before={GATE}", f"--dump-after={GATE}")
        command = ("valgrind", "--tool=callgrind", *gates, f"--callgrind-out-file={out}")
        run = subprocess.run(
            [*command, sys.executable, "-m", "benchmarks.counted"],
            env={**os.environ, **SETTINGS},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            sys.exit(run.stderr)
        dumps = [Path(folder) / f"out.{number + 1}" for number in range(len(NAMES))]
        totals = [int(re.findall(r"^(?:summary|totals): (\d+)", dump.read_text(), re.MULTILINE)[-1]) for dump in dumps]
    return {name: (total - totals[0]) / CALLS for name, total in zip(NAMES[1:], totals[1:], strict=True)}


def compare(found: dict[str, float], stored: dict[str, float]) -> bool:
    """Print both; whether nothing takes more than it may."""
    lines = [["instructions of one call", "baseline", "now", "change", ""]]
    for name, now in found.items():
        before = stored.get(name)
        change = 0.0 if before is None else now / before - 1
        verdict = "" if change <= TOLERANCE else f"more than {TOLERANCE:.0%} slower"
        lines.append([name, "-" if before is None else f"{before:,.0f}", f"{now:,.0f}", f"{change:+.1%}", verdict])
    print("\n".join(aligned(lines, 1)))
    return all(not line[-1] for line in lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="make what is counted now the baseline")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: the guard counts instructions with it")
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    here, found = environment(), count()
    holds = compare(found, baselines.get(here, {}))
    if options.store:
        baselines[here] = found
        BASELINE.write_text(json.dumps(baselines, indent=1) + "\n")
        print(f"stored as the baseline of {here}")
    elif here not in baselines:
        print(f"there is no baseline for {here}: `make guard ARGS=--store` stores this one")
    elif not holds:
        sys.exit("if that is meant, `make guard ARGS=--store` makes it the new baseline")


if __name__ == "__main__":
    main()
