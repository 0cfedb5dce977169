"""A plan carried out, in slices: which rows come next, how many there are, what their keys are.

A slice may look at so many rows and give so many; with `wait` False, ColdPage where it would wait for the disk:
nothing is lost, and it can be repeated. So whoever reads decides slice by slice where the next one happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modelvault._core.aggregate import Aggregate
from modelvault._core.columns import Columns
from modelvault._core.order import SortKeys
from modelvault._core.program import Program
from modelvault._core.scan import Scan
from modelvault._core.sorting import Sort
from modelvault.conditions import ALL, EVERYTHING, NEEDS, Needs, Order, Selection
from modelvault.errors import ModelVaultQueryError

if TYPE_CHECKING:
    from modelvault._core.record import Face, Shape
    from modelvault._core.sheet import Sheet
    from modelvault._reading import Opened
    from modelvault._store import Binding
    from modelvault._ways import Plan

__all__ = ["Function", "Search", "Slice", "few", "needs_of", "plan_of"]

Function = tuple[str, tuple[str, ...] | None]

PLAIN: Final = EVERYTHING[3:]  # whole rows, from the first on
WHOLE: Final = ("everything", "order", "whole")  # ways that give every row
MANY: Final = 1 << 10  # rows that wait to be sorted: from here on that takes long
NEW: Final = 256  # rows looked at by a slice that tells values apart: that takes longer than to find them


class Slice(NamedTuple):
    """What a slice may do: give `most` rows, look at `budget`, wait for the disk, let the GIL go meanwhile."""

    most: int
    budget: int
    wait: bool
    release: bool


def plan_of(
    finder: Binding, selection: Selection, roots: Any, wait: bool, needs: Needs = NEEDS, *, anew: bool = False
) -> Plan:
    """The plan of a selection: the one that was best for others of its form, or `anew` the best one. ColdPage."""
    planner, table = finder.planner, finder.store.table
    if selection.distinct and selection.fields is not None:
        selection = selection._replace(limit=None)  # nobody knows how many rows give so many values
    count = table.count(roots)
    plan = None if anew else planner.quick(selection, count, needs)
    if plan is None:
        plan = planner.plan(
            selection,
            count,
            lambda index, low, high: table.estimate(roots, index, low, high, wait),
            needs,
            lambda index: table.density(roots, index, wait),
        )
    return plan


def needs_of(selection: Selection, opened: Opened, needs: Needs) -> Needs:
    """What is needed of the rows, a selection's fields known."""
    if selection.fields is None or needs.paths is not None or opened.shown is not opened.finder:
        return needs
    return needs._replace(paths=selection.fields)


def few(finder: Binding, selection: Selection, plan: Plan, roots: Any, face: Face, slice: Slice) -> list[Any] | None:
    """All rows of a selection if they are found in one slice, else None. ColdPage.

    Whole rows in the order of a plan, which most selections of few rows ask for, need nothing of what a Search keeps
    between slices: without one they cost a quarter less.
    """
    limit = selection.limit
    if plan.sorts or plan.covers or limit == 0 or selection[3:] != PLAIN:
        search = Search(finder, selection, plan, roots, face)
        found = search.rows(slice)
        return found if search.done else None
    program = None if plan.rest is ALL else Program(finder.face.codecs, plan.rest)
    scan = Scan(finder.store.table, roots, plan.source, program, plan.backward)
    most = slice.most if limit is None else min(slice.most, limit)
    rows: list[Any] = scan.fetch(face, most, slice.budget, slice.wait, slice.release, limit != most)
    return rows if scan.done or len(rows) == limit else None


class Search:
    """The rows of one selection in the roots of one state, as a plan finds them.

    `shape`: what is made of their records, which are those of `codecs`. face: of the side to which rows are shown.
    """

    __slots__ = (
        "_left",
        "_order",
        "_seen",
        "_skip",
        "codecs",
        "done",
        "is_part",
        "is_test",
        "plan",
        "scan",
        "shape",
        "size",
        "sort",
    )

    def __init__(self, finder: Binding, selection: Selection, plan: Plan, roots: Any, face: Face) -> None:
        codecs, fields, cover = finder.face.codecs, selection.fields, None
        shape: Shape = face if fields is None else Columns(face.codecs, fields, selection.shape == "dict")
        if plan.covers and plan.way.index is not None:
            codecs, cover = finder.cover(plan.way.index)
            shape = Columns(codecs, fields or (), selection.shape == "dict")
        program = None if plan.rest is ALL or plan.rest == ALL else Program(codecs, plan.rest)
        distinct = selection.distinct and fields is not None
        self.plan = plan
        self.shape = shape
        self.is_part = fields is not None
        # Records side by side are tested without the GIL.
        self.is_test = program is not None and program.complete and plan.source[0] == "rows"
        self.codecs = codecs
        self._order = selection.order
        self.sort: Sort | None = None
        self.done = selection.limit == 0
        self._skip = selection.offset
        self._left = selection.limit
        self._seen = Seen(codecs, fields) if distinct and fields is not None else None
        after = None if plan.sorts or selection.after is None else resumed(plan, selection, self.order())
        whole = plan.way.pick[0] in WHOLE and program is None and after is None
        self.size = finder.size(roots) if whole else None  # known without looking
        self.scan = Scan(finder.store.table, roots, plan.source, program, plan.backward, after, cover=cover)
        if plan.sorts:
            most = None if distinct or selection.limit is None else selection.limit + selection.offset
            self.sort = Sort(self.scan, self.order(), most, selection.after)

    def order(self) -> SortKeys:
        """What makes the position behind a row."""
        return SortKeys(self.codecs, self._order)

    def rows(self, slice: Slice) -> list[Any]:
        """The next rows, perhaps none; `done` says whether there may be more."""
        if self._seen is not None:
            return [self.shape.make(record) for _, record in self._fresh(slice, self._seen)]
        return [] if self._pass_over(slice) else self._given(self._next(self.shape, slice))

    def fill(self, slice: Slice, sheet: Sheet) -> None:
        """Put the next rows into a sheet."""
        if self._seen is not None:
            sheet.add_rows(self._fresh(slice, self._seen))
        elif self.sort is not None:
            sheet.add_rows(self.pairs(slice))
        elif not self._pass_over(slice):
            found = sheet.step(self.scan, self._wanted(slice.most), *slice[1:])
            self.done = self.scan.done
            if self._left is not None:
                self._left -= found
                self.done = self.done or self._left == 0

    def pairs(self, slice: Slice) -> list[tuple[bytes, bytes]]:
        """The next rows as (primary key, record)."""
        return [] if self._pass_over(slice) else self._given(self._next(None, slice))

    def keys(self, slice: Slice) -> list[bytes]:
        """The primary keys of the next rows; where the plan covers it, no row is read."""
        if self.sort is not None:
            return [key for key, _ in self.pairs(slice)]
        if self._pass_over(slice):
            return []
        found = self.scan.keys(self._wanted(slice.most), slice.budget, slice.wait, slice.release)
        self.done = self.scan.done
        return self._given(found)

    def tally(self, slice: Slice) -> int:
        """How many of the next rows there are. Builds no row; for plans that do not sort."""
        if self.size is not None and not self.done:
            self.done = True
            found = max(0, self.size - self._skip)
            return found if self._left is None else min(found, self._left)
        if self._pass_over(slice):
            return 0
        _, budget, wait, release = slice
        if self._left is None:
            found = self.scan.count(budget, wait, release)
        else:
            found = self.scan.skip(self._left, budget, wait, release)
            self._left -= found
        self.done = self.scan.done or self._left == 0
        return found

    def sum_up(self, slice: Slice, into: Aggregate) -> bool:
        """Bring the next rows into an aggregate; whether those were all."""
        if self.sort is not None:
            into.add_rows(self.pairs(slice))
        elif not self._pass_over(slice):
            _, budget, wait, release = slice
            before = self.scan.returned
            if self._left is None:
                into.step(budget, wait, release)
            else:
                into.step(budget, wait, release, self._left)
                self._left -= self.scan.returned - before
            self.done = self.scan.done or self._left == 0
        return self.done

    @property
    def is_long(self) -> bool:
        """Is the next slice one step that takes long, because many rows are sorted, and needs no GIL?"""
        return self.sort is not None and self.sort.count > MANY and self.sort.due

    def _pass_over(self, slice: Slice) -> bool:
        """Sort, and pass over the offset; whether that was all that this slice could do."""
        _, budget, wait, release = slice
        if self.done:
            return True
        if self.sort is not None:
            if self._sorts(slice):
                return True
            if self._skip:
                self._skip -= self.sort.skip(self._skip, wait)
                self.done = self.sort.done
                return self.done or self._skip > 0
        elif self._skip:
            self._skip -= self.scan.skip(self._skip, budget, wait, release)
            self.done = self.scan.done
            return self.done or self._skip > 0
        return False

    def _sorts(self, slice: Slice) -> bool:
        """Read on or sort; whether that was all this slice does. After a long step it is: rows are made elsewhere."""
        assert self.sort is not None
        due = self.sort.due
        return not self.sort.step(slice.budget, slice.wait, slice.release) or due

    def _next(self, shape: Shape | None, slice: Slice) -> list[Any]:
        """The next rows of one slice, as the shape makes them."""
        count = self._wanted(slice.most)
        if self.sort is not None:
            found = self.sort.fetch(shape, count, slice.wait)
            self.done = self.sort.done
        else:
            found = self.scan.fetch(shape, count, slice.budget, slice.wait, slice.release)
            self.done = self.scan.done
        return found

    def _wanted(self, count: int) -> int:
        """So many rows, or as many as the limit leaves."""
        return count if self._left is None else min(count, self._left)

    def _given(self, found: list[Any]) -> list[Any]:
        """Count rows that were given against the limit."""
        if self._left is not None:
            self._left -= len(found)
            self.done = self.done or self._left == 0
        return found

    def _fresh(self, slice: Slice, seen: Seen) -> list[tuple[bytes, bytes]]:
        """The next rows whose values were not there before; offset and limit count them."""
        if self.done or (self.sort is not None and self._sorts(slice)):
            return []
        found = seen.fresh(self._next_pairs(slice._replace(most=min(slice.most, NEW))), self.shape)
        skipped = min(self._skip, len(found))
        self._skip -= skipped
        found = found[skipped:]
        return self._given(found if self._left is None else found[: self._left])

    def _next_pairs(self, slice: Slice) -> list[tuple[bytes, bytes]]:
        """The next rows as (key, record), not counted against the limit."""
        left, self._left = self._left, None
        try:
            return self._next(None, slice)
        finally:
            self._left = left


class Seen:
    """The values that were given already, told apart by their keys, else by how they are written."""

    __slots__ = ("_keys", "_known")

    def __init__(self, codecs: Any, fields: tuple[tuple[str, ...], ...]) -> None:
        self._known: set[bytes | str] = set()
        try:
            self._keys: SortKeys | None = SortKeys(codecs, [Order(path) for path in fields])
        except ModelVaultQueryError:  # a list, an object
            self._keys = None

    def fresh(self, pairs: list[tuple[bytes, bytes]], shape: Shape) -> list[tuple[bytes, bytes]]:
        """The rows that have new values, as (primary key, record)."""
        found: list[tuple[bytes, bytes]] = []
        for pair in pairs:
            record = pair[1]
            name = repr(shape.make(record)) if self._keys is None else self._keys.key(record, b"")
            if name not in self._known:
                found.append(pair)
                self._known.add(name)
        return found


def resumed(plan: Plan, selection: Selection, order: SortKeys) -> bytes:
    """Where a plan's source goes on behind a position of the selection's order."""
    assert selection.after is not None
    parts, primary = order.parts(selection.after)
    if plan.source[0] != "entries":
        return primary
    by_path = dict(zip((term.path for term in selection.order), parts, strict=True))
    return b"".join((plan.lead, *(by_path[term.path] for term in plan.order), primary))
