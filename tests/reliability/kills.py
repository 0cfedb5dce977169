"""SIGKILL at a random moment, again and again on the same file: no acknowledged row lost, no commit in part."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from modelvault.errors import ModelVaultError
from tests.reliability.tally import Tally
from tests.reliability.workload import PROBE, State, look, look_twice
from tests.reliability.writer_process import MODES, SPACE, changes, follow

ROOT = Path(__file__).parents[2]
PER_FILE = 30


class Server:
    """The process that makes writers: a module that forks one for each line that it reads."""

    def __init__(self, module: str = "tests.reliability.writer_process") -> None:
        self.module = module

    def __enter__(self) -> Server:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def kill(self, order: str, seconds: float) -> list[str]:
        """A writer with these orders, killed after that time; the lines that it said."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline().split()[1])
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        lines = []
        while (line := self.process.stdout.readline()) not in (b"end\n", b""):
            lines.append(line.decode().strip())
        return lines


class Worker:
    """What one thread of the writers must have left."""

    def __init__(self, seed: int, number: int, size: int) -> None:
        self.seed, self.number, self.size = seed, number, size
        self.batch = 0
        self.state: State = {}

    def after(self, batch: int) -> State:
        """The state after a commit that is not earlier than the last one found."""
        state = self.state
        for number in range(self.batch + 1, batch + 1):
            state = follow(state, changes(self.seed, self.number, number, self.size))
        return state

    def settle(self, found: State, acknowledged: int) -> bool:
        """Whether the rows are those after the last acknowledged commit, or after the one under way."""
        for batch in (acknowledged, acknowledged + 1):
            state = self.after(batch)
            if state == found:
                self.batch, self.state = batch, state
                return True
        return False


def run(tally: Tally, seed: int, kills: int = 10**9, modes: list[str] | None = None) -> None:
    """Kill writers of every mode in turn until the time is up, or `kills` times."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    acknowledged = 0
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        while sum(counts.values()) < kills and not tally.over:
            for mode in modes or list(MODES):
                file = Path(folder) / f"{mode}{seed}"
                workers = [Worker(seed, number, MODES[mode].size) for number in range(MODES[mode].workers)]
                for _ in range(min(PER_FILE, -(-kills // len(MODES)))):
                    if tally.over:
                        break
                    acknowledged += one(tally, server, file, mode, workers, draw)
                    counts[mode] += 1
                    tally.tried += 1
                file.unlink(missing_ok=True)
            seed += 1
    tally.detail = ", ".join(f"{count} {mode}" for mode, count in counts.items()) + f"; {acknowledged} commits"


def one(tally: Tally, server: Server, file: Path, mode: str, workers: list[Worker], draw: random.Random) -> int:
    """One writer, one kill, and a look at what it left: how many commits were acknowledged."""
    seconds = draw.choice([draw.uniform(0, 0.004), draw.uniform(0, 0.08), draw.uniform(0.02, 0.15)])
    done = [worker.batch for worker in workers]
    place = f"{mode}, seed {workers[0].seed}, after {done}"
    latest = list(done)
    for line in server.kill(f"{file} {workers[0].seed} {mode} {' '.join(map(str, done))}", seconds):
        if line.startswith("error"):
            tally.lose("the writer fails", f"{place}: {line}")
            return 0
        worker, batch = map(int, line.split())
        latest[worker] = batch
    if not file.exists():
        if sum(latest):
            tally.lose("the file is gone", place)
        return 0
    try:
        found = (look_twice if draw.random() < 0.2 else look)(str(file))
    except (ModelVaultError, OSError, AssertionError) as error:
        tally.lose("does not open", f"{place}: {error!r}")
        return 0
    found.pop(PROBE, None)
    for worker in workers:
        rows = {key: row for key, row in found.items() if key // SPACE == worker.number}
        if not worker.settle(rows, latest[worker.number]):
            tally.lose(
                "rows lost or a commit in part",
                f"{place}: worker {worker.number}, {latest[worker.number]} acknowledged",
            )
            worker.batch, worker.state = latest[worker.number], rows
    return sum(latest) - sum(done)
