"""The jobs of jobs/awaited.py for us alone: each gives what one await took, outside of starting and ending a loop."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import COUNT
from benchmarks.job import UNITS, Site
from benchmarks.jobs import JOBS

AWAITED = [name for name, job in JOBS.items() if job.section == "Async"]


@pytest.mark.parametrize("name", AWAITED)
def test_awaited(benchmark: BenchmarkFixture, site: Callable[[int], Site], name: str) -> None:
    """The median of a few rounds is in extra_info, in the job's unit."""
    job = JOBS[name]
    batch = job.prepare(site(COUNT))
    costs = [benchmark.pedantic(batch, rounds=1)] + [batch() for _ in range(4)]
    benchmark.extra_info[job.unit] = sorted(costs)[2] / UNITS[job.unit]
    site(COUNT).end()
