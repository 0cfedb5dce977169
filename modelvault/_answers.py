"""What a collection answers to the selections of queries."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from modelvault._core.aggregate import Aggregate
from modelvault._explain import analyzed, explained
from modelvault._ranges import WHOLE
from modelvault._reading import Opened, Opener, Reading, Ready
from modelvault._rows import Rows
from modelvault._search import Function, Search, Slice, shape_of
from modelvault.conditions import EVERYTHING, Selection, Test
from modelvault.errors import ColdPage, CorruptionError

if TYPE_CHECKING:
    from modelvault._store import Binding
    from modelvault._ways import Point
    from modelvault.query import RowIterator

__all__ = ["Answers", "one_at"]

FEW: Final = Slice(64, 1024, wait=False, release=False)  # what is done at once, for those who ask for little
MANY: Final = FEW.most + 1
PLAIN: Final = EVERYTHING[1:]  # no order, no limit


class Answers:
    """The answers to selections, from the rows of one collection."""

    __slots__ = ("_opener",)

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def rows(self, selection: Selection) -> RowIterator[Any]:
        """An iterator over the rows, of one snapshot."""
        return Rows(self._opener, selection)

    async def fetch(self, selection: Selection, most: int | None = None) -> list[Any]:
        """The rows; at most `most`."""
        access = self._opener.access
        access.credit -= 1
        if access.credit < 0:
            await access.breathe()
        ready = self._opener.at_hand()
        if ready is not None:
            found = self._one_value(ready, selection, most)
            if found is not None:
                return found
        if most is not None and (selection.limit is None or most < selection.limit):
            selection = selection._replace(limit=most)
        found = self._few(selection)
        if found is not None:
            return found
        reading = await Reading.begin(self._opener, selection)
        found = []
        await reading.finish(reading.search.rows, found.extend)
        return checked(reading.opened, selection, found)

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""
        if selection.distinct and selection.fields is not None:
            return len(await self.fetch(selection))
        selection = selection._replace(order=(), fields=None, shape="row")
        reading = await Reading.begin(self._opener, selection, ordered=False)
        found: list[int] = []
        await reading.finish(reading.search.tally, found.append, bare=True)
        return sum(found)

    async def exists(self, selection: Selection) -> bool:
        """Is there a row?"""
        return await self.tally(selection._replace(limit=min(1, 1 if selection.limit is None else selection.limit))) > 0

    async def page(self, selection: Selection, size: int) -> tuple[list[Any], bytes | None]:
        """At most `size` rows behind `selection.after`, and the position behind the last; None: there are no more."""
        selection = selection._replace(limit=size + 1)
        reading = await Reading.begin(self._opener, selection)
        pairs: list[tuple[bytes, bytes]] = []
        await reading.finish(reading.search.pairs, pairs.extend)
        end = None
        if len(pairs) > size:
            key, record = pairs[size - 1]
            end = reading.search.order().key(record, key)
        make = reading.search.shape.make
        return checked(reading.opened, selection, [make(record) for _, record in pairs[:size]]), end

    async def aggregate(
        self, selection: Selection, functions: tuple[Function, ...], groups: tuple[tuple[str, ...], ...]
    ) -> list[tuple[Any, ...]]:
        """For each group, its values and those of the functions; without groups exactly one tuple."""
        selection = selection._replace(fields=None, shape="row", distinct=False)
        limited = selection.limit is not None or selection.offset > 0
        if not limited:
            selection = selection._replace(order=())
        reading = await Reading.begin(self._opener, selection, ordered=limited)
        search = reading.search
        result = Aggregate(search.scan, reading.opened.finder.face.codecs, functions, groups)
        await reading.finish(lambda slice: search.sum_up(slice, result), bool)
        return result.result()

    async def keys(self, selection: Selection) -> tuple[Binding, list[bytes]]:
        """The primary keys of the rows, and the Python side that found them."""
        limited = selection.limit is not None or selection.offset > 0
        reading = await Reading.begin(self._opener, selection, ordered=limited)
        keys: list[bytes] = []
        await reading.finish(reading.search.keys, keys.extend)
        return reading.opened.finder, keys

    async def explain(self, selection: Selection, analyze: bool = False) -> str:
        """How the rows are found, in words."""
        reading = await Reading.begin(self._opener, selection, anew=True)
        search = reading.search
        text = explained(reading.opened.finder.schema, selection, search.plan)
        if not analyze:
            reading.close()
            return text
        start = perf_counter()
        counts: list[int] = []
        await reading.finish(lambda slice: len(search.rows(slice)), counts.append)
        return text + analyzed(search.scan, sum(counts), perf_counter() - start)

    def _one_value(self, ready: Ready, selection: Selection, most: int | None) -> list[Any] | None:
        """The rows that have one value in an index of just that field, if they are few and in memory. See `_few`."""
        condition = selection.condition
        if type(condition) is not Test or condition.op != "eq" or selection[1:] != PLAIN:
            return None
        point = ready[0].points.get(condition.path)
        value = condition.values[0]
        if point is None or isinstance(value, WHOLE):
            return None
        return at_point(ready, point, value, MANY if most is None else most)

    def _few(self, selection: Selection) -> list[Any] | None:
        """The rows, if there are few and they are in memory; None if it may take longer.

        The version is not pinned: nothing else runs on this thread meanwhile. Another thread may commit while a row is
        made, if that runs Python code; then None, too.
        """
        ready = self._opener.at_hand()
        if ready is None:
            return None
        opened, latest = ready
        sequence = latest.sequence
        finder = opened.finder
        plan = finder.planner.quick(selection, finder.size(latest.roots))
        if plan is None:
            return None
        search = Search(finder, selection, plan, latest.roots, shape_of(opened.shown.face, selection))
        try:
            found = search.rows(FEW)
        except (ColdPage, CorruptionError):
            return None
        if not search.done or latest.sequence != sequence or self._opener.access.engine.latest is not latest:
            return None
        return checked(opened, selection, found)


def one_at(ready: Ready, path: tuple[str, ...], value: Any) -> list[Any] | None:
    """The row with a value at a path, or two of them; None if that has to be asked in another way."""
    point = ready[0].points.get(path)
    if point is None or value is None or isinstance(value, WHOLE):
        return None
    try:
        return at_point(ready, point, value, 2)
    except (TypeError, ValueError, OverflowError):
        return None  # a value that the field cannot have: the other way says so in better words


def at_point(ready: Ready, point: Point, value: Any, most: int) -> list[Any] | None:
    """The rows with a value, at most `most`; None if there are MANY, or if not all of it is in memory."""
    (_, shown, check, table, _), latest = ready
    index, key = point
    try:
        if index is None:
            row = table.get(latest.roots, value, shown.face, False)
            found = [] if row is None else [row]
        else:
            found = table.find(latest.roots, index, key(value), shown.face, most, False)
    except (ColdPage, CorruptionError):
        return None
    if len(found) == MANY:
        return None
    return found if check is None else [check(row) for row in found]


def checked(opened: Opened, selection: Selection, rows: list[Any]) -> list[Any]:
    """The rows, put through the check of the collection if there is one."""
    check = opened.check
    return rows if check is None or selection.fields is not None else [check(row) for row in rows]
