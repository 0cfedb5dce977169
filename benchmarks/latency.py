"""`make latency`: what others notice of modelvault's work. How long an event loop stands still while it loads, scans or
checkpoints, and while indexes are built, files copied, checked and compacted; what a get costs beside a writer, or
while every row is written anew; how fast that is; whether a commit costs more in a large file; how long a full log
takes to be repeated; how large a file becomes under a churn.
"""

import argparse
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

import anyio

from benchmarks.data import User, rows
from modelvault import AsyncCollection, AsyncDatabase, Database, ModelVaultError, fields, models
from modelvault import count as agg_count

LOOPS = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
TICK = 0.001  # seconds
BEGIN = 5  # tasks that begin in one turn of the loop
u = fields(User)

Users = AsyncCollection[User]


def show(name: str, measured: str, target: str, holds: bool) -> None:
    """One line of the table."""
    print(f"{name:64} {measured:>28}   {target:18} {'holds' if holds else 'FAILS'}", flush=True)


def run(loop: str, main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function on the event loop of that name."""
    return anyio.run(main, **LOOPS[loop])  # type: ignore[arg-type]


def filled(path: Path, count: int) -> Path:
    """A file with so many rows."""
    with Database.open(path) as db:
        for first in range(1, count + 1, 100_000):
            with db.transaction():
                models.collection(db, User).insert_many(rows(min(100_000, count - first + 1), first))
    return path


# The loop stands still


class Turn(NamedTuple):
    """How late a turn of a loop came, in seconds; and how long of that its thread could run, but no core was free."""

    late: float
    coreless: float


def coreless() -> float:
    """How long this thread has waited for a core, in seconds; 0 where the system does not say."""
    with suppress(OSError), open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
    return 0.0


@asynccontextmanager
async def ticking() -> AsyncIterator[list[Turn]]:
    """A task that asks for a turn each millisecond; how each turn came."""
    late: list[Turn] = []

    async def tick() -> None:
        while True:
            start, before = perf_counter(), coreless()
            await anyio.sleep(TICK)
            late.append(Turn(perf_counter() - start - TICK, coreless() - before))

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.sleep(0.02)
        late.clear()
        yield late
        group.cancel_scope.cancel()


@dataclass
class Work:
    """What to do it with. `given`: rows that are not stored yet. `kept`: what shall not be given up meanwhile."""

    db: AsyncDatabase
    users: Users
    count: int
    given: list[User]
    kept: list[Any] = field(default_factory=list)

    async def each(self, calls: list[Callable[[], Awaitable[Any]]]) -> None:
        """Make all calls at once, each in a task of its own; some begin in one turn of the loop, some in the next.

        A task of a group that does nothing takes 26 us on asyncio, 34 on uvloop, 38 on Trio: beginning a thousand such
        tasks at once is a stall of 28 to 40 ms, 100 in a turn one of 14 to 19, 20 in a turn one of 5, 5 in a turn 3.
        So few begin in a turn that most of what is measured is ours; `nothing` says what is not.
        """
        async with anyio.create_task_group() as group:
            for number, call in enumerate(calls):
                group.start_soon(call)
                if number % BEGIN == 0:
                    await anyio.lowlevel.checkpoint()


async def nothing(work: Work) -> None:
    for _ in range(5):
        await work.each([anyio.lowlevel.checkpoint] * 1000)


async def bulk(work: Work) -> None:
    await work.users.insert_many(work.given)


async def at_once(work: Work) -> None:
    for first in range(0, 5000, 1000):
        await work.each([partial(work.users.insert, user) for user in work.given[first : first + 1000]])


async def checkpoints(work: Work) -> None:
    draw = Random(5)
    for _ in range(5):
        keys = draw.sample(range(1, work.count), 1000)
        await work.each([partial(work.users.update, key, {"age": draw.randrange(100)}) for key in keys])
        await work.db.checkpoint()


async def scan(work: Work) -> None:
    work.kept.append(await work.users.where(u.score < -1.0).count())
    work.kept.append(await work.users.where(u.score < 10.0).all())
    work.kept.append(await work.users.all())


async def iteration(work: Work) -> None:
    async for _ in work.users:
        pass


async def cold(work: Work) -> None:
    """Of a file that the system has forgotten, by a handle with a small cache."""
    draw = Random(6)
    for _ in range(10):
        await work.each([partial(work.users.get, key) for key in draw.sample(range(1, work.count), 100)])


WORK = [nothing, bulk, at_once, checkpoints, scan, iteration, cold]


def forget(path: Path) -> None:
    """Have the system drop its copy of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


async def still() -> float:
    """The longest time without a turn of a loop that has nothing else to do."""
    async with ticking() as late:
        await anyio.sleep(0.5)
    return max(late).late


def stalls(folder: Path, count: int, rounds: int) -> None:
    """The longest time without a turn, for each kind of work on each loop: the median of some runs.

    And that of an idle loop just before each of them: what the machine itself does.
    """
    source = filled(folder / "stalls", count)
    for loop in LOOPS:
        for work in WORK:
            worst, idle = [], []
            for _ in range(rounds):
                idle.append(run(loop, still))
                path = Path(shutil.copy(source, folder / "copy"))
                forget(path)

                async def main(path: Path = path, work: Any = work) -> float:
                    size = (1 << 20) if work is cold else (64 << 20)
                    async with AsyncDatabase.open(path, cache_size=size) as db:
                        made = Work(db, models.async_collection(db, User), count, list(rows(50_000, count + 1)))
                        await made.users.get(1)
                        gc.collect()
                        gc.disable()  # how long a collection takes depends on the rest of the program
                        try:
                            async with ticking() as late:
                                await work(made)
                        finally:
                            gc.enable()
                        return max(late).late

                worst.append(run(loop, main))
            late = median(worst) * 1e3
            measured = f"{late:.2f} ms (worst {max(worst) * 1e3:.2f}; idle {median(idle) * 1e3:.2f})"
            show(f"the loop stands still: {work.__name__}, {loop}", measured, "<= 5 ms", late <= 5)
    source.unlink()


# Queries over many rows, with the garbage collector as Python has it


async def all_models(users: Users) -> object:
    return await users.all()


async def each_model(users: Users) -> None:
    async for _ in users:
        pass


async def memory(_: Users) -> object:
    """No query: as much new memory as a million models take, in slices of a millisecond."""
    kept, due = [], perf_counter() + TICK
    while len(kept) < 8192:
        kept.append(bytearray(1 << 18))
        if perf_counter() >= due:
            for _turn in range(3):
                await anyio.lowlevel.checkpoint()
            due = perf_counter() + TICK
    return kept


QUERIES: dict[str, Callable[[Users], Awaitable[object]]] = {
    "nothing": lambda users: anyio.sleep(0.5),
    "no query, 2 GiB of new memory": memory,
    "a filter nothing fits, the first time": lambda users: users.where(u.score < -1.0).count(),
    "a filter that 1 % fit": lambda users: users.where(u.score < 10.0).all(),
    "count": lambda users: users.where(u.score < 500.0).count(),
    "sum": lambda users: users.sum(u.score),
    "groups": lambda users: users.group_by(age=u.age).agg(n=agg_count()),
    "the best 20": lambda users: users.order_by(u.score.desc(), u.name).limit(20).all(),
    "one field of each": lambda users: users.select(u.name).all(),
    "what an index has": lambda users: users.order_by(u.email).select(u.email).all(),
    "a third, sorted": lambda users: users.where(u.active == False).order_by(u.name).all(),  # noqa: E712
    "a range of an index, by primary key": lambda users: users.where(u.address.city < "City 2000").all(),
    "a range of an index, in its order": lambda users: (
        users.where(u.address.city < "City 2000").order_by(u.address.city).all()
    ),
    "each, one by one": each_model,
    "all at once": all_models,
}


def queries(folder: Path, count: int, rounds: int, only: str, loops: list[str]) -> None:
    """The longest time that an event loop stands still during each query, the median of some runs.

    Beside it what it was just before, with nothing to do: the machine's part.
    """
    path = folder / "queries"
    if not path.exists():
        filled(path, count)
    for (name, query), loop in product(QUERIES.items(), loops):
        if only not in name:
            continue
        found: list[Stood] = []
        for _ in range(rounds):
            if "first time" in name:
                forget(path)
            found.append(run(loop, partial(asked, path, query)))
            gc.collect()  # what the query gave goes away here, and not in the next one
        show_stall(f"{count:,} rows, {loop} stands still: {name}", found)


class Stood(NamedTuple):
    """How long a loop stood still during some work, how long of that without a core, and before it; what the work took.

    In seconds.
    """

    late: float
    no_core: float
    idle: float
    taken: float


async def asked(path: Path, query: Callable[[Users], Awaitable[object]]) -> Stood:
    """`stood_still` during a query; its result is kept until then."""
    async with AsyncDatabase.open(path) as db:
        users = models.async_collection(db, User)
        await users.get(1)
        return await stood_still(partial(query, users))


async def stood_still(work: Callable[[], Awaitable[object]]) -> Stood:
    """How long the loop stands still during some work, whose result is kept until then."""
    async with ticking() as late:
        await anyio.sleep(0.3)
        idle = max(late).late
        late.clear()
        start = perf_counter()
        kept = await work()
        taken = perf_counter() - start
        longest = max(late, default=Turn(0.0, 0.0))
    del kept
    return Stood(*longest, idle, taken)


def show_stall(name: str, found: list[Stood]) -> None:
    """One line for what `stood_still` found in some runs."""
    late, no_core, idle, taken = (median(part) * 1e3 for part in zip(*found, strict=True))
    worst = max(part.late for part in found) * 1e3
    measured = f"{late:.2f} ms ({no_core:.2f} without a core; worst {worst:.2f}, idle {idle:.2f}), of {taken:,.0f}"
    show(name, measured, "<= 5 ms", late <= 5)


# What is done with a whole collection, or the whole file


class Indexed(User):
    """The rows with two more indexes, one of them unique: its entries come in another order than the rows."""

    __modelvault_collection__ = "users"
    __modelvault_indexes__: ClassVar = [*User.__modelvault_indexes__, models.index("score"), models.unique("name")]


class Wider(User):
    """The rows with a float in place of an int: every one is written anew."""

    __modelvault_collection__ = "users"

    age: float  # type: ignore[assignment]


async def into_memory(db: AsyncDatabase) -> object:
    """A database in memory with the content of the file, and its content as bytes."""
    copy = await AsyncDatabase.open_snapshot(db.path())
    return copy, await copy.snapshot_bytes()


UPKEEP: dict[str, Callable[[AsyncDatabase], Awaitable[object]]] = {
    "two indexes built": lambda db: models.async_apply(db, Indexed),
    "rows written anew": lambda db: models.async_apply(db, Wider),
    "rows written anew in chunks": lambda db: models.async_apply(db, Wider, chunk=10_000),
    "verify": lambda db: db.verify(),
    "export": lambda db: db.export_snapshot(f"{db.path()}-export"),
    "restore": lambda db: AsyncDatabase.restore_snapshot(db.path(), f"{db.path()}-restored"),
    "compact, nine tenths free": lambda db: db.compact(),
    "compact_to": lambda db: db.compact_to(f"{db.path()}-compact"),
    "into memory, and out as bytes": into_memory,
}


def upkeep(folder: Path, count: int, rounds: int, only: str, loops: list[str]) -> None:
    """The longest time that an event loop stands still during work with all rows or pages, the median of some runs."""
    for module in ("_backup", "_change", "_verify"):  # happens once in a process, and takes 2 to 5 ms
        import_module(f"modelvault.{module}")
    sources = {thin: filled(folder / f"upkeep{thin}", count) for thin in (False, True)}
    with Database.open(sources[True]) as db:
        models.collection(db, User).where(u.score >= 100.0).delete()
    for (name, work), loop in product(UPKEEP.items(), loops):
        if only not in name:
            continue
        found: list[Stood] = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = Path(shutil.copy(sources["free" in name], place))
                found.append(run(loop, partial(kept_up, path, work)))
            gc.collect()
        show_stall(f"{count:,} rows, {loop} stands still: {name}", found)


async def kept_up(path: Path, work: Callable[[AsyncDatabase], Awaitable[object]]) -> Stood:
    """`stood_still` during some work."""
    async with AsyncDatabase.open(path) as db:
        return await stood_still(partial(work, db))


# Others


def beside(folder: Path, count: int) -> None:
    """A get while another task writes without a pause, and alone: the 99th percentile."""
    path = filled(folder / "beside", count)
    for loop in LOOPS:

        async def main() -> tuple[float, float]:
            async with AsyncDatabase.open(path) as db:
                users = models.async_collection(db, User)
                fresh = rows(10**9, max([user.id for user in await users.all()]) + 1)

                async def write() -> None:
                    while True:
                        await users.insert(next(fresh))

                async def gets() -> list[float]:
                    draw, found = Random(7), []
                    for key in draw.choices(range(1, count), k=4000):
                        await anyio.lowlevel.checkpoint()
                        start = perf_counter()
                        await users.get(key)
                        found.append(perf_counter() - start)
                    return sorted(found)

                await gets()
                alone = await gets()
                async with anyio.create_task_group() as group:
                    group.start_soon(write)
                    await anyio.sleep(0.05)
                    beside = await gets()
                    group.cancel_scope.cancel()
                return alone[len(alone) * 99 // 100], beside[len(beside) * 99 // 100]

        pairs = [run(loop, main) for _ in range(5)]
        alone, besides = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
        measured = f"{besides * 1e6:.1f} us, alone {alone * 1e6:.1f}"
        show(f"get beside a writer, 99th percentile, {loop}", measured, "< 3x alone", besides < 3 * alone)
    beside_a_thread(path, count)
    path.unlink()


def beside_a_thread(path: Path, count: int) -> None:
    """The same for threads: one writes without a pause, another one reads."""
    pairs: list[tuple[float, float]] = []
    with Database.open(path) as db:
        users = models.collection(db, User)
        fresh = rows(10**9, max(user.id for user in users) + 1)
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                users.insert(next(fresh))

        def gets() -> float:
            draw, found = Random(7), []
            for key in draw.choices(range(1, count), k=40_000):
                start = perf_counter()
                users.get(key)
                found.append(perf_counter() - start)
            return sorted(found)[len(found) * 99 // 100]

        gets()
        for _ in range(5):
            alone = gets()
            over.clear()
            thread = threading.Thread(target=write)
            thread.start()
            pairs.append((alone, gets()))
            over.set()
            thread.join()
    alone, besides = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    measured = f"{besides * 1e6:.1f} us, alone {alone * 1e6:.1f}"
    show("get beside a writer, 99th percentile, threads", measured, "< 3x alone", besides < 3 * alone)


def older(row: dict[str, Any]) -> None:
    """An upgrade function."""
    row["age"] += 1


CHANGES: dict[str, Callable[[AsyncDatabase], Awaitable[int]]] = {
    "a wider type": lambda db: models.async_apply(db, Wider),
    "an upgrade function": lambda db: models.async_apply(db, User, upgrade={2: older}),
}
PACES: dict[str, Callable[[], Awaitable[None]]] = {
    "without a pause": anyio.lowlevel.checkpoint,
    "each ms": partial(anyio.sleep, TICK),
}


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


async def paced(
    users: Users, count: int, pause: Callable[[], Awaitable[Any]], more: Callable[[int], bool]
) -> list[list[float]]:
    """Gets with pauses between, as long as there are to be more: what each took, and its pause."""
    draw = Random(11)
    taken: list[float] = []
    pauses: list[float] = []
    with suppress(ModelVaultError):  # the model has changed
        while more(len(taken)):
            key = draw.randrange(1, count)
            before = perf_counter()
            await pause()
            start = perf_counter()
            await users.get(key)
            taken.append(perf_counter() - start)
            pauses.append(start - before)
    return [taken, pauses]


async def rewritten(path: Path, count: int, apply: Any, pause: Any) -> list[list[float]]:
    """`paced` alone, then while every row is written anew."""
    async with AsyncDatabase.open(path) as db:
        users = models.async_collection(db, User)
        await users.all()
        await paced(users, count, pause, lambda done: done < 100)
        alone = await paced(users, count, pause, lambda done: done < 400)
        changing = [True]

        async def change() -> None:
            await apply(db)
            changing.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(change)
            return alone + await paced(users, count, pause, lambda done: bool(changing))


def rewriting(folder: Path, count: int, rounds: int) -> None:
    """Gets while another task lets every row be written anew, and alone: the 99th percentile.

    And how late a task that wants a turn each ms comes to it.
    """
    source = filled(folder / "rewriting", count)
    for loop, change, pace in product(LOOPS, CHANGES, PACES):
        times: list[list[float]] = [[], [], [], []]
        for _ in range(rounds):
            path = Path(shutil.copy(source, folder / "copy"))
            found = run(loop, partial(rewritten, path, count, CHANGES[change], PACES[pace]))
            for part, more in zip(times, found, strict=True):
                part += more
        alone, turn_alone, beside, turn = (p99(part) * 1e6 for part in times)
        name = f"get {pace} beside {change}, p99, {loop}"
        show(name, f"{beside:.1f} us, alone {alone:.1f}", "< 3x alone", beside < 3 * alone)
        if pace == "each ms":
            measured = f"{turn:.0f} us, alone {turn_alone:.0f}"
            show("    its turn comes after", measured, "< 3x alone", turn < 3 * turn_alone)
    source.unlink()


def rates(folder: Path, count: int, rounds: int) -> None:
    """Rows written anew in a second, against rows loaded: the same model, indexes and commits of 10,000 rows."""
    given = list(rows(count))
    for change, apply in CHANGES.items():
        taken: list[list[float]] = [[], []]
        for _ in range(rounds):
            path = folder / "rates"

            async def main(path: Path = path, apply: Any = apply, taken: Any = taken) -> None:
                async with AsyncDatabase.open(path) as db:
                    start = perf_counter()
                    await models.async_collection(db, User).insert_many(given, chunk=10_000)
                    loaded = perf_counter()
                    await apply(db)
                    taken[0].append(loaded - start)
                    taken[1].append(perf_counter() - loaded)

            run("asyncio", main)
            path.unlink()
        load, rewrite = (count / median(times) for times in taken)
        measured = f"{rewrite / load:.2f}x ({rewrite:,.0f}, {load:,.0f} rows/s)"
        show(f"rows written anew for {change}, against a load", measured, ">= 0.5x", rewrite >= 0.5 * load)


def growth(folder: Path, large: int) -> None:
    """A durable insert into 1,000 rows and into many, in turn."""
    sizes = [1_000, large]
    stores = [Database.open(filled(folder / f"growth{size}", size)) for size in sizes]
    inserts = [models.collection(db, User).insert for db in stores]
    fresh = [rows(10**9, size + 1) for size in sizes]
    taken: list[list[float]] = [[], []]
    for _ in range(150):
        for number, insert in enumerate(inserts):
            for user in [next(fresh[number]) for _ in range(10)]:
                start = perf_counter()
                insert(user)
                taken[number].append(perf_counter() - start)
    for db in stores:
        db.close()
    few, many = median(taken[0]), median(taken[1])
    measured = f"{many / few:.2f}x ({few * 1e6:.0f}, {many * 1e6:.0f} us)"
    show(f"durable insert, {large:,} rows against 1,000", measured, "<= 1.3x", many <= 1.3 * few)


def replay(folder: Path, count: int) -> None:
    """Opening a copy of a file whose log is as full as it gets before a checkpoint.

    Of rows that are near one another: where every commit changes other pages, memory is full before the log is.
    """
    path = filled(folder / "replay", count)

    async def main() -> None:
        async with AsyncDatabase.open(path) as db:
            users = models.async_collection(db, User)
            draw, most = Random(8), 0
            for _ in range(500):
                async with anyio.create_task_group() as group:
                    for key in draw.sample(range(1, count // 20), 200):
                        group.start_soon(users.update, key, {"age": draw.randrange(100)})
                stats = db.stats()
                if stats["log_used"] > most:
                    most = stats["log_used"]
                    shutil.copy(path, folder / "full")
                elif most > 0.7 * (8 << 20):
                    return

    run("asyncio", main)
    start = perf_counter()
    db = Database.open(folder / "full")
    taken = perf_counter() - start
    used = db.stats()["log_used"] / (1 << 20)
    db.close()
    show(f"opening a file with {used:.1f} MiB in its log", f"{taken * 1e3:.0f} ms", "< 500 ms", taken < 0.5)


def churn(folder: Path, updates: int) -> None:
    """Updates over 10,000 rows, a thousand at once; the file's size against that of the same rows freshly loaded."""
    path, count = filled(folder / "churn", 10_000), 10_000
    most = 0

    async def main() -> float:
        nonlocal most
        async with AsyncDatabase.open(path) as db:
            users = models.async_collection(db, User)
            draw = Random(9)
            start = perf_counter()
            for _ in range(updates // 1000):
                async with anyio.create_task_group() as group:
                    for key in draw.sample(range(1, count + 1), 1000):
                        group.start_soon(
                            users.update, key, {"age": draw.randrange(100), "name": "n" * draw.randrange(40)}
                        )
                most = max(most, path.stat().st_size)
            return perf_counter() - start

    taken = run("asyncio", main)
    with Database.open(path) as old, Database.open(folder / "fresh") as new, new.transaction():
        models.collection(new, User).insert_many(models.collection(old, User).all())
    fresh = (folder / "fresh").stat().st_size
    measured = f"{most / fresh:.2f}x ({fresh >> 10:,} KiB; {taken / updates * 1e6:.0f} us each)"
    show(f"the largest file under {updates:,} updates of 10,000 rows", measured, "< 3x fresh", most < 3 * fresh)


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "stalls": lambda folder, options: stalls(folder, options.rows, options.rounds),
    "queries": lambda folder, options: queries(
        options.folder or folder, 10 * options.rows, options.rounds, options.only, options.loops
    ),
    "upkeep": lambda folder, options: upkeep(folder, 10 * options.rows, options.rounds, options.only, options.loops),
    "beside": lambda folder, options: beside(folder, options.rows),
    "rewriting": lambda folder, options: rewriting(folder, options.rows, options.rounds),
    "rates": lambda folder, options: rates(folder, options.rows, options.rounds),
    "growth": lambda folder, options: growth(folder, 10 * options.rows),
    "replay": lambda folder, options: replay(folder, 4 * options.rows),
    "churn": lambda folder, options: churn(folder, 10 * options.rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which (default: all)")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="of queries and upkeep those with this in their name")
    parser.add_argument("--loops", nargs="*", default=list(LOOPS), choices=list(LOOPS), help="of those, on which")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the system's temporary folder)")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            PARTS[name](Path(folder), options)


if __name__ == "__main__":
    sys.exit(main())
