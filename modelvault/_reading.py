"""A search under way in one state of the database.

On an event loop a slice ends after a millisecond, however far it has come, and between two of them others run, for as
many turns of the loop as one needs whose time has come: with a single turn between, a timer would wait for three
slices. Where records are only tested, and few of them become anything, a slice is much larger and happens in a worker
thread: the GIL is not needed there. Making rows needs it, so that another thread would only take it from the loop, and
keep it for longer than a slice.
"""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["CHECKED", "Opened", "Opener", "Reading", "Ready"]

T = TypeVar("T")

MOST: Final = 4096  # rows given by a slice on an event loop
CHECKED: Final = 256  # if each is checked, or something else made of it
LOOK: Final = 1 << 16  # rows looked at by one
SHORT: Final = 0.001  # seconds of a slice on an event loop
TURNS: Final = (
    3  # of an event loop between two slices: in one its clock is looked at, in the next who waited for it runs
)
FEW_AWAY: Final = 512  # rows given by a slice in a worker thread
LOOK_AWAY: Final = 1 << 20
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

    __slots__ = ("_access", "_most", "_sparse", "_state", "_view", "opened", "search", "selection")

    def __init__(
        self, access: Access, opened: Opened, view: View, selection: Selection, search: Search, most: int
    ) -> None:
        self.opened = opened
        self.selection = selection
        self.search = search
        self._access = access
        self._view = view
        self._state = view.state
        self._most = most if opened.check is None else min(most, CHECKED)
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
            count, budget, scan.seconds = BLOCKING, BLOCKING_LOOK, 0.0
        elif away:
            count, budget, scan.seconds = FEW_AWAY, LOOK_AWAY, LONG
        else:
            count, budget, scan.seconds = MOST, LOOK, SHORT
        most = min(count, self._most)
        release = self._view.unit is None
        before, returned = scan.examined, scan.returned

        def reader(roots: Any, wait: bool) -> T:
            if self._state != self._view.state:
                scan.rebase(roots)
                self._state = self._view.state
            return step(Slice(most, budget, wait, release))

        result = await self._view.read(reader, away=away)
        self._sparse = scan.examined - before >= SPARSE * (scan.returned - returned + 1)
        if not runner.waits and not search.done:
            for _ in range(TURNS):
                await runner.rest()
        return result

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
