"""Waking many tasks: so many in a turn of their loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from modelvault._core.waiter import Wakes

TURN = 32


class Loop:
    """An event loop of which each turn is taken by hand."""

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.gone = False
        self.woken: list[int] = []

    def turn(self) -> int:
        """Make the calls that were there when the turn began; how many were woken."""
        before = len(self.woken)
        for _ in range(len(self.calls)):
            function, args = self.calls.popleft()
            function(*args)
        return len(self.woken) - before


class Waiter:
    """What a task waits for, of such a loop."""

    def __init__(self, loop: Loop, number: int) -> None:
        self.loop = loop
        self.number = number
        self.done = False

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        if self.loop.gone:
            raise RuntimeError("Event loop is closed")
        self.loop.calls.append((function, args))

    def fire(self) -> None:
        self.loop.woken.append(self.number)


def test_those_of_several_commits_are_woken_in_order_so_many_in_a_turn() -> None:
    loop, wakes = Loop(), Wakes(TURN)
    waiters = [Waiter(loop, number) for number in range(100)]
    wakes.wake(waiters[:50])
    wakes.wake(waiters[50:])
    assert all(waiter.done for waiter in waiters) and not loop.woken
    assert [loop.turn() for _ in range(5)] == [TURN, TURN, TURN, 4, 0]
    assert loop.woken == list(range(100))
    wakes.wake([Waiter(loop, 100)])
    assert loop.turn() == 1 and not loop.calls


def test_each_loop_has_a_line_of_its_own() -> None:
    one, other, wakes = Loop(), Loop(), Wakes(TURN)
    wakes.wake([Waiter(loop, number) for number in range(40) for loop in (one, other)])
    assert (one.turn(), other.turn(), one.turn(), other.turn()) == (TURN, TURN, 8, 8)


def test_a_loop_that_is_gone_keeps_nobody_waiting() -> None:
    gone, alive, wakes = Loop(), Loop(), Wakes(TURN)
    wakes.wake([Waiter(gone, number) for number in range(40)])
    gone.turn()
    gone.gone = True
    gone.turn()  # tells nobody
    wakes.wake([Waiter(gone, 41), Waiter(alive, 0)])
    assert alive.turn() == 1
    gone.gone = False
    wakes.wake([Waiter(gone, 42)])  # nothing was left in its line
    assert gone.turn() == 1 and gone.woken[-1] == 42
