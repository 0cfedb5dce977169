"""SIGKILL at a random moment, again and again on the same file: no acknowledged row lost, no partial transaction."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelvault import Database, models
from tests.reliability.writer_process import Entry, entry

WRITER = Path(__file__).with_name("writer_process.py")
ROUNDS = int(os.environ.get("MODELVAULT_KILLS", "12"))


def run_and_kill(path: Path, seed: int, mode: str, seconds: float) -> list[str]:
    """Start a writer, kill it after `seconds` of writing, return the complete lines it acknowledged."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(seed), mode], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    lines = (first + rest).decode().split("\n")
    return [line for line in lines[:-1] if line]


def check_rows(path: Path, seed: int, size: int, acknowledged: dict[int, int | None], unknown: set[int]) -> None:
    """Every acknowledged batch is whole, at most one more batch exists, indexes agree.

    `acknowledged` maps a batch to the row that it deleted; `unknown` are batches that came to be without a word, each
    of which may have deleted one row that nobody heard of.
    """
    with Database.open(path) as db:
        entries = models.collection(db, Entry)
        rows = {row.id: row for row in entries.all()}
        doomed = {number for number in acknowledged.values() if number is not None}
        top = max(acknowledged)
        extra = {row.id for row in rows.values() if row.batch > top}
        assert extra in (set(), set(range((top + 1) * 5, (top + 1) * 5 + size))), "a batch is there in part"
        if extra:
            unknown.add(top + 1)
            acknowledged[top + 1] = None
        expected = {number for batch in acknowledged for number in range(batch * 5, batch * 5 + size)}
        assert set(rows) <= expected
        assert len(expected - doomed - set(rows)) <= len(unknown), "an acknowledged row is lost"
        assert all(row == entry(number, row.batch, seed) for number, row in rows.items())
        for batch in random.Random(seed).sample(sorted(acknowledged), min(5, len(acknowledged))):
            found = {row.id for row in entries.where("batch", batch).all()}
            assert found == {row.id for row in rows.values() if row.batch == batch}
        db.verify()


@pytest.mark.parametrize("mode", ["inserts", "transactions"])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "killed.modelvault"
    seed = 20261123
    draw = random.Random(seed)
    size = 5 if mode == "transactions" else 1
    acknowledged: dict[int, int | None] = {}
    unknown: set[int] = set()
    for _ in range(ROUNDS):
        for line in run_and_kill(path, seed, mode, draw.uniform(0.01, 0.25)):
            batch, doomed = line.split(" ")
            acknowledged[int(batch)] = None if doomed == "None" else int(doomed)
        check_rows(path, seed, size, acknowledged, unknown)
