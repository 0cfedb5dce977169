"""What runs the parts at length: one table, one JSON file, and an error if anything was lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.reliability.__main__ import ROOT, Running, table
from tests.reliability.parts import PARTS, Part
from tests.reliability.tally import Tally


def test_what_was_lost_is_said_in_json() -> None:
    tally = Tally("a part", tried=3)
    tally.lose("a row", "seed 1")
    tally.lose("a row", "seed 2")
    assert json.loads(json.dumps(tally.result()))["losses"] == {"a row": 2}


def test_a_part_from_the_command_to_the_table(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [
        sys.executable,
        "-m",
        "tests.reliability",
        "--only",
        "swapped",
        "--minutes",
        "0.5",
        "--json",
        str(result),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| swapped and stale pages | " in done.stdout
    (part,) = json.loads(result.read_text())["parts"]
    assert part["tried"] >= 200 and part["losses"] == {}


@pytest.mark.parametrize(
    ("returncode", "found", "lost"),
    [
        (0, {"tried": 9, "done": True}, "too few tries"),
        (-11, {"tried": 99, "done": False}, "crashes"),
        (-6, {"tried": 99, "done": False}, "hangs"),
        (0, {"tried": 99, "done": True, "losses": {"a row": 1}}, "a row"),
    ],
)
def test_what_counts_as_lost(returncode: int, found: dict[str, Any], lost: str, tmp_path: Path) -> None:
    running = Running(Part("failing I/O", lambda tally, seed: None, 1, 10), 1.0, tmp_path)
    running.began = time.monotonic()
    running.output, running.log = tmp_path / "output", tmp_path / "log"
    blank = {"part": "failing I/O", "detail": "", "place": "here", "losses": {}, "examples": []}
    running.output.write_text(json.dumps(blank | found))
    running.log.write_text("what it said")
    running.process = SimpleNamespace(returncode=returncode)  # type: ignore[assignment]
    result = running.end(1.0)
    assert list(result["losses"]) == [lost]
    assert table([result]).splitlines()[2].split("|")[3].strip() == "1"


def test_names_of_parts_can_be_told_apart() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)
