"""Interleaved measuring: in every round every subject has a turn, so that all of them meet the same noise."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

from benchmarks.job import UNITS, Job
from benchmarks.subject import Subject

LEAST = 3


@dataclass(frozen=True)
class Limits:
    """At most so many rounds of a job; a subject that had LEAST turns and `patience` seconds gets no more."""

    rounds: int
    patience: float


@dataclass
class Result:
    """What each subject's operation cost, in seconds (or bytes), a value a round; and who failed, and how."""

    job: Job
    rows: int
    costs: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def cost(self, name: str) -> float | None:
        """The median of a subject's rounds, in the job's unit."""
        costs = self.costs.get(name)
        return median(costs) / UNITS[self.job.unit] if costs else None

    def ratio(self, name: str, base: str) -> float | None:
        """How many times the base's cost: the median over the rounds in which both had their turn."""
        costs, bases = self.costs.get(name), self.costs.get(base)
        if not costs or not bases:
            return None
        return median(cost / other for cost, other in zip(costs, bases, strict=False))


def measure(job: Job, rows: int, subjects: Sequence[Subject], limits: Limits) -> Result:
    """Do one job at one size."""
    result = Result(job, rows)
    able = []
    for subject in subjects:
        answer = subject.ask("prepare", job=job.name, rows=rows)
        if "error" in answer:
            result.failures[subject.name] = answer["error"]
        elif answer["able"]:
            able.append(subject)
            result.costs[subject.name] = []
    spent = dict.fromkeys((subject.name for subject in able), 0.0)
    for number in range(min(job.rounds, limits.rounds)):
        for subject in able if number % 2 == 0 else reversed(able):
            if subject.name in result.failures or (number >= LEAST and spent[subject.name] > limits.patience):
                continue
            start = perf_counter()
            answer = subject.ask("run")
            spent[subject.name] += perf_counter() - start
            if "error" in answer:
                result.failures[subject.name] = answer["error"]
                del result.costs[subject.name]
            else:
                result.costs[subject.name].append(answer["cost"])
    for subject in subjects:
        subject.ask("end")
    return result


def measure_all(
    jobs: Sequence[Job], sizes: Sequence[int], subjects: Sequence[Subject], limits: Limits
) -> Iterator[Result]:
    """Every job at the middle size; those that grow at every size, the smallest first."""
    middle = sizes[len(sizes) // 2]
    for rows in sizes:
        for job in jobs:
            if rows == middle or job.grows is not None:
                print(f"  {rows:>9,} rows: {job.name}", file=sys.stderr, flush=True)
                yield measure(job, rows, subjects, limits)
