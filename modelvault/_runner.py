"""The two ways to wait. Everything above is written once, as coroutines; a runner decides what an `await` comes to.

`LoopRunner` serves asyncio, uvloop and Trio through anyio. It belongs to no event loop: what it makes belongs to the
loop of the task that asked for it, so one handle may be used from several loops and threads.

`BlockingRunner` never suspends, so `_core.drive` runs a coroutine over it to its end in one `send`: in any thread, also
inside a running loop.

Cancellation comes in two kinds. A cancel scope (anyio, Trio) leaves a shielded call alone. asyncio's `Task.cancel`
goes through every shield, once; `finish` and `hold` keep it and raise it when they are done.
"""

from __future__ import annotations

import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

if TYPE_CHECKING:
    import anyio

__all__ = ["BlockingRunner", "LoopRunner", "Runner", "Waiter"]

T = TypeVar("T")

NOTHING: Final = nullcontext()
THREADS: Final = 8  # worker threads of one event loop that may wait for the disk at a time


class Waiter(Protocol):
    """Something one task or thread waits for, and any thread may set, once."""

    def set(self) -> None:
        """Wake who waits, or will."""

    def is_set(self) -> bool:
        """Was it set?"""

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it is set, or after so many seconds."""


class Runner(ABC):
    """How an operation waits: for the disk, for its turn, for others."""

    waits: bool
    """May the core wait for the disk on the thread of the caller?"""

    @abstractmethod
    def identity(self) -> object:
        """Who is running: the task, or the thread."""

    @abstractmethod
    def waiter(self) -> Waiter:
        """A new waiter, for the caller to wait for."""

    @abstractmethod
    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result; it may wait for the disk. If the caller is cancelled it may go on, unobserved."""

    @abstractmethod
    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        """Like `run`, but once the function has begun it is waited for: a cancellation is raised after its end."""

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

    def identity(self) -> object:
        return threading.current_thread()

    def waiter(self) -> Waiter:
        return ThreadWaiter()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        with HeldInterrupts():
            return function(*args)

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
        self._event = threading.Event()

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


# The functions without the enums that the module wraps around them: 0.3 us instead of 6.
set_handler: Final[Callable[[int, Any], Any]] = getattr(signal.signal, "__wrapped__", signal.signal)
get_handler: Final[Callable[[int], Any]] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)


class HeldInterrupts(AbstractContextManager[None]):
    """Ctrl-C waits until the end: a commit, and the bookkeeping around it, is not torn by a KeyboardInterrupt.

    Only the main thread has to do with it. While it waits for its turn, `lifted` lets an interrupt through.
    """

    current: ClassVar[HeldInterrupts | None] = None

    def __init__(self) -> None:
        self._handler: Any = None
        self._caught: list[FrameType | None] = []

    def __enter__(self) -> None:
        if HeldInterrupts.current is None and threading.current_thread() is threading.main_thread():
            handler = get_handler(signal.SIGINT)
            if callable(handler):
                with suppress(ValueError):  # a subinterpreter has no signals
                    set_handler(signal.SIGINT, self._note)
                    self._handler = handler
                    HeldInterrupts.current = self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            HeldInterrupts.current = None
            set_handler(signal.SIGINT, self._handler)
            self._deliver()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(frame)

    def _deliver(self) -> None:
        if self._caught:
            self._handler(signal.SIGINT, self._caught.pop())

    def wait(self, event: threading.Event, seconds: float | None) -> None:
        """Wait for an event, interruptibly."""
        self._deliver()
        set_handler(signal.SIGINT, self._handler)
        try:
            event.wait(seconds)
        finally:
            set_handler(signal.SIGINT, self._note)


class LoopRunner(Runner):
    """anyio: what may wait for the disk runs in a worker thread, and the event loop goes on."""

    waits = False

    def __init__(self) -> None:
        import anyio
        import anyio.lowlevel
        import anyio.to_thread

        self._anyio = anyio
        self._limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("modelvault limiter")

    def identity(self) -> object:
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None:
            with suppress(RuntimeError):
                task = asyncio.current_task()
                if task is not None:
                    return task
        trio = sys.modules.get("trio")
        if trio is not None:
            with suppress(RuntimeError):
                return trio.lowlevel.current_task()
        raise RuntimeError("no running event loop: use modelvault.Database where there is none")

    def waiter(self) -> Waiter:
        return LoopWaiter(self._anyio)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        try:
            limiter = self._limiter.get()
        except LookupError:
            limiter = self._anyio.CapacityLimiter(THREADS)
            self._limiter.set(limiter)
        return await self._anyio.to_thread.run_sync(function, *args, limiter=limiter)

    async def finish(self, function: Callable[..., T], *args: Any) -> T:
        job = Job(function, args, self.waiter())
        interrupted: BaseException | None = None
        with self._anyio.CancelScope(shield=True):
            try:
                await self.run(job.run)
            except GeneratorExit:
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


class LoopWaiter:
    """A waiter for the task that makes it."""

    __slots__ = ("_anyio", "_done", "_event", "_soon")

    def __init__(self, anyio_: Any) -> None:
        loop: Any = anyio_.lowlevel.current_token().native_token
        self._soon: Callable[..., Any] = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        self._anyio = anyio_
        self._event: anyio.Event = anyio_.Event()
        self._done = False

    def set(self) -> None:
        self._done = True
        with suppress(RuntimeError):  # the loop is gone, and who waited with it
            self._soon(self._event.set)

    def is_set(self) -> bool:
        return self._done

    async def wait(self, seconds: float | None = None) -> None:
        if seconds is None:
            await self._event.wait()
        else:
            with self._anyio.move_on_after(seconds):
                await self._event.wait()


class Job:
    """A call in a worker thread: whoever claims it first, the thread or a cancellation, decides whether it happens."""

    __slots__ = ("_args", "_claimed", "_error", "_function", "_result", "waiter")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], waiter: Waiter) -> None:
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
            self._result = self._function(*self._args)
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
