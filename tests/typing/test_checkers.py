"""mypy --strict and pyright strict accept what is right, and find what is wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def mypy(name: str) -> dict[int, str]:
    """The errors that mypy --strict finds in a file, by line."""
    text = run("mypy", "--strict", "--no-error-summary", "--python-version=3.10", str(HERE / name))
    found = re.findall(rf"^\S*{name}:(\d+): error: (.*)$", text, re.MULTILINE)
    assert found or not text.strip(), text
    return {int(line): message for line, message in found}


def pyright(name: str) -> dict[int, str]:
    """The errors that pyright finds in a file, which says that it is strict, by line."""
    text = run("pyright", "--outputjson", "--pythonversion=3.10", "--pythonpath", sys.executable, str(HERE / name))
    report, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    assert report["summary"]["filesAnalyzed"] == 1
    errors = [part for part in report["generalDiagnostics"] if part["severity"] == "error"]
    return {part["range"]["start"]["line"] + 1: part["message"] for part in errors}


def expected(name: str, checker: str) -> set[int]:
    lines = enumerate((HERE / name).read_text().splitlines(), 1)
    return {number for number, line in lines if re.search(rf"# wrong: (both|{checker})$", line)}


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.parametrize("name", ["right.py", "wrong.py"])
def test_mypy(name: str) -> None:
    found = mypy(name)
    assert found.keys() == expected(name, "mypy"), found


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
@pytest.mark.parametrize("name", ["right.py", "wrong.py"])
def test_pyright(name: str) -> None:
    found = pyright(name)
    assert found.keys() == expected(name, "pyright"), found
