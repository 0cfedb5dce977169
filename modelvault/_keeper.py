"""A thread for what nobody should wait for: storing checkpoints, late syncs, what is due after a while.

It is started when there is something to do and ends when there is nothing. It is a daemon: what it has not done when
the process ends is what a crash would leave, and the file is made for that.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

__all__ = ["Keeper"]


class Keeper:
    """Runs functions one after the other in a thread of its own. They must not raise."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._jobs: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def call(self, job: Callable[[], object], delay: float = 0.0) -> None:
        """Run the function, `delay` seconds from now."""
        with self._changed:
            heapq.heappush(self._jobs, (time.monotonic() + delay, next(self._order), job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._jobs:
                    self._thread = None
                    return
                due, _, job = self._jobs[0]
                left = due - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._jobs)
            job()
            del job
