"""A unit of work: an open transaction, what belongs to one, and what stands in its place for who only reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from modelvault._options import TIMEOUT
from modelvault._queue import BROKEN, Statement, Turns
from modelvault.errors import ClosedError, ColdPage, ModelVaultError, ModelVaultTransactionError

if TYPE_CHECKING:
    from modelvault._access import Access
    from modelvault._engine import Definition, Savepoint, Version, Write

__all__ = ["CLOSED", "FOLLOWER", "FORKED", "RELEASED", "TRANSACTION", "Mark", "Reader", "Still", "Unit", "View", "Work"]

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
        """End the transaction, if it is open."""
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
        """Open the savepoint."""
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
        """End the savepoint, and undo what happened since if `undo`; a cancellation is raised afterwards."""
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
        """Let go of what is pinned."""
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
        """Raise: nothing can be written."""
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
