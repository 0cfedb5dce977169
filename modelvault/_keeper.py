"""A thread for what nobody should wait for: storing checkpoints, late syncs, what is due after a while.

It is started when there is something to do and ends when there was nothing for a while: a commit after a pause shall
not pay for a new thread, 200 us. It is a daemon: what it has not done when the process ends is what a crash leaves,
and the file is made for that.
"""

from __future__ import annotations

import _thread
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

__all__ = ["Keeper"]

IDLE: Final = 10.0  # seconds without a job after which the thread ends


class Keeper:
    """Runs functions one after the other in a thread of its own. They must not raise."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._alive = self._ended = False

    def call(self, job: Callable[[], object], delay: float = 0.0) -> None:
        """Run the function, `delay` seconds from now."""
        with self._changed:
            heapq.heappush(self._jobs, (time.monotonic() + delay, next(self._order), job))
            if self._alive:
                self._changed.notify()
                return
            with suppress(RuntimeError):  # the system has no more threads: the next call tries again
                _thread.start_new_thread(self._run, ())
                self._alive = True

    def end(self) -> None:
        """The thread may end, and what is due later is not done."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        """Do one job after the other; what the thread does."""
        while job := self._next():
            job()
            del job

    def _next(self) -> Callable[[], object] | None:
        """The next function when its time has come; None if the thread may end."""
        with self._changed:
            late = time.monotonic() + IDLE
            while True:
                now = time.monotonic()
                if self._jobs and self._jobs[0][0] <= now:
                    return heapq.heappop(self._jobs)[2]
                if self._ended or (not self._jobs and now >= late):
                    self._alive = False
                    return None
                self._changed.wait((self._jobs[0][0] if self._jobs else late) - now)
