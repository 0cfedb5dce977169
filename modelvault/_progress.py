"""A line on the terminal that says how far a long statement has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Progress"]

INTERVAL: Final = 0.1  # seconds between two lines


class Progress:
    """Counts and tells. progress: True for a line on standard error, or a function that gets the count so far.

    unit: what is counted.
    """

    def __init__(self, what: str, progress: bool | Callable[[int], object], unit: str = "rows") -> None:
        self.count = 0
        self._what = what
        self._unit = unit
        self._tell = self._line if progress is True else progress if callable(progress) else None
        self._start = self._told = time.monotonic()

    def add(self, count: int) -> None:
        """So many more."""
        self.count += count
        if self._tell is not None:
            now = time.monotonic()
            if now - self._told >= INTERVAL:
                self._told = now
                self._tell(self.count)

    def close(self) -> None:
        """That was all."""
        if self._tell is not None:
            if self._tell != self._line:
                self._tell(self.count)
            elif self.count:  # else there was nothing to be told of
                self._tell(self.count)
                sys.stderr.write("\n")
                sys.stderr.flush()

    def _line(self, count: int) -> None:
        """Show a count on standard error, over the one before."""
        rate = count / max(time.monotonic() - self._start, 1e-9)
        sys.stderr.write(f"\r{self._what}: {count:,} {self._unit}, {rate:,.0f} a second ")
        sys.stderr.flush()
