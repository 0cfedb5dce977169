"""A search under way in one state of the database.

On an event loop a slice takes about a millisecond, and between two of them others run, for as many turns of the loop as
one needs whose time has come: with a single turn between, a timer would wait for three slices. Where records are only
tested, and few of them become anything, a slice is much larger and happens in a worker thread: the GIL is not needed
there. Making rows needs it, so that another thread would only take it from the loop, and keep it for longer than a
slice.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from modelvault._search import Search, Slice, needs_of, plan_of
from modelvault.conditions import NEEDS, Needs

if TYPE_CHECKING:
    from modelvault._access import Access
    from modelvault._core.gate import Shortcut
    from modelvault._engine import Version
    from modelvault._store import Binding
    from modelvault._unit import Unit, View
    from modelvault.conditions import Selection

__all__ = ["Opened", "Opener", "Reading", "Ready"]

T = TypeVar("T")

FIRST: Final = 64  # rows given by the first slice on an event loop
LEAST: Final = 16
MOST: Final = 4096
LOOK: Final = 16  # rows looked at for one that is given
GROWTH: Final = 1.5  # of a slice on an event loop beside the one before
SHORT: Final = 0.001  # seconds of a slice on an event loop
TURNS: Final = (
    3  # of an event loop between two slices: in one its clock is looked at, in the next who waited for it runs
)
FIRST_AWAY: Final = 1 << 16  # rows looked at by the first slice in a worker thread
MOST_AWAY: Final = 1 << 20
LONG: Final = 0.01  # seconds of such a slice
SPARSE: Final = 64  # times as many rows looked at as given: then it pays
BLOCKING: Final = 1 << 13  # rows given by a slice where nobody else waits
BLOCKING_LOOK: Final = 1 << 18


class Opened(NamedTuple):
    """What is needed to read a collection.

    finder: knows its fields. shown: what rows are made into, a part of the fields perhaps. check: of each row.
    """

    finder: Binding
    shown: Binding
    check: Callable[[Any], Any] | None


Ready = tuple[Opened, "Version"]
"""A collection, and the last commit, which is not pinned."""


class Opener(Protocol):
    """A collection, for those who read it."""

    @property
    def access(self) -> Access:
        """Its database."""
        ...

    @property
    def shortcut(self) -> Shortcut | None:
        """What answers at once, where that is possible."""
        ...

    async def open(self) -> tuple[Opened, View]:
        """The stored collection, and a state of the database to read it in."""
        ...

    def at_hand(self) -> Ready | None:
        """What can be read at once; None if something stands in the way, or has to be waited for."""
        ...


class Reading:
    """A search, and the state that it reads until `close`. Each slice is one call of `go`."""

    __slots__ = ("_access", "_away", "_count", "_most", "_sparse", "_state", "_view", "opened", "search", "selection")

    def __init__(
        self, access: Access, opened: Opened, view: View, selection: Selection, search: Search, most: int
    ) -> None:
        self.opened = opened
        self.selection = selection
        self.search = search
        self._access = access
        self._view = view
        self._state = view.state
        self._most = most
        self._count = min(FIRST, most)
        self._away = FIRST_AWAY
        self._sparse = False  # the last slice gave few of the rows that it looked at

    @classmethod
    async def begin(
        cls,
        opener: Opener,
        selection: Selection,
        needs: Needs = NEEDS,
        *,
        anew: bool = False,
        most: int | None = None,
    ) -> Reading:
        """Plan, and be ready for the first slice.

        needs: what of the rows, beside the selection's fields. anew: plan without what is remembered. most: rows of
        one slice.
        """
        opened, view = await opener.open()
        try:
            needs = needs_of(selection, opened, needs)

            def plan(roots: Any, wait: bool) -> Search:
                found = plan_of(opened.finder, selection, roots, wait, needs, anew=anew)
                return Search(opened.finder, selection, found, roots, opened.shown.face)

            return cls(opener.access, opened, view, selection, await view.read(plan), most or MOST)
        except BaseException:
            view.close()
            raise

    @property
    def unit(self) -> Unit | None:
        """The transaction that is read, if it is one."""
        return self._view.unit

    def close(self) -> None:
        """Give the state up."""
        self._view.close()

    async def go(self, step: Callable[[Slice], T], *, bare: bool = False, free: bool = False) -> T:
        """A slice: what the step makes of it. bare: it makes nothing of the rows. free: it makes it without the GIL."""
        search, scan = self.search, self.search.scan
        runner = self._access.runner
        away = not runner.waits and (free or search.is_long or (search.is_test and (bare or self._sparse)))
        if runner.waits or free:
            count, budget = min(BLOCKING, self._most), BLOCKING_LOOK
        else:
            count, budget = self._count, self._away if away and search.is_test else LOOK * self._count
        release = self._view.unit is None
        before, returned = scan.examined, scan.returned
        seconds = 0.0

        def reader(roots: Any, wait: bool) -> T:
            nonlocal seconds
            if self._state != self._view.state:
                scan.rebase(roots)
                self._state = self._view.state
            start = perf_counter()
            result = step(Slice(count, budget, wait, release))
            seconds = perf_counter() - start
            return result

        result = await self._view.read(reader, away=away)
        if not runner.waits and not free:
            self._sparse = scan.examined - before >= SPARSE * (scan.returned - returned + 1)
            self._adapt(away, seconds)
        if not runner.waits and not search.done:
            for _ in range(TURNS):
                await runner.rest()
        return result

    def _adapt(self, away: bool, seconds: float) -> None:
        """Let the next slice take about as long as it should. Its rows may lie in colder pages than those before."""
        factor = min(4.0 if away else GROWTH, max(0.25, (LONG if away else SHORT) / max(seconds, 1e-6)))
        if away and self.search.is_test:
            self._away = int(min(MOST_AWAY, max(FIRST_AWAY, factor * self._away)))
        elif not away:
            self._count = int(min(self._most, max(LEAST, factor * self._count)))

    async def rows(self) -> list[Any]:
        """The next rows, none at the end."""
        unit = self._view.unit
        if unit is None:
            return await self._rows()
        async with unit.hold():
            return await self._rows()

    async def _rows(self) -> list[Any]:
        """The next rows as they are found; none at the end, and the view is closed then."""
        search, check = self.search, self.opened.check
        found: list[Any] = []
        while not found and not search.done:
            found = await self.go(search.rows)
        if search.done:
            self.close()
        return found if check is None or search.is_part else [check(row) for row in found]

    async def finish(self, step: Callable[[Slice], T], take: Callable[[T], object], *, bare: bool = False) -> None:
        """All slices that are left, as one look at the state; what the steps make goes to `take`. Then close."""
        unit = self._view.unit
        try:
            if unit is None:
                await self._finish(step, take, bare)
            else:
                async with unit.hold():
                    await self._finish(step, take, bare)
        finally:
            self.close()

    async def _finish(self, step: Callable[[Slice], T], take: Callable[[T], object], bare: bool) -> None:
        """Do all slices, and hand over what each gives."""
        while not self.search.done:
            take(await self.go(step, bare=bare))
