"""Interleaved measuring: every subject takes a turn in every round, so that all of them meet the same noise."""

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

Batch = Callable[[], float]
"""Runs its operation some times and returns the seconds that one took."""


@dataclass
class Case:
    """One row of the table: the same job done by several subjects. `unit` is one of UNITS."""

    name: str
    unit: str
    subjects: dict[str, Batch] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        """Measure every subject `rounds` times in turn; keep the median of each."""
        times: dict[str, list[float]] = {name: [] for name in self.subjects}
        gc.collect()
        gc.disable()
        for _ in range(rounds):
            for name, batch in self.subjects.items():
                times[name].append(batch())
        gc.enable()
        self.seconds.update({name: median(taken) for name, taken in times.items()})


def each(function: Callable[..., object], arguments: Sequence[object]) -> Batch:
    """Call the function with each argument, once untimed: the other subjects had the processor's caches."""

    def batch() -> float:
        for argument in arguments:
            function(argument)
        start = perf_counter()
        for argument in arguments:
            function(argument)
        return (perf_counter() - start) / len(arguments)

    return batch


def portions(function: Callable[..., object], arguments: Iterable[object], size: int) -> Batch:
    """Like `each`, but every batch takes the next `size` arguments: for operations that change what they find."""
    rest = iter(arguments)

    def batch() -> float:
        portion = [next(rest) for _ in range(size)]
        start = perf_counter()
        for argument in portion:
            function(argument)
        return (perf_counter() - start) / size

    return batch


def whole(function: Callable[[], object], count: int = 1) -> Batch:
    """One call that does the operation `count` times."""

    def batch() -> float:
        start = perf_counter()
        function()
        return (perf_counter() - start) / count

    return batch


UNITS = {"us": 1e-6, "bytes": 1.0}


def cell(case: Case, subject: str, base: str) -> str:
    """The cost of one subject; in parentheses, how many times `base`'s cost that is."""
    value, unit = case.seconds.get(subject), UNITS[case.unit]
    if value is None:
        return "-"
    if subject == base or base not in case.seconds:
        return f"{value / unit:.2f}"
    return f"{value / unit:.2f} ({value / case.seconds[base]:.1f}x)"


def table(cases: Sequence[Case], subjects: Sequence[str], base: str) -> str:
    """The cases as aligned text."""
    lines = [["", "unit", *subjects]]
    lines += [[case.name, case.unit, *(cell(case, subject, base) for subject in subjects)] for case in cases]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for name, unit, *cells in lines:
        numbers = (text.rjust(width) for text, width in zip(cells, widths[2:], strict=True))
        texts.append("  ".join([name.ljust(widths[0]), unit.ljust(widths[1]), *numbers]))
    texts.insert(1, "-" * len(texts[0]))
    return "\n".join(texts)
