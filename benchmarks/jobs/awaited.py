"""The same work awaited, on each event loop; and how long a loop stands still meanwhile."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from itertools import islice, repeat
from time import perf_counter
from typing import Any

from benchmarks.batch import WARM, Batch
from benchmarks.data import row, rows, shuffled
from benchmarks.job import Site, job

SECTION = "Async"
AIOSQLITE = {"aiosqlite": 50.0}

Verb = Callable[[Any], Coroutine[Any, Any, Any]]
Way = Callable[[Verb, Sequence[Any]], Awaitable[None]]


async def gather_asyncio(awaitables: list[Coroutine[Any, Any, Any]]) -> None:
    await asyncio.gather(*awaitables)


async def gather_trio(coroutines: list[Coroutine[Any, Any, Any]]) -> None:
    import trio

    async def run(coroutine: Coroutine[Any, Any, Any]) -> None:
        await coroutine

    async with trio.open_nursery() as nursery:
        for coroutine in coroutines:
            nursery.start_soon(run, coroutine)


def run(loop: str, main: Callable[[], Awaitable[float]]) -> float:
    """Run a coroutine function on the event loop of that name."""
    if loop == "trio":
        import trio

        return trio.run(main)
    if loop == "uvloop":
        import uvloop

        return uvloop.run(main())  # type: ignore[arg-type]
    return asyncio.run(main())  # type: ignore[arg-type]


GATHER = {"asyncio": gather_asyncio, "uvloop": gather_asyncio, "trio": gather_trio}


async def warmed(work: Callable[[Sequence[Any]], Awaitable[None]], given: Iterable[Sequence[Any]]) -> float:
    """Do the work with what is given, one by one, for WARM seconds and once more: the last one's seconds an item."""
    spent = 0.0
    for some in given:
        start = perf_counter()
        await work(some)
        taken = perf_counter() - start
        if spent >= WARM:
            return taken / len(some)
        spent += taken
    raise AssertionError("too little was given")


async def one_by_one(verb: Verb, arguments: Sequence[Any]) -> None:
    for argument in arguments:
        await verb(argument)


def at_once(loop: str) -> Way:
    gather = GATHER[loop]

    async def way(verb: Verb, arguments: Sequence[Any]) -> None:
        await gather([verb(argument) for argument in arguments])

    return way


def gets(loop: str, way: Way, count: int, site: Site) -> Batch:
    keys = shuffled(site.rows, count)
    site.release()

    async def main() -> float:
        async with site.peer.session(site.loaded()) as store:
            return await warmed(partial(way, store.get), repeat(keys))

    return lambda: run(loop, main)


def inserts(loop: str, way: Way, count: int, site: Site) -> Batch:
    """Durable inserts, each with its own promise."""
    path = site.private()
    fresh = rows(10**9, site.rows + 1)

    async def main() -> float:
        async with site.peer.session(path) as store:
            return await warmed(partial(way, store.insert), iter(lambda: list(islice(fresh, count)), []))

    return lambda: run(loop, main)


MOST = {"asyncio": 2.2, "uvloop": 2.2, "trio": 3.0}
for name in ("asyncio", "uvloop", "trio"):
    job(
        f"await get on {name}",
        SECTION,
        "session",
        name,
        most=MOST[name],
        times=AIOSQLITE if name == "asyncio" else {},
        rounds=11,
    )(partial(gets, name, one_by_one, 500))
for name in ("asyncio", "uvloop", "trio"):
    job(f"1,000 gets gathered on {name}, each", SECTION, "session", name, rounds=11)(
        partial(gets, name, at_once(name), 1000)
    )
for name in ("asyncio", "uvloop", "trio"):
    job(
        f"1,000 durable inserts gathered on {name}, each",
        SECTION,
        "session",
        name,
        most=15,
        times={"aiosqlite": 12.0} if name == "asyncio" else {},
        rounds=7,
    )(partial(inserts, name, at_once(name), 1000))


job(
    "await insert, durable, one at a time, asyncio", SECTION, "session", "asyncio", times={"aiosqlite": 1.0}, rounds=11
)(partial(inserts, "asyncio", one_by_one, 50))


async def ticks(gaps: list[float]) -> None:
    """Ask the loop for a turn again and again; note how long it took to come."""
    while True:
        start = perf_counter()
        await asyncio.sleep(0.0005)
        gaps.append(perf_counter() - start - 0.0005)


@job("worst stall of the loop under load", SECTION, "session", "asyncio", "stored", unit="ms", most=5, rounds=5)
def stall(site: Site) -> Batch:
    """Gathered gets and inserts, a filter, a count and all rows, beside a task with a timer of half a millisecond."""
    path = site.private()
    fresh = rows(10**9, site.rows + 1)
    keys = shuffled(site.rows, 1000)

    async def main() -> float:
        users = [next(fresh) for _ in range(1000)]
        async with site.peer.session(path) as store:
            gaps: list[float] = []
            gc.enable()  # a collection is a stall too
            ticker = asyncio.create_task(ticks(gaps))
            await asyncio.sleep(0.01)
            await asyncio.gather(*[store.insert(user) for user in users], *[store.get(key) for key in keys])
            await store.stored()
            ticker.cancel()
            gc.disable()
            return max(gaps)

    return lambda: run("asyncio", main)


@job("get beside a writer, asyncio", SECTION, "session", "asyncio", rounds=5)
def beside(site: Site) -> Batch:
    """Durable inserts one after another in one task, gets with a pause of a loop's turn in another."""
    path = site.private()
    fresh = rows(10**9, site.rows + 1)
    keys = shuffled(site.rows, 300)

    async def main() -> float:
        async with site.peer.session(path) as store:

            async def write() -> None:
                while True:
                    await store.insert(next(fresh))

            writer = asyncio.create_task(write())
            assert site.peer.same(await store.get(keys[0]), row(keys[0]))
            taken = 0.0
            for key in keys:
                await asyncio.sleep(0)
                start = perf_counter()
                await store.get(key)
                taken += perf_counter() - start
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            return taken / len(keys)

    return lambda: run("asyncio", main)
