"""A view of the database that does not move."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from modelvault.errors import ClosedError

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._backup import Tell
    from modelvault._store import Catalog
    from modelvault._unit import Still
    from modelvault.collection import AsyncCollection

__all__ = ["AsyncSnapshot"]

M = TypeVar("M")


class AsyncSnapshot:
    """`async with db.snapshot() as then`: the database as it was at the last commit, for reading.

    Nothing that is written later shows there, whoever writes; several queries fit together. It costs nobody a wait.
    What it shows stays in the file until it is closed, so a snapshot that is held for long lets the file grow.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._still: Still | None = None

    async def __aenter__(self) -> Self:
        access = self._catalog.access
        if self._still is not None:
            raise ClosedError("a snapshot is taken once: call db.snapshot() again")
        access.attend()
        await access.catch_up()
        self._still = access.still()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the state up; may be called again."""
        if self._still is not None:
            self._still.close()

    @overload
    def collection(self, name: str) -> AsyncCollection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> AsyncCollection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> AsyncCollection[Any]:
        """The collection as it was. Its writing methods raise ModelVaultTransactionError."""
        from modelvault.collection import collection_of  # with a fifth of the package

        return collection_of(self._catalog, name, self._opened(), validate_on_read=validate_on_read)

    def collection_names(self) -> list[str]:
        """The names of all collections that there were, sorted by code point."""
        return self._catalog.names(self._opened())

    async def get(self, collection: str, pk: Any) -> dict[str, Any] | None:
        """The row that had this primary key, None if there was none."""
        return await self.collection(collection).get(pk)

    async def export_snapshot(self, dest_path: str | os.PathLike[str], *, progress: Tell = False) -> None:
        """Write this state to a file, as the database's `export_snapshot` writes the last commit."""
        from modelvault._backup import export  # few programs do: see `models`

        still = self._opened()
        await export(self._catalog.access, dest_path, progress, version=still.shown)

    @property
    def sequence(self) -> int:
        """How many commits the database had seen."""
        return self._opened().shown.sequence

    def _opened(self) -> Still:
        """What is read. ClosedError before it is open and after it was closed."""
        if self._still is None:
            raise ClosedError("the snapshot is not open: use `async with db.snapshot() as then`")
        self._still.check()
        return self._still

    def __del__(self) -> None:
        still = getattr(self, "_still", None)
        if still is not None and still.alive:
            warnings.warn("a snapshot was dropped without being closed", ResourceWarning, stacklevel=2, source=self)
            still.access.snapshots -= 1
