"""What is measured, a file for each topic. Importing this fills JOBS, in the order of the table."""

from benchmarks.job import JOBS
from benchmarks.jobs import awaited, codec, limits, opening, queries, reads, writes  # noqa: F401

__all__ = ["JOBS"]
