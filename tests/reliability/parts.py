"""The parts of the suite, each a method that breaks the database in one way: what `make reliability` runs at length.

The tests run the same functions for seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.reliability import cancellations, damage, failing, fuzz, histories, kills, machine, mutants, power, syscalls
from tests.reliability.tally import Tally


@dataclass(frozen=True)
class Part:
    """One method.

    run: works until the tally says that it is over. share: of the time, in parts. floor: how much has to be tried in a
    full run, for less would prove little. alone: it does what it has to do, however long that takes.
    """

    name: str
    run: Callable[[Tally, int], None]
    share: float
    floor: int
    alone: bool = False


PARTS = [
    Part("power cuts", power.run, 12, 5000),
    Part("power cuts, relaxed", partial(power.run, durability="relaxed"), 2, 1000),
    Part("SIGKILL", kills.run, 8, 300),
    Part("system calls struck", syscalls.run_all, 2, 100, alone=True),
    Part("failing I/O", partial(failing.run, stride=11), 3, 500),
    Part("failing I/O, relaxed", partial(failing.run, stride=11, durability="relaxed"), 1, 100),
    Part("bit flips", damage.flips, 5, 10_000),
    Part("cut files", damage.cuts, 0.6, 10_000),
    Part("swapped and stale pages", damage.swaps, 0.3, 200),
    Part("damaged log", damage.log_flips, 0.6, 1000),
    Part("cancellation", cancellations.run, 3, 500),
    Part("isolation", histories.run, 3, 20),
    Part("state machine", machine.run, 4, 50),
    *(Part(f"fuzz, {name}", partial(fuzz.run, targets=(name,)), 1, 200) for name in fuzz.TARGETS),
    Part("mutants", mutants.run, 18, len(mutants.ALL), alone=True),
]
