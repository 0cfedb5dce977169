"""Which way is taken: the cheapest that gives what is asked, in the order in which it is asked.

What a way leaves of the condition is tested row by row, what it leaves of the order is sorted. No order given means the
order of primary keys, whatever the way. Costs count steps of the core: one row in sequence is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from modelvault._covered import paths_of
from modelvault._prepared import Prepared, prepared
from modelvault._ways import (
    EVERYTHING,
    NOWHERE,
    SEEK,
    Density,
    Estimate,
    Finder,
    Layout,
    Parts,
    Pick,
    Plan,
    Points,
    Way,
    alike,
    are_points,
    rest_of,
)
from modelvault.conditions import ALL, NEEDS, WHOLE, Condition, Every, Needs, Negation, Order, Selection, Test
from modelvault.schema import Schema

__all__ = ["Planner", "name_of"]

SCAN: Final = 200.0  # what a scan has to save: few rows are found anyway, and more may come
FETCH: Final = 6.0  # a row by its key, one of many
COVERED: Final = 2.0  # a row made of an entry
PAGE: Final = 60.0  # a page read and checked
MANY: Final = 100.0  # rows in a page: from here on it does not matter
GATHER: Final = 2.0  # a key collected and sorted
SORT: Final = 8.0  # a row sorted
SORT_ENTRY: Final = 4.0  # the same of the short record of an entry
FEW: Final = 100  # rows that are found by going along an index
FORMS: Final = 1024  # plans remembered


def order_of(parts: Parts, layout: Layout, order: tuple[Order, ...]) -> tuple[tuple[Order, ...], bool]:
    """The terms that decide, and the direction of the primary key behind them.

    A path that has one value in all rows decides nothing, nor does what stands behind the primary key.
    """
    desc = order[-1].desc if order else False
    terms: list[Order] = []
    for term in order:
        if term.path == layout.primary:
            desc = term.desc
            break
        ranges = parts.ranges.get(term.path, ())
        constant = len(ranges) == 1 and ranges[0].point
        if not constant and all(term.path != other.path for other in terms):
            terms.append(term)
    return tuple(terms), desc


def serves(way: Way, terms: tuple[Order, ...], desc: bool) -> bool:
    """Do the rows come in this order, forward or backward?"""
    if way.index is None:
        return not terms
    if way.source[3] or any(term.desc != desc for term in terms):
        return False
    return way.index.paths[way.fixed :] == tuple(term.path for term in terms)


class Chooser:
    """The ways to one selection: what each costs, and the plan of the one that is taken."""

    def __init__(self, finder: Finder, selection: Selection, needs: Needs) -> None:
        self.finder = finder
        self.selection = selection
        self.needs = needs
        self.parts = Parts(finder.layout, selection.condition)
        self.terms, self.desc = order_of(self.parts, finder.layout, selection.order)
        self.ordered = needs.ordered
        self.want = float("inf") if selection.limit is None else float(selection.limit + selection.offset)
        self.matching = 1.0

    def best(self) -> Plan:
        """The cheapest plan, with reasons."""
        if self.parts.empty:
            return self.taken(NOWHERE, ("the conditions exclude one another: no row satisfies them",))
        share = 1.0
        for part in self.parts.parts:
            share *= self.finder.fraction(self.parts, part)
        self.matching = max(share * self.finder.count, 1.0)
        ways = [*self.finder.ways(self.parts), *self.in_order(), *self.whole(), self.finder.everything()]
        costs = [self.cost(way) for way in ways]
        order = sorted(range(len(ways)), key=costs.__getitem__)
        way, cost = ways[order[0]], min(costs)
        reasons = [f"about {way.rows:,.0f} of {self.finder.count:,.0f} rows to look at: cost {cost:,.0f}"]
        reasons += [f"instead of {self.named(ways[number])}: cost {costs[number]:,.0f}" for number in order[1:4]]
        return self.taken(way, tuple(reasons))

    def again(self, pick: Pick) -> Plan | None:
        """The plan by the way that was taken before; None if there is none."""
        if self.parts.empty:
            return self.taken(NOWHERE)
        whole = {"order": self.in_order, "whole": self.whole}.get(pick[0], tuple)
        for way in (*self.finder.picked(self.parts, pick), *whole()):
            if way is not None and way.pick == pick:
                return self.taken(way)
        return None

    def in_order(self) -> Iterator[Way]:
        """Whole indexes that have the order which is asked."""
        if not self.terms or not self.ordered:
            return
        layout = self.finder.layout
        for index in layout.schema.indexes:
            many = any(layout.axes[path].many for path in index.paths)
            if index.paths == tuple(term.path for term in self.terms) and not many:
                source = ("entries", index.name, ((b"", None),), False)
                yield Way(("order", index.name), source, rows=self.finder.count, index=index)

    def whole(self) -> Iterator[Way]:
        """Whole indexes that have all that is asked."""
        if self.ordered and not self.terms:
            return
        for index in self.finder.layout.schema.indexes:
            source = ("entries", index.name, ((b"", None),), False)
            way = Way(("whole", index.name), source, rows=self.finder.count, index=index)
            if self.finder.layout.covers[index.name].whole and self.covers(way):
                yield way

    def covers(self, way: Way) -> bool:
        """Is all that is asked in the entries of a way?"""
        paths, order = self.needs.paths, self.selection.order
        if paths is None or way.index is None or way.kind != "entries" or way.source[3]:
            return False
        held = self.finder.layout.covers[way.index.name]
        tested = paths_of(rest_of(self.parts.parts, way))
        return held.exact.issuperset(paths) and held.compared.issuperset((*tested, *(term.path for term in order)))

    def named(self, way: Way) -> str:
        """What explain calls a way to this selection."""
        return f"{name_of(way)}{', index only' if self.covers(way) else ''}"

    def step(self, way: Way) -> float:
        """What it costs to look at a row."""
        if way.kind == "rows":
            return 1.0 + self.paging(None)
        if way.index is None or not self.covers(way):
            return FETCH
        if not self.ordered and not self.needs.paths and rest_of(self.parts.parts, way) == ALL:
            return 1.0
        return COVERED + self.paging(way.index.name)

    def paging(self, index: str | None) -> float:
        """What pages add to each row or entry, where they hold few."""
        density = self.finder.density(index)
        return max(0.0, PAGE / density - PAGE / MANY) if density else 0.0

    def cost(self, way: Way) -> float:
        """What it costs to get the rows that are wanted."""
        rows = max(way.rows, 0.5)
        step = self.step(way)
        part = min(1.0, self.want / min(self.matching, rows))
        start = way.seeks * SEEK + (SCAN if way.pick == EVERYTHING else 0.0)
        if not self.ordered or serves(way, self.terms, self.desc):
            if way.parts:
                return start + rows * GATHER + part * rows * FETCH
            return max(start * part, SEEK) + part * rows * step
        if not self.terms and not self.sorts_entries(way):
            return start + rows * GATHER + part * rows * FETCH
        return start + rows * step + min(rows, self.matching) * (SORT_ENTRY if self.covers(way) else SORT)

    def sorts_entries(self, way: Way) -> bool:
        """Are entries sorted by their primary keys, instead of the rows looked at in that order?"""
        return self.covers(way) and self.want > FEW

    def taken(self, way: Way, reasons: tuple[str, ...] = ()) -> Plan:
        """The plan of a way."""
        source = way.source
        covers = self.covers(way)
        sorts = self.ordered and way is not NOWHERE and not serves(way, self.terms, self.desc)
        if sorts and not self.terms and not self.sorts_entries(way):
            source, sorts, covers = ("union", (source,)), False, False
        return Plan(
            way,
            source,
            rest_of(self.parts.parts, way) if way is not NOWHERE else ALL,
            self.terms,
            self.desc,
            sorts,
            self.desc and self.ordered and not sorts,
            b"".join(ranges[0].low for _, ranges in way.columns[: way.fixed]) if source[0] == "entries" else b"",
            covers,
            reasons,
        )


def name_of(way: Way) -> str:
    """What explain calls a way."""
    if way is NOWHERE:
        return "Nothing"
    if way.kind == "keys":
        return "PrimaryKeyLookup"
    if way.parts:
        return "IndexUnion"
    if way.index is None:
        return "PrimaryKeyRange" if way.columns else "CollectionScan"
    if not way.columns:
        what = "IndexScan"
    else:
        what = "IndexLookup" if all(are_points(ranges) for _, ranges in way.columns) else "IndexRangeLookup"
    return f'{what} index="{way.index.name}" kind={"Unique" if way.index.unique else "NonUnique"}'


class Planner:
    """The plans of one collection. It remembers what was best for conditions that differ in their values only."""

    __slots__ = ("_known", "layout", "points")

    def __init__(self, schema: Schema, older: Sequence[Schema] = ()) -> None:
        self.layout: Layout = Layout(schema, older)
        self.points: Points = self.layout.points()
        self._known: dict[Any, tuple[float, Pick, Prepared | None]] = {}

    def plan(
        self, selection: Selection, count: float, estimate: Estimate, needs: Needs = NEEDS, density: Density = alike
    ) -> Plan:
        """The cheapest way to the rows of a selection, for those who need so much of them."""
        chooser = Chooser(Finder(self.layout, count, estimate, density), selection, needs)
        plan = chooser.best()
        if plan.way is not NOWHERE:
            if len(self._known) >= FORMS:
                self._known.clear()
            form = form_of(selection, needs)
            self._known[form] = count, plan.way.pick, prepared(self.layout, selection.condition, plan)
        return plan

    def quick(self, selection: Selection, count: float, needs: Needs = NEEDS) -> Plan | None:
        """The plan that was best for such a selection, without a look at the trees; None if there was none."""
        known = self._known.get(form_of(selection, needs))
        if known is None or not known[0] / 2 <= count <= known[0] * 2:
            return None
        if known[2] is not None and selection.after is None:
            return known[2].of(selection.condition)
        return Chooser(Finder(self.layout, count, unknown), selection, needs).again(known[1])


def unknown(index: str | None, low: bytes | None, high: bytes | None) -> float:
    """In place of an estimate, where none is needed."""
    return 0.0


def form_of(selection: Selection, needs: Needs) -> Any:
    """What selections have in common that differ in values only."""
    limited = selection.limit is not None and selection.limit + selection.offset <= FEW
    order = tuple([(term.path, term.desc) for term in selection.order]) if selection.order else ()
    return form(selection.condition), order, limited, needs


def form(condition: Condition) -> Any:
    """A condition without its values."""
    if condition.__class__ is Test:
        return form_of_test(condition)
    if isinstance(condition, Negation):
        return ("not", form(condition.part))
    whole: Any = condition  # a join of parts
    parts: tuple[Any, ...] = whole.parts
    return (
        whole.__class__ is Every,
        *[form_of_test(part) if part.__class__ is Test else form(part) for part in parts],
    )


def form_of_test(test: Any) -> Any:
    """A test without its values."""
    values, op = test.values, test.op
    if op == "in":
        return test.path, op, len(values).bit_length()
    return test.path, op, (values[0] is None or isinstance(values[0], WHOLE)) if values else None
