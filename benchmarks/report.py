"""The results as one JSON document."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks.job import UNITS
from benchmarks.run import Result
from benchmarks.targets import Verdict


def document(
    results: Sequence[Result],
    verdicts: Sequence[Verdict],
    about: Mapping[str, Mapping[str, Any]],
    absent: Mapping[str, str],
    load: float,
) -> dict[str, Any]:
    """Everything that was measured, and with what. Costs are in the job's unit; `load` is the system's at the start."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "machine": {
            "platform": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": round(load, 1),
        },
        "peers": dict(about),
        "absent": dict(absent),
        "results": [entry(result) for result in results],
        "targets": [vars(verdict) for verdict in verdicts],
    }


def entry(result: Result) -> dict[str, Any]:
    """One job at one size."""
    unit = UNITS[result.job.unit]
    costs = {}
    for name, taken in result.costs.items():
        low, _, high = quantiles(taken, n=4) if len(taken) > 1 else (taken * 3)
        costs[name] = {
            "median": round(median(taken) / unit, 4),
            "quartiles": [round(low / unit, 4), round(high / unit, 4)],
            "rounds": len(taken),
        }
    return {
        "job": result.job.name,
        "section": result.job.section,
        "rows": result.rows,
        "unit": result.job.unit,
        "costs": costs,
        "failures": result.failures,
    }
