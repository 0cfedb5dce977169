"""A view on (database, collection, model): where its rows are, and the ways to one of them.

It is what `AsyncCollection` and `Collection` are faces of. The short ways are one call of its `shortcut`, where there
is one; what they answer with LONG goes the long way, which is a coroutine here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from modelvault._core import LONG
from modelvault._kinds import is_dict
from modelvault._reading import Opened, Ready
from modelvault._statements import atomically, find_part
from modelvault._store import shape, unknown_collection
from modelvault.errors import ColdPage, CorruptionError, ModelVaultSchemaError, NotFoundError, StaleSchemaError
from modelvault.expressions import FieldRef
from modelvault.mapping import check_instance, part_of
from modelvault.patches import revalidator

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._access import Access
    from modelvault._core.gate import Shortcut
    from modelvault._engine import Definition, Write
    from modelvault._queue import Statement
    from modelvault._store import Binding, Catalog
    from modelvault._unit import Reader, Unit, View
    from modelvault.schema import Schema

__all__ = ["SLICE", "Handle", "check_row", "fixed_key"]

SLICE: Final = 64  # rows handled before other tasks get a chance: about 0.1 ms


class Handle:
    """A collection as instances of a model, or as dicts, seen from a transaction, a snapshot or from anywhere.

    It owns nothing: free to make, and good for every task and thread.
    """

    __slots__ = (
        "access",
        "binding",
        "catalog",
        "check",
        "cls",
        "era",
        "mapped",
        "name",
        "opened",
        "prepare",
        "primary",
        "shortcut",
        "unit",
        "whole",
    )

    def __init__(
        self,
        catalog: Catalog,
        of: str | type,
        unit: Unit | None = None,
        *,
        validate_on_read: bool = False,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.access: Access = catalog.access
        self.catalog: Catalog = catalog
        self.unit: Unit | None = unit
        self.cls: type = dict
        self.mapped: Schema | None = None
        self.check: Callable[[Any], Any] | None = None
        self.primary: str = ""
        if isinstance(of, str):
            self.name: str = of.strip()
        else:
            self.cls = of
            self.mapped = catalog.mapped(of)
            self.name = self.mapped.name
            self.primary = key_attribute(self.mapped)
            if validate_on_read:
                self.check = revalidator(of)
        self.whole: Handle | None = None  # of which this is a part: see `part`
        self.binding: Binding | None = None
        self.opened: Opened | None = None  # for queries, where no transaction was given
        # Where the core's answer is all there is to it: no transaction given, no check of rows.
        self.shortcut: Shortcut | None = None
        # The definitions that the binding was found in; where they are others, it is looked for again.
        self.era: dict[str, Definition] = {}
        self.prepare = prepare  # awaited before the stored collection is looked for
        if prepare is None and not self.look() and self.mapped is None:
            raise unknown_collection(self.name)

    # The way to the stored collection

    def look(self) -> bool:
        """Find the stored collection; whether there is one."""
        unit = self.unit or self.access.attend()
        self.era = self.catalog.definitions(unit)
        store = self.catalog.find(self.name, unit)
        self.show(None if store is None else store.binding(self.mapped))
        return self.binding is not None

    def show(self, binding: Binding | None) -> None:
        """Take this as the stored collection."""
        self.binding = binding
        self.opened = self.shortcut = None
        if self.unit is None and self.whole is None and binding is not None:
            self.opened = Opened(binding, binding, self.check)
            if self.check is None:
                self.shortcut = binding.shortcut(self.access, self.era, self.cls, self.primary)

    async def ready(self) -> Binding:
        """The stored collection, registered now if need be."""
        binding = self.binding
        if binding is not None and binding.store.alive:
            definitions = self.catalog.definitions(self.unit or self.access.attend())
            if definitions.get(self.name) is binding.store.definition:
                self.era = definitions
                return binding
        if self.prepare is not None:
            await self.prepare()
            self.prepare = None
        if self.whole is not None:
            await self.whole.ready()
        await self.access.catch_up()
        self.look()
        if self.binding is None:
            if self.mapped is None or self.access.read_only or (self.unit is not None and self.unit.frozen):
                raise unknown_collection(self.name)
            await self.catalog.register(self.mapped, self.unit)
            self.look()
        assert self.binding is not None
        return self.binding

    @property
    def schema(self) -> Schema:
        """The stored schema, else that of the model that will be registered."""
        schema = self.mapped if self.binding is None else self.binding.schema
        assert schema is not None
        return schema

    def part(self, schema: Schema, cls: type) -> Handle:
        """The same collection as rows of a model that knows some of the fields of this schema."""
        part = copy(self)
        part.cls, part.mapped = cls, part_of(schema, cls)
        part.whole, part.prepare, part.check = self, None, None
        part.show(None)
        return part

    def inside(self, unit: Unit) -> Self:
        """The same, seen from a transaction."""
        inside = copy(self)
        inside.unit = unit
        return inside

    async def open(self) -> tuple[Opened, View]:
        """The stored collection, and a state of the database to read it in."""
        while True:
            shown = await self.ready()
            finder = shown if self.whole is None else await self.whole.ready()
            view = await self.access.view(self.unit)
            if view.shows(shown.store.definition) and finder.store is shown.store:
                return Opened(finder, shown, self.check), view
            view.close()  # another thread changed the schema in between

    def at_hand(self) -> Ready | None:
        """What can be read at once; None if something stands in the way, or has to be waited for."""
        found, access = self.opened, self.access
        if found is None or access.alert:
            return None
        latest = access.engine.latest
        return (found, latest) if latest.definitions is self.era else None

    def key(self, key: Any) -> Any:
        """The primary key of a key or instance."""
        if self.mapped is not None and isinstance(key, self.cls):
            return getattr(key, self.primary)
        return key

    # Rows

    async def get(self, key: Any) -> Any:
        """The row with this primary key by the long way, None if there is none."""
        binding = await self.ready()
        packed = binding.pack(self.key(key))
        record: bytes | None = await self.read(lambda roots, wait: binding.record(roots, packed, wait))
        if record is None:
            return None
        row = binding.face.decode(record)
        return row if self.check is None else self.check(row)

    def got_by(self, field: Any, value: Any) -> Any:
        """The only row with this value in a field by the short way, or LONG."""
        shortcut = self.shortcut
        if shortcut is None or not isinstance(field, FieldRef) or field.__owner__ is not self.cls:
            return LONG
        return shortcut.one(field.__segments__, value)

    async def get_many(self, keys: Iterable[Any]) -> list[Any]:
        """The rows with these primary keys, of one commit, in their order; None where there is no row."""
        wanted = [self.key(key) for key in keys]
        if len(wanted) <= SLICE:
            await self.access.breathe(len(wanted))
            found = self._at_once(wanted)
            if found is not None:
                return found
        binding = await self.ready()
        rows: list[Any] = []
        view = await self.access.view(self.unit)
        try:
            for start in range(0, len(wanted), SLICE):
                rows += await view.read(partial(find_part, binding, wanted[start : start + SLICE]))
        finally:
            view.close()
        check = self.check
        return rows if check is None else [None if row is None else check(row) for row in rows]

    def _at_once(self, keys: list[Any]) -> list[Any] | None:
        """The rows with a few keys, if they are in memory and nobody commits meanwhile."""
        ready = self.at_hand()
        if ready is None or self.check is not None:
            return None
        opened, latest = ready
        sequence = latest.sequence
        try:
            rows = find_part(opened.shown, keys, latest.roots, False)
        except (ColdPage, CorruptionError):
            return None
        return rows if latest.sequence == sequence and self.access.engine.latest is latest else None

    def submit(self, put: Any, row: Any) -> Any:
        """Store a row for which the short way gave this: LONG, or its Put. Of the latter StaleSchemaError, too."""
        return self.store(row, False) if put is LONG else self.access.submit(put)

    async def store(self, row: Any, create: bool) -> None:
        """Store a row by the long way. create: DuplicateKeyError if its primary key is taken."""
        if row.__class__ is not self.cls:
            check_row(self.cls, row)
        access = self.access
        binding = self.binding
        if binding is None or access.alert or access.engine.latest.definitions is not self.era:
            binding = await self.ready()
        key, record = binding.face.encode(row)
        try:
            await access.write(lambda write, wait: binding.put(write, key, record, create, wait), self.unit, short=True)
            return
        except StaleSchemaError:
            pass
        await self.store(row, create)

    def change_at_once(self, key: Any, patch: Any) -> Any:
        """Change a row by the short way: the row then, or LONG."""
        shortcut = self.shortcut
        found = LONG if shortcut is None else shortcut.take(key)
        if shortcut is None or found is LONG:
            return LONG
        packed, before, row = found
        binding = self.binding
        if binding is None or not binding.shows(row, before):
            return LONG
        fresh = binding.patch(row, patch)
        return fresh if shortcut.exchange(packed, before, fresh) else LONG

    async def update(self, key: Any, patch: Any) -> Any:
        """Change a row by the long way; the row then. NotFoundError if there is none."""
        key = self.key(key)
        binding = await self.ready()
        packed = binding.pack(key)

        def statement(write: Write, wait: bool) -> Any:
            record = binding.record(write.roots, packed, wait)
            if record is None:
                raise NotFoundError(
                    f"cannot update missing row: no row of {self.name} has the primary key {key!r}",
                    collection=self.name,
                    key=key,
                )
            after, changed, fresh = binding.changed(record, lambda row: binding.patch(row, patch))
            if after != packed:
                raise fixed_key(self.name)
            binding.put(write, packed, changed, False, wait)
            return fresh

        try:
            await self.access.breathe()
            row = self.change_at_once(key, patch) if self.access.volatile else LONG
            return await self.write(statement) if row is LONG else row
        except StaleSchemaError:
            pass
        return await self.update(key, patch)

    async def upsert(self, row: Any, path: tuple[str, ...]) -> None:
        """Store a row in place of those with the same primary key, or the same unique value at a path."""
        check_row(self.cls, row)
        binding = await self.ready()
        index = binding.store.unique_index(path)
        key, record = binding.face.encode(row)
        entries = binding.store.entries(index, record)

        def statement(write: Write, wait: bool) -> None:
            for entry in entries:
                for other in binding.keys(write.roots, index.name, entry, wait):
                    binding.remove(write, other, wait)
            binding.put(write, key, record, False, wait)

        try:
            await self.write(partial(atomically, statement))
            return
        except StaleSchemaError:
            pass
        await self.upsert(row, path)

    async def delete(self, key: Any) -> bool:
        """Delete a row by the long way; True if it was there."""
        binding = await self.ready()
        packed = binding.pack(self.key(key))
        try:
            return bool(await self.write(lambda write, wait: binding.remove(write, packed, wait), short=True))
        except StaleSchemaError:
            pass
        return await self.delete(key)

    async def read(self, reader: Reader[Any]) -> Any:
        """A look at the trees, where this handle looks."""
        return await self.access.read(reader, self.unit)

    async def write(self, statement: Statement, *, short: bool = False) -> Any:
        """A change of the trees, where this handle writes."""
        return await self.access.write(statement, self.unit, short=short)


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
