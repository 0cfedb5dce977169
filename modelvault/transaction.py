"""Units of work: the writer's turn, taken at the beginning and given up at the end."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from modelvault.errors import ModelVaultTransactionError

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._store import Catalog
    from modelvault._unit import Mark, Unit
    from modelvault.collection import AsyncCollection

__all__ = ["AsyncTransaction"]

M = TypeVar("M")


class AsyncTransaction:
    """`async with db.transaction() as tx`: what its task does with the database happens in it, all or nothing.

    It waits for the writer's turn. Other tasks never enter it: they read the last commit, and their writes wait until
    it ends. A child task takes part through `tx.collection(...)`. Any exception, a cancellation too, rolls it back. A
    statement that fails leaves it as it was before the statement: catch the error and go on.

    It may be entered again after it ended.
    """

    def __init__(self, catalog: Catalog, timeout: float | None) -> None:
        self._catalog = catalog
        self._work = catalog.access.work(timeout)

    async def __aenter__(self) -> Self:
        if self._work.unit is not None:
            raise ModelVaultTransactionError(
                "transaction error: nested transactions are not supported: use a savepoint of the open one"
            )
        await self._work.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._work.__aexit__(kind, error, trace)

    @overload
    def collection(self, name: str) -> AsyncCollection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> AsyncCollection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> AsyncCollection[Any]:
        """A collection all of whose operations happen in this transaction, whichever task calls them."""
        from modelvault.collection import collection_of  # with a fifth of the package

        return collection_of(self._catalog, name, self._active(), validate_on_read=validate_on_read)

    def savepoint(self) -> Mark:
        """`async with tx.savepoint()`: an exception undoes what happened in it, and the transaction goes on."""
        return self._active().savepoint()

    def _active(self) -> Unit:
        """The open transaction. ModelVaultTransactionError without one."""
        if self._work.unit is None:
            raise ModelVaultTransactionError("transaction error: no active transaction")
        return self._work.unit

    def __del__(self) -> None:
        work = getattr(self, "_work", None)
        if work is not None and work.unit is not None and work.unit.alive:
            work.abandon()
            text = "a transaction was dropped without an end: rolled back"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
