"""What is timed: a batch runs its operation some times and gives the seconds that one took.

Before a batch is timed its subject does the same untimed for WARM seconds: the other subjects had the processor until
now, and a processor that comes from idleness or from another's work runs the first milliseconds at half its speed.
Every subject is given the same time, so that a fast one has warmed up as thoroughly as a slow one.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import perf_counter

Batch = Callable[[], float]

WARM = 0.05  # seconds of the same work, untimed
LEAST = 0.005  # seconds that are timed at least, where the work can be repeated
PATIENCE = 0.25  # seconds after which a batch of a slow peer ends early


def passes(work: Callable[[], object], least: float) -> float:
    """Do the work again and again until it has taken `least` seconds, once at least; the seconds that one took."""
    count, start = 0, perf_counter()
    while True:
        work()
        count += 1
        taken = perf_counter() - start
        if taken >= least:
            return taken / count


def each(function: Callable[..., object], arguments: Sequence[object]) -> Batch:
    """Call the function with each argument; with some of them only, if they take longer than PATIENCE."""

    def call(some: Sequence[object]) -> None:
        for argument in some:
            function(argument)

    def batch() -> float:
        gc.collect(0)
        some: list[object] = []
        start = perf_counter()
        for argument in arguments:
            function(argument)
            some.append(argument)
            if perf_counter() - start > PATIENCE:
                break
        if (spent := perf_counter() - start) < WARM:
            passes(lambda: call(some), WARM - spent)
        return passes(lambda: call(some), LEAST) / len(some)

    return batch


def portions(function: Callable[..., object], arguments: Iterable[object], size: int) -> Batch:
    """Like `each`, but every batch takes the next `size` arguments: for operations that change what they find.

    A peer that needs more than PATIENCE for one is asked for one only.
    """
    rest = iter(arguments)
    most = size

    def timed(portion: Sequence[object]) -> float:
        start = perf_counter()
        for argument in portion:
            function(argument)
        return perf_counter() - start

    def batch() -> float:
        nonlocal most
        gc.collect(0)
        spent = 0.0
        while spent < WARM:
            first = timed(list(islice(rest, 1)))
            if first > PATIENCE:
                most = 1
            spent += first + timed(list(islice(rest, most - 1)))
        return timed(list(islice(rest, most))) / most

    return batch


def whole(function: Callable[[], object], count: int = 1, warm: float = 0.0) -> Batch:
    """One call that does the operation `count` times; what it answers is given up outside the clock.

    warm: seconds of the same call before it.
    """

    def once() -> float:
        start = perf_counter()
        answer = function()
        taken = perf_counter() - start
        del answer
        return taken

    def batch() -> float:
        gc.collect(0)
        spent = 0.0
        while spent < warm:
            spent += once()
        return once() / count

    return batch
