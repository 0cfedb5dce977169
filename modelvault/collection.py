"""The verbs of a collection: what joins a schema, a transaction or commit, and the trees.

A handle is a view on (database, collection, model): free to make, and good for every task and thread. The shortest
way, a `get` of warm data with no transaction open, is one coroutine and one call into the core.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelvault._answers import Answers
from modelvault._arguments import Path, PathOf, parse_path
from modelvault._core import LONG
from modelvault._core.batch import Batch
from modelvault._core.gate import Shortcut
from modelvault._kinds import is_dict
from modelvault._progress import Progress
from modelvault._reading import Opened, Ready
from modelvault._rows import Filler, Supply
from modelvault._statements import atomically, find_part, put_part, put_whole, records_of, remove_part
from modelvault._store import Binding, Catalog, shape, unknown_collection
from modelvault._unit import Work
from modelvault.conditions import EVERYTHING
from modelvault.errors import ColdPage, CorruptionError, ModelVaultSchemaError, NotFoundError, StaleSchemaError
from modelvault.expressions import FieldRef
from modelvault.mapping import check_instance, collection_name, part_of
from modelvault.partials import partial_maker
from modelvault.patches import changer, patched, revalidator
from modelvault.query import Questions
from modelvault.targets import Target, Targets

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._access import Access
    from modelvault._engine import Definition, Write
    from modelvault._queue import Statement
    from modelvault._unit import Reader, Unit, View
    from modelvault.conditions import Condition, Selection
    from modelvault.schema import Schema
    from modelvault.sources import Source

__all__ = ["AsyncCollection"]

M = TypeVar("M")

SMALL: Final = 1024  # rows that insert_many collects before it takes the writer's turn for itself
ALL: Final = sys.maxsize
SLICE: Final = 64  # rows handled before other tasks get a chance: about 0.1 ms


class AsyncCollection(Questions[M]):
    """A collection of `M`: instances of a model class, or dicts.

    Made by `AsyncDatabase.collection` and `models.async_collection`. A model's collection is registered in the
    database by the first operation that is awaited; `await collection.register()`, or just `await collection`, does
    nothing else.

    A `key` is a primary key or, for models, an instance that has it. Rows come in primary-key order. A row that does
    not fit raises before anything is changed: ModelVaultSchemaError, ModelVaultValidationError, or the TypeError,
    ValueError or OverflowError of the value that cannot be converted.
    """

    __slots__ = (
        "__weakref__",
        "_access",
        "_binding",
        "_catalog",
        "_check",
        "_cls",
        "_era",
        "_mapped",
        "_name",
        "_opened",
        "_prepare",
        "_primary",
        "_shortcut",
        "_source",
        "_unit",
        "_whole",
    )

    _selection = EVERYTHING
    _make = None

    def __init__(
        self,
        catalog: Catalog,
        of: str | type[M],
        unit: Unit | None = None,
        *,
        validate_on_read: bool = False,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._access = catalog.access
        self._catalog = catalog
        self._unit = unit
        self._cls: type = dict
        self._mapped: Schema | None = None
        self._check: Callable[[M], M] | None = None
        self._primary = ""
        if isinstance(of, str):
            self._name = of.strip()
        else:
            self._cls = of
            self._mapped = catalog.mapped(of)
            self._name = self._mapped.name
            self._primary = key_attribute(self._mapped)
            if validate_on_read:
                self._check = revalidator(of)
        self._source: Selections = Selections(self)  # pyright: ignore[reportIncompatibleVariableOverride]
        self._whole: AsyncCollection[Any] | None = None  # of which this is a part: see `part`
        self._binding: Binding | None = None
        self._opened: Opened | None = None  # for queries, where no transaction was given
        # Where the core's answer is all there is to it: no transaction given, no check of rows.
        self._shortcut: Shortcut | None = None
        # The definitions that the binding was found in; where they are others, it is looked for again.
        self._era: dict[str, Definition] = {}
        self._prepare = prepare  # awaited before the stored collection is looked for
        if prepare is None and not self._look() and self._mapped is None:
            raise unknown_collection(self._name)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    async def register(self) -> Self:
        """Register the model's collection if the database does not have it yet; gives the collection."""
        await self._ready()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.register().__await__()

    def __repr__(self) -> str:
        return f"<AsyncCollection {self._name!r} of {self._cls.__name__}>"

    # Reading

    async def get(self, key: Any) -> M | None:
        """The row with this primary key, None if there is none."""
        row: M | None = self._got(key)
        return await self._get(key) if row is LONG else row

    def _got(self, key: Any) -> Any:
        """The row with this primary key by the short way, or LONG."""
        shortcut = self._shortcut
        return LONG if shortcut is None else shortcut.get(key)

    async def _get(self, key: Any) -> M | None:
        """The same by the long way."""
        binding = await self._ready()
        packed = binding.pack(self._key(key))
        record: bytes | None = await self._read(lambda roots, wait: binding.record(roots, packed, wait))
        if record is None:
            return None
        row: M = binding.face.decode(record)
        return row if self._check is None else self._check(row)

    async def get_or_raise(self, key: Any) -> M:
        """The row with this primary key; NotFoundError (a LookupError) if there is none."""
        row = await self.get(key)
        if row is None:
            key = self._key(key)
            raise NotFoundError(f"no row of {self._name} has the primary key {key!r}", collection=self._name, key=key)
        return row

    async def get_by(self, field: PathOf[M], value: Any) -> M | None:
        """The row with this value in a field, None if there is none; with a unique index nearly as quick as `get`.

        ModelVaultQueryError if several rows have it.
        """
        row: M | None = self._got_by(field, value)
        return await self._get_by(field, value) if row is LONG else row

    def _got_by(self, field: PathOf[M], value: Any) -> Any:
        """The only row with this value in a field by the short way, or LONG."""
        shortcut = self._shortcut
        if shortcut is None or not isinstance(field, FieldRef) or field._owner is not self._cls:
            return LONG
        return shortcut.one(field._segments, value)

    async def _get_by(self, field: PathOf[M], value: Any) -> M | None:
        """The same by the long way."""
        return await self.where(field, value).one_or_none()

    async def get_many(self, keys: Iterable[Any]) -> list[M | None]:
        """The rows with these primary keys, in the order of the keys and of one commit; None where there is no row."""
        wanted = [self._key(key) for key in keys]
        if len(wanted) <= SLICE:
            await self._access.breathe(len(wanted))
            found = self._at_once(wanted)
            if found is not None:
                return found
        binding = await self._ready()
        rows: list[M | None] = []
        view = await self._access.view(self._unit)
        try:
            for start in range(0, len(wanted), SLICE):
                rows += await view.read(partial(find_part, binding, wanted[start : start + SLICE]))
        finally:
            view.close()
        check = self._check
        return rows if check is None else [None if row is None else check(row) for row in rows]

    def _at_once(self, keys: list[Any]) -> list[M | None] | None:
        """The rows with a few keys, if they are in memory and nobody commits meanwhile."""
        ready = self._source.at_hand()
        if ready is None or self._check is not None:
            return None
        opened, latest = ready
        sequence = latest.sequence
        try:
            rows = find_part(opened.shown, keys, latest.roots, False)
        except (ColdPage, CorruptionError):
            return None
        return rows if latest.sequence == sequence and self._access.engine.latest is latest else None

    # Writing

    async def insert(self, row: M) -> None:
        """Store a row; one with the same primary key is replaced. DuplicateKeyError if a unique value is taken."""
        shortcut = self._shortcut
        put = LONG if shortcut is None else shortcut.put(row)
        if put is not None:
            try:
                await self._submit(put, row)
            except StaleSchemaError:
                await self._store(row, False)

    def _submit(self, put: Any, row: M) -> Any:
        """Store a row for which the short way gave this: LONG, or its Put. Of the latter StaleSchemaError, too."""
        return self._store(row, False) if put is LONG else self._access.submit(put)

    async def create(self, row: M) -> None:
        """Store a new row; DuplicateKeyError if its primary key, or a unique value, is taken."""
        await self._store(row, True)

    async def _store(self, row: M, create: bool) -> None:
        """Store a row by the long way. create: DuplicateKeyError if its primary key is taken."""
        if row.__class__ is not self._cls:
            check_row(self._cls, row)
        access = self._access
        binding = self._binding
        if binding is None or access.alert or access.engine.latest.definitions is not self._era:
            binding = await self._ready()
        key, record = binding.face.encode(row)
        try:
            await self._access.write(
                lambda write, wait: binding.put(write, key, record, create, wait), self._unit, short=True
            )
            return
        except StaleSchemaError:
            pass
        await self._store(row, create)

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
        binding = await self._ready()
        return await self._insert_all(binding, Supply(rows, binding.face, self._cls, check_row), chunk, progress)

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

        binding = await self._ready()
        source = Intake(data, binding.schema.type, binding.face, self._cls, self._access.runner)
        return await self._insert_all(binding, source, chunk, progress)

    async def _insert_all(
        self, binding: Binding, source: Filler, chunk: int | None, progress: bool | Callable[[int], object]
    ) -> int:
        """Store all that the source has; how many rows."""
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}")
        meter = Progress(self._name, progress)
        more = True
        while more:
            more = await self._insert_chunk(binding, source, chunk, meter)
        meter.close()
        return meter.count

    async def _insert_chunk(self, binding: Binding, source: Filler, chunk: int | None, meter: Progress) -> bool:
        """Store at most `chunk` rows in one commit; False if the source has come to its end."""
        unit = self._unit or self._access.attend()
        if unit is not None:
            return await self._insert_into(unit, binding, Batch(), source, chunk, meter)
        size = SMALL if chunk is None else min(chunk, SMALL)
        first = Batch()
        more = await self._gather(binding, source, first, size)
        if not more or first.count == chunk:
            if first.count:
                await self._write(partial(atomically, partial(put_whole, binding, first)))
                meter.add(first.count)
            return more
        async with Work(self._access) as unit:
            return await self._insert_into(unit, binding, first, source, chunk, meter)

    async def _insert_into(
        self, unit: Unit, binding: Binding, batch: Batch, source: Filler, chunk: int | None, meter: Progress
    ) -> bool:
        """Store a batch and what the source has left, at most `chunk` rows, in a transaction; all or nothing."""
        async with unit.savepoint(alone=True):
            left = ALL if chunk is None else chunk
            while left:
                more = await self._gather(binding, source, batch, left)
                await self._put(unit, binding, batch, meter)
                if not more:
                    return False
                left -= batch.count
                batch = Batch()
        return True

    async def _gather(self, binding: Binding, source: Filler, batch: Batch, rows: int) -> bool:
        """Encode rows into a batch until it has so many, or takes much memory; False if the source comes to its end."""
        while batch.count < rows and batch.size < binding.batch_size:
            found = await source.fill(batch, min(SLICE, rows - batch.count))
            if not found:
                return False
            await self._access.breathe(found)
        return True

    async def _put(self, unit: Unit, binding: Binding, batch: Batch, meter: Progress) -> None:
        """Put all of a batch. What the source does comes before or after: rows without entries are seen by nobody."""
        done = 0
        while not await unit.perform(partial(binding.put_batch, batch)):
            await self._access.breathe(SLICE)
            meter.add(batch.at - done)
            done = batch.at
            if batch.unordered > SMALL:
                await self._access.runner.run(batch.order)
        meter.add(batch.at - done)

    async def update(self, key: Any, patch: Any) -> M:
        """Change the fields that `patch` names (a dict, or an instance), validated; the row as it is then.

        NotFoundError (a ValueError) if there is no such row, ValueError if a field is unknown, or if the primary key
        would change.
        """
        row: M = self._change_at_once(key, patch)
        return await self._update(key, patch) if row is LONG else row

    def _change_at_once(self, key: Any, patch: Any) -> Any:
        """Change a row of a database in memory on the spot: the row then, or LONG."""
        shortcut = self._shortcut
        found = LONG if shortcut is None else shortcut.take(key)
        if shortcut is None or found is LONG:
            return LONG
        packed, before, row = found
        fresh = self._patched(row, patch)
        return fresh if shortcut.exchange(packed, before, fresh) else LONG

    def _patched(self, row: Any, patch: Any) -> Any:
        """A row that nobody else has, with the patch's fields replaced."""
        assert self._binding is not None
        return {**row, **patch} if self._mapped is None else patched(row, patch, self._binding.schema.type)

    async def _update(self, key: Any, patch: Any) -> M:
        """`update` by the long way."""
        key = self._key(key)
        binding = await self._ready()
        packed = binding.pack(key)

        def statement(write: Write, wait: bool) -> Any:
            row = binding.find(write.roots, key, binding.face, wait)
            if row is None:
                raise NotFoundError(
                    f"cannot update missing row: no row of {self._name} has the primary key {key!r}",
                    collection=self._name,
                    key=key,
                )
            fresh = self._patched(row, patch)
            after, record = binding.face.encode(fresh)
            if after != packed:
                raise fixed_key(self._name)
            binding.put(write, packed, record, False, wait)
            return fresh

        try:
            await self._access.breathe()
            row: M = self._change_at_once(key, patch) if self._access.volatile else LONG
            if row is not LONG:
                return row
            result: M = await self._write(statement)
            return result
        except StaleSchemaError:
            pass
        return await self._update(key, patch)

    async def upsert(self, row: M, *, on: Path | None = None) -> None:
        """Store a row in place of the one with the same primary key and, with `on`, of the one with the same value.

        on: the path of a field with a unique index. The row that has this value goes, whatever its primary key is.
        """
        if on is None:
            await self.insert(row)
            return
        check_row(self._cls, row)
        binding = await self._ready()
        index = binding.store.unique_index(parse_path(on))
        key, record = binding.face.encode(row)
        entries = binding.store.entries(index, record)

        def statement(write: Write, wait: bool) -> None:
            for entry in entries:
                for other in binding.keys(write.roots, index.name, entry, wait):
                    binding.remove(write, other, wait)
            binding.put(write, key, record, False, wait)

        try:
            await self._write(partial(atomically, statement))
            return
        except StaleSchemaError:
            pass
        await self.upsert(row, on=on)

    async def delete(self, key: Any) -> bool:
        """Delete the row with this primary key; True if it was there."""
        there = self._remove_at_once(key)
        return await self._delete(key) if there is LONG else bool(there)

    def _remove_at_once(self, key: Any) -> Any:
        """Delete a row of a database in memory on the spot: whether it was there, or LONG."""
        shortcut = self._shortcut
        return LONG if shortcut is None else shortcut.remove(key)

    async def _delete(self, key: Any) -> bool:
        """`delete` by the long way."""
        binding = await self._ready()
        packed = binding.pack(self._key(key))
        try:
            return bool(await self._write(lambda write, wait: binding.remove(write, packed, wait), short=True))
        except StaleSchemaError:
            pass
        return await self._delete(key)

    async def _read(self, reader: Reader[Any]) -> Any:
        """A look at the trees, where this handle looks."""
        return await self._access.read(reader, self._unit)

    async def _write(self, statement: Statement, *, short: bool = False) -> Any:
        """A change of the trees, where this handle writes."""
        return await self._access.write(statement, self._unit, short=short)

    # The way to the stored collection

    def _key(self, key: Any) -> Any:
        """The primary key of a key or instance."""
        if self._mapped is not None and isinstance(key, self._cls):
            return getattr(key, self._primary)
        return key

    def _look(self) -> bool:
        """Find the stored collection; whether there is one."""
        unit = self._unit or self._access.attend()
        self._era = self._catalog.definitions(unit)
        store = self._catalog.find(self._name, unit)
        self._binding = None if store is None else store.binding(self._mapped)
        self._opened = self._shortcut = None
        if self._unit is None and self._whole is None and self._binding is not None:
            self._opened = Opened(self._binding, self._binding, self._check)
            if self._check is None:
                self._shortcut = self._binding.shortcut(self._access, self._era, self._cls, self._primary)
        return self._binding is not None

    async def _ready(self) -> Binding:
        """The stored collection, registered now if need be."""
        binding = self._binding
        if binding is not None and binding.store.alive:
            definitions = self._catalog.definitions(self._unit or self._access.attend())
            if definitions.get(self._name) is binding.store.definition:
                self._era = definitions
                return binding
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        if self._whole is not None:
            await self._whole._ready()
        await self._access.catch_up()
        self._look()
        if self._binding is None:
            if self._mapped is None or self._access.read_only or (self._unit is not None and self._unit.frozen):
                raise unknown_collection(self._name)
            await self._catalog.register(self._mapped, self._unit)
            self._look()
        assert self._binding is not None
        return self._binding


class Selections(Answers):
    """What queries ask of their collection: its fields here, its rows in Answers."""

    __slots__ = ("_collection", "_targets", "access", "cls", "name")

    def __init__(self, collection: AsyncCollection[Any]) -> None:
        super().__init__(self)
        self._collection = collection
        self._targets: Targets | None = None
        self.access: Access = collection._access
        self.cls: type = collection._cls
        self.name: str = collection._name

    @property
    def targets(self) -> Targets:
        """The fields of the stored schema, else of the model that will be registered; of a part, those of the whole."""
        collection = self._collection._whole or self._collection
        schema = collection._mapped if collection._binding is None else collection._binding.schema
        assert schema is not None
        if self._targets is None or self._targets.schema is not schema:
            self._targets = Targets(schema)
        return self._targets

    def field(self, path: tuple[str, ...]) -> Target:
        """The field at a path; ModelVaultQueryError if there is none."""
        return self.targets.find(path)

    def check(self, condition: Condition) -> Condition:
        """The condition, its fields and values checked against the schema."""
        return self.targets.check(condition)

    def describe(self, condition: Condition) -> str:
        """The condition as a text that is the same in every process."""
        return self.targets.describe(condition)

    def same(self, other: Source) -> bool:
        """Does the other one answer from the same collection?"""
        if not isinstance(other, Selections):
            return False
        mine, theirs = self._collection, other._collection
        return mine._catalog is theirs._catalog and mine._name == theirs._name

    def takes(self, owner: type) -> bool:
        """Are the fields of this model class those of the collection? A dict collection takes any; paths decide."""
        cls = (self._collection._whole or self._collection)._cls
        return cls is dict or issubclass(cls, owner) or issubclass(owner, cls) or collection_name(owner) == self.name

    def part(self, cls: type) -> Source:
        """The same collection as rows of a model that knows some of the fields."""
        collection = self._collection
        part = copy(collection)
        part._cls, part._mapped = cls, part_of(self.targets.schema, cls)
        part._whole, part._prepare = collection, None
        part._binding, part._opened, part._shortcut, part._check = None, None, None, None
        part._source = Selections(part)
        return part._source

    def partial(self, fields: tuple[tuple[str, ...], ...]) -> Callable[[Any], Any]:
        """What makes a row of the collection's model, with these fields only, of a nested dict."""
        part = self._collection._mapped if self._collection._whole is not None else self.targets.schema
        assert part is not None
        return partial_maker(part.type, fields)

    def change(self, changes: dict[tuple[str, ...], Any]) -> Callable[[Any], Any]:
        """What makes a changed, validated row of a row."""
        schema = self.targets.schema
        if (schema.primary,) in changes:
            raise fixed_key(self.name)
        return changer(changes, schema.type)

    @property
    def shortcut(self) -> Shortcut | None:
        """What answers at once, where that is possible."""
        return self._collection._shortcut

    async def open(self) -> tuple[Opened, View]:
        """The stored collection, and a state of the database to read it in."""
        collection = self._collection
        while True:
            shown = await collection._ready()
            finder = shown if collection._whole is None else await collection._whole._ready()
            view = await collection._access.view(collection._unit)
            if view.shows(shown.store.definition) and finder.store is shown.store:
                return Opened(finder, shown, collection._check), view
            view.close()  # another thread changed the schema in between

    def at_hand(self) -> Ready | None:
        """What can be read at once; None if something stands in the way, or has to be waited for."""
        collection = self._collection
        found = collection._opened
        access = collection._access
        if found is None or access.alert:
            return None
        latest = access.engine.latest
        return (found, latest) if latest.definitions is collection._era else None

    async def update(self, selection: Selection, change: Callable[[Any], Any]) -> int:
        """Change the rows, all or none; how many there were."""

        async def alter(unit: Unit, binding: Binding, keys: list[bytes]) -> None:
            face = binding.face
            records = await unit.read(partial(records_of, binding, keys))
            rows = [face.encode(change(face.decode(record))) for record in records]
            if [key for key, _ in rows] != keys:
                raise fixed_key(self.name)
            await unit.perform(partial(put_part, binding, rows))

        return await self._alter(selection, alter)

    async def delete(self, selection: Selection) -> int:
        """Delete the rows, all or none; how many there were."""

        async def alter(unit: Unit, binding: Binding, keys: list[bytes]) -> None:
            await unit.perform(partial(remove_part, binding, keys))

        return await self._alter(selection, alter)

    async def _alter(self, selection: Selection, alter: Callable[..., Awaitable[None]]) -> int:
        """Alter all rows of a selection as one transaction, or as one step of the open one."""
        collection = self._collection._whole or self._collection
        await collection._ready()
        unit = collection._unit or collection._access.attend()
        selection = selection._replace(fields=None, shape="row", distinct=False)
        if unit is not None:
            return await self._alter_in(unit, collection, selection, alter)
        async with Work(collection._access) as unit:
            return await self._alter_in(unit, collection, selection, alter)

    async def _alter_in(
        self,
        unit: Unit,
        collection: AsyncCollection[Any],
        selection: Selection,
        alter: Callable[..., Awaitable[None]],
    ) -> int:
        """The keys first, then the rows: no row is met again where a change has moved it."""
        inside = copy(collection)
        inside._unit = unit
        async with unit.savepoint(alone=True):
            finder, keys = await Selections(inside).keys(selection)
            for start in range(0, len(keys), SLICE):
                part = keys[start : start + SLICE]
                await alter(unit, finder, part)
                await collection._access.breathe(len(part))
        return len(keys)


def fixed_key(name: str) -> ModelVaultSchemaError:
    """The error for an update of a primary key."""
    return ModelVaultSchemaError(
        f"schema error: an update cannot change the primary key of {name}: insert a new row and delete the old one"
    )


def key_attribute(mapped: Schema) -> str:
    """The attribute that holds the primary key in a model's instances."""
    for field, attribute in zip(mapped.fields, shape(mapped).attributes, strict=True):
        if field.name == mapped.primary and attribute is not None:
            return attribute
    raise AssertionError("a mapped schema has its primary key")


def check_row(cls: type, row: Any) -> Any:
    """The row, if it is one of the collection's: TypeError if not."""
    if row.__class__ is not cls:
        if cls is not dict:
            check_instance(cls, row)
        elif not is_dict(row):
            raise TypeError(f"argument 'row': {type(row).__name__!r} object is not an instance of 'dict'")
    return row
