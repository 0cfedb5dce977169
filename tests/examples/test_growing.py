"""The example of a model that grew up."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_comes_to_the_newest_version() -> None:
    command = [sys.executable, "-W", "error", "examples/growing.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    heads = [line for line in lines if line.startswith("contacts")]
    assert heads == [
        "contacts, version 2 -> 3: breaking, every row is written anew",
        "contacts, version 1 -> 3: breaking, every row is written anew",
        "contacts: nothing changed",
    ]
    found = [line for line in lines if "of 20,000 contacts" in line]
    assert len(found) == 3 and "tags=['poet']" in found[0]
    assert found[1] == found[2] == found[0].replace("['poet']", "[]")
