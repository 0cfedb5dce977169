"""Rows one after the other, blocking."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from modelvault._core.drive import drive

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault.sources import RowIterator

__all__ = ["Rows"]

M = TypeVar("M")


class Rows(Generic[M]):
    """An iterator over rows: one snapshot, one batch in memory. It may be left at any point.

    `close` gives the snapshot up at once, else it goes with the object.
    """

    __slots__ = ("_twin",)

    def __init__(self, twin: RowIterator[M]) -> None:
        self._twin = twin

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> M:
        try:
            return drive(self._twin.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the snapshot up; there are no more rows."""
        drive(self._twin.aclose())
