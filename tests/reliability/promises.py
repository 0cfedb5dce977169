"""What docs/promises.md says: which tests keep which promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
ROW = re.compile(r"^\| (P\d+) \|", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py(?:::\w+)?)`")


def rows() -> dict[str, list[str]]:
    """The tests by promise, as paths from the tests' folder."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if ROW.match(line)]
    return {line.split("|")[1].strip(): TEST.findall(line) for line in lines}


def exists(test: str) -> bool:
    """Whether there is such a test: `tests/file.py`, or a function in it."""
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    nodes = ast.walk(ast.parse(path.read_text()))
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return name in names if name else any(found.startswith("test_") for found in names)
