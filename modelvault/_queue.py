"""Who writes next: one fair queue of tasks and threads, and group commit for those who come while a commit runs.

A `Ticket` stands in the queue. Its state says what a cancellation, a timeout or an exception has to do with it:

    WAITING   it can simply leave
    GRANTED   it has the turn, and passes it on when it leaves
    TAKEN     its statement is in a group that is being committed: it waits for the end and then leaves
    DONE      its outcome is known

States change under `Turn.mutex` only, which is held for moments and never while anything waits.

Who commits a group? Among threads (and in memory) the first of it, which has the turn and takes along those behind
it. Of tasks none does: the turn goes to the writer's thread of their runner, which commits group after group until a
transaction is next, without a way through an event loop in between.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from modelvault._core.ticket import Ticket, apply_puts
from modelvault._core.turn import DONE, GRANTED, TAKEN, WAITING, Turn
from modelvault._options import TIMEOUT
from modelvault._runner import Runner
from modelvault.errors import CorruptionError, ModelVaultTransactionError

if TYPE_CHECKING:
    from modelvault._engine import Engine, Write

__all__ = ["BROKEN", "TIMEOUT", "Statement", "Turns", "WriteQueue"]

GROUP: Final = 1024  # statements committed together

# A thread that wants to run has to wait for 5 ms where another one does not wait for anything; an event loop shall not.
SLICE: Final = 0.001  # seconds that the writer's thread may apply statements
PAUSE: Final = 1e-5  # before it waits for a moment: the system makes it 60 us, enough for who waits to be woken up

Statement = Callable[["Write", bool], Any]
"""A change of a Write, called with (write, wait). It fails before it changes anything, or undoes what it changed.

With wait False it raises ColdPage, having changed nothing, where it would have to wait for the disk.
"""

BROKEN: Final = (OSError, CorruptionError, MemoryError)
"""Errors of the machine, not of the statement: they may leave a Write half changed, and end it."""


class Turns(Turn):
    """One turn at a time, first come first served; across tasks, event loops and threads."""

    # What the core's Turn has, said again for type checkers.
    holder: object
    by_thread: bool
    groups: int
    statements: int

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner
        self.orphan: Callable[[], None] | None = None

    def enter(self, timeout: float | None = None, owner: object = None) -> Awaitable[Any]:
        """Wait for the turn, at most `timeout` seconds: then ModelVaultTransactionError. `leave` gives it up."""
        return self._stand(Ticket(None, owner), timeout)

    async def seize(self, owner: object = None) -> None:
        """Wait for the turn, whatever happens; a cancellation is raised when the turn is had, and `leave` is due."""
        ticket = Ticket(None, owner)
        self._arrive(ticket)
        if ticket.waiter is not None:
            await self._runner.hold(ticket.waiter)

    async def _stand(self, ticket: Ticket, timeout: float | None) -> Any:
        """Wait until the ticket is GRANTED or DONE, and return its outcome if it is DONE."""
        try:
            self._arrive(ticket)
            if ticket.waiter is None:
                return None
            await ticket.waiter.wait(timeout)
        except GeneratorExit:
            self._withdraw(ticket)
            raise
        except BaseException:
            if not self._withdraw(ticket) and ticket.waiter is not None:
                await self._runner.hold(ticket.waiter)
            raise
        if ticket.state == WAITING and self._withdraw(ticket, WAITING):
            raise too_late(timeout)
        if ticket.state == TAKEN:
            await self._runner.hold(ticket.waiter)
        return ticket.outcome() if ticket.state == DONE else None

    def _arrive(self, ticket: Ticket) -> None:
        """Give the ticket the turn if it is free, else a waiter and a place in the queue."""
        with self.mutex:
            if self.busy:
                ticket.waiter = self._runner.waiter()
                self.line.append(ticket)
            else:
                ticket.state = GRANTED
                self.busy = True
                self.holder = ticket.owner
        if self.orphan is not None:
            self._reap()

    def _reap(self) -> None:
        """End a forgotten transaction that the garbage collector met while the mutex was held."""
        orphan, self.orphan = self.orphan, None
        if orphan is not None:
            orphan()

    def _withdraw(self, ticket: Ticket, state: int | None = None) -> bool:
        """Take a ticket out of the queue, or pass its turn on; False if its statement is being committed.

        state: only if it is in this one.
        """
        with self.mutex:
            if state is not None and ticket.state != state:
                return False
            if ticket.state == WAITING:
                with suppress(ValueError):  # interrupted before it stood there
                    self.line.remove(ticket)
                return True
            granted = ticket.state == GRANTED
        if granted:
            self.leave()
        self._reap()
        return granted


class WriteQueue(Turns):
    """The turn to write to one engine. Statements that come while another is committed are committed together."""

    holder: object
    by_thread: bool
    groups: int
    statements: int

    def __init__(self, runner: Runner, engine: Engine) -> None:
        super().__init__(runner)
        self._engine = engine
        self.by_thread = not engine.volatile and not runner.waits  # statements are committed by the writer's thread
        self._watched = False

    def submit(self, statement: Statement) -> Awaitable[Any]:
        """Apply one statement and commit it; its result, or what it raised.

        Cancelled while it waits, it has no effect. Once a commit has taken it, it takes effect, and a cancellation is
        raised after.
        """
        if not self.by_thread:
            return self._submit(statement)
        ticket = Ticket(statement)
        ticket.deadline = monotonic() + TIMEOUT
        return self._stand(ticket, None)

    async def _submit(self, statement: Statement) -> Any:
        """`submit` for who may commit on its own thread."""
        with self._runner.guard():
            if self.try_enter():
                return self._commit_alone(statement)
            ticket = Ticket(statement)
            await self._stand(ticket, TIMEOUT)
            if ticket.state == GRANTED:
                self._lead(ticket)
            return ticket.outcome()

    def begin(self) -> Write:
        """The engine's Write, for who has the turn. Who uses `Engine.inline` holds the mutex too."""
        with self.mutex:
            return self._engine.begin()

    def commit(self, write: Write) -> None:
        """Commit the Write. In memory nobody may look at what it replaces meanwhile, or pin it."""
        if not self._engine.volatile:
            self._engine.commit(write)
            return
        with self.mutex:
            self._engine.commit(write)

    def _arrive(self, ticket: Ticket) -> None:
        """Give the ticket a place; a statement's is served by the writer's thread, which is started if it is idle."""
        if ticket.statement is None or not self.by_thread:
            super()._arrive(ticket)
            return
        ticket.waiter = self._runner.waiter()
        with self.mutex:
            self.line.append(ticket)
            idle = not self.busy
            if idle:
                self.busy = True
                self.holder = self
        if idle:
            self._runner.start(self._serve)
        elif self.holder is not self:
            self._watch()
        if self.orphan is not None:
            self._reap()

    def pass_on(self) -> None:
        """On event loops: pass the turn to who waits longest, to the writer's thread if that is a statement."""
        with self.mutex:
            statements = self.line and self.line[0].statement is not None
            if statements:
                self.holder = self
        if statements:
            self._runner.start(self._serve)
        else:
            super().pass_on()
            self._watch()

    def _watch(self) -> None:
        """While a transaction has the turn, see to it that no statement waits for too long.

        One look at all of them: a timer for each would cost as much as the rest of its way.
        """
        with self.mutex:
            if self._watched or self.holder is self or not self.by_thread:
                return
            soonest = min((ticket.deadline for ticket in self.line), default=inf)
            if soonest == inf:
                return
            self._watched = True
        self._runner.start(self._expire, max(soonest - monotonic(), 0.001))

    def _expire(self) -> None:
        """Send those away who waited too long."""
        now = monotonic()
        with self.mutex:
            self._watched = False
            late = [ticket for ticket in self.line if ticket.deadline <= now]
            for ticket in late:
                self.line.remove(ticket)
                ticket.error = too_late(TIMEOUT)
        self._tell(late)
        self._watch()

    def _serve(self) -> None:
        """Having the turn, commit the statements that wait, group after group; in the writer's thread."""
        while group := self._gather([]):
            self._flush(group)
            self._tell(group)
        self.leave()

    def _commit_alone(self, statement: Statement) -> Any:
        """Having had the turn at once, commit one statement. Those that come meanwhile are the next group."""
        engine = self._engine
        try:
            write = self.begin()
            try:
                result = statement(write, True)
                if write.is_large:
                    write.spill()
                self.commit(write)
            finally:
                if engine.write is write:
                    engine.rollback(write)
        finally:
            self.leave()
        self.groups += 1
        self.statements += 1
        return result

    def _lead(self, ticket: Ticket) -> None:
        """Having the turn, commit this statement and those that wait behind it."""
        try:
            group = self._gather([ticket])
        except BaseException:
            self._withdraw(ticket)
            raise
        try:
            self._flush(group)
        finally:
            self.leave()
            self._tell(group)

    def _tell(self, group: list[Ticket]) -> None:
        """The outcome of these is known: wake who waits for it."""
        for ticket in group:
            ticket.state = DONE
        self._runner.wake([ticket.waiter for ticket in group if ticket.waiter is not None])

    def _gather(self, group: list[Ticket]) -> list[Ticket]:
        """Add the statements that are next to the group, and take them all."""
        with self.mutex:
            line = self.line
            while line and line[0].statement is not None and len(group) < GROUP:
                group.append(line.popleft())
            for ticket in group:
                ticket.state = TAKEN
        self.groups += bool(group)
        self.statements += len(group)
        return group

    def _flush(self, group: list[Ticket]) -> None:
        """Commit a group; what becomes of each is in its ticket."""
        try:
            self._commit(group)
        except BaseException as error:
            for ticket in group:
                ticket.error = ticket.error or twin(error)

    def _commit(self, group: list[Ticket]) -> None:
        """Apply what can be applied, and commit it. After an error of the machine the others begin again."""
        engine = self._engine
        while group:
            write = self.begin()
            try:
                broken = self._apply(write, group)
                if broken is None and any(ticket.error is None for ticket in group):
                    self.commit(write)
                    return
            finally:
                if engine.write is write:
                    engine.rollback(write)
            if broken is None:
                return
            group = [ticket for ticket in group if ticket is not broken]

    def _apply(self, write: Write, group: list[Ticket]) -> Ticket | None:
        """Apply each statement; those that fail fail alone. The ticket whose error ended the Write, or None."""
        pause = monotonic() + SLICE if self.by_thread else inf
        number = 0
        while number < len(group):
            number += apply_puts(group, number, pause, write) or self._apply_one(write, group[number])
            ticket = group[number - 1]
            if ticket.error is None and write.is_large:
                try:
                    write.spill()
                except BaseException as error:
                    ticket.error = error
            failure = ticket.error
            if failure is not None and (not isinstance(failure, Exception) or isinstance(failure, BROKEN)):
                return ticket
            if monotonic() > pause:
                sleep(PAUSE)
                pause = monotonic() + SLICE
        return None

    def _apply_one(self, write: Write, ticket: Ticket) -> int:
        """Apply one statement, of any kind: 1, how many it was."""
        assert ticket.statement is not None
        ticket.error = None
        try:
            ticket.result = ticket.statement(write, True)
        except BaseException as error:
            ticket.error = error
        return 1


def too_late(seconds: float | None) -> ModelVaultTransactionError:
    """The error for who did not get the turn in time."""
    return ModelVaultTransactionError(
        f"transaction error: another transaction is open on this database, and still was after {seconds:g} s; "
        "if it is your own, a child task joins it through tx.collection(...)"
    )


def twin(error: BaseException) -> BaseException:
    """The error for one of several who all get it: each raises its own, and tracebacks do not mix."""
    try:
        other = copy.copy(error)
    except Exception:
        return error
    other.__cause__ = error.__cause__
    return other
