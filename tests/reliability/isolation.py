"""Is a concurrent history serializable, in the order of real time? Lists to which transactions append tell.

Every element is appended once, so the final lists say in which order transactions wrote, and a list that was read
says what its reader saw. From both follows who came before whom: who appended before me, whose element I saw, who
appended what I did not see, and who had ended before I began. A history is strictly serializable if nobody comes
before himself. Torn, dirty, aborted, stale and lost writes all show up here or as elements that may not be there.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

import anyio
from pydantic import BaseModel

from modelvault import models

KEYS = 12
GROUPS = 3

Lists = dict[int, list[int]]


class Chain(BaseModel):
    """A list that grows; `tip` is its last element, so that a unique index changes with each append."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "chains"
    __modelvault_indexes__ = (models.index("group"), models.unique("tip"))
    id: int
    group: int
    tip: int
    items: list[int]


def chain(key: int, items: list[int]) -> Chain:
    return Chain(id=key, group=key % GROUPS, tip=items[-1] if items else -1 - key, items=items)


@dataclass
class Record:
    """One transaction as its client saw it. `outcome`: "committed", "aborted", or "unknown" after a cancellation."""

    begin: float
    end: float = inf
    reads: Lists = field(default_factory=dict)
    appends: list[tuple[int, int]] = field(default_factory=list)
    outcome: str = "unknown"


class Undone(Exception):
    """Rolls back what it passes."""


class Client:
    """Does random things to chains and remembers what it saw. `pause` lets others run."""

    def __init__(self, number: int, seed: int, pause: Callable[[], Awaitable[Any]], patience: bool = True) -> None:
        self.draw = random.Random(f"{seed} {number}")
        self.history: list[Record] = []
        self._fresh = iter(range(number * 1_000_000, (number + 1) * 1_000_000))
        self._pause = pause
        self._patience = patience

    async def run(self, db: Any, steps: int, writes: float = 0.5) -> None:
        """So many transactions; `writes` is the share of those that write."""
        chains = db.collection(Chain)
        for _ in range(steps):
            if self.draw.random() >= writes:
                await self.note(self.look(chains))
            elif self._patience or self.draw.random() < 0.7:
                await self.note(self.change(db, chains))
            else:
                with anyio.move_on_after(self.draw.uniform(0, 0.002)):
                    await self.note(self.change(db, chains))

    async def note(self, work: Any) -> None:
        """Run a piece of work and keep its record, whatever happens."""
        record = Record(monotonic())
        self.history.append(record)
        try:
            with suppress(Undone):
                record.outcome = "aborted" if await work(record) == "aborted" else "committed"
                record.end = monotonic()
                return
        except BaseException:
            record.outcome = "unknown"
            raise
        record.outcome, record.end = "aborted", monotonic()

    def look(self, chains: Any) -> Callable[[Record], Awaitable[None]]:
        """One snapshot, in one of four ways."""
        keys = self.draw.sample(range(KEYS), 4)
        way, group = self.draw.randrange(4), self.draw.randrange(GROUPS)

        async def work(record: Record) -> None:
            if way == 0:
                rows, keys[:] = await chains.all(), range(KEYS)
            elif way == 1:
                rows = [row for row in await chains.get_many(keys) if row is not None]
            elif way == 2:
                rows, keys[:] = await chains.where("group", group).all(), range(group, KEYS, GROUPS)
            else:
                rows, keys[:] = [], range(KEYS)
                async for row in chains:
                    rows.append(row)
                    await self._pause()
            record.reads = {key: [] for key in keys} | {row.id: row.items for row in rows}
            assert all(row == chain(row.id, row.items) for row in rows), "a torn row"

        return work

    def change(self, db: Any, chains: Any) -> Callable[[Record], Awaitable[str | None]]:
        """Read some chains and append to them, in one transaction; sometimes in vain, sometimes in part."""
        keys = self.draw.sample(range(KEYS), self.draw.randrange(1, 4))
        fails, detour = self.draw.random() < 0.15, self.draw.random() < 0.2
        twice = self.draw.random() < 0.3

        async def append(record: Record, key: int) -> None:
            row = await chains.get(key)
            items = [] if row is None else row.items
            record.reads.setdefault(key, items)
            element = next(self._fresh)
            record.appends.append((key, element))
            await chains.insert(chain(key, [*items, element]))
            found = await chains.where("tip", element).all()
            assert [row.id for row in found] == [key], "an index does not show what the transaction wrote"

        async def work(record: Record) -> str | None:
            async with db.transaction(timeout=60) as tx:
                for key in [*keys, *keys] if twice else keys:
                    await append(record, key)
                    await self._pause()
                if detour:
                    vain = Record(record.begin, outcome="aborted")
                    self.history.append(vain)
                    with suppress(Undone):
                        async with tx.savepoint():
                            await append(vain, keys[0])
                            await self._pause()
                            raise Undone
                    vain.reads = {}
                if fails:
                    raise Undone
            return None

        return work


class Anomaly(AssertionError):
    """The history is not strictly serializable."""


def check(history: list[Record], final: Lists) -> int:
    """Raise Anomaly unless the history is strictly serializable and led to these lists; how many took effect."""
    owners = owners_of(history)
    effective = {owners[element] for items in final.values() for element in items if element in owners}
    check_outcomes(history, final, owners, effective)
    edges: dict[Any, set[Any]] = defaultdict(set)
    for items in final.values():
        for before, after in itertools.pairwise(items):
            edges[owners[before]].add(owners[after])
    for number, record in enumerate(history):
        if record.outcome == "committed" or number in effective:
            add_reads(number, record, final, owners, edges)
    add_time(history, effective, edges)
    for number, after in edges.items():
        after.discard(number)
    circle = find_circle(edges)
    if circle:
        raise Anomaly("each of these comes before the next:\n" + "\n".join(str(history[n]) for n in circle))
    return len(effective)


def owners_of(history: list[Record]) -> dict[int, int]:
    """Who appended what."""
    owners: dict[int, int] = {}
    for number, record in enumerate(history):
        for _, element in record.appends:
            if element in owners:
                raise Anomaly(f"{element} was appended twice")
            owners[element] = number
    return owners


def check_outcomes(history: list[Record], final: Lists, owners: dict[int, int], effective: set[int]) -> None:
    """Each element that is there may be there, once, and each that must be is: all of a transaction's or none."""
    places = [(key, element) for key, items in final.items() for element in items]
    there = set(places)
    if len(there) != len(places):
        raise Anomaly("an element is there twice")
    for key, element in places:
        if element not in owners or (key, element) not in history[owners[element]].appends:
            raise Anomaly(f"nobody appended {element} to {key}")
    for number, record in enumerate(history):
        missing = [place for place in record.appends if place not in there]
        if record.outcome == "committed" and missing:
            raise Anomaly(f"lost {missing} of {record}")
        if record.outcome == "aborted" and number in effective:
            raise Anomaly(f"took effect although it was rolled back: {record}")
        if number in effective and missing:
            raise Anomaly(f"took effect in part: {record}")


def add_reads(number: int, record: Record, final: Lists, owners: dict[int, int], edges: dict[Any, set[Any]]) -> None:
    """Whose elements the reader saw came before it; who appended the next one came after."""
    for key, seen in record.reads.items():
        items = final.get(key, [])
        if items[: len(seen)] != seen:
            raise Anomaly(f"{record} saw in {key} what never was: {seen}, of {items}")
        if seen:
            edges[owners[seen[-1]]].add(number)
        if len(seen) < len(items):
            edges[number].add(owners[items[len(seen)]])


def add_time(history: list[Record], effective: set[int], edges: dict[Any, set[Any]]) -> None:
    """Who had ended came before who began later: along a chain of moments, so that there are few edges."""
    counts = [n for n, record in enumerate(history) if record.outcome == "committed" or n in effective]
    events = [(history[n].begin, 1, n) for n in counts] + [(history[n].end, 0, n) for n in counts]
    moment = 0
    for time, begins, number in sorted(events):
        if begins:
            edges[("moment", moment)].add(number)
        elif time != inf:
            edges[("moment", moment)].add(("moment", moment + 1))
            moment += 1
            edges[number].add(("moment", moment))


def find_circle(edges: dict[Any, set[Any]]) -> list[int]:
    """The transactions of a circle, or nothing."""
    incoming: dict[Any, int] = defaultdict(int)
    for after in edges.values():
        for node in after:
            incoming[node] += 1
    free = [node for node in edges if not incoming[node]]
    left = set(edges) | set(incoming)
    while free:
        node = free.pop()
        left.discard(node)
        for after in edges.get(node, ()):
            incoming[after] -= 1
            if not incoming[after]:
                free.append(after)
    path: list[Any] = []
    node = next(iter(left), None)
    while left and node not in path:
        path.append(node)
        node = next(before for before in left if node in edges.get(before, ()))
    return [node for node in path[path.index(node) :][::-1] if isinstance(node, int)] if left else []
