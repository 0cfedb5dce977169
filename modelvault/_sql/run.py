"""The rows of a plan, in portions: those that the engine gives, and what is left to be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from modelvault._sql.plan import Key, Plan
from modelvault._sql.totals import from_engine, hashable, summed
from modelvault.conditions import Selection
from modelvault.sources import RowIterator

__all__ = ["Result"]

Row = tuple[Any, ...]

COUNT: Final = (("count", None),)
PORTION: Final = 256  # rows read at a time, at least


class Result:
    """The rows of one execution, of one state of the database.

    What has to be complete before its first row is known (groups, and orders that the engine does not make) is in
    memory; everything else is read as it is taken. `ready`: the next rows, the last of them first, so that the next
    one can be popped. `selection`: what the engine is asked, else the plan's. `count`: how many rows there are, None
    while that is not known.
    """

    def __init__(self, plan: Plan, selection: Selection | None = None) -> None:
        self.plan = plan
        self.selection: Selection = plan.selection if selection is None else selection
        self.ready: list[Row] = []
        self.count: int | None = None
        self._rows: RowIterator[Row] | None = None
        self._read = 0
        self._finish = finisher(plan)

    async def start(self, first: int) -> None:
        """Begin: from here on the result shows one state of the database. first: rows to read now, about."""
        plan = self.plan
        if plan.explain:
            self._add([(line,) for line in await explained(plan, self.selection)])
        elif plan.source is None:
            self._add(self._finish([()] if plan.rest is None or plan.rest(()) else []))
        elif plan.streams:
            few = plan.source.at_once(self.selection)
            if few is not None:
                self._add(self._finish(few))
            else:
                self._rows = plan.source.rows(self.selection)
                await self._more(first)
        else:
            self._add(self._finish(await gathered(plan, self.selection)))
        self._settle()

    async def fill(self) -> None:
        """Read on until a row is ready, or there are no more."""
        while not self.ready and self._rows is not None:
            await self._more(PORTION)
        self._settle()

    async def take(self, most: int | None) -> list[Row]:
        """The next rows, at most so many; fewer only at the end."""
        while self._rows is not None and (most is None or len(self.ready) < most):
            await self._more(None if most is None else max(most - len(self.ready), PORTION))
        self._settle()
        ready = self.ready
        if most is None or most >= len(ready):
            ready.reverse()
            self.ready = []
            return ready
        found = ready[: len(ready) - most - 1 : -1]
        del ready[len(ready) - most :]
        return found

    async def close(self) -> None:
        """Give the state of the database up; there are no more rows."""
        self.ready = []
        await self._leave()

    async def _leave(self) -> None:
        """Give up what is read, if anything is."""
        rows, self._rows = self._rows, None
        if rows is not None:
            await rows.aclose()

    async def _more(self, most: int | None) -> None:
        """Read on: so many rows of the engine or a few more, None for all."""
        assert self._rows is not None
        found: list[Row] = []
        while most is None or len(found) < most:
            part = await self._rows.batch()
            if not part:
                await self._leave()
                break
            found += part
        self._add(self._finish(found))
        if isinstance(self._finish, Cut) and self._finish.left == 0:
            await self._leave()

    def _add(self, rows: list[Row]) -> None:
        """Put rows behind those that are ready, of which the last one is the next."""
        self._read += len(rows)
        rows.reverse()
        self.ready = rows + self.ready if self.ready else rows

    def _settle(self) -> None:
        """Know the number of rows, once all are read."""
        if self._rows is None:
            self.count = self._read


async def gathered(plan: Plan, selection: Selection) -> list[Row]:
    """All rows of a plan that has groups or an order of its own, before its items are made."""
    assert plan.source is not None
    grouping = plan.grouping
    if grouping is not None and grouping.direct:
        if grouping.functions == COUNT and not grouping.paths:
            return [(await plan.source.tally(selection._replace(fields=None, shape="row")),)]
        found = await plan.source.aggregate(selection, grouping.functions, grouping.paths)
        return from_engine(grouping, found)
    rows: list[Row] | None = plan.source.at_once(selection)
    if rows is None:
        rows = await plan.source.fetch(selection)
    if plan.rest is not None:
        rows = [row for row in rows if plan.rest(row)]
    return rows if grouping is None else summed(grouping, rows)


async def explained(plan: Plan, selection: Selection) -> list[str]:
    """The lines of EXPLAIN."""
    if plan.source is None:
        return ["Plan:", "  Nothing"]
    text = await plan.source.explain(selection, plan.explain == "analyze")
    head, why, reasons = text.rstrip("\n").partition("\nWhy:\n")
    notes = list(plan.notes)
    if plan.limit is not None or plan.start:
        notes.append(f"  Limit {plan.limit} Offset {plan.start}")
    return [*head.splitlines(), *notes, *(["Why:", *reasons.splitlines()] if why else [])]


class Cut:
    """Rows without duplicates, from a place on, at most so many, over several portions."""

    def __init__(self, plan: Plan, make: Callable[[list[Row]], list[Row]]) -> None:
        self._make = make
        self._seen: set[Any] | None = set() if plan.distinct else None
        self._skip = plan.start
        self.left = plan.limit

    def __call__(self, rows: list[Row]) -> list[Row]:
        rows = self._make(rows)
        if self._seen is not None:
            rows = list(unseen(rows, self._seen))
        if self._skip:
            skipped = min(self._skip, len(rows))
            self._skip -= skipped
            rows = rows[skipped:]
        if self.left is not None:
            rows = list(islice(rows, self.left))
            self.left -= len(rows)
        return rows


def unseen(rows: Iterable[Row], seen: set[Any]) -> Iterator[Row]:
    """The rows that are not in a set, which they enter."""
    for row in rows:
        key = hashable(row)
        if key not in seen:
            seen.add(key)
            yield row


def finisher(plan: Plan) -> Callable[[list[Row]], list[Row]]:
    """What makes rows of the result of the engine's rows, portion after portion."""
    items, having, keys = plan.items, plan.having, plan.keys
    rest = plan.rest if plan.streams else None

    def make(rows: list[Row]) -> list[Row]:
        if rest is not None:
            rows = [row for row in rows if rest(row)]
        if having is not None:
            rows = [row for row in rows if having(row)]
        if keys:
            rows = ordered(rows, keys)
        return rows if items is None else [tuple([item(row) for item in items]) for row in rows]

    plain = plan.limit is None and not plan.start and not plan.distinct
    return make if plain else Cut(plan, make)


def ordered(rows: list[Row], keys: tuple[Key, ...]) -> list[Row]:
    """The rows in another order: by the last key first, because sorting is stable."""
    for key in reversed(keys):
        known = [(value, row) for row in rows if (value := key.compute(row)) is not None]
        unknown = [row for row in rows if key.compute(row) is None]
        known.sort(key=first, reverse=key.desc)
        rows = [row for _, row in known]
        rows = unknown + rows if key.nulls_first else rows + unknown
    return rows


def first(pair: tuple[Any, Row]) -> Any:
    """The value by which a row is sorted."""
    return pair[0]
