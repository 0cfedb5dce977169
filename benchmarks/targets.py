"""What the numbers must show, beside what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compare import FLOOR, OURS
from benchmarks.run import Result


@dataclass(frozen=True)
class Verdict:
    """One target: in words, what was measured, and whether it holds."""

    job: str
    target: str
    measured: str
    holds: bool


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdicts(results: Sequence[Result], middle: int) -> list[Verdict]:
    """Every target of every job that was measured, in order."""
    found = [verdict for result in results if result.rows == middle for verdict in of_one(result)]
    return found + of_growth(results)


def of_one(result: Result) -> list[Verdict]:
    """The targets of a job at one size."""
    job, ours = result.job, result.cost(OURS)
    found = []
    if job.most is not None and ours is not None:
        target = f"<= {job.most:g} {job.unit}"
        found.append(Verdict(job.name, target, f"{number(ours)} {job.unit}", ours <= job.most))
    for name, times in job.times.items():
        ratio = result.ratio(name, OURS)
        if ratio is not None:
            found.append(Verdict(job.name, f">= {times:g}x {name}", f"{ratio:.2f}x", ratio >= times))
    floor = result.ratio(OURS, FLOOR)
    if job.floor is not None and floor is not None:
        found.append(Verdict(job.name, f"<= {job.floor:g}x the floor", f"{floor:.2f}x", floor <= job.floor))
    return found


def of_growth(results: Sequence[Result]) -> list[Verdict]:
    """How much more the largest size costs than the smallest."""
    found = []
    for small in results:
        grows = small.job.grows
        if grows is None or small.rows != results[0].rows:
            continue
        large = [result for result in results if result.job is small.job and result.rows > small.rows]
        few, many = small.cost(OURS), large[-1].cost(OURS) if large else None
        if few is not None and many is not None:
            target = f"{large[-1].rows:,} rows <= {grows:g}x {small.rows:,}"
            found.append(Verdict(small.job.name, target, f"{many / few:.2f}x", many / few <= grows))
    return found
