"""What is measured, a file for each topic. Importing this fills JOBS, in the order of the table."""

from importlib import import_module

from benchmarks.job import JOBS

__all__ = ["JOBS"]

for topic in ("limits", "codec", "reads", "queries", "writes", "awaited", "opening"):
    import_module(f"{__name__}.{topic}")
