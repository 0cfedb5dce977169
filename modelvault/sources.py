"""Who answers queries, as queries know it: a collection, and its rows as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeVar

from modelvault.conditions import Condition, Selection
from modelvault.frames import BatchIterator
from modelvault.targets import Target

__all__ = ["RowIterator", "Source"]

M_co = TypeVar("M_co", covariant=True)


class RowIterator(Protocol[M_co]):
    """Rows as they are read: `async for`, or `aclose()` before the end."""

    def __aiter__(self) -> AsyncIterator[M_co]:
        """Itself."""
        ...

    async def __anext__(self) -> M_co:
        """The next row."""
        ...

    async def batch(self) -> Sequence[M_co]:
        """The next rows, as many as come at once; none at the end."""
        ...

    async def aclose(self) -> None:
        """Give up what the iteration holds."""


class Source(Protocol):
    """Who answers: a collection. What rows look like is the selection's shape, or the collection's model."""

    @property
    def name(self) -> str:
        """The collection's name."""
        ...

    @property
    def cls(self) -> type:
        """The model class, or dict."""
        ...

    def field(self, path: tuple[str, ...]) -> Target:
        """The field at a path; ModelVaultQueryError if there is none."""
        ...

    def check(self, condition: Condition) -> Condition:
        """The condition, its fields and values checked against the schema."""
        ...

    def describe(self, condition: Condition) -> str:
        """The condition as a text that is the same in every process."""
        ...

    def same(self, other: Source) -> bool:
        """Does the other one answer from the same collection?"""
        ...

    def takes(self, owner: type) -> bool:
        """Are the fields of this model class those of the collection?"""
        ...

    def part(self, cls: type) -> Source:
        """The same collection as rows of a model that knows some of the fields."""
        ...

    def partial(self, fields: tuple[tuple[str, ...], ...]) -> Callable[[Any], Any]:
        """What makes a row of the collection's model, with these fields only, of a nested dict."""
        ...

    def change(self, changes: dict[tuple[str, ...], Any]) -> Callable[[Any], Any]:
        """What makes a changed, validated row of a row."""
        ...

    def rows(self, selection: Selection) -> RowIterator[Any]:
        """An iterator over the rows, of one snapshot."""
        ...

    def batches(self, selection: Selection, rows: int) -> BatchIterator:
        """An iterator over the rows as Arrow's record batches of so many rows, of one snapshot."""
        ...

    def at_once(self, selection: Selection, most: int | None = None) -> list[Any] | None:
        """The rows, at most `most`, if they are few and in memory; None if they have to be fetched."""
        ...

    async def fetch(
        self, selection: Selection, most: int | None = None, make: Callable[[Any], Any] | None = None
    ) -> list[Any]:
        """The rows, at most `most`, however many they are. make: what becomes of each."""
        ...

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""
        ...

    async def exists(self, selection: Selection) -> bool:
        """Is there a row?"""
        ...

    async def page(self, selection: Selection, size: int) -> tuple[list[Any], bytes | None]:
        """At most `size` rows behind `selection.after`, and the position behind the last; None: there are no more."""
        ...

    async def aggregate(
        self,
        selection: Selection,
        functions: tuple[tuple[str, tuple[str, ...] | None], ...],
        groups: tuple[tuple[str, ...], ...],
    ) -> list[tuple[Any, ...]]:
        """For each group, its values and those of the functions; without groups exactly one tuple."""
        ...

    async def update(self, selection: Selection, change: Callable[[Any], Any]) -> int:
        """Change the rows; how many there were."""
        ...

    async def delete(self, selection: Selection) -> int:
        """Delete the rows; how many there were."""
        ...

    async def explain(
        self,
        selection: Selection,
        analyze: bool = False,
        functions: tuple[tuple[str, tuple[str, ...] | None], ...] = (),
        groups: tuple[tuple[str, ...], ...] = (),
    ) -> str:
        """How the rows are found, or what `aggregate` needs of them, in words; analyze: do it, and say what it took."""
        ...
