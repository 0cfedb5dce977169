"""`make bench`: modelvault beside its peers and the machine's limits; one table, one JSON file, one page."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.compare import PEERS
from benchmarks.jobs import JOBS
from benchmarks.page import write_page
from benchmarks.report import document
from benchmarks.run import Limits, Result, measure_all
from benchmarks.subject import subjects
from benchmarks.table import checklist, table
from benchmarks.targets import verdicts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000], help="sizes; most jobs take the middle"
    )
    parser.add_argument("--rounds", type=int, default=100, help="at most so many rounds of each job")
    parser.add_argument("--patience", type=float, default=4.0, help="seconds of a job for a slow peer")
    parser.add_argument("--jobs", nargs="+", default=[], metavar="WORD", help="only jobs with one of these words")
    parser.add_argument("--peers", nargs="+", default=[], metavar="WORD", help="only peers with one of these words")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON file and the page")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the system's temporary folder)")
    parser.add_argument("--list", action="store_true", help="name the jobs and the peers, and stop")
    return parser.parse_args()


def chosen(name: str, words: list[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def main() -> None:
    options = arguments()
    peers = [peer for peer in PEERS if chosen(peer.name, options.peers)]
    jobs = [job for job in JOBS.values() if chosen(f"{job.section}: {job.name}", options.jobs)]
    if options.list:
        print("\n".join([*(f"{job.section}: {job.name}" for job in jobs), "", *(peer.name for peer in peers)]))
        return
    sizes = sorted(options.rows)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        there, absent = subjects(peers, Path(folder))
        for name, reason in absent.items():
            print(f"  {name} is absent: {reason}", file=sys.stderr)
        results: list[Result] = []
        try:
            results.extend(measure_all(jobs, sizes, there, Limits(options.rounds, options.patience)))
        except KeyboardInterrupt:
            print("interrupted: this is what was measured until then", file=sys.stderr)
        finally:
            for subject in there:
                subject.close()
    results = [result for result in results if result.costs or result.failures]
    targets = verdicts(results, sizes[len(sizes) // 2])
    print(f"\n{table(results, [subject.name for subject in there])}\n\n{checklist(targets)}\n")
    for result in results:
        for name, error in result.failures.items():
            print(f"{name} failed at {result.job.name!r}: {error}")
    report = document(results, targets, {subject.name: subject.about for subject in there}, absent, load)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    write_page(report, options.out)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
