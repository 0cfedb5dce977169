"""What a collection answers to the selections of queries."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelvault._core import LONG
from modelvault._core.aggregate import Aggregate
from modelvault._core.columns import Columns
from modelvault._reading import CHECKED, Opened, Opener, Reading
from modelvault._rows import Rows
from modelvault._search import Function, Search, Slice, few, needs_of
from modelvault.conditions import EVERYTHING, NEEDS, Every, Needs, Negation, Order, Selection, Test
from modelvault.errors import ColdPage, CorruptionError

if TYPE_CHECKING:
    from modelvault._engine import Version
    from modelvault._store import Binding
    from modelvault._ways import Plan
    from modelvault.frames import BatchIterator
    from modelvault.sources import RowIterator

__all__ = ["Answers"]

T = TypeVar("T")

FEW: Final = Slice(64, 1024, wait=False, release=False)  # what is done at once, for those who ask for little
WHOLE: Final = 1 << 31  # rows: all there are, or none at once
ENDS: Final = ("min", "max")
COUNT: Final = ("count", None)
COUNTED: Final = Needs(ordered=False, paths=())
PLAIN: Final = EVERYTHING[1:]  # no order, no limit


class Answers:
    """The answers to selections, from the rows of one collection."""

    __slots__ = ("_opener",)

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def rows(self, selection: Selection) -> RowIterator[Any]:
        """An iterator over the rows, of one snapshot."""
        return Rows(self._opener, selection)

    def batches(self, selection: Selection, rows: int) -> BatchIterator:
        """An iterator over the rows as Arrow's record batches of so many rows, of one snapshot."""
        from modelvault._portions import Batches  # which most programs never need

        return Batches(self._opener, selection, rows)

    def at_once(self, selection: Selection, most: int | None = None) -> list[Any] | None:
        """The rows, at most `most`, if they are few and in memory; None if they have to be fetched."""
        opener = self._opener
        access = opener.access
        condition = selection.condition
        if type(condition) is Test and condition.op == "eq" and selection[1:] == PLAIN:
            shortcut = opener.shortcut
            if shortcut is not None:
                found = shortcut.some(condition.path, condition.values[0], most or WHOLE)
                if found is not LONG:
                    rows: list[Any] = found
                    access.credit -= len(rows)
                    return rows
        access.credit -= 1
        if access.credit < 0:
            return None
        selection = limited(selection, most)
        ready = self._planned(selection, NEEDS)
        if ready is None:
            return None
        opened, latest, plan = ready
        sequence = latest.sequence
        try:
            found = few(opened.finder, selection, plan, latest.roots, opened.shown.face, FEW)
        except (ColdPage, CorruptionError):
            return None
        if found is None or latest.sequence != sequence or access.engine.latest is not latest:
            return None
        access.credit -= len(found)
        return checked(opened, selection, found)

    async def fetch(
        self, selection: Selection, most: int | None = None, make: Callable[[Any], Any] | None = None
    ) -> list[Any]:
        """The rows, at most `most`, in slices. make: what becomes of each."""
        access = self._opener.access
        if access.credit < 0:
            await access.breathe(0)
            rows = self.at_once(selection, most)
            if rows is not None:
                return made(rows, make)
        selection = limited(selection, most)
        reading = await Reading.begin(self._opener, selection, most=None if make is None else CHECKED)
        opened = reading.opened
        found: list[Any] = []
        await reading.finish(
            reading.search.rows, lambda rows: found.extend(made(checked(opened, selection, rows), make))
        )
        return found

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""
        if selection.distinct and selection.fields is not None:
            return len(await self.fetch(selection))
        selection = Selection(selection.condition, limit=selection.limit, offset=selection.offset)
        await self._opener.access.breathe()
        answer = self._at_once(selection, Search.tally, COUNTED)
        if answer is not None:
            return answer[0]
        reading = await Reading.begin(self._opener, selection, COUNTED)
        found: list[int] = []
        await reading.finish(reading.search.tally, found.append, bare=True)
        return sum(found)

    async def exists(self, selection: Selection) -> bool:
        """Is there a row?"""
        return await self.tally(selection._replace(limit=min(1, 1 if selection.limit is None else selection.limit))) > 0

    async def page(self, selection: Selection, size: int) -> tuple[list[Any], bytes | None]:
        """At most `size` rows behind `selection.after`, and the position behind the last; None: there are no more."""
        selection = selection._replace(limit=size + 1)
        await self._opener.access.breathe()
        answer = self._at_once(selection, Search.pairs)
        if answer is None:
            reading = await Reading.begin(self._opener, selection)
            none: list[Any] = []
            answer = none, reading.search, reading.opened
            await reading.finish(reading.search.pairs, answer[0].extend)
        pairs, search, opened = answer
        end = None
        if len(pairs) > size:
            key, record = pairs[size - 1]
            end = search.order().key(record, key)
        return checked(opened, selection, [search.shape.make(record) for _, record in pairs[:size]]), end

    async def aggregate(
        self, selection: Selection, functions: tuple[Function, ...], groups: tuple[tuple[str, ...], ...]
    ) -> list[tuple[Any, ...]]:
        """For each group, its values and those of the functions; without groups exactly one tuple."""
        if only_count(functions, groups):
            selection = selection._replace(fields=None, distinct=False)
            return [(await self.tally(selection),) * len(functions)]
        reading, end = await self._summary(selection, functions, groups)
        return await summed_up(reading, functions, groups, end)

    async def _summary(
        self,
        selection: Selection,
        functions: tuple[Function, ...],
        groups: tuple[tuple[str, ...], ...],
        *,
        anew: bool = False,
    ) -> tuple[Reading, bool]:
        """The search for the rows that are summed up; and whether the first of them alone is the answer."""
        selection = selection._replace(fields=None, shape="row", distinct=False)
        if only_count(functions, groups):
            selection = selection._replace(order=())
            return await Reading.begin(self._opener, selection, COUNTED, anew=anew), False
        limited = selection.limit is not None or selection.offset > 0
        if not limited:
            selection = selection._replace(order=())
            if not groups and len(functions) == 1 and functions[0][0] in ENDS:
                reading = await self._end(selection, *functions[0], anew=anew)
                if reading is not None:
                    return reading, True
        paths = (*groups, *(path for _, path in functions if path is not None))
        return await Reading.begin(self._opener, selection, Needs(limited, paths), anew=anew), False

    async def _end(self, selection: Selection, name: str, path: Any, *, anew: bool) -> Reading | None:
        """The search for the row with the least or greatest value, at the end of an index; None if there is none."""
        present = Negation(Test(path, "null"))
        selection = selection._replace(condition=Every((selection.condition, present)), limit=1)
        selection = selection._replace(order=(Order(path, name == "max"),))
        reading = await Reading.begin(self._opener, selection, Needs(paths=(path,)), anew=anew)
        if reading.search.sort is None:
            return reading
        reading.close()
        return None

    async def keys(self, selection: Selection) -> tuple[Binding, list[bytes]]:
        """The primary keys of the rows, and the Python side that found them."""
        limited = selection.limit is not None or selection.offset > 0
        reading = await Reading.begin(self._opener, selection, Needs(limited, ()))
        keys: list[bytes] = []
        await reading.finish(reading.search.keys, keys.extend)
        return reading.opened.finder, keys

    async def explain(
        self,
        selection: Selection,
        analyze: bool = False,
        functions: tuple[Function, ...] = (),
        groups: tuple[tuple[str, ...], ...] = (),
    ) -> str:
        """How the rows are found, or those that functions are of, in words."""
        from modelvault._explain import analyzed, explained  # few programs ask

        if functions or groups:
            reading, end = await self._summary(selection, functions, groups, anew=True)
        else:
            reading, end = await Reading.begin(self._opener, selection, anew=True), False
        search = reading.search
        plan = search.plan
        if search.size is not None and only_count(functions, groups):
            plan = plan._replace(reasons=("the number of rows of a collection is kept: none is looked at",))
        text = explained(reading.opened.finder.schema, reading.selection, plan, functions, groups)
        if not analyze:
            reading.close()
            return text
        start = perf_counter()
        if functions or groups:
            returned = len(await summed_up(reading, functions, groups, end))
        else:
            counts: list[int] = []
            await reading.finish(lambda slice: len(search.rows(slice)), counts.append)
            returned = sum(counts)
        return text + analyzed(search.scan, returned, perf_counter() - start)

    def _at_once(
        self, selection: Selection, step: Callable[[Search, Slice], T], needs: Needs = NEEDS
    ) -> tuple[T, Search, Opened] | None:
        """What one short slice makes of all the rows; None if that does not do, or not all of it is in memory.

        The version is not pinned: nothing else runs on this thread meanwhile. Another thread may commit while a row is
        made, if that runs Python code; then None, too.
        """
        ready = self._planned(selection, needs)
        if ready is None:
            return None
        opened, latest, plan = ready
        sequence = latest.sequence
        search = Search(opened.finder, selection, plan, latest.roots, opened.shown.face)
        try:
            found = step(search, FEW)
        except (ColdPage, CorruptionError):
            return None
        if not search.done or latest.sequence != sequence or self._opener.access.engine.latest is not latest:
            return None
        return found, search, opened

    def _planned(self, selection: Selection, needs: Needs) -> tuple[Opened, Version, Plan] | None:
        """The last commit, and the plan that was best for such a selection, for one short slice; None: not so."""
        ready = self._opener.at_hand()
        if ready is None:
            return None
        opened, latest = ready
        finder = opened.finder
        if selection.fields is not None:
            needs = needs_of(selection, opened, needs)
        plan = finder.planner.quick(selection, finder.size(latest.roots), needs)
        if plan is None or (plan.sorts and plan.way.rows > FEW.budget):
            return None
        return opened, latest, plan


def only_count(functions: tuple[Function, ...], groups: tuple[tuple[str, ...], ...]) -> bool:
    """Is nothing asked but how many rows there are?"""
    return not groups and bool(functions) and all(function == COUNT for function in functions)


async def summed_up(
    reading: Reading, functions: tuple[Function, ...], groups: tuple[tuple[str, ...], ...], end: bool
) -> list[tuple[Any, ...]]:
    """What functions come to, of each group of the rows that a search finds. end: of its only row."""
    search = reading.search
    if only_count(functions, groups):
        found: list[int] = []
        await reading.finish(search.tally, found.append, bare=True)
        return [(sum(found),) * len(functions)]
    if not end:
        result = Aggregate(search.scan, search.codecs, functions, groups)
        await reading.finish(lambda slice: search.sum_up(slice, result), bool)
        return result.result()
    path = functions[0][1]
    assert path is not None
    pairs: list[tuple[bytes, bytes]] = []
    await reading.finish(search.pairs, pairs.extend)
    column = Columns(search.codecs, (path,))
    return [(column.values(pairs[0][1])[0] if pairs else None,)]


def limited(selection: Selection, most: int | None) -> Selection:
    """The same, of at most so many rows."""
    if most is None or (selection.limit is not None and selection.limit <= most):
        return selection
    return selection._replace(limit=most)


def made(rows: list[Any], make: Callable[[Any], Any] | None) -> list[Any]:
    """What becomes of the rows."""
    return rows if make is None else [make(row) for row in rows]


def checked(opened: Opened, selection: Selection, rows: list[Any]) -> list[Any]:
    """The rows, put through the check of the collection if there is one."""
    check = opened.check
    return rows if check is None or selection.fields is not None else [check(row) for row in rows]
