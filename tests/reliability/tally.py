"""What a part of the suite tried, and what was lost."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES = 5
PATIENCE = int(os.environ.get("MODELVAULT_PATIENCE", "1"))  # by which the short forms are longer: for mutants


@dataclass
class Tally:
    """The result of one part: how often something was tried, and what went wrong, by kind, with examples.

    deadline: when to stop (of time.monotonic). until_lost: stop at the first loss, which is all that a mutant needs.
    """

    part: str
    deadline: float = 0.0
    until_lost: bool = False
    tried: int = 0
    detail: str = ""
    place: str = ""  # what is being tried: where it was when it hung
    rows: list[str] = field(default_factory=list)  # one for each thing tried, where each has a name
    losses: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @classmethod
    def counted(cls, part: str) -> Tally:
        """For tests, which try a fixed number: over only if something goes on for ever."""
        return cls(part, time.monotonic() + 300 * PATIENCE)

    def lose(self, kind: str, where: str) -> None:
        """Something that must not happen did."""
        self.losses[kind] += 1
        if self.losses[kind] <= EXAMPLES:
            self.examples.append(f"{kind}: {where}")

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self.deadline or (self.until_lost and bool(self.losses))

    @property
    def lost(self) -> int:
        return sum(self.losses.values())

    def check(self, at_least: int = 1) -> None:
        """For tests: enough was tried, and nothing was lost."""
        assert not self.losses, f"{self.part}: {dict(self.losses)}\n" + "\n".join(self.examples)
        assert self.tried >= at_least, f"{self.part}: only {self.tried} tried"

    def result(self) -> dict[str, Any]:
        """What is known so far, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in ("deadline", "until_lost")}
