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

from modelvault import Database
from modelvault.errors import ModelVaultError
from tests.reliability.tally import Tally
from tests.reliability.workload import PROBE, State, look, look_twice
from tests.reliability.writer_process import CHECKS, MODES, SPACE, changes, follow

ROOT = Path(__file__).parents[2]
PER_FILE = 12


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


class Life:
    """One file, and the writers that are killed on it one after the other."""

    def __init__(self, tally: Tally, server: Server, file: Path, name: str, seed: int, draw: random.Random) -> None:
        self.tally, self.server, self.file, self.name, self.seed, self.draw = tally, server, file, name, seed, draw
        self.mode = MODES[name]
        self.workers = [Worker(seed, number, self.mode.size) for number in range(self.mode.workers)]
        self.beside = 0  # what was acknowledged of what went on besides

    def one(self) -> int:
        """One writer, one kill, and a look at what it left: how many commits were acknowledged."""
        done = [worker.batch for worker in self.workers]
        place = f"{self.name}, seed {self.seed}, after {done}"
        self.tally.place = place
        latest = list(done)
        order = "\t".join([str(self.file), str(self.seed), self.name, *map(str, done)])
        for line in self.server.kill(order, self.time()):
            what, _, number = line.partition(" ")
            if what == "error":
                self.tally.lose("the writer fails", f"{place}: {line}")
                return 0
            if what == self.mode.besides:
                self.beside = max(self.beside, int(number))
            else:
                latest[int(what)] = int(number)
        if not self.file.exists():
            if sum(latest):
                self.tally.lose("the file is gone", place)
            return 0
        try:
            found = (look_twice if self.draw.random() < 0.2 else look)(str(self.file))
            self.look_beside()
        except (ModelVaultError, OSError, AssertionError) as error:
            self.tally.lose("does not open", f"{place}: {error!r}")
            return 0
        found.pop(PROBE, None)
        for worker in self.workers:
            self.settle(worker, found, latest[worker.number], place)
        return sum(latest) - sum(done)

    def time(self) -> float:
        """Seconds after which to kill."""
        draw = self.draw
        long = draw.uniform(0.1, 0.5) if self.mode.size > 100 or self.mode.besides else draw.uniform(0.02, 0.15)
        return draw.choice([draw.uniform(0, 0.004), draw.uniform(0, 0.08), long])

    def look_beside(self) -> None:
        """What went on besides is there as far as it was acknowledged."""
        check = CHECKS.get(self.mode.besides)
        if check is not None:
            with Database.open(self.file) as db:
                check(db, self.beside)

    def settle(self, worker: Worker, found: State, acknowledged: int, place: str) -> None:
        rows = {key: row for key, row in found.items() if key // SPACE == worker.number}
        if not worker.settle(rows, acknowledged):
            self.tally.lose(
                "rows lost or a commit in part", f"{place}: worker {worker.number}, {acknowledged} acknowledged"
            )
            worker.batch, worker.state = acknowledged, rows


def run(tally: Tally, seed: int, kills: int = 10**9, modes: list[str] | None = None) -> None:
    """Kill writers of every mode in turn until the time is up, or `kills` times."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    acknowledged = 0
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        while sum(counts.values()) < kills and not tally.over:
            for mode in modes or list(MODES):
                life = Life(tally, server, Path(folder) / f"{mode}{seed}", mode, seed, draw)
                for _ in range(min(PER_FILE, -(-kills // len(modes or MODES)))):
                    if tally.over:
                        break
                    acknowledged += life.one()
                    counts[mode] += 1
                    tally.tried += 1
                    tally.detail = ", ".join(f"{count} {mode}" for mode, count in counts.items())
                    tally.detail += f"; {acknowledged:,} commits acknowledged"
                life.file.unlink(missing_ok=True)
            seed += 1
