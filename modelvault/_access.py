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
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from modelvault._core.gate import Gate
from modelvault._options import TIMEOUT
from modelvault._queue import BROKEN, Statement, Turns, WriteQueue
from modelvault._runner import Runner
from modelvault.errors import ClosedError, ColdPage, CorruptionError, ModelVaultError, ModelVaultTransactionError

if TYPE_CHECKING:
    from modelvault._engine import Definition, Engine, Savepoint, Version, Write

__all__ = ["Access", "Mark", "Still", "Unit", "View", "Work"]

T = TypeVar("T")

# Access.alert: why an operation cannot take the short way.
CLOSED: Final = 1
FORKED: Final = 2
TRANSACTION: Final = 4  # one is open; perhaps the caller's
FOLLOWER: Final = 8  # another process writes: look for its commits first
RELEASED: Final = 16  # the engine was given up

Reader = Callable[[Any, bool], T]
"""A look at the trees, called with (roots, wait). With wait False, ColdPage where it would wait for the disk.

`Access.read` may call it with the mutex held: there it must run no code of the user, not even a type's own conversion.
"""


class Unit:
    """An open transaction: the writer's turn, one Write, and the task or thread that it belongs to."""

    __slots__ = ("access", "alive", "changes", "dirty", "error", "marks", "owner", "turns", "write")

    frozen = False

    def __init__(self, access: Access, write: Write, owner: object) -> None:
        self.access: Access = access
        self.write: Write = write
        self.owner: object = owner
        self.alive: bool = True
        self.dirty: bool = False
        self.changes: int = 0  # statements, and what undid them: whoever reads on looks whether there were more
        self.error: BaseException | None = None
        self.turns: Turns = Turns(access.runner)  # one operation at a time: child tasks may use the transaction too
        self.marks: list[Mark] = []

    @property
    def shown(self) -> Write | Version:
        """The roots and definitions that are seen in it."""
        return self.write

    def check(self) -> None:
        """Raise unless operations can still be part of this transaction."""
        if not self.alive:
            self.access.attend()
            raise ModelVaultTransactionError("transaction error: no active transaction: this one has ended")
        if self.error is not None:
            raise ModelVaultTransactionError(
                f"transaction error: an earlier operation of it failed half-way ({self.error}): roll it back"
            ) from self.error

    def hold(self) -> Held:
        """A context in which no other task's operation enters this transaction; the holder's own do."""
        return Held(self)

    def savepoint(self, *, alone: bool = False) -> Mark:
        """A context that an exception undoes. alone: no other task's operations happen meanwhile."""
        return Mark(self, alone)

    async def read(self, reader: Reader[T], *, away: bool = False) -> T:
        """The result of a look at the transaction's own state. away: not on the thread of an event loop."""
        async with self.hold():
            self.check()
            if self.access.runner.waits or not away:
                try:
                    return reader(self.write.roots, self.access.runner.waits)
                except ColdPage:
                    pass  # and out of here: what comes next is no error during the handling of this one
            return await self.access.runner.finish(reader, self.write.roots, True)

    async def perform(self, statement: Statement, *, short: bool = False, away: bool = False) -> Any:
        """Apply a statement to the transaction.

        short: one step of the core, which runs no code of the user. away: not on the thread of an event loop; for what
        calls `Write.take_room`.
        """
        if not short:
            with self.access.runner.guard():
                return await self.perform(statement, short=True, away=away)
        async with self.hold():
            self.check()
            self.dirty = True
            self.changes += 1
            try:
                result = None
                cold = away and not self.access.runner.waits
                if not cold:
                    try:
                        self.write.waits = self.access.runner.waits
                        result = statement(self.write, self.access.runner.waits)
                    except ColdPage:
                        cold = True
                    finally:
                        self.write.waits = True
                if cold:
                    result = await self.access.runner.finish(statement, self.write, True)
                if self.write.is_large:
                    await self.access.runner.finish(self.write.spill)
            except BROKEN as error:
                self.error = error
                raise
            return result


class Held:
    """The context of `Unit.hold`; it may be entered again by the task that is in it."""

    __slots__ = ("_me", "_outer", "_turns")

    def __init__(self, unit: Unit) -> None:
        self._turns = unit.turns
        self._me = unit.access.runner.identity()
        self._outer = False

    async def __aenter__(self) -> None:
        if self._turns.holder is not self._me:
            await self._turns.enter(owner=self._me)
            self._outer = True

    async def seize(self) -> None:
        """Enter whatever happens: a cancellation is raised when it is entered."""
        if self._turns.holder is not self._me:
            self._outer = True
            await self._turns.seize(owner=self._me)

    async def __aexit__(self, *_: object) -> None:
        if self._outer:
            self.leave()

    def leave(self) -> None:
        """Let others in, unless that happened already."""
        if self._turns.holder is self._me:
            self._turns.leave()


class Work:
    """`async with Work(access, timeout) as unit`: a transaction of the calling task, committed unless it raises."""

    __slots__ = ("_access", "_timeout", "unit")

    def __init__(self, access: Access, timeout: float | None = TIMEOUT) -> None:
        self._access = access
        self._timeout = timeout
        self.unit: Unit | None = None

    async def __aenter__(self) -> Unit:
        try:
            with self._access.runner.guard():
                self.unit = await self._access.begin(self._timeout)
        except BaseException:
            await self._end(commit=False)
            raise
        return self.unit

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.unit is None:
            raise ModelVaultTransactionError("transaction error: no active transaction")
        trouble: ModelVaultError | None = None
        if kind is None:
            try:
                self.unit.check()
            except ModelVaultError as failure:
                trouble = failure
        await self._end(commit=kind is None and trouble is None)
        if trouble is not None:
            raise trouble

    def abandon(self) -> None:
        """Roll back without waiting; see `Access.abandon`."""
        if self.unit is not None:
            self._access.abandon(self.unit)

    async def _end(self, commit: bool) -> None:
        with self._access.runner.guard():
            unit, self.unit = self.unit, None
            if unit is not None:
                await self._access.end(unit, commit=commit)


class Mark:
    """The context of `Unit.savepoint`. They nest: the newest ends first."""

    __slots__ = ("_held", "_savepoint", "_unit")

    def __init__(self, unit: Unit, alone: bool) -> None:
        self._unit = unit
        self._held = Held(unit) if alone else None
        self._savepoint: Savepoint | None = None

    async def __aenter__(self) -> None:
        try:
            with self._unit.access.runner.guard():
                await self._begin()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with self._unit.access.runner.guard():
            try:
                await self._end(undo=kind is not None)
            finally:
                if self._held is not None:
                    await self._held.__aexit__()

    async def _begin(self) -> None:
        if self._savepoint is not None:
            raise ModelVaultTransactionError("transaction error: this savepoint is open already")
        if self._held is not None:
            await self._held.__aenter__()
        unit = self._unit
        async with unit.hold():
            unit.check()
            self._savepoint = unit.write.savepoint()
            unit.marks.append(self)

    async def _end(self, undo: bool) -> None:
        unit = self._unit
        interrupted: BaseException | None = None
        held = Held(unit)
        try:
            await held.seize()
        except BaseException as error:
            interrupted = error
        try:
            savepoint, self._savepoint = self._savepoint, None
            if savepoint is not None and unit.alive:
                if unit.marks[-1] is not self:
                    raise ModelVaultTransactionError("transaction error: a savepoint inside this one is still open")
                unit.marks.pop()
                if undo:
                    unit.changes += 1
                    unit.write.rewind(savepoint)
                    unit.access.settled()
                else:
                    unit.write.release(savepoint)
        finally:
            await held.__aexit__()
        if interrupted is not None:
            raise interrupted


class View:
    """A state of the database for a reader that takes its time: a pinned version, or the caller's own transaction."""

    __slots__ = ("_access", "_busy", "_closed", "_pins", "_unit")

    def __init__(self, access: Access, unit: Unit | None, version: Version | None = None) -> None:
        """version: one that the view has to unpin, in place of the last commit."""
        self._access = access
        self._unit = unit
        self._busy = False  # in another thread
        self._closed = False
        self._pins: list[Version] = []
        if unit is None:
            self._pins.append(version or access.pin())

    @property
    def unit(self) -> Unit | None:
        """The transaction, if it is one."""
        return self._unit

    @property
    def state(self) -> int:
        """Another number after each change that this shows."""
        return 0 if self._unit is None else self._unit.changes

    async def read(self, reader: Reader[T], *, away: bool = False) -> T:
        """The result of a look at this state. away: it takes long, so not on the thread of an event loop."""
        access = self._access
        if self._unit is not None:
            return await self._unit.read(reader, away=away)
        if self._closed or access.alert & (CLOSED | FORKED):
            access.attend()
            raise ClosedError("the iterator is closed")
        await access.breathe()
        if access.runner.waits or not away:
            try:
                return reader(self._pins[0].roots, access.runner.waits)
            except ColdPage:
                pass
        result: T = await access.runner.run(self._read_away, reader)
        return result

    def _read_away(self, reader: Reader[Any]) -> Any:
        """What the worker thread does. Who waited for it may be gone, and may have closed this already."""
        self._busy = True
        try:
            if self._closed:
                raise ClosedError("the iterator is closed")
            return reader(self._pins[0].roots, True)
        finally:
            self._busy = False
            if self._closed:
                self._unpin()

    def shows(self, definition: Definition) -> bool:
        """Whether a collection has this definition in it."""
        state = self._unit.write if self._unit is not None else self._pins[0]
        return state.definitions.get(definition["name"]) == definition

    def close(self) -> None:
        """Give the state up; may be called again. A look that goes on in another thread keeps it until it ends."""
        self._closed = True
        if not self._busy:
            self._unpin()

    def _unpin(self) -> None:
        while self._pins:
            self._access.engine.unpin(self._pins.pop())

    def __del__(self) -> None:
        # The garbage collector may come while this thread holds the engine's lock.
        self._access.strays.extend(self._pins)


class Still(Unit):
    """The last commit in a transaction's place: what is read there stays as it is, and nothing can be written."""

    __slots__ = ("_version", "_view")

    frozen = True

    def __init__(self, access: Access) -> None:
        self.access = access
        self.alive: bool = True
        self._version = access.pin()
        self._view = View(access, None, self._version)
        access.snapshots += 1

    @property
    def shown(self) -> Version:
        """The pinned version. ClosedError after `close`."""
        if not self.alive or self.access.alert & (CLOSED | FORKED):
            self.access.attend()
            raise ClosedError("the snapshot is closed")
        return self._version

    def check(self) -> None:
        """ClosedError unless it can be read."""
        _ = self.shown

    def view(self) -> View:
        """A view of it with a life of its own."""
        return View(self.access, None, self.access.engine.share(self.shown))

    async def read(self, reader: Reader[T], *, away: bool = False) -> T:
        """The result of a look at it. away: not on the thread of an event loop."""
        self.check()
        return await self._view.read(reader, away=away)

    async def perform(self, statement: Statement, *, short: bool = False, away: bool = False) -> Any:
        """Refuse."""
        self._refuse()

    def savepoint(self, *, alone: bool = False) -> Mark:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        self.check()
        raise ModelVaultTransactionError(
            "transaction error: a snapshot is read-only: write through the database, and take another one to see it"
        )

    def close(self) -> None:
        """Give the version up; may be called again."""
        if self.alive:
            self.alive = False
            self.access.snapshots -= 1
            self._view.close()


class Alone(Turns):
    """`async with` it: one task or thread at a time."""

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()


class Access(Gate):
    """One open database: its engine, its way to wait, its queue of writers and the transaction that is open."""

    def __init__(self, engine: Engine, runner: Runner, path: str, *, read_only: bool) -> None:
        self.engine: Engine = engine
        self.newest = engine
        self.runner = runner
        self.path = path
        self.read_only = read_only
        self.volatile: bool = engine.volatile
        self.queue: WriteQueue = WriteQueue(runner, engine)
        self.mutex: Any = self.queue.mutex
        self.alert = FOLLOWER if engine.read_only else 0
        self.credit: int = runner.credit
        self.unit: Unit | None = None
        self.strays: deque[Version] = deque()
        self.snapshots = 0  # open ones
        self.upkeep: Alone = Alone(runner)
        self.settled: Callable[[], None] = nothing
        """Called after each rollback: definitions may be gone."""
        if not read_only:
            engine.checkpoints.turns = self.queue
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
        queue = {"waiting": self.queue.waiting, "groups": self.queue.groups, "statements": self.queue.statements}
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
        self.alert |= RELEASED
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
        version = self.pin()
        try:
            return await self.runner.run(reader, version.roots, True)
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
