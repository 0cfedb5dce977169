"""The verbs of a collection, as users call them. What they do is the handle's; what is asked, the selections'.

The shortest way, a `get` of warm data with no transaction open, is one coroutine and one call into the core.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from modelvault._arguments import Path, PathOf, parse_path
from modelvault._core import LONG
from modelvault._handle import Handle, check_row
from modelvault._loading import load
from modelvault._rows import Supply
from modelvault._selections import Selections
from modelvault.conditions import EVERYTHING
from modelvault.errors import NotFoundError, StaleSchemaError
from modelvault.query import Questions

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._store import Catalog
    from modelvault._unit import Unit

__all__ = ["AsyncCollection", "collection_of"]

M = TypeVar("M")


class AsyncCollection(Questions[M]):
    """A collection of `M`: instances of a model class, or dicts.

    Made by `AsyncDatabase.collection` and `models.async_collection`. A model's collection is registered in the
    database by the first operation that is awaited; `await collection.register()`, or just `await collection`, does
    nothing else.

    A `key` is a primary key or, for models, an instance that has it. Rows come in primary-key order. A row that does
    not fit raises before anything is changed: ModelVaultSchemaError, ModelVaultValidationError, or the TypeError,
    ValueError or OverflowError of the value that cannot be converted.
    """

    __slots__ = ("__handle__", "__source__", "__weakref__")

    __selection__ = EVERYTHING
    __make__: Callable[[Any], M] | None = None

    def __init__(self, handle: Handle) -> None:
        self.__handle__: Handle = handle
        self.__source__: Selections = Selections(handle)  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.__handle__.name

    async def register(self) -> Self:
        """Register the model's collection if the database does not have it yet; gives the collection."""
        await self.__handle__.ready()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.register().__await__()

    def __repr__(self) -> str:
        return f"<AsyncCollection {self.__handle__.name!r} of {self.__handle__.cls.__name__}>"

    # Reading

    async def get(self, key: Any) -> M | None:
        """The row with this primary key, None if there is none."""
        handle = self.__handle__
        shortcut = handle.shortcut  # another thread may take it away
        row: M | None = LONG if shortcut is None else shortcut.get(key)
        return await handle.get(key) if row is LONG else row

    async def get_or_raise(self, key: Any) -> M:
        """The row with this primary key; NotFoundError (a LookupError) if there is none."""
        row = await self.get(key)
        if row is None:
            key = self.__handle__.key(key)
            raise NotFoundError(f"no row of {self.name} has the primary key {key!r}", collection=self.name, key=key)
        return row

    async def get_by(self, field: PathOf[M], value: Any) -> M | None:
        """The row with this value in a field, None if there is none; with a unique index nearly as quick as `get`.

        ModelVaultQueryError if several rows have it.
        """
        row: M | None = self.__handle__.got_by(field, value)
        return await self.where(field, value).one_or_none() if row is LONG else row

    async def get_many(self, keys: Iterable[Any]) -> list[M | None]:
        """The rows with these primary keys, in the order of the keys and of one commit; None where there is no row."""
        return await self.__handle__.get_many(keys)

    # Writing

    async def insert(self, row: M) -> None:
        """Store a row; one with the same primary key is replaced. DuplicateKeyError if a unique value is taken."""
        handle = self.__handle__
        shortcut = handle.shortcut
        put = LONG if shortcut is None else shortcut.put(row)
        if put is not None:
            try:
                await handle.submit(put, row)
            except StaleSchemaError:
                await handle.store(row, False)

    async def create(self, row: M) -> None:
        """Store a new row; DuplicateKeyError if its primary key, or a unique value, is taken."""
        await self.__handle__.store(row, True)

    async def insert_many(
        self,
        rows: Iterable[M] | AsyncIterable[M],
        *,
        chunk: int | None = None,
        progress: bool | Callable[[int], object] = False,
    ) -> int:
        """Insert or replace the rows of an iterable, in one commit or in commits of `chunk` rows; how many there were.

        If a row fails, nothing of its commit is stored. More than a thousand rows keep other writers waiting until
        they are in. progress: True shows a line on standard error, a function is called with the count now and then.
        """
        handle = self.__handle__
        binding = await handle.ready()
        return await load(handle, binding, Supply(rows, binding.face, handle.cls, check_row), chunk, progress)

    async def insert_arrow(
        self, data: Any, *, chunk: int | None = None, progress: bool | Callable[[int], object] = False
    ) -> int:
        """Insert or replace the rows of a table, in one commit or in commits of `chunk` rows; how many there were.

        data: anything with `__arrow_c_stream__`: a table, batch or stream of pyarrow, a frame of pandas or polars, a
        relation of DuckDB, a query. A column for each field, by name; fields with a default may lack one. Values are
        validated as the model and its constraints say: ModelVaultValidationError names row, from 0 on, and column.
        A stream is read batch by batch. chunk, progress: as of `insert_many`.
        """
        from modelvault._intake import Intake  # which most programs never need

        handle = self.__handle__
        binding = await handle.ready()
        source = Intake(data, binding.schema.type, binding.face, handle.cls, handle.access.runner)
        return await load(handle, binding, source, chunk, progress)

    async def update(self, key: Any, patch: Any) -> M:
        """Change the fields that `patch` names (a dict, or an instance), validated; the row as it is then.

        NotFoundError (a ValueError) if there is no such row, ValueError if a field is unknown, or if the primary key
        would change.
        """
        handle = self.__handle__
        row: M = handle.change_at_once(key, patch)
        return await handle.update(key, patch) if row is LONG else row

    async def upsert(self, row: M, *, on: Path | None = None) -> None:
        """Store a row in place of the one with the same primary key and, with `on`, of the one with the same value.

        on: the path of a field with a unique index. The row that has this value goes, whatever its primary key is.
        """
        if on is None:
            await self.insert(row)
        else:
            await self.__handle__.upsert(row, parse_path(on))

    async def delete(self, key: Any) -> bool:
        """Delete the row with this primary key; True if it was there."""
        handle = self.__handle__
        shortcut = handle.shortcut
        there = LONG if shortcut is None else shortcut.remove(key)
        return await handle.delete(key) if there is LONG else bool(there)


def collection_of(
    catalog: Catalog,
    of: str | type[M],
    unit: Unit | None = None,
    *,
    validate_on_read: bool = False,
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> AsyncCollection[Any]:
    """The collection of that name, or of that model class, seen from a transaction; see Handle."""
    return AsyncCollection(Handle(catalog, of, unit, validate_on_read=validate_on_read, prepare=prepare))
