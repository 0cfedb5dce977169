"""What is timed: a batch runs its operation some times and gives the seconds that one took."""

import gc
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

Batch = Callable[[], float]

PATIENCE = 0.25  # seconds after which a batch of a slow peer ends early


def each(function: Callable[..., object], arguments: Sequence[object]) -> Batch:
    """Call the function with each argument, once untimed: the other subjects had the processor's caches."""

    def batch() -> float:
        gc.collect(0)
        late = perf_counter() + PATIENCE
        some = []
        for argument in arguments:
            function(argument)
            some.append(argument)
            if perf_counter() > late:
                break
        start = perf_counter()
        for argument in some:
            function(argument)
        return (perf_counter() - start) / len(some)

    return batch


def portions(function: Callable[..., object], arguments: Iterable[object], size: int, warm: int = 1) -> Batch:
    """Like `each`, but every batch takes the next `size` arguments: for operations that change what they find.

    warm: untimed calls before them. A peer that needs more than PATIENCE for one is asked for one only.
    """
    rest = iter(arguments)
    most = size

    def batch() -> float:
        nonlocal most
        portion = [next(rest) for _ in range(most)]
        gc.collect(0)
        for _ in range(warm if most == size > 1 else 0):  # the caches, and how slow it is
            start = perf_counter()
            function(next(rest))
            if perf_counter() - start > PATIENCE:
                most = 1
                portion = portion[:1]
                break
        start = perf_counter()
        for argument in portion:
            function(argument)
        return (perf_counter() - start) / len(portion)

    return batch


def whole(function: Callable[[], object], count: int = 1) -> Batch:
    """One call that does the operation `count` times; what it answers is given up outside the clock."""

    def batch() -> float:
        gc.collect(0)
        start = perf_counter()
        answer = function()
        taken = (perf_counter() - start) / count
        del answer
        return taken

    return batch
