"""`python -m benchmarks.overlap`: two threads that scan at once beside one, and two processes beside one.

What two processes take is the machine's own limit: they share memory's bandwidth and the cores, and no lock of
Python's. Where others want the cores too, a thread waits for one; Linux counts that (/proc/thread-self/schedstat), so
each ratio is shown once more without such waits. What is left of a thread's time is its own work, and waiting for
the GIL.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.data import User, rows
from benchmarks.table import aligned
from modelvault import Database, fields, models

SCHEDSTAT = Path("/proc/thread-self/schedstat")
Scan = Callable[[], object]


class Spent(NamedTuple):
    """Seconds of one thread for its scans: in all, of them on a core, and of them waiting for one."""

    wall: float
    core: float
    queued: float

    @property
    def own(self) -> float:
        """Without waiting for a core."""
        return self.wall - self.queued


Pair = tuple[list[Spent], Spent]  # several at once, and one alone


def scan_of(count: int, scans: int) -> Scan:
    """What each of them does: some scans of all rows, of which one in a hundred becomes a model."""
    users = models.collection(Database.open_in_memory(), User)
    users.insert_many(rows(count))
    one_percent = users.where(fields(User).score < 10)

    def scan() -> None:
        for _ in range(scans):
            one_percent.all()

    return scan


def spent(scan: Scan) -> Spent:
    """What it took this thread."""
    queued, core, wall = waited(), time.thread_time(), time.perf_counter()
    scan()
    return Spent(time.perf_counter() - wall, time.thread_time() - core, waited() - queued)


def waited() -> float:
    """Seconds for which this thread could have run and had no core."""
    return int(SCHEDSTAT.read_text().split()[1]) / 1e9


def in_threads(scan: Scan, number: int) -> list[Spent]:
    """So many threads, which begin at once."""
    found: list[Spent] = []
    start = threading.Barrier(number)

    def one() -> None:
        start.wait()
        found.append(spent(scan))

    threads = [threading.Thread(target=one) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Process:
    """A process with rows of its own, which scans when it is told to."""

    def __init__(self, count: int, scans: int) -> None:
        command = [sys.executable, "-m", "benchmarks.overlap", "--rows", str(count), "--scans", str(scans), "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("scan\n")
        self.process.stdin.flush()

    def answer(self) -> Spent:
        assert self.process.stdout is not None
        return Spent(*json.loads(self.process.stdout.readline()))


def serve(scan: Scan) -> None:
    """Be a Process."""
    print(json.dumps(spent(scan)), flush=True)
    for _ in sys.stdin:
        print(json.dumps(spent(scan)), flush=True)


def in_processes(processes: list[Process]) -> list[Spent]:
    """All of these at once."""
    for process in processes:
        process.ask()
    return [process.answer() for process in processes]


def spread(name: str, values: list[float]) -> list[str]:
    """A line of the table."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [name, *(f"{value:.2f}" for value in (min(values), low, middle, high))]


def slowest(pair: Pair, of: Callable[[Spent], float]) -> float:
    """The slowest of several by one alone."""
    many, alone = pair
    return max(map(of, many)) / of(alone)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    scan = scan_of(options.rows, options.scans)
    if options.serve:
        serve(scan)
        return
    scan()
    processes = [Process(options.rows, options.scans) for _ in range(2)]
    threaded: list[Pair] = []
    apart: list[Pair] = []
    for _ in range(options.rounds):
        threaded.append((in_threads(scan, 2), in_threads(scan, 1)[0]))
        apart.append((in_processes(processes), in_processes(processes[:1])[0]))
    lines = [["two beside one", "best", "quarter", "median", "three quarters"]]
    for name, pairs in (("threads", threaded), ("processes", apart)):
        lines += [
            spread(f"{name}: time", [slowest(pair, lambda spent: spent.wall) for pair in pairs]),
            spread(f"{name}: less waiting for a core", [slowest(pair, lambda spent: spent.own) for pair in pairs]),
            spread(f"{name}: time on a core", [slowest(pair, lambda spent: spent.core) for pair in pairs]),
        ]
    print("\n".join(aligned(lines, 1)))


if __name__ == "__main__":
    main()
