"""The flights example on the first rows of each file."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the example prints."""
    path = tmp_path_factory.mktemp("flights") / "flights.modelvault"
    command = [sys.executable, "-W", "error", "examples/flights.py", "--rows", "4000", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_every_collection_is_loaded(output: list[str]) -> None:
    loaded = {words[0]: words[1] for words in (line.split() for line in output) if len(words) == 8}
    assert loaded == {"airlines": "16", "airports": "1,458", "planes": "3,322", "weather": "3,999", "flights": "4,000"}


def test_every_question_is_answered(output: list[str]) -> None:
    questions = [line for line in output if line.endswith(" ms")]
    assert len([line for line in questions if line.split()[0].isdigit()]) == 13
    assert any("UA1545" in line and "EWR -> IAH  N14228  +2 min" in line for line in output)
    assert any("United Air Lines Inc., JetBlue Airways, Hawaiian Airlines Inc." in line for line in output)
    assert any(line.strip().startswith("18:") for line in output), "airports on Hawaiian time"
    assert any(line.strip().startswith("no:") for line in output), "a negative distance is refused"
