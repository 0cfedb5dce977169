"""The thread for what nobody waits for: when it does its jobs, and when it goes."""

from __future__ import annotations

import threading
from queue import Queue

from modelvault._keeper import Keeper


def test_jobs_are_done_when_they_are_due_and_in_that_order() -> None:
    keeper, done = Keeper(), Queue[int]()
    keeper.call(lambda: done.put(3), 0.2)
    keeper.call(lambda: done.put(2), 0.1)
    keeper.call(lambda: done.put(1))
    assert [done.get(timeout=10) for _ in range(3)] == [1, 2, 3]
    keeper.end()


def test_a_job_after_a_pause_finds_the_same_thread() -> None:
    """A commit after a pause does not pay for a new one."""
    keeper, done, own = Keeper(), Queue[bool](), threading.local()

    def look() -> None:
        done.put(hasattr(own, "known"))
        own.known = True

    found = []
    for _ in range(3):
        keeper.call(look)
        found.append(done.get(timeout=10))
    assert found == [False, True, True]
    keeper.end()


def test_the_thread_goes_at_once_and_leaves_what_is_due_later() -> None:
    keeper, done, gone = Keeper(), Queue[threading.local](), Queue[str]()

    class Told:
        def __del__(self) -> None:
            gone.put("gone")

    own = threading.local()

    def work() -> None:
        own.told = Told()  # what belongs to a thread goes with it
        done.put(own)

    keeper.call(work)
    keeper.call(lambda: gone.put("late"), 60)
    done.get(timeout=10)
    keeper.end()
    assert gone.get(timeout=10) == "gone"
