"""Cancelling a coroutine at its first await, its second and so on."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from tests.worlds import World

NATIVE = [pytest.param(False, id="scope"), pytest.param(True, id="task")]
"""The two ways to cancel: a scope, of anyio and Trio, and asyncio's `Task.cancel`, which goes through shields."""


def skip_native(world: World, native: bool) -> None:
    """Skip what a world does not have."""
    if native and world.name == "trio":
        pytest.skip("Trio cancels scopes only")


class Attempt:
    """A coroutine that is cancelled when it suspends for the at-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.suspensions = 0
        self.cancelled = False

    async def run(self, native: bool) -> None:
        """Run it to its end, whichever that is."""
        if native:
            try:
                await asyncio.ensure_future(self._in_task())
            except asyncio.CancelledError:
                self.cancelled = True
            return
        with anyio.CancelScope() as scope:
            await self._drive(scope.cancel)
        self.cancelled = scope.cancelled_caught

    async def _in_task(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        await self._drive(task.cancel)

    @types.coroutine
    def _drive(self, cancel: Callable[[], object]) -> Generator[Any, Any, Any]:
        sent: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = self._coroutine.send(sent) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                error = None  # no cycle through the traceback
            self.suspensions += 1
            if self.suspensions == self._at:
                cancel()
            sent = None
            try:
                sent = yield waited
            except BaseException as raised:
                error = raised


async def everywhere(attempt: Callable[[], Coroutine[Any, Any, Any]], native: bool) -> AsyncIterator[Attempt]:
    """Cancel the attempt at its first await, its second and so on; last comes one that has fewer."""
    for at in range(1, 500):
        made = Attempt(attempt(), at)
        await made.run(native)
        yield made
        if made.suspensions < at:
            return
    raise AssertionError("it never ran through")
