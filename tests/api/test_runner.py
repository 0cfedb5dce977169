"""The two ways to wait, and what the disk can do to operations that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from modelvault import AsyncDatabase, ClosedError, ModelVaultTransactionError, _runner, models
from modelvault._core.drive import drive
from modelvault._core.ticket import Ticket, apply_puts
from modelvault._queue import Turns
from modelvault._runner import BlockingRunner, HeldInterrupts, LoopRunner
from tests.faults import FaultyDisk
from tests.models import User, user
from tests.worlds import World, bare, gather

BACKENDS = ["asyncio", "trio"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Runners


def test_drive_refuses_what_suspends() -> None:
    closed = []

    async def main() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="use AsyncDatabase"):
        drive(main())
    assert closed == [True]


def test_a_loop_runner_tells_tasks_apart(backend: str) -> None:
    runner = LoopRunner()
    seen: list[object] = []

    async def main() -> None:
        seen.append(runner.identity())
        assert runner.identity() is seen[0]
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async def child() -> None:
        seen.append(runner.identity())

    anyio.run(main, backend=backend)
    assert len(set(map(id, seen))) == 2
    assert runner.identity() is threading.current_thread()
    with pytest.raises(RuntimeError, match=r"no running event loop: use modelvault\.Database"):
        runner.waiter()


def test_a_thread_makes_handles_while_a_task_has_a_transaction(backend: str) -> None:
    async def main() -> None:
        async with AsyncDatabase.open_in_memory() as db:
            await db.register_collection("notes", '[{"path": ["id"], "type": "int64"}]', "id")
            async with db.transaction():
                await db.insert("notes", {"id": 1})
                notes = await anyio.to_thread.run_sync(db.collection, "notes")
                assert await notes.count() == 1

    anyio.run(main, backend=backend)


def test_a_waiter_is_set_from_anywhere(backend: str) -> None:
    runner = LoopRunner()
    waiters: list[Any] = []

    async def main() -> None:
        waiter = runner.waiter()
        waiters.append(waiter)
        await waiter.wait(0.01)
        assert not waiter.is_set()
        thread = threading.Thread(target=waiter.set)
        thread.start()
        await waiter.wait()
        thread.join()
        assert waiter.is_set()
        waiters.append(runner.waiter())

    anyio.run(main, backend=backend)
    waiters[1].set()  # its loop is gone


@pytest.mark.parametrize("native", [False, True])
def test_what_has_begun_is_finished(backend: str, native: bool) -> None:
    if native and backend == "trio":
        pytest.skip("Trio cancels scopes only")
    runner = LoopRunner()
    done: list[str] = []
    gate = threading.Event()

    def slow() -> str:
        time.sleep(0.05)
        done.append("slow")
        return "result"

    async def main() -> None:
        if native:
            task = asyncio.ensure_future(runner.finish(slow))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert done == ["slow"]
            runner.start(gate.wait)
            task = asyncio.ensure_future(runner.finish(slow))
            await asyncio.sleep(0)
            task.cancel()  # before the thread began
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            assert await runner.finish(len, done) == 1
        else:
            with anyio.move_on_after(0.01) as scope:
                assert await runner.finish(slow) == "result"
                await anyio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert done == ["slow"]

    anyio.run(main, backend=backend)


def test_who_fetches_may_leave_at_once(backend: str) -> None:
    """A cold read is not waited for by who is cancelled, and one that has not begun never does."""
    runner = LoopRunner()
    gate, done = threading.Event(), []

    def slow(name: str) -> None:
        gate.wait()
        done.append(name)

    async def main() -> None:
        assert await runner.fetch(pow, 2, 3) == 8
        for _ in range(6):  # more than there are threads
            with anyio.move_on_after(0.01) as scope:
                await runner.fetch(slow, "begun")
            assert scope.cancelled_caught
        assert done == []
        gate.set()
        with anyio.fail_after(5):
            while len(done) < 4:  # noqa: ASYNC110
                await anyio.sleep(0.001)
            await runner.fetch(slow, "last")
        assert done == ["begun"] * 4 + ["last"]

    anyio.run(main, backend=backend)


def test_close_waits_for_reads_that_were_left_behind(backend: str, tmp_path: Path) -> None:
    """Else the system keeps the file open, and locked, until they end: the next `open` would be refused."""
    begun, gate = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        gate.wait()

    async def main() -> None:
        async with AsyncDatabase.open(tmp_path / "db") as db:
            with anyio.move_on_after(5) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(db._access.runner.fetch, slow)
                    while not begun.is_set():  # noqa: ASYNC110
                        await anyio.sleep(0.001)
                    group.cancel_scope.cancel()
            assert not scope.cancelled_caught
            timer = threading.Timer(0.05, gate.set)
            timer.start()
        assert gate.is_set()
        timer.join()
        async with AsyncDatabase.open(tmp_path / "db"):
            pass

    anyio.run(main, backend=backend)


def test_statements_are_applied_until_the_time_is_up(backend: str, tmp_path: Path) -> None:
    """By the clock, and one at least: a statement may be a microsecond of work, or have to read pages."""

    async def main() -> None:
        async with AsyncDatabase.open(tmp_path / "db") as db:
            users = await models.async_collection(db, User)
            await users.insert(user(0))
            shortcut, queue = users.__handle__.shortcut, db._access.queue
            assert shortcut is not None
            group = [Ticket(shortcut.put(user(number))) for number in range(1, 6)]
            await queue.enter()
            write = queue.begin()
            assert apply_puts(group, 0, time.monotonic() - 1, write) == 1
            assert apply_puts(group, 1, time.monotonic() + 60, write) == 4
            db._access.engine.rollback(write)
            queue.leave()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("verb", ["verify", "export_snapshot", "compact_to"])
def test_close_does_not_wait_for_the_end_of_long_work(
    backend: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelvault._backup.monotonic", itertools.count().__next__)  # each part is a step
    monkeypatch.setattr("modelvault._copying.PART", 1 << 15)
    monkeypatch.setattr("modelvault._copying.SLICE", 1 << 15)
    monkeypatch.setattr("modelvault._progress.INTERVAL", 0)

    async def main() -> None:
        db = await AsyncDatabase.open(tmp_path / "db")
        users = await models.async_collection(db, User)
        await users.insert_many(user(number) for number in range(5000))
        begun = anyio.Event()
        args = [] if verb == "verify" else [tmp_path / "copy"]

        async def work() -> None:
            with pytest.raises(ClosedError):
                await getattr(db, verb)(*args, progress=lambda _: begun.set())

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await begun.wait()
            await db.close()
        assert not (tmp_path / "copy").exists()
        async with AsyncDatabase.open(tmp_path / "db") as db:
            assert (await db.verify()).rows == 5000

    anyio.run(main, backend=backend)


def test_errors_come_through(backend: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main(runner: Any) -> None:
        for call in (runner.fetch, runner.run, runner.finish):
            with pytest.raises(ZeroDivisionError):
                await call(fail)
        assert await runner.run(pow, 2, 3) == await runner.finish(pow, 2, 3) == 8

    anyio.run(main, LoopRunner(), backend=backend)
    drive(main(BlockingRunner()))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("ctrl_c")
def test_interrupts_are_held_and_delivered() -> None:
    before = signal.getsignal(signal.SIGINT)
    steps: list[str] = []

    def two() -> None:
        with HeldInterrupts(), HeldInterrupts():
            signal.raise_signal(signal.SIGINT)
            steps.append("held")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        two()
    assert steps == ["held"]
    assert signal.getsignal(signal.SIGINT) is before
    waiter = BlockingRunner().waiter()

    def waiting() -> None:
        with HeldInterrupts():
            timer = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
            timer.start()
            drive(waiter.wait(5))

    with pytest.raises(KeyboardInterrupt):
        waiting()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_writers_thread_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_runner, "IDLE", 0.01)
    runner = LoopRunner()
    names: list[str] = []
    done = threading.Event()

    def note() -> None:
        names.append(threading.current_thread().name)
        done.set()

    def threads() -> int:
        return sum(thread.name == "modelvault writer" for thread in threading.enumerate())

    before = threads()
    for _ in range(2):
        done.clear()
        runner.start(note, 0.02)
        runner.start(lambda: names.append("first"))
        assert done.wait(5)
        assert names[-2:] == ["first", "modelvault writer"]
        deadline = time.monotonic() + 5
        while threads() > before:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    done.clear()
    runner.start(note)
    assert done.is_set() and names[-1] == threading.current_thread().name


# Turns


def test_turns_are_fair_and_timed() -> None:
    turns = Turns(BlockingRunner())
    drive(turns.enter())
    order: list[int] = []

    def wait(number: int) -> None:
        drive(turns.enter())
        order.append(number)
        turns.leave()

    threads = []
    for number in range(5):
        thread = threading.Thread(target=wait, args=(number,))
        thread.start()
        threads.append(thread)
        while len(turns.line) <= number:
            time.sleep(0.001)
    with pytest.raises(ModelVaultTransactionError, match=r"transaction is open .* 0\.01 s"):
        drive(turns.enter(0.01))
    turns.leave()
    for thread in threads:
        thread.join()
    assert order == list(range(5))
    drive(turns.enter(0.01))


# The disk


async def test_everything_works_on_a_cold_disk(disk_world: World, disks: list[FaultyDisk]) -> None:
    async with disk_world.open(page_size=4096) as db:
        await (await db.collection(User)).insert_many(user(number) for number in range(1500))
    async with disk_world.open(cache_size=64 * 1024) as db:
        disks[-1].cold = True
        users = db.collection(User)
        assert await users.get(1) == user(1)
        assert await users.get_many([5, 1400, 700]) == [user(5), user(1400), user(700)]
        assert await users.where("email", user(900).email).first() == user(900)
        assert await users.where("name", user(901).name).count() == 1
        assert [row.id async for row in users] == list(range(1500))
        await users.insert(user(2000))
        assert await users.update(3, {"age": 1}) == user(3, age=1)
        assert await users.delete(4)
        async with db.transaction() as tx:
            assert await users.get(1200) == user(1200)
            assert await users.delete(10)
            await users.insert_many(user(number, age=2) for number in range(600, 700))
            await users.upsert(user(3000, email=user(20).email), on="email")
            with contextlib.suppress(ZeroDivisionError):
                async with tx.savepoint():
                    assert await users.delete(1300)
                    raise ZeroDivisionError
        assert await users.count() == 1499
        assert disk_world.blocking or threading.main_thread().name not in disks[-1].read_threads


async def test_a_failed_commit_fails_its_statements_and_later_writes(
    disk_world: World, disks: list[FaultyDisk]
) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(1))
        faults = disks[-1].faults
        faults.on, faults.count, faults.at, faults.lasting = frozenset({"sync"}), 0, 1, True
        if disk_world.blocking:
            with pytest.raises(OSError, match="Input/output error"):
                await users.insert(user(2))
        else:
            errors = await gather(*[lambda number=number: users.insert(user(number)) for number in range(2, 8)])
            assert [error.errno for error in errors] == [errno.EIO] * 6
            assert len(set(map(id, errors))) == 6
        faults.at = 0
        with pytest.raises(OSError, match="an earlier write failed"):
            await users.insert(user(9))
        with pytest.raises(OSError, match="an earlier write failed"):
            async with db.transaction():
                raise AssertionError
        assert await users.all() == [user(1)]
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(9))
        assert await users.get(9) == user(9)


async def test_a_full_disk_fails_cleanly(disk_world: World, disks: list[FaultyDisk]) -> None:
    async with disk_world.open() as db:
        users = await db.collection(User)
        await users.insert(user(1))
        faults = disks[-1].faults
        faults.kind, faults.on, faults.at, faults.lasting = "ENOSPC", frozenset({"reserve", "resize", "write"}), 1, True
        faults.count = 0
        with pytest.raises(OSError, match="No space left") as caught:
            await users.insert_many(user(number) for number in range(5000))
        assert caught.value.errno == errno.ENOSPC
        faults.at = 0
        assert await users.all() == [user(1)]
        assert await users.insert_many(user(number) for number in range(50)) == 50


async def test_a_read_error_ends_the_transaction_it_happens_in(disk_world: World, disks: list[FaultyDisk]) -> None:
    async with disk_world.open(page_size=4096) as db:
        await (await db.collection(User)).insert_many(user(number) for number in range(1500))
    async with disk_world.open(cache_size=64 * 1024) as db:
        users = db.collection(User)
        faults = disks[-1].faults
        faults.on, faults.lasting = frozenset({"read"}), True
        with pytest.raises(ModelVaultTransactionError, match="failed half-way"):  # noqa: PT012
            async with db.transaction():
                await users.insert(user(5000))
                faults.count, faults.at = 0, 1
                with pytest.raises(OSError, match="Input/output error"):
                    await users.delete(700)
                faults.at = 0
                with pytest.raises(ModelVaultTransactionError, match="failed half-way"):
                    await users.delete(701)
        assert bare(db)._access.unit is None
        assert await users.count() == 1500
        await users.insert(user(5000))


def test_the_loop_goes_on_while_a_commit_waits(
    backend: str, tmp_path: Path, disks: list[FaultyDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with AsyncDatabase.open(tmp_path / "db") as db:
            users = await db.collection(User)
            ticks: list[float] = []

            def slow_sync(self: FaultyDisk) -> None:
                time.sleep(0.05)

            monkeypatch.setattr(type(disks[-1]), "sync", slow_sync)

            async def tick() -> None:
                while True:
                    await anyio.sleep(0.005)
                    assert await users.get(1) is None
                    ticks.append(anyio.current_time())

            async with anyio.create_task_group() as group:
                group.start_soon(tick)
                await users.insert(user(2))
                group.cancel_scope.cancel()
            assert len(ticks) >= 4

    anyio.run(main, backend=backend)
