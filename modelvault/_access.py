"""What stands between the verbs and the engine: one open database, seen by everything that was made from it.

`Access.read` and `Access.write` decide where an operation runs: in the transaction of the task that asks, else on the
last commit or through the queue; on this thread while memory answers, else in a worker thread.

A cold read happens on a pinned version. A warm one does not pin: it is done before anything else can run on its
thread. Should another thread's commits take its pages away meanwhile, what it finds does not verify, and it is
repeated on a pinned version.
"""

from __future__ import annotations

import errno
import os
import warnings
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from modelvault._core.commit import Outlook
from modelvault._core.gate import Gate
from modelvault._core.turn import Turn
from modelvault._options import TIMEOUT
from modelvault._queue import Statement, Turns, WriteQueue
from modelvault._runner import Runner
from modelvault._unit import CLOSED, FOLLOWER, FORKED, RELEASED, TRANSACTION, Reader, Still, Unit, View, Work
from modelvault.errors import ClosedError, ColdPage, CorruptionError, ModelVaultTransactionError

if TYPE_CHECKING:
    from modelvault._engine import Engine, Version

__all__ = ["Access"]

T = TypeVar("T")


class Alone(Turns):
    """`async with` it: one task or thread at a time."""

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()


class Access(Gate):
    """One open database: its engine, its way to wait, its queue of writers and the transaction that is open."""

    # What the core's Gate has, said again for type checkers.
    mutex: Any
    turn: Turn
    outlook: Outlook | None
    strays: deque[Version]

    def __init__(self, engine: Engine, runner: Runner, path: str, *, read_only: bool) -> None:
        self.engine: Engine = engine
        self.newest = engine
        self.runner = runner
        self.path = path
        self.read_only = read_only
        self.volatile: bool = engine.volatile
        self.queue: WriteQueue = WriteQueue(runner, engine)
        self.mutex = self.queue.mutex
        self.turn = self.queue
        self.alert = FOLLOWER if engine.read_only else 0
        self.credit: int = runner.credit
        self.unit: Unit | None = None
        self.strays = deque()
        self.snapshots = 0  # open ones
        self.upkeep: Alone = Alone(runner)
        self.settled: Callable[[], None] = nothing
        """Called after each rollback: definitions may be gone."""
        if not read_only:
            engine.checkpoints.turns = self.queue
            self.outlook = engine.checkpoints if runner.waits and not engine.volatile else None
        engine.listeners.add(self)
        _open.add(self)

    # The state of the handle

    def work(self, timeout: float | None = TIMEOUT) -> Work:
        """A transaction of the task that enters it."""
        return Work(self, timeout)

    def still(self) -> Still:
        """The last commit, to be read as it is until `aclose`."""
        return Still(self)

    def attend(self) -> Unit | None:
        """What `alert` is about: ClosedError, or the open transaction if it is the caller's."""
        if self.alert & FORKED:
            raise ClosedError(f"the database {self.path} was opened before a fork: open it again in this process")
        if self.alert & CLOSED:
            raise ClosedError(f"the database {self.path} is closed")
        unit = self.unit
        if unit is not None and unit.owner is self.runner.identity():
            return unit
        return None

    def concerns(self) -> bool:
        """Whether what `alert` is about matters to the caller's reads: a transaction of somebody else does not."""
        unit = self.unit
        return self.alert != TRANSACTION or unit is None or unit.owner is self.runner.identity()

    def writer_left(self) -> None:
        """See Listener: look for commits in the file."""
        self.alert |= FOLLOWER

    def check_writable(self) -> None:
        """OSError on a handle that was opened read-only."""
        if self.read_only:
            raise OSError(errno.EROFS, "database opened read-only", self.path)

    def stats(self) -> dict[str, Any]:
        """Counters: of the engine, and of the queue of writers."""
        self.drain()
        queue = {"waiting": len(self.queue.line), "groups": self.queue.groups, "statements": self.queue.statements}
        return {
            **self.engine.stats(),
            "snapshots": self.snapshots,
            "writers": queue,
            "in_transaction": self.unit is not None,
        }

    async def breathe(self, rows: int = 1) -> None:
        """Count so many operations; now and then, let other tasks run."""
        self.credit -= rows
        if self.credit < 0:
            self.credit = self.runner.credit
            await self.runner.rest()

    async def close(self) -> None:
        """Roll back what is open, wait for the commit that is under way, and let the file go. May be called again."""
        with self.runner.guard():
            await self._close()

    async def _close(self) -> None:
        """`close`, while no interrupt comes through."""
        with self.mutex:
            if self.alert & CLOSED:
                return
            self.alert |= CLOSED
        if self.alert & FORKED:
            return
        interrupted: BaseException | None = None
        unit = self.unit
        if unit is not None:
            try:
                await self.end(unit, commit=False)
            except BaseException as error:
                interrupted = error
        try:
            await self.queue.seize()
        except BaseException as error:
            interrupted = error
        try:
            while not self.alert & RELEASED:
                try:
                    await self.runner.finish(self._release)
                except BaseException as error:
                    interrupted = error
        finally:
            self.queue.leave()
            self.runner.close()
        if interrupted is not None:
            raise interrupted

    def _release(self) -> None:
        """Give the engine up."""
        self.alert |= RELEASED
        self.runner.settle()  # the system keeps a file open, and locked, that somebody reads
        self.drain()
        self.engine.close(writer=not self.read_only)

    def __del__(self) -> None:
        alert = getattr(self, "alert", CLOSED)
        if not alert & (CLOSED | FORKED):
            self.alert |= CLOSED
            text = f"unclosed database {self.path!r}: call close() or use `with`"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
            self.engine.close(writer=not self.read_only)

    def fork(self, runner: Runner) -> Access:
        """A second database in memory, which begins as the last commit of this one. ValueError for one on disk."""
        if self.attend() is not None:
            raise ModelVaultTransactionError(
                "transaction error: a fork begins as the last commit, and this transaction is none yet: end it first"
            )
        if not self.volatile:
            raise ValueError(f"only a database in memory can be forked, not {self.path}: copy the file")
        with self.mutex:
            return Access(self.engine.fork(), runner, self.path, read_only=False)

    def drop(self) -> None:
        """Close a database in memory that no task or thread uses any more, without waiting."""
        with self.mutex:
            if self.alert & CLOSED:
                return
            self.alert |= CLOSED
        if self.unit is not None:
            self._end(self.unit, False)
        self._release()
        self.runner.close()

    # Reading

    async def catch_up(self) -> None:
        """Move to the newest commit, where another process writes."""
        if self.alert & FOLLOWER:
            self.attend()
            if self.engine.is_behind(self.runner.waits):
                await self.runner.run(self.engine.refresh)

    async def read(self, reader: Reader[T], unit: Unit | None = None) -> T:
        """A look at the caller's transaction, else at the last commit. `unit`: at this transaction, whoever calls."""
        unit = unit or (self.attend() if self.alert else None)
        if unit is not None:
            return await unit.read(reader)
        await self.breathe()
        await self.catch_up()
        if self.volatile:
            with self.mutex:
                return reader(self.engine.latest.roots, True)
        with suppress(ColdPage, CorruptionError):
            return reader(self.engine.latest.roots, False)
        result: T = await self.runner.fetch(self._read_pinned, reader)
        return result

    def _read_pinned(self, reader: Reader[Any]) -> Any:
        """A look at the last commit that may wait for the disk. It may outlive who asked for it."""
        version = self.pin()
        try:
            return reader(version.roots, True)
        finally:
            self.engine.unpin(version)

    async def view(self, unit: Unit | None = None) -> View:
        """A state to read at leisure; close it."""
        unit = unit or (self.attend() if self.alert else None)
        if isinstance(unit, Still):
            return unit.view()
        if unit is None:
            await self.catch_up()
        return View(self, unit)

    def pin(self) -> Version:
        """The last commit, kept readable until `Engine.unpin`."""
        self.drain()
        if not self.volatile:
            return self.engine.pin()
        with self.mutex:  # not in the middle of another thread's change
            return self.engine.pin()

    def drain(self) -> None:
        """Give up what forgotten views had pinned."""
        with suppress(IndexError):  # another thread may have been here
            while self.strays:
                self.engine.unpin(self.strays.popleft())

    # Writing

    def write(self, statement: Statement, unit: Unit | None = None, *, short: bool = False) -> Awaitable[Any]:
        """Apply a statement in the caller's transaction, else commit it; to be awaited at once.

        unit: in this transaction, whoever calls. short: one step of the core, which runs no code of the user.
        """
        unit = unit or (self.attend() if self.alert else None)
        if unit is not None:
            return unit.perform(statement, short=short)
        self.check_writable()
        return self._change_memory(statement) if short and self.volatile else self.submit(statement)

    def submit(self, statement: Statement) -> Awaitable[Any]:
        """`write`, where nothing stands in the way."""
        if self.strays:
            self.drain()
        return self.queue.submit(statement)

    async def _change_memory(self, statement: Statement) -> Any:
        """Apply a short statement to a database in memory: on the spot, unless a transaction is open."""
        await self.breathe()
        if self.strays:
            self.drain()
        with self.mutex:
            write = self.engine.inline()
            if write is not None:
                result = statement(write, True)
                self.engine.publish_inline(write)
                return result
        return await self.queue.submit(statement)

    def stay_outside(self, what: str) -> None:
        """ModelVaultTransactionError in a transaction, which `what` is no part of; ClosedError."""
        if self.attend() is not None:
            raise ModelVaultTransactionError(
                f"transaction error: nested transactions are not supported: {what} is no part of a transaction"
            )

    async def checkpoint(self) -> None:
        """Wait for the writer's turn, and bring what is committed into the trees of the file."""
        self.stay_outside("a checkpoint")
        self.check_writable()
        with self.runner.guard():
            await self.queue.enter(TIMEOUT)
            try:
                await self.runner.finish(self.engine.checkpoint)
            finally:
                self.queue.leave()

    async def begin(self, timeout: float | None = TIMEOUT) -> Unit:
        """Wait for the writer's turn and open a transaction for the calling task or thread."""
        if self.attend() is not None:
            raise ModelVaultTransactionError(
                "transaction error: nested transactions are not supported: use a savepoint of the open one"
            )
        self.check_writable()
        self.drain()
        await self.queue.enter(timeout)
        try:
            unit = Unit(self, self.queue.begin(), self.runner.identity())
            with self.mutex:
                self.unit = unit
                self.alert |= TRANSACTION
        except BaseException:
            self.queue.leave()
            raise
        return unit

    async def end(self, unit: Unit, *, commit: bool) -> None:
        """Commit or roll back; with what was going on in other tasks finished first. Completes even when cancelled."""
        interrupted: BaseException | None = None
        held = unit.hold()
        try:
            await held.seize()
        except BaseException as error:
            interrupted = error
        try:
            if commit and unit.dirty and interrupted is None and not self.volatile:
                await self.runner.finish(self._end, unit, commit)
            else:
                self._end(unit, commit and interrupted is None)
        finally:
            self._end(unit, False)  # a commit that was cancelled before it began
            held.leave()
        if interrupted is not None:
            raise interrupted

    def _end(self, unit: Unit, commit: bool) -> None:
        """End a transaction on this thread: commit what it did, or undo it, and pass the turn on."""
        with self.mutex:
            if not unit.alive:
                return
            unit.alive = False
        try:
            if commit and unit.dirty:
                self.queue.commit(unit.write)
            else:
                self.engine.rollback(unit.write)
        finally:
            unit.owner = None
            with self.mutex:
                self.unit = None
                self.alert &= ~TRANSACTION
            self.settled()
            self.queue.leave()

    def abandon(self, unit: Unit) -> None:
        """Roll a forgotten transaction back. The garbage collector calls this, perhaps while we hold the mutex."""
        if self.alert & FORKED:
            return
        self.queue.orphan = partial(self._end, unit, False)
        if self.mutex.acquire(blocking=False):
            self.mutex.release()
            self.queue.orphan = None
            self._end(unit, False)


def nothing() -> None:
    """Do nothing."""


_open: weakref.WeakSet[Access] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child no inherited handle works."""
    for access in list(_open):
        access.alert |= FORKED


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
