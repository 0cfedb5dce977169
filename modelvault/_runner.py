"""The two ways to wait. Everything above is written once, as coroutines; a runner decides what an `await` comes to.

`LoopRunner` serves asyncio, uvloop and Trio through anyio. It belongs to no event loop: what it makes belongs to the
loop of the task that asked for it, so one handle may be used from several loops and threads.

`BlockingRunner` never suspends, so `_core.drive` runs a coroutine over it to its end in one `send`: in any thread, also
inside a running loop.

On event loops two kinds of threads wait for the disk, of which each open database has its own: a few for cold reads,
and one for what its one writer does. The writer's goes on with the next group of statements while the loop still hears
of the last one, and one call into the loop wakes all of a group. They are ours: a call through anyio's worker threads
costs the loop three times as much.

Cancellation comes in two kinds. A cancel scope (anyio, Trio) leaves a shielded call alone. asyncio's `Task.cancel`
goes through every shield, once; `finish` and `hold` keep it and raise it when they are done.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from operator import itemgetter
from threading import get_ident
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

from modelvault._core.waiter import AsyncioWaiter, Flag, Wakes

if TYPE_CHECKING:
    LoopWaiter: TypeAlias = "AsyncioWaiter | TrioWaiter"

__all__ = ["BlockingRunner", "LoopRunner", "Runner", "Waiter"]

T = TypeVar("T")

NOTHING: Final = nullcontext()
THREADS: Final = 4  # threads of one database that may wait for the disk at a time
TURN: Final = 32  # tasks woken in one turn of an event loop, so that others have theirs in between
CREDIT: Final = 128  # operations on warm data before others get a chance to run: fewer than one in a hundred waits
IDLE: Final = 2.0  # seconds after which a writer's thread without work ends


class Waiter(Protocol):
    """Something one task or thread waits for, and any thread may set, once."""

    def set(self) -> None:
        """Wake who waits, or will."""

    def is_set(self) -> bool:
        """Was it set?"""
        ...

    def wait(self, seconds: float | None = None) -> Awaitable[Any]:
        """Return when it is set, or after so many seconds."""
        ...


class Runner(ABC):
    """How an operation waits: for the disk, for its turn, for others."""

    waits: bool
    """May the core wait for the disk on the thread of the caller?"""

    credit: int
    """Operations on warm data before a `rest`."""

    @abstractmethod
    def identity(self) -> object:
        """Who is running: the task, or the thread where there is none."""

    @abstractmethod
    def waiter(self) -> Waiter:
        """A new waiter, for the caller to wait for."""

    @abstractmethod
    async def fetch(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result; it may wait for the disk. If the caller is cancelled it may go on, unobserved."""

    @abstractmethod
    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Like `fetch`, but once the function has begun it is waited for: a cancellation is raised after its end."""

    @abstractmethod
    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        """Like `run`, in the order of the calls: for what writes."""

    @abstractmethod
    def start(self, function: Callable[[], object], after: float = 0.0) -> None:
        """Have the function called and go on: after those started before, or `after` so many seconds.

        It raises nothing. Not for the blocking interface, where nobody is there to call it.
        """

    @abstractmethod
    def wake(self, waiters: Iterable[Any]) -> None:
        """Set all these waiters, which this runner made."""

    @abstractmethod
    def settle(self) -> None:
        """Block until nothing that was fetched or run is under way, not even what was left behind."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more will be started for a while."""

    @abstractmethod
    async def hold(self, waiter: Waiter) -> None:
        """Wait until it is set, whatever happens: a cancellation is raised afterwards."""

    @abstractmethod
    def guard(self) -> AbstractContextManager[None]:
        """A context that is not torn by a KeyboardInterrupt, except where it waits for others."""

    @abstractmethod
    async def rest(self) -> None:
        """Let others run, and notice a cancellation."""


class BlockingRunner(Runner):
    """Plain calls: the thread of the caller does everything."""

    waits = True
    credit = sys.maxsize

    def identity(self) -> object:
        return threading.current_thread()

    def waiter(self) -> Waiter:
        return ThreadWaiter()

    async def fetch(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        with HeldInterrupts():
            return function(*args)

    def start(self, function: Callable[[], object], after: float = 0.0) -> None:
        raise AssertionError("threads start nothing")

    def wake(self, waiters: Iterable[ThreadWaiter]) -> None:
        for waiter in waiters:
            waiter.set()

    def settle(self) -> None:
        return None

    def close(self) -> None:
        return None

    def guard(self) -> AbstractContextManager[None]:
        return HeldInterrupts()

    async def hold(self, waiter: Waiter) -> None:
        interrupted: BaseException | None = None
        while not waiter.is_set():
            try:
                await waiter.wait()
            except BaseException as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted

    async def rest(self) -> None:
        return None


class ThreadWaiter:
    """A waiter for a thread."""

    def __init__(self) -> None:
        self._event = Flag()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, seconds: float | None = None) -> None:
        held = HeldInterrupts.current
        if held is None or threading.current_thread() is not threading.main_thread():
            self._event.wait(seconds)
        else:
            held.wait(self._event, seconds)


# The function without the enums that the module `signal` wraps around it: 0.3 us instead of 6, and nothing to import.
signals: Final[Any] = _signal  # which has no stubs
set_handler: Final[Callable[[int, Any], Any]] = signals.signal
SIGINT: Final[int] = signals.SIGINT


class HeldInterrupts(AbstractContextManager[None]):
    """Ctrl-C waits until the end: a commit, and the bookkeeping around it, is not torn by a KeyboardInterrupt.

    Only the main thread has to do with it. While it waits for its turn, `lifted` lets an interrupt through.
    """

    current: ClassVar[HeldInterrupts | None] = None

    def __init__(self) -> None:
        self._handler: Any = None
        self._caught: list[FrameType | None] = []

    def __enter__(self) -> None:
        if HeldInterrupts.current is not None or get_ident() != threading.main_thread().ident:
            return
        try:
            handler: Any = set_handler(SIGINT, self._note)
        except ValueError:  # a subinterpreter has no signals
            return
        if callable(handler):
            self._handler = handler
            HeldInterrupts.current = self
        else:
            set_handler(SIGINT, signals.SIG_DFL if handler is None else handler)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            HeldInterrupts.current = None
            set_handler(SIGINT, self._handler)
            self._deliver()

    def _note(self, number: int, frame: FrameType | None) -> None:
        """The handler in the meantime: remember an interrupt."""
        self._caught.append(frame)

    def _deliver(self) -> None:
        """Hand an interrupt that came to the handler that was there before."""
        if self._caught:
            self._handler(SIGINT, self._caught.pop())

    def wait(self, event: Flag, seconds: float | None) -> None:
        """Wait for an event, interruptibly."""
        self._deliver()
        set_handler(SIGINT, self._handler)
        try:
            event.wait(seconds)
        finally:
            set_handler(SIGINT, self._note)


class LoopRunner(Runner):
    """anyio, asyncio and Trio: what may wait for the disk runs in other threads, and the event loop goes on."""

    waits = False
    credit = CREDIT

    def __init__(self) -> None:
        import anyio
        import anyio.lowlevel

        self._anyio = anyio
        self._writer = WriterThread()
        self._readers = ReaderThreads(THREADS)
        self._wakes = Wakes(TURN)

    def identity(self) -> object:
        # Every read beside an open transaction asks this.
        asyncio: Any = sys.modules.get("asyncio")
        loop = None if asyncio is None else asyncio._get_running_loop()
        if asyncio is not None and loop is not None:
            task: object = asyncio.current_task(loop)
            if task is not None:
                return task
        trio = sys.modules.get("trio")
        if trio is not None:
            with suppress(RuntimeError):
                return trio.lowlevel.current_task()
        return threading.current_thread()  # it may make handles, for tasks to use

    def waiter(self) -> LoopWaiter:
        asyncio: Any = sys.modules.get("asyncio")
        trio: Any = sys.modules.get("trio")
        loop = None if asyncio is None else asyncio._get_running_loop()
        if asyncio is not None and loop is not None and (trio is None or asyncio.current_task(loop) is not None):
            return AsyncioWaiter(loop)
        if trio is not None:
            with suppress(RuntimeError):
                return TrioWaiter(trio)
        raise RuntimeError("no running event loop: use modelvault.Database where there is none")

    async def fetch(self, function: Callable[..., T], *args: Any) -> T:
        job = Job(function, args, self.waiter())
        self._readers.call(job.run)
        try:  # and no cancel scope: two thirds of what such a call costs a loop
            await job.waiter.wait()
        except BaseException:
            job.claim()
            raise
        result: T = job.outcome()
        return result

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        return await self._see_to(self._readers.call, function, args)

    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        return await self._see_to(self._writer.call, function, args)

    async def _see_to(self, call: Callable[..., None], function: Callable[..., T], args: tuple[Any, ...]) -> T:
        """The function's result, called by `call` in another thread; once it has begun it is waited for."""
        job = Job(function, args, self.waiter())
        call(job.run)
        interrupted: BaseException | None = None
        with self._anyio.CancelScope(shield=True):
            try:
                await job.waiter.wait()
            except GeneratorExit:
                job.claim()
                raise
            except BaseException as error:
                if job.claim():
                    raise
                interrupted = error
                await self.hold(job.waiter)
        if interrupted is not None:
            raise interrupted
        result: T = job.outcome()
        return result

    def start(self, function: Callable[[], object], after: float = 0.0) -> None:
        self._writer.call(function, after)

    def wake(self, waiters: Iterable[LoopWaiter]) -> None:
        self._wakes.wake(waiters)

    def settle(self) -> None:
        self._readers.settle()

    def close(self) -> None:
        self._writer.end()
        self._readers.end()

    async def hold(self, waiter: Waiter) -> None:
        interrupted: BaseException | None = None
        with self._anyio.CancelScope(shield=True):
            while not waiter.is_set():
                try:
                    await waiter.wait()
                except GeneratorExit:
                    raise
                except BaseException as error:
                    interrupted = error
        if interrupted is not None:
            raise interrupted

    def guard(self) -> AbstractContextManager[None]:
        return NOTHING  # the event loop turns an interrupt into a cancellation, or ends

    async def rest(self) -> None:
        await self._anyio.lowlevel.checkpoint()


class TrioWaiter:
    """For Trio what AsyncioWaiter is for the others: a waiter for the task that makes it."""

    __slots__ = ("_task", "_trio", "done", "loop")

    def __init__(self, trio: Any) -> None:
        self.loop = trio.lowlevel.current_trio_token()
        self.done = False
        self._trio = trio
        self._task: Any = None  # while it waits

    def set(self) -> None:
        self.done = True
        with suppress(RuntimeError):
            self.soon(self.fire)

    def is_set(self) -> bool:
        return self.done

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Have it called in the loop's thread; RuntimeError if the loop is gone."""
        self.loop.run_sync_soon(function, *args)

    def fire(self) -> None:
        """Wake the task; in the loop's thread."""
        self.done = True
        task, self._task = self._task, None
        if task is not None:
            self._trio.lowlevel.reschedule(task)

    def wait(self, seconds: float | None = None) -> Awaitable[None]:
        return self._sleep() if seconds is None else self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait for so many seconds at most."""
        with self._trio.move_on_after(seconds):
            await self._sleep()

    async def _sleep(self) -> None:
        """Wait until it is set."""
        if not self.done:
            self._task = self._trio.lowlevel.current_task()
            await self._trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, raise_cancel: object) -> Any:
        """Trio cancels the task: it waits no longer."""
        self._task = None
        return self._trio.lowlevel.Abort.SUCCEEDED


class WriterThread:
    """Makes calls one after the other, in a thread that comes when it is needed and goes when it was idle."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[float, Callable[[], object]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive = False

    def call(self, function: Callable[[], object], after: float = 0.0) -> None:
        """Have it called after those before it, or after so many seconds; now if the system has no more threads."""
        with self._lock:
            self._calls.put((monotonic() + after if after else 0.0, function))
            if self._alive:
                return
            self._alive = True
        try:
            threading.Thread(target=self._work, name="modelvault writer", daemon=True).start()
        except RuntimeError:
            self._calls.put(None)
            self._work()

    def end(self) -> None:
        """The thread may go when it has done what it has."""
        with self._lock:
            if self._alive:
                self._calls.put(None)

    def _work(self) -> None:
        """Make calls until none came for a while; what the thread does."""
        later: list[tuple[float, Callable[[], object]]] = []
        while True:
            call = self._next(later)
            if call is not None:
                call()
                del call
                continue
            with self._lock:
                if self._calls.empty():
                    self._alive = False
                    return

    def _next(self, later: list[tuple[float, Callable[[], object]]]) -> Callable[[], object] | None:
        """What to call next; None if the thread may end. `later` are the calls whose time has not come."""
        while True:
            try:
                entry = self._calls.get(timeout=max(0.0, later[0][0] - monotonic()) if later else IDLE)
            except queue.Empty:
                return later.pop(0)[1] if later else None
            if entry is None or not entry[0]:
                return None if entry is None else entry[1]
            later.append(entry)
            later.sort(key=itemgetter(0))


class ReaderThreads:
    """Makes calls at the same time, in a few threads that come when they are needed and go when they were idle.

    A call costs the event loop 15 us, of anyio's worker threads 50; and a new thread is not waited for.
    """

    def __init__(self, most: int) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)  # told when the last call has been made
        self._room = most  # threads that may still be started
        self._free = 0  # threads that wait for a call that has not been made yet
        self._late = 0  # calls that wait for a thread to be free
        self._left = 0  # calls that have not been made, or not to their end

    def call(self, function: Callable[[], object]) -> None:
        """Have it called; now if the system has no threads at all."""
        with self._lock:
            self._calls.put(function)
            self._left += 1
            if self._free:
                self._free -= 1
                return
            if not self._room:
                self._late += 1
                return
            self._room -= 1
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:
            with self._lock:
                self._room += 1
            call = self._calls.get()
            if call is not None:
                call()
                with self._lock:
                    self._count_off()

    def settle(self) -> None:
        """Block until all calls have been made."""
        with self._lock:
            while self._left:
                self._quiet.wait()

    def _count_off(self) -> None:
        """A call has been made; with the lock held."""
        self._left -= 1
        if not self._left:
            self._quiet.notify_all()

    def end(self) -> None:
        """The threads may go."""
        with self._lock:
            for _ in range(self._free):
                self._calls.put(None)
            self._room += self._free
            self._free = 0

    def _work(self) -> None:
        """Make calls until none came for a while; what each thread does."""
        while True:
            try:
                call = self._calls.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._free:
                        self._free -= 1
                        self._room += 1
                        return
                continue
            if call is None:
                return
            call()
            del call
            with self._lock:
                self._count_off()
                if self._late:
                    self._late -= 1
                else:
                    self._free += 1


class Job:
    """A call in another thread: whoever claims it first, the thread or a cancellation, decides whether it happens."""

    __slots__ = ("_args", "_claimed", "_context", "_error", "_function", "_result", "waiter")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], waiter: Waiter) -> None:
        self._context = copy_context()  # the function may run a user's validators
        self._function = function
        self._args = args
        self._claimed = threading.Lock()
        self.waiter = waiter
        self._result: Any = None
        self._error: BaseException | None = None

    def claim(self) -> bool:
        """True for the first who asks."""
        return self._claimed.acquire(blocking=False)

    def run(self) -> None:
        """Make the call if nobody was before; the outcome is in `result` and `error`."""
        if not self.claim():
            return
        try:
            self._result = self._context.run(self._function, *self._args)
        except BaseException as error:
            self._error = error
        self.waiter.set()

    def outcome(self) -> Any:
        """What the call returned or raised."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # no cycle through the traceback: what the error holds goes at once
