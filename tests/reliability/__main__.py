"""`make reliability`: every part of the suite at length, in one table and one JSON file.

`python -m tests.reliability --minutes 20` runs each part in a process of its own, two at a time, and ends with an error
if anything was lost, if a part crashed or hung, or if too little was tried. `--part NAME --seconds N` runs one here.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelvault import __version__
from tests.reliability.parts import PARTS, Part
from tests.reliability.tally import Tally

ROOT = Path(__file__).parents[2]
FULL = 20  # minutes for which the parts' floors are meant
SEED = 20261130
GRACE = 180  # seconds beyond its time after which a part hangs


def work(part: Part, seconds: float, seed: int, output: Path | None) -> Tally:
    """Run one part in this process; what it has found so far is in `output` all the time."""
    faulthandler.enable()
    tally = Tally(part.name, time.monotonic() + (10**9 if part.alone else seconds))

    def report(done: bool) -> None:
        if output is not None:
            new = output.with_suffix(".new")
            new.write_text(json.dumps({**tally.result(), "done": done}))
            new.replace(output)

    def keep_reporting() -> None:
        while True:
            time.sleep(1)
            report(False)

    if output is not None:
        threading.Thread(target=keep_reporting, daemon=True).start()
    part.run(tally, seed)
    if output is not None:
        report(True)
    return tally


@dataclass
class Running:
    """A part in a process of its own."""

    part: Part
    seconds: float
    folder: Path

    def start(self, seed: int) -> None:
        self.began = time.monotonic()
        self.output = self.folder / f"{self.part.name}.json"
        self.log = self.folder / f"{self.part.name}.log"
        command = [sys.executable, "-m", "tests.reliability", "--part", self.part.name, "--seed", str(seed)]
        command += ["--seconds", str(self.seconds), "--output", str(self.output)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)

    def result(self) -> dict[str, Any]:
        """What it has found, so far or in the end."""
        try:
            found: dict[str, Any] = json.loads(self.output.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            found = {"part": self.part.name, "tried": 0, "detail": "", "place": "", "losses": {}, "examples": []}
        return {**found, "seconds": round(time.monotonic() - self.began), "share": self.seconds}

    def is_over(self) -> bool:
        """Whether it ended; one that hangs is made to say where."""
        if not self.part.alone and time.monotonic() - self.began > self.seconds + GRACE:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
        return self.process.poll() is not None

    def end(self, scale: float) -> dict[str, Any]:
        """Its result; a crash, a hang and too few tries are losses."""
        found = self.result()
        if self.process.returncode or not found.pop("done", False):
            what = "hangs" if self.process.returncode == -signal.SIGABRT else "crashes"
            found["losses"][what] = 1
            said = self.log.read_text(errors="replace")[-2000:]
            found["examples"].append(f"{what} ({self.process.returncode}) at {found['place']}: {said}")
        found["floor"] = int(self.part.floor * min(1.0, scale))
        if found["tried"] < found["floor"]:
            found["losses"]["too few tries"] = 1
            found["examples"].append(f"{found['tried']} tried, {found['floor']} are the least")
        return found


def run_all(parts: list[Part], minutes: float, seed: int, jobs: int) -> list[dict[str, Any]]:
    """Run the parts, `jobs` at a time; their results in order."""
    share = minutes * 60 * jobs / sum(part.share for part in parts)
    results: dict[str, dict[str, Any]] = {}
    shown = 0.0
    with tempfile.TemporaryDirectory() as folder:
        waiting = [Running(part, part.share * share, Path(folder)) for part in sorted(parts, key=lambda p: -p.share)]
        running: list[Running] = []
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start(seed)
            time.sleep(0.2)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                progress(running)
            for one in [one for one in running if one.is_over()]:
                running.remove(one)
                results[one.part.name] = found = one.end(minutes / FULL)
                print(f"  {line(found)}", file=sys.stderr, flush=True)
    return [results[part.name] for part in parts]


def progress(running: list[Running]) -> None:
    """One line for what is under way."""
    found = [one.result() for one in running]
    parts = (f"{one['part']}: {one['tried']}, {one['seconds']} of {one['share']:.0f} s" for one in found)
    print(f"  ... {'; '.join(parts)}", file=sys.stderr, flush=True)


def line(found: dict[str, Any]) -> str:
    lost = sum(found["losses"].values())
    return f"{found['part']}: {found['tried']} tried, {lost} lost {dict(found['losses']) if lost else ''}"


def table(results: list[dict[str, Any]]) -> str:
    """What was tried and what was lost, in Markdown."""
    rows = [["part", "tried", "lost", "seconds", "what"]]
    for found in results:
        lost = sum(found["losses"].values())
        rows.append([found["part"], f"{found['tried']:,}", str(lost), str(found["seconds"]), found["detail"]])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, ["-" * width for width in widths] + ["---"])
    lines = (" | ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows)  # noqa: B905
    return "\n".join(f"| {text} |" for text in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", help="run only the parts whose name begins so")
    parser.add_argument("--json", type=Path, default=Path("build/reliability.json"))
    parser.add_argument("--part", help="run this part here")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--output", type=Path, help="where --part puts its result")
    options = parser.parse_args()
    if options.part:
        part = next(part for part in PARTS if part.name == options.part)
        tally = work(part, options.seconds, options.seed, options.output)
        if options.output is None:
            print(f"{tally.tried} tried: {tally.detail}\n{dict(tally.losses)}", *tally.examples, sep="\n")
        return 0
    parts = [part for part in PARTS if part.name.startswith(options.only or "")]
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.jobs} at a time", file=sys.stderr)
    results = run_all(parts, options.minutes, options.seed, options.jobs)
    about = {"seed": options.seed, "minutes": options.minutes, "version": __version__, "machine": platform.platform()}
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps({**about, "python": platform.python_version(), "parts": results}, indent=1))
    print(table(results))
    examples = [f"{found['part']}: {example}" for found in results for example in found["examples"]]
    print(*examples, sep="\n", end="\n" if examples else "")
    lost = sum(sum(found["losses"].values()) for found in results)
    print(f"seed {options.seed}; {lost} lost; {options.json} has the numbers")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
