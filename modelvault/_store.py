"""Where schemas and the engine meet: the stored collections of one database, and their Python sides."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from modelvault._access import Access
from modelvault._core.cover import Cover
from modelvault._core.gate import Gate, Shortcut
from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.pager import Pager
from modelvault._core.record import Face, RecordCodec
from modelvault._core.table import Table
from modelvault._frozen import replace
from modelvault._unit import Unit
from modelvault.errors import (
    ColdPage,
    CorruptionError,
    ModelVaultFormatError,
    ModelVaultQueryError,
    ModelVaultSchemaError,
)
from modelvault.mapping import attach_refs, bind, bind_older, schema_of
from modelvault.patches import patcher
from modelvault.schema import Field, Index, Schema, Shape, Type

if TYPE_CHECKING:
    from modelvault._core.batch import Batch
    from modelvault._engine import Definition, Write
    from modelvault._keeping import Keeping
    from modelvault._planner import Planner

__all__ = ["Binding", "Catalog", "Store", "unknown_collection"]


STEPS: Final = 256  # rows and index entries of a batch that are put before others get a chance: about 0.1 ms
BATCH_SIZE: Final = 16 << 20  # bytes of rows whose index entries are sorted together; a quarter of the cache at most


def unknown_collection(name: str) -> ModelVaultSchemaError:
    """The error for a name that no collection has."""
    return ModelVaultSchemaError(f'schema error: unknown collection name "{name}"')


def define(write: Write, schema: Schema) -> Definition:
    """Add a collection to the catalog; all or nothing."""
    savepoint = write.savepoint()
    try:
        definition: Definition = {
            "name": schema.name,
            "id": write.new_collection(),
            "tree": write.new_tree(),
            "schemas": [schema.to_json()],
            "indexes": [[index.name, write.new_tree()] for index in schema.indexes],
        }
        write.define(definition)
    except BaseException:
        write.rewind(savepoint)
        raise
    write.release(savepoint)
    return definition


def bound(store: Store, mapped: Schema) -> Schema:
    """The stored schema with a model's bindings. ModelVaultSchemaError or ModelVaultFormatError if they do not fit."""
    try:
        return bind(store.schema, mapped)
    except (ModelVaultSchemaError, ModelVaultFormatError) as error:
        cls = shape(mapped).cls.__name__
        raise type(error)(
            f"{error} ({cls} does not fit what is stored as {store.name}: look at models.plan, then models.apply)"
        ) from None


class Binding:
    """One Python side of a stored collection: the functions that its verbs call.

    `find(roots, key, face, wait)`, `record(roots, packed, wait)`, `size(roots)`,
    `keys(roots, index, prefix, wait)`,
    `put(write, packed, record, create, wait)`, `exchange(write, packed, before, record)`,
    `put_batch(batch, write, wait)`, `remove(write, packed, wait)`;
    `pack(key)` gives a key as bytes. `patch(row, patch)` changes a row that nobody else has, and gives what it is then.
    A batch has about `batch_size` bytes.
    """

    __slots__ = (
        "__weakref__",
        "_covers",
        "_dicts",
        "_keeping",
        "_planner",
        "batch_size",
        "exchange",
        "face",
        "find",
        "keys",
        "pack",
        "patch",
        "put",
        "put_batch",
        "record",
        "remove",
        "schema",
        "size",
        "store",
    )

    def __init__(self, store: Store, mapped: Schema | None) -> None:
        table = store.table
        self.store: Store = store
        self.schema: Schema = store.schema if mapped is None else bound(store, mapped)
        self.face: Face = Face(store.codecs(self.schema.type), self.schema.primary, store.name)
        self.pack: Callable[[Any], bytes] = key_codec(self.schema).pack
        self.find: Callable[..., Any] = table.get
        self.record: Callable[..., bytes | None] = table.record
        self.put: Callable[..., Any] = table.put
        self.exchange: Callable[..., bool] = table.exchange
        self.put_batch: Callable[[Batch, Write, bool], bool] = lambda batch, write, wait: batch.put(
            table, write, STEPS, wait
        )
        self.batch_size: int = min(BATCH_SIZE, table.pager.cache_size // 4)
        self.remove: Callable[..., Any] = table.delete
        python = None if mapped is None else mapped.type.python
        self.patch: Callable[[Any, Any], Any] = (
            patcher(python.cls, self.schema.type) if isinstance(python, Shape) else merged
        )
        self._dicts = mapped is None
        self._keeping: Keeping | None = None
        self._planner: Planner | None = None
        self._covers: dict[str, tuple[tuple[RecordCodec], Cover]] = {}
        self.keys: Callable[..., list[bytes]] = table.keys
        self.size: Callable[..., int] = table.count

    def retire(self) -> None:
        """The collection is gone: its creation was rolled back. Handles that use this binding look for another one."""
        self.find = self.record = self.size = self.keys = self.put = self.put_batch = self.remove = gone

    def shortcut(self, gate: Gate, era: dict[str, Definition], cls: type, primary: str) -> Shortcut:
        """The short way to rows of this class for a handle that found this side in these definitions."""
        return Shortcut(gate, era, self.store.table, self.face, cls, primary, self.planner.points)

    def shows(self, row: Any, record: bytes) -> bool:
        """Whether all that is stored of a row comes back with it: of a dict, only what it makes the same record of."""
        if not self._dicts:
            return True
        try:
            return self.face.encode(row)[1] == record
        except (ValueError, TypeError, OverflowError):
            return False  # it is older than a field, or than a constraint

    def changed(self, record: bytes, change: Callable[[Any], Any]) -> tuple[bytes, bytes, Any]:
        """(key, record, row) of a row after a change, with what the change leaves alone as it is stored.

        change: makes a row of a row that nobody else has.
        """
        row = self.face.decode(record)
        whole = self.shows(row, record)
        fresh = change(row)
        key, after = self.face.encode(fresh)
        if not whole:
            if self._keeping is None:
                from modelvault._keeping import Keeping  # few programs need it

                self._keeping = Keeping(self.schema, self.store.codecs)
            after = self._keeping.kept(self.face, record, after)
        return key, after, fresh

    @property
    def planner(self) -> Planner:
        """How this collection is searched."""
        if self._planner is None:
            from modelvault._planner import Planner  # with the first query: it takes 2 ms

            self._planner = Planner(self.schema, self.store.schemas[:-1])
        return self._planner

    def cover(self, index: Index) -> tuple[tuple[RecordCodec], Cover]:
        """The records made of an index's entries: their codec, and what makes them."""
        found = self._covers.get(index.name)
        if found is None:
            from modelvault._covered import part_of  # see `planner`

            primary = self.schema.primary
            paths = {(primary,), *self.planner.layout.covers[index.name].compared}
            codec = RecordCodec(part_of(self.schema.type, paths), 0, primary)
            keys = self.store.extractors(index.paths)[self.store.schema.version]
            found = self._covers[index.name] = (codec,), Cover(codec, keys)
        return found


def merged(row: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A row with some of its fields replaced."""
    return {**row, **patch}


def record_version(record: bytes) -> int:
    """The schema version under which a record was written."""
    return int.from_bytes(record[:2], "little")


def with_fills(type: Type) -> Type:
    """The type with the functions that make what its fields have in older rows."""
    items = tuple(with_fills(item) for item in type.items)
    fields = tuple(fill_field(field) for field in type.fields)
    return replace(type, items=items, fields=fields)


def fill_field(field: Field) -> Field:
    """A field whose rows without a value get what is stored for them, as are the fields in it."""
    inner = with_fills(field.type)
    data = field.stored_fill
    if data is None:
        return replace(field, type=inner)
    codec = RecordCodec(Type("object", fields=(Field(field.name, inner),)), 0)
    return replace(field, type=inner, fill=lambda: codec.decode(data)[field.name])


def gone(*_: object) -> NoReturn:
    """In place of a table's method: sends the caller the long way, which begins with finding out."""
    raise ColdPage("the collection was rolled back")


def key_codec(schema: Schema) -> KeyCodec:
    """What packs primary keys."""
    type = element(schema, (schema.primary,))
    return KeyCodec(type, finite=type.kind == "float64", place=f'field "{schema.primary}" of {schema.name}')


def element(schema: Schema, path: tuple[str, ...]) -> Type:
    """What is compared at a path: the field's type without `optional`; for a list, its elements'."""
    type = schema.find(path)
    if type is None:
        raise ModelVaultQueryError(f'query error: unknown field path "{".".join(path)}" in {schema.name}')
    while type.kind in ("optional", "list", "set", "frozenset", "vartuple"):
        type = type.items[0]
    if type.kind in ("object", "ref", "dict", "tuple", "union", "any"):
        raise ModelVaultQueryError(
            f'query error: field "{".".join(path)}" of {schema.name} is {type.kind}: compare one of its parts'
        )
    return type


class Store:
    """A stored collection: its newest schema, its table, and the Python sides in use."""

    def __init__(self, pager: Pager, definition: Definition) -> None:
        self.definition = definition
        *older, newest = definition["schemas"]
        self.schemas: list[Schema] = [Schema.from_json(source, older=True) for source in older]
        self.schemas.append(Schema.from_json(newest))
        self.schema: Schema = self.schemas[-1]
        self.name: str = self.schema.name
        names = [definition["name"], *(name for name, _ in definition["indexes"])]
        if names != [self.name, *(index.name for index in self.schema.indexes)]:
            raise CorruptionError(f"the catalog is damaged: the definition of {names[0]} is at odds with its schema")
        codecs = self.codecs(self.schema.type)
        self._face = Face(codecs, self.schema.primary)  # tells the older ones what they lack
        self._codecs = {codec.version: codec for codec in codecs}
        indexes = [
            (name, tree, index.unique, self.extractors(index.paths))
            for (name, tree), index in zip(definition["indexes"], self.schema.indexes, strict=True)
        ]
        self.table: Table = Table(pager, self.name, definition["tree"], key_codec(self.schema), indexes)
        self.table.definition = definition
        self.table.journal = definition.get("migration", {}).get("journal", 0)
        self.alive: bool = True
        self._plain: Binding | None = None
        self._models: weakref.WeakKeyDictionary[type, Binding] = weakref.WeakKeyDictionary()

    @property
    def version(self) -> int:
        """The number of the schema, as users count: a change that changes nothing counts, too."""
        return int(self.definition.get("version", self.schema.version))

    def codecs(self, newest: Type) -> list[RecordCodec]:
        """The codecs of all schema versions, the oldest first; `newest` is the newest one's type with its bindings."""
        if len(self.schemas) > 1:
            newest = with_fills(newest)
        types = [bind_older(schema.type, newest) for schema in self.schemas[:-1]] + [newest]
        primary = self.schema.primary
        versions = [schema.version for schema in self.schemas]
        return [RecordCodec(type, version, primary) for type, version in zip(types, versions, strict=True)]

    def extractors(self, paths: tuple[tuple[str, ...], ...]) -> dict[int, IndexKeys]:
        """What takes the entries at these paths out of a record, by the record's schema version."""
        newest = IndexKeys(self._codecs[self.schema.version], paths)
        older = [codec for codec in self._codecs.values() if codec.version != self.schema.version]
        return {self.schema.version: newest} | {codec.version: IndexKeys(codec, paths, newest) for codec in older}

    def binding(self, mapped: Schema | None) -> Binding:
        """The Python side of a mapped model, or of the dict interface."""
        if mapped is None:
            if self._plain is None:
                self._plain = Binding(self, None)
            return self._plain
        cls = shape(mapped).cls
        binding = self._models.get(cls)
        if binding is None:
            binding = self._models[cls] = Binding(self, mapped)
        return binding

    def fits(self, mapped: Schema) -> bool:
        """Whether a mapped model can be used with what is stored."""
        try:
            bind(self.schema, mapped)
        except ValueError:
            return False
        return True

    def unique_index(self, path: tuple[str, ...]) -> Index:
        """The unique index on exactly this path."""
        for index in self.schema.indexes:
            if index.unique and index.paths == (path,):
                return index
        raise ModelVaultQueryError(f'query error: there is no unique index on "{".".join(path)}" of {self.name}')

    def value(self, index: Index, record: bytes) -> Any:
        """What a record has at the paths of an index; a tuple for several."""
        found = tuple(self._face.read(record, path) for path in index.paths)
        return found[0] if len(found) == 1 else found

    def entries(self, index: Index, record: bytes) -> list[bytes]:
        """The entries that a record has in a unique index; none for None, which is exempt."""
        extractor = self.extractors(index.paths)[record_version(record)]
        return [] if extractor.exempt(record) else extractor.extract(record)

    def supersede(self) -> None:
        """The collection has another definition now: handles look for it. Who reads an older version goes on here."""
        self.alive = False

    def retire(self) -> None:
        """The collection is gone."""
        self.alive = False
        for binding in (self._plain, *self._models.values()):
            if binding is not None:
                binding.retire()


def shape(mapped: Schema) -> Shape:
    """The shape of a mapped model."""
    found = mapped.type.python
    assert isinstance(found, Shape)
    return found


class Catalog:
    """The collections of one database, by name."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._stores: dict[str, list[Store]] = {}  # several while a transaction changes a schema
        self._mapped: weakref.WeakKeyDictionary[type, Schema] = weakref.WeakKeyDictionary()
        access.settled = self.settle

    def mapped(self, cls: Any) -> Schema:
        """The schema of a model class."""
        schema = self._mapped.get(cls) if isinstance(cls, type) else None
        if schema is None:
            schema = self._mapped[cls] = schema_of(cls)
            attach_refs(cls, schema)
        return schema

    def names(self, unit: Unit | None) -> list[str]:
        """The names of all collections, sorted by code point."""
        return sorted(self.definitions(unit))

    def find(self, name: str, unit: Unit | None) -> Store | None:
        """The stored collection of that name as the transaction, else the last commit, has it."""
        definition = self.definitions(unit).get(name)
        return None if definition is None else self.store(definition)

    def store(self, definition: Definition) -> Store:
        """The Store of a definition."""
        known = self._stores.setdefault(definition["name"], [])
        for store in known:
            if store.definition is definition:
                return store
        for store in known:
            if store.definition == definition:  # another process wrote, and the catalog was read again
                store.definition = store.table.definition = definition
                return store
        store = Store(self.access.engine.pager, definition)
        known.append(store)
        return store

    async def register(self, schema: Schema, unit: Unit | None, *, new: bool = False) -> Store:
        """The stored collection of that name, made if there is none. new: there must be none."""

        def statement(write: Write, wait: bool) -> Definition:
            definition = write.definitions.get(schema.name)
            if definition is None:
                return define(write, schema)
            if new:
                raise ModelVaultSchemaError(f'schema error: duplicate collection name: "{schema.name}"')
            return definition

        definition: Definition = await self.access.write(statement, unit)
        return self.store(definition)

    def settle(self) -> None:
        """Forget what a rollback took back, and what a change of schema replaced."""
        unit = self.access.unit
        both = [self.access.engine.latest.definitions, *([] if unit is None else [unit.write.definitions])]
        for name, known in list(self._stores.items()):
            for store in list(known):
                now = [definitions[name] for definitions in both if name in definitions]
                if store.definition in now:
                    continue
                known.remove(store)
                if any(definition["id"] == store.definition["id"] for definition in now):
                    store.supersede()
                else:
                    store.retire()

    def definitions(self, unit: Unit | None) -> dict[str, Definition]:
        """All definitions as the transaction, else the last commit, has them: another object after each change."""
        source = self.access.engine.latest if unit is None else unit.shown
        return source.definitions
