"""Changing the schema of a stored collection, with the rows in it.

A change that touches no row stores a new definition, in which the older layouts have the newest names, and builds the
indexes that are new: one transaction. A *rewrite* fills a second set of trees, the shadow, row by row in primary-key
order, while the collection goes on as it was; the last transaction puts the shadow in its place. In chunks, each is a
transaction of its own: the definition says where the shadow is, the catalog how far it has come, and a journal has the
keys of the rows that were written meanwhile; so another process can go on after a crash.

What this is not: the comparison of schemas, which is `migrations`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as given
from functools import partial
from itertools import islice
from typing import Any, Final

from modelvault._access import Unit, Work
from modelvault._core.cursor import Cursor
from modelvault._core.record import Face, RecordCodec
from modelvault._core.walk import Tree
from modelvault._progress import Progress
from modelvault._queue import BROKEN
from modelvault._store import Catalog, Store, key_codec, record_version, unknown_collection
from modelvault._version import CATALOG, Definition, Write
from modelvault.errors import ColdPage, DuplicateKeyError, ModelVaultError, ModelVaultSchemaError
from modelvault.fits import with_choices
from modelvault.migrations import (
    Change,
    Plan,
    adopt,
    carry,
    compare,
    converter,
    default_of,
    has_outer_ref,
    is_constant,
    is_optional,
    relabel,
    rename_path,
    sources,
)
from modelvault.schema import Field, Index, Schema, Type
from modelvault.types import INTEGERS, MISSING

__all__ = ["CHUNK", "Job", "Upgrades", "backfill", "fields_job", "model_job", "rebuild", "run"]

Row = dict[str, Any]
Upgrades = Mapping[int, Callable[[Row], Row | None]]
"""Functions that make a row of the version before into one of this version: by changing it, or giving another."""

CHUNK: Final = 10_000  # rows of a rewrite that are committed together
SLICE: Final = 256  # rows handled before other tasks get a chance
SHOWN: Final = 20  # offending rows that an error names
MAX_VERSION: Final = 65535


@dataclass(slots=True)
class Job:
    """A collection and what it is to become. `new` is bound to the model, if there is one."""

    store: Store
    new: Schema
    plan: Plan
    strict: bool
    upgrades: dict[int, Callable[[Row], Row | None]] = given(default_factory=dict)

    @property
    def name(self) -> str:
        """The collection."""
        return self.store.name

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.plan.changes or self.upgrades)


def fields_job(catalog: Catalog, unit: Unit | None, name: str, fields_json: str, indexes_json: str | None) -> Job:
    """What 0.16's JSON makes of a collection."""
    store = stored(catalog, unit, name)
    old = store.schema
    try:
        new = Schema.from_fields_json(old.name, fields_json, old.primary, indexes_json, old.version + 1)
    except ModelVaultSchemaError as error:
        if "primary field" in str(error):
            raise lost_primary(old) from None
        raise
    return Job(store, new, Plan(old.name, old.version, compare(old, new, strict=True)), True)


def model_job(catalog: Catalog, unit: Unit | None, cls: type, upgrade: Upgrades | None = None) -> Job:
    """What a model class makes of its collection."""
    mapped = catalog.mapped(cls)
    store = stored(catalog, unit, mapped.name)
    old = store.schema
    pending = {number: function for number, function in sorted((upgrade or {}).items()) if number > old.version}
    version = max([old.version + 1, *pending])
    new = replace(mapped, type=adopt(old.type, mapped.type), version=version)
    source = sources(old.type, new.type).get(new.primary)
    if source is None or source.name != old.primary:
        raise lost_primary(old)
    plan = Plan(old.name, old.version, compare(old, new, strict=False), list(pending))
    return Job(store, new, plan, False, pending)


def stored(catalog: Catalog, unit: Unit | None, name: str) -> Store:
    if not isinstance(name, str):
        raise TypeError(f"argument 'name': {type(name).__name__!r} object is not an instance of 'str'")
    store = catalog.find(name.strip(), unit)
    if store is None:
        raise unknown_collection(name.strip())
    return store


def lost_primary(schema: Schema) -> ModelVaultSchemaError:
    return ModelVaultSchemaError(
        f'schema error: schema update must retain top-level primary field "{schema.primary}" of {schema.name}'
    )


def check(job: Job, force: bool) -> None:
    """ModelVaultSchemaError unless the change may be made."""
    old, new = job.store.schema, job.new
    before, after = old.find((old.primary,)), new.find((new.primary,))
    assert before is not None and after is not None
    same = before.kind == after.kind and before.values == after.values
    if not same and not (before.kind in INTEGERS and after.kind in INTEGERS):
        raise lost_primary(old)
    if new.version > MAX_VERSION:
        raise ModelVaultSchemaError(f"schema error: {old.name} has had {MAX_VERSION} schema versions: load it anew")
    if force or job.upgrades:
        return
    stops = [change for change in job.plan.changes if stops_at(change, job.strict)]
    if not stops:
        return
    what = "incompatible schema change" if job.plan.change == "breaking" else "migration required"
    ways = "force it" if job.strict else "give a default or an upgrade function, or force it"
    raise ModelVaultSchemaError(
        f"schema error: {what}: {job.plan.reason} (collection {old.name}; nothing has changed: {ways})"
    )


def stops_at(change: Change, strict: bool) -> bool:
    """Whether a change is made only when somebody insists."""
    return change.level == "breaking" or change.manual or (strict and change.level != "safe")


# Running


class Undo(Exception):
    """Ends a dry run."""


async def within(
    catalog: Catalog, unit: Unit | None, body: Callable[[Unit], Awaitable[Any]], timeout: float = 60
) -> Any:
    """Run something in the caller's transaction, or in one of its own; all or nothing."""
    unit = unit or catalog.access.attend()
    if unit is None:
        async with Work(catalog.access, timeout) as unit:
            return await body(unit)
    async with unit.savepoint(alone=True):
        return await body(unit)


async def run(
    catalog: Catalog,
    job: Job,
    unit: Unit | None = None,
    *,
    force: bool = False,
    chunk: int | None = None,
    progress: bool | Callable[[int], object] = False,
    dry_run: bool = False,
) -> int:
    """Make the change; the new schema version. ModelVaultSchemaError, and nothing has changed, if it cannot be made.

    chunk: rows of a rewrite to commit together; None for all in one transaction, as within one of the caller's.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    catalog.access.check_writable()
    check(job, force)
    meter = Progress(job.name, progress)
    inside = unit is not None or catalog.access.attend() is not None
    if job.plan.rewrite and chunk is not None and not inside and not dry_run:
        await Rewrite(catalog, job, meter).in_chunks(chunk)
    else:
        body = Rewrite(catalog, job, meter).at_once if job.plan.rewrite else partial(redefine, catalog, job, meter)
        await undone(catalog, unit, body) if dry_run else await within(catalog, unit, body)
    if not inside:
        await sweep(catalog)
    meter.close()
    return job.new.version


async def undone(catalog: Catalog, unit: Unit | None, body: Callable[[Unit], Awaitable[Any]]) -> None:
    """Run something, and take it back."""

    async def attempt(unit: Unit) -> None:
        await body(unit)
        raise Undo

    try:
        await within(catalog, unit, attempt)
    except Undo:
        return


def current(write: Write, job: Job) -> Definition:
    """The collection's definition, which must still be the one that the job is about."""
    definition = write.definitions.get(job.name)
    if definition != job.store.definition:
        raise ModelVaultSchemaError(
            f"schema error: the schema of {job.name} changed meanwhile: nothing was done; plan again"
        )
    assert definition is not None
    return definition


def discard(write: Write, trees: Iterable[int]) -> None:
    """Note trees that no collection uses any more, for `sweep`."""
    write.take_room()
    catalog = Tree(write.draft, write.roots[CATALOG])
    for tree in trees:
        catalog.put(b"g" + tree.to_bytes(4, "big"), b"")
    write.roots[CATALOG] = catalog.root


async def sweep(catalog: Catalog) -> None:
    """Give up the pages of trees that no collection uses any more.

    A transaction after the one that replaced them: whoever found the old definition a moment ago still finds rows.
    """

    def drop(write: Write, wait: bool) -> None:
        if not wait:
            raise ColdPage("dropping a tree reads it")
        write.take_room()
        entries = Tree(write.draft, write.roots[CATALOG])
        marks = [key for key, _ in islice(entries.items(b"g"), 4096) if key[:1] == b"g"]
        for key in marks:
            number = int.from_bytes(key[1:], "big")
            tree = Tree(write.draft, write.roots[number])
            tree.drop()
            write.roots[number] = tree.root
            entries.delete(key)
        write.roots[CATALOG] = entries.root

    def look(roots: Any, wait: bool) -> bool:
        cursor = Cursor(catalog.access.engine.pager, roots[CATALOG])
        return cursor.to(b"g") and cursor.entry()[0][:1] == b"g"

    if await catalog.access.read(look):
        async with Work(catalog.access, None) as unit:
            await unit.perform(drop)


# Changes that touch no row


async def redefine(catalog: Catalog, job: Job, meter: Progress, unit: Unit) -> None:
    """Store the new definition, and build the indexes that are new."""
    fresh: list[str] = []

    def define(write: Write, wait: bool) -> Definition:
        current(write, job)
        definition, old = next_definition(write, job, fresh)
        write.define(definition)
        discard(write, old)
        forget_migration(write, job.store.definition)
        return definition

    store = Store(catalog.access.engine.pager, await unit.perform(define))
    if fresh:
        await Building(catalog, store, fresh, meter).run(unit)


def next_definition(write: Write, job: Job, fresh: list[str]) -> tuple[Definition, list[int]]:
    """The definition after a change that touches no row, and the trees that it no longer has.

    fresh: gets the names of the indexes to build.
    """
    old = job.store.definition
    empty = write.roots[old["tree"]][3] == 0
    carried = carry(job.store.schema.type, job.new.type, partial(first_fill, job), partial(next_fill, job))
    newest = replace(job.new, type=carried)
    older = [] if empty else [lens(job, schema).to_json() for schema in job.store.schemas]
    spare: dict[str, int] = dict(old["indexes"])
    indexes = []
    for index in job.new.indexes:
        name = twin_of(job, index, spare)
        if name is None:
            fresh.append(index.name)
        indexes.append([index.name, write.new_tree() if name is None else spare.pop(name)])
    definition = {key: value for key, value in old.items() if key != "migration"}
    definition |= {"schemas": [*older, newest.to_json()], "indexes": indexes}
    return definition, [*spare.values(), *shadow_trees(old)]


def lens(job: Job, schema: Schema) -> Schema:
    """An older schema by the new names."""
    type = relabel(schema.type, job.store.schema.type, job.new.type)
    return replace(schema, type=type, primary=job.new.primary, indexes=())


def twin_of(job: Job, index: Index, spare: Mapping[str, int]) -> str | None:
    """The old index whose tree has the entries of this one; of those that are equal, the one of the same name."""
    old = job.store.schema
    names = []
    for other in old.indexes:
        paths = tuple(rename_path(old.type, job.new.type, path) for path in other.paths)
        if other.name in spare and paths == index.paths and (other.unique or not index.unique):
            names.append(other.name)
    return index.name if index.name in names else next(iter(names), None)


def shadow_trees(definition: Definition) -> list[int]:
    """The trees of a rewrite that has begun."""
    state = definition.get("migration")
    if state is None:
        return []
    return [state["tree"], state["journal"], *(tree for _, tree in state["indexes"])]


def mark_key(definition: Definition) -> bytes:
    """Where the catalog says how far a rewrite has come."""
    return b"m" + int(definition["id"]).to_bytes(4, "big")


def forget_migration(write: Write, definition: Definition) -> None:
    if "migration" in definition:
        write.take_room()
        catalog = Tree(write.draft, write.roots[CATALOG])
        catalog.delete(mark_key(definition))
        write.roots[CATALOG] = catalog.root


def alone(field: Field, version: int = 0) -> RecordCodec:
    """The codec of records that have this field only."""
    return RecordCodec(Type("object", fields=(Field(field.name, field.type),)), version)


def plain(type: Type) -> Type:
    """The type as the dict interface sees it, with datetimes for timestamps, which keep their zones."""
    items = tuple(plain(item) for item in type.items)
    fields = tuple(replace(field, type=plain(field.type), default=MISSING, factory=None) for field in type.fields)
    python = "datetime" if type.kind == "timestamp" else None
    return replace(type, items=items, fields=fields, python=python)


def unbound(type: Type) -> Type:
    """`plain`, and unions know their members."""
    return with_choices(plain(type))


def first_fill(job: Job, field: Field) -> bytes | None:
    """What older rows have in place of a new field, as a record of it; None for None, or nothing."""
    if job.strict:
        if not (field.type.kind == "object" and field.type.group):
            return None
        try:
            return alone(field).encode({field.name: {}})
        except ValueError:
            return None
    default = default_of(field)
    if default is None or not is_constant(field):
        return None
    value = default()
    return None if value is None and is_optional(field.type) else alone(field).encode({field.name: value})


def next_fill(job: Job, source: Field, field: Field) -> bytes:
    """The fill of a field whose type may have changed."""
    assert source.stored_fill is not None
    value = alone(replace(source, type=unbound(source.type))).decode(source.stored_fill)[source.name]
    convert = converter(source.type, field.type, partial(plain_default, job))
    value = value if convert is None or value is None else convert(value)
    return alone(replace(field, type=unbound(field.type))).encode({field.name: value})


def plain_default(job: Job, field: Field) -> Callable[[], Any] | None:
    """What makes a field's default as the dict interface sees it."""
    default = None if job.strict else default_of(field)
    if default is None:
        return None
    bound, bare = alone(field), alone(replace(field, type=unbound(field.type)))
    return lambda: bare.decode(bound.encode({field.name: default()}))[field.name]


class Building:
    """New indexes, filled from the rows."""

    def __init__(self, catalog: Catalog, store: Store, names: list[str], meter: Progress) -> None:
        self.store = store
        self.access = catalog.access
        self.meter = meter
        self.indexes = [
            (index, tree, store.extractors(index.paths))
            for index, (name, tree) in zip(store.schema.indexes, store.definition["indexes"], strict=True)
            if name in names
        ]
        self.after: bytes | None = None
        self.duplicates: dict[str, dict[Any, list[Any]]] = {}

    async def run(self, unit: Unit) -> None:
        """Build them. DuplicateKeyError, with the offending keys, if a unique one cannot be."""
        count = SLICE
        while count == SLICE:
            count = await unit.perform(self.slice)
            self.meter.add(count)
            await self.access.breathe(count)
            if any(len(found) >= SHOWN for found in self.duplicates.values()):
                break
        refuse_duplicates(self.store.name, self.duplicates)

    def slice(self, write: Write, wait: bool) -> int:
        """Enter some rows; how many."""
        rows = read_slice(write, self.store.definition["tree"], self.after, wait)
        write.take_room()
        for index, number, extractors in self.indexes:
            tree = Tree(write.draft, write.roots[number])
            try:
                for key, record in rows:
                    extractor = extractors[record_version(record)]
                    exempt = not index.unique or extractor.exempt(record)
                    for entry in extractor.extract(record):
                        if not exempt:
                            self.compare(index, tree, entry, key, record)
                        tree.put(entry + key, b"")
            finally:
                write.roots[number] = tree.root
        self.after = rows[-1][0] if rows else self.after
        return len(rows)

    def compare(self, index: Index, tree: Tree, entry: bytes, key: bytes, record: bytes) -> None:
        """Note a value that another row has."""
        cursor = tree.cursor()
        if not cursor.to(entry):
            return
        other = cursor.entry()[0]
        if other[: len(entry)] == entry and other != entry + key:
            keys = [unpacked(self.store, packed) for packed in (other[len(entry) :], key)]
            note_duplicate(self.duplicates, index.name, self.store.value(index, record), keys)


def read_slice(
    write: Write, number: int, after: bytes | None, wait: bool, most: int = SLICE
) -> list[tuple[bytes, bytes]]:
    """Some rows behind a key, as (key, record). ColdPage unless it may wait: too much for the event loop's thread."""
    if not wait:
        raise ColdPage("many rows")
    cursor = Cursor(write.draft.pager, write.roots[number])
    more = cursor.to_first() if after is None else cursor.to(after + b"\0")
    rows: list[tuple[bytes, bytes]] = []
    while more and len(rows) < most:
        rows.append(cursor.entry())
        more = cursor.step()
    return rows


def batches(write: Write, number: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """All rows of a tree, some at a time."""
    after = None
    while rows := read_slice(write, number, after, True):
        yield rows
        after = rows[-1][0]


def unpacked(store: Store, key: bytes) -> Any:
    """A primary key as a value."""
    return key_codec(store.schema).unpack(key)


def note_duplicate(found: dict[str, dict[Any, list[Any]]], index: str, value: Any, keys: Iterable[Any]) -> None:
    known = found.setdefault(index, {}).setdefault(value, [])
    known += [key for key in keys if key not in known]


def refuse_duplicates(name: str, found: dict[str, dict[Any, list[Any]]]) -> None:
    """DuplicateKeyError for the values that several rows have, if there are such."""
    for index, values in found.items():
        shown = tuple((value, tuple(keys)) for value, keys in values.items())
        words = "; ".join(f"{value!r} in the rows {', '.join(map(repr, keys))}" for value, keys in shown[:SHOWN])
        raise DuplicateKeyError(
            f'schema error: unique index violation: the index "{index}" of {name} cannot be unique: {words}'
            f"{'; perhaps more' if len(shown) >= SHOWN else ''}; nothing has changed",
            collection=name,
            index=index,
            key=shown[0][0],
            duplicates=shown,
        )


# Changes that write every row anew


class Rewrite:
    """One rewrite: where its rows come from, what becomes of them, and where they go."""

    def __init__(self, catalog: Catalog, job: Job, meter: Progress) -> None:
        self.catalog = catalog
        self.job = job
        self.meter = meter
        self.source = job.store
        primary = job.store.schema.primary
        self.reading = [
            Face(job.store.codecs(type), primary) for type in (unbound(job.store.schema.type), job.store.schema.type)
        ]
        bare = unbound(job.new.type)
        self.writing = Face([RecordCodec(bare, job.new.version, job.new.primary)], job.new.primary)
        self.convert = converter(job.store.schema.type, job.new.type, partial(plain_default, job))
        self.fields = {
            field.name: (alone(replace(field, type=unbound(field.type))), alone(field)) for field in sealed(job)
        }
        self.after: bytes | None = None
        self.bad: list[tuple[Any, Exception]] = []
        self.duplicates: dict[str, dict[Any, list[Any]]] = {}

    # The two ways

    async def at_once(self, unit: Unit) -> None:
        """All in one transaction."""
        shadow: Definition = await unit.perform(self.begin)
        target = self.shadow(shadow)
        count = SLICE
        while count == SLICE and len(self.bad) < SHOWN:
            count = await unit.perform(partial(self.slice, target, 0, SLICE))
            self.meter.add(count)
            await self.catalog.access.breathe(count)
        self.refuse()
        await unit.perform(partial(self.finish, shadow))

    async def in_chunks(self, chunk: int) -> None:
        """In transactions of `chunk` rows; it goes on where an earlier attempt at the same ended."""
        access = self.catalog.access
        async with Work(access, None) as unit:
            definition = await unit.perform(self.announce)
        try:
            target = self.shadow(definition["migration"])
            more = True
            while more:
                async with Work(access, None) as unit:
                    more = await self.chunk(unit, definition, target, chunk)
            self.refuse()
        except ModelVaultError:
            await self.give_up(definition)
            raise

    async def chunk(self, unit: Unit, definition: Definition, target: Store, size: int) -> bool:
        """One transaction; False if it was the last."""
        await unit.perform(partial(self.resume, definition))
        journal = definition["migration"]["journal"]
        done = 0
        while done < size:
            most = min(SLICE, size - done)
            count = await unit.perform(partial(self.slice, target, journal, most))
            done += count
            self.meter.add(count)
            await self.catalog.access.breathe(count)
            if len(self.bad) >= SHOWN:
                return False
            if count < most:
                await unit.perform(partial(self.replay, target, journal))
                if not self.bad and not self.duplicates:
                    await unit.perform(partial(self.finish, definition["migration"]))
                return False
        await unit.perform(partial(self.mark, definition))
        return True

    # Statements

    def begin(self, write: Write, wait: bool) -> Definition:
        """Make the shadow's trees; where they are."""
        current(write, self.job)
        schema = self.job.new.to_json()
        indexes = [[index.name, write.new_tree()] for index in self.job.new.indexes]
        return {"schema": schema, "tree": write.new_tree(), "indexes": indexes}

    def announce(self, write: Write, wait: bool) -> Definition:
        """Enter the rewrite into the definition; the definition. One that is there already is taken up or replaced."""
        old = current(write, self.job)
        state = old.get("migration")
        upgrades = list(self.job.upgrades)
        if state is not None and state["schema"] == self.job.new.to_json() and state["upgrades"] == upgrades:
            return old
        discard(write, shadow_trees(old))
        forget_migration(write, old)
        state = self.begin(write, wait) | {"journal": write.new_tree(), "upgrades": upgrades}
        definition = old | {"migration": state}
        write.define(definition)
        return definition

    def resume(self, definition: Definition, write: Write, wait: bool) -> None:
        """Find out how far it has come."""
        if write.definitions.get(self.job.name) != definition:
            raise ModelVaultSchemaError(
                f"schema error: the schema of {self.job.name} changed meanwhile: this migration has ended; plan again"
            )
        self.after = Tree(write.draft, write.roots[CATALOG]).get(mark_key(definition))

    def mark(self, definition: Definition, write: Write, wait: bool) -> None:
        """Note how far it has come."""
        write.take_room()
        catalog = Tree(write.draft, write.roots[CATALOG])
        catalog.put(mark_key(definition), self.after or b"")
        write.roots[CATALOG] = catalog.root

    def slice(self, target: Store, journal: int, most: int, write: Write, wait: bool) -> int:
        """Write some rows anew; how many.

        With a journal, a unique value that is taken is put off: the row that has it may have changed since.
        """
        rows = read_slice(write, self.source.definition["tree"], self.after, wait, most)
        for key, record in rows:
            try:
                self.put(target, write, key, record, wait, raising=bool(journal))
            except DuplicateKeyError:
                note_key(write, journal, key)
        self.after = rows[-1][0] if rows else self.after
        return len(rows)

    def replay(self, target: Store, journal: int, write: Write, wait: bool) -> None:
        """Bring the shadow in step with the rows that changed since they were written anew."""
        if not wait:
            raise ColdPage("every row that changed")
        source = Tree(write.draft, write.roots[self.source.definition["tree"]])
        for rows in batches(write, journal):
            for key, _ in rows:
                target.table.delete(write, key, wait)
            if write.is_large:
                write.spill()
        for rows in batches(write, journal):
            for key, _ in rows:
                record = source.get(key)
                if record is not None:
                    self.put(target, write, key, record, wait)
            if write.is_large:
                write.spill()

    def finish(self, shadow: Definition, write: Write, wait: bool) -> None:
        """Put the shadow in the place of the collection's trees."""
        old = write.definitions[self.job.name]
        definition = {key: value for key, value in old.items() if key != "migration"}
        definition |= {"tree": shadow["tree"], "schemas": [shadow["schema"]], "indexes": shadow["indexes"]}
        forget_migration(write, old)
        trees = [old["tree"], *(tree for _, tree in old["indexes"])]
        discard(write, trees + [shadow["journal"]] if "journal" in shadow else trees)
        write.define(definition)

    async def give_up(self, definition: Definition) -> None:
        """The rewrite failed: leave nothing of it."""

        def erase(write: Write, wait: bool) -> None:
            if write.definitions.get(self.job.name) == definition:
                discard(write, shadow_trees(definition))
                forget_migration(write, definition)
                write.define({key: value for key, value in definition.items() if key != "migration"})

        async with Work(self.catalog.access, None) as unit:
            await unit.perform(erase)
        await sweep(self.catalog)

    # Rows

    def shadow(self, shadow: Definition) -> Store:
        """The stored collection that is being filled."""
        schema = shadow["schema"]
        definition = {"name": self.job.name, "id": 0, "tree": shadow["tree"], "schemas": [schema]}
        store = Store(self.catalog.access.engine.pager, definition | {"indexes": shadow["indexes"]})
        store.table.definition = None
        return store

    def put(self, target: Store, write: Write, key: bytes, record: bytes, wait: bool, *, raising: bool = False) -> None:
        """Write one row anew, or note what is wrong with it."""
        try:
            same, fresh = self.writing.encode(self.row(record))
            if same != key:
                raise ModelVaultSchemaError(
                    f"schema error: an upgrade cannot change a primary key ({self.name(key)!r})"
                )
        except (ColdPage, *BROKEN):
            raise
        except Exception as error:
            self.bad.append((self.name(key), error))
            return
        try:
            target.table.put(write, key, fresh, False, wait)
        except DuplicateKeyError as error:
            if raising:
                raise
            self.note(target, write, error, key, fresh)

    def note(self, target: Store, write: Write, error: DuplicateKeyError, key: bytes, record: bytes) -> None:
        """Note a value that another row has."""
        for index in target.schema.indexes:
            if index.name == error.index:
                keys = [
                    k
                    for entry in target.entries(index, record)
                    for k in target.table.keys(write.roots, index.name, entry)
                ]
                note_duplicate(self.duplicates, index.name, error.key, [self.name(k) for k in (*keys, key)])

    def name(self, key: bytes) -> Any:
        """A primary key as a value."""
        return unpacked(self.source, key)

    def row(self, record: bytes) -> Row:
        """The new row, as a plain dict."""
        row = self.decode(record)
        for upgrade in self.job.upgrades.values():
            changed = upgrade(row)
            row = row if changed is None else changed
        fresh: Row = row if self.convert is None else self.convert(row)
        return self.settle(fresh) if self.job.upgrades else fresh

    def decode(self, record: bytes) -> Row:
        """The old row; its timestamps as datetimes where they are within Python's range."""
        try:
            row: Row = self.reading[0].decode(record)
        except (OverflowError, ValueError):
            row = self.reading[1].decode(record)
        return row

    def settle(self, row: Row) -> Row:
        """A row from an upgrade function, in which values may be as the model has them."""
        found = {}
        for name, value in row.items():
            bare, bound = self.fields.get(name, (None, None))
            if bare is not None and bound is not None:
                try:
                    bare.encode({name: value})
                except (ValueError, TypeError, AttributeError, ArithmeticError):
                    value = bare.decode(bound.encode({name: value}))[name]
            found[name] = value
        return found

    def refuse(self) -> None:
        """Raise what is wrong with the rows, if anything is."""
        if self.bad:
            words = "; ".join(f"{key!r}: {error}" for key, error in self.bad)
            reason = self.job.plan.reason or "every row is written anew"
            raise ModelVaultSchemaError(
                f"schema error: incompatible schema change: {reason}: rows of {self.job.name} cannot be read under it "
                f"({words}{'; perhaps more' if len(self.bad) >= SHOWN else ''}); nothing has changed"
            ) from self.bad[0][1]
        refuse_duplicates(self.job.name, self.duplicates)


def sealed(job: Job) -> list[Field]:
    """The fields of the new type that have a codec of their own."""
    return [field for field in job.new.fields if job.upgrades and not has_outer_ref(field.type)]


def note_key(write: Write, journal: int, key: bytes) -> None:
    write.put(journal, key, b"")


# 0.16's repairs


async def backfill(catalog: Catalog, unit: Unit | None, name: str, path: tuple[str, ...], value: Any) -> None:
    """Give the rows that are older than a field a value for it; no row is touched. ValueError for an unknown field."""
    store = stored(catalog, unit, name)
    words = f'field "{path[0]}"' if len(path) == 1 else f"field path {list(path)}"
    if not path or store.schema.find(path) is None:
        raise ModelVaultSchemaError(f"unknown {words} of {store.name}")
    filled = fill_type(store, store.schema.type, path, value)
    indexes = [
        index.name
        for index in store.schema.indexes
        if any(part[: len(path)] == path or path[: len(part)] == part for part in index.paths)
    ]
    schema = replace(store.schema, type=filled)

    async def body(unit: Unit) -> None:
        def define(write: Write, wait: bool) -> Definition:
            old = write.definitions[store.name]
            if old != store.definition:
                raise ModelVaultSchemaError(f"schema error: the schema of {store.name} changed meanwhile: do it again")
            trees = {index: write.new_tree() for index in indexes}
            discard(write, [tree for index, tree in old["indexes"] if index in trees] + shadow_trees(old))
            forget_migration(write, old)
            definition = {key: part for key, part in old.items() if key != "migration"}
            definition["schemas"] = [*old["schemas"][:-1], schema.to_json()]
            definition["indexes"] = [[index, trees.get(index, tree)] for index, tree in old["indexes"]]
            write.define(definition)
            return definition

        fresh = Store(catalog.access.engine.pager, await unit.perform(define))
        if indexes:
            await Building(catalog, fresh, indexes, Progress(store.name, False)).run(unit)

    inside = unit is not None or catalog.access.attend() is not None
    catalog.access.check_writable()
    await within(catalog, unit, body)
    if not inside:
        await sweep(catalog)


def fill_type(store: Store, type: Type, path: tuple[str, ...], value: Any) -> Type:
    """The type with the value as the fill of the field at the path, where older rows have none."""
    if type.kind == "optional" or (type.kind == "custom" and type.items):
        return replace(type, items=(fill_type(store, type.items[0], path, value),))
    fields = [fill_here(store, field, path, value) if field.name == path[0] else field for field in type.fields]
    return replace(type, fields=tuple(fields))


def fill_here(store: Store, field: Field, path: tuple[str, ...], value: Any) -> Field:
    """The field that the path begins with, and the fill set."""
    if len(path) > 1:
        field = replace(field, type=fill_type(store, field.type, path[1:], value))
        if field.stored_fill is None and not field.type.group:
            return field
        return replace(field, stored_fill=refill(field, path[1:], value))
    if field.stored_fill is not None:
        return field
    data = alone(replace(field, type=unbound(field.type))).encode({field.name: value})
    return replace(field, stored_fill=data)


def refill(field: Field, path: tuple[str, ...], value: Any) -> bytes:
    """The fill of an object with one of its own fields set, unless that has a value already."""
    codec = alone(replace(field, type=unbound(field.type)))
    row = {} if field.stored_fill is None else codec.decode(field.stored_fill)
    place = row.setdefault(field.name, {})
    for name in path[:-1]:
        place = place.setdefault(name, {})
    if place.get(path[-1]) is None:
        place[path[-1]] = value
    return codec.encode(row)


async def rebuild(catalog: Catalog, unit: Unit | None, name: str) -> None:
    """Build all indexes anew, from the rows."""
    store = stored(catalog, unit, name)
    names = [index.name for index in store.schema.indexes]

    async def body(unit: Unit) -> None:
        def define(write: Write, wait: bool) -> Definition:
            old = write.definitions[store.name]
            if old != store.definition:
                raise ModelVaultSchemaError(f"schema error: the schema of {store.name} changed meanwhile: do it again")
            discard(write, [tree for _, tree in old["indexes"]])
            definition = old | {"indexes": [[index, write.new_tree()] for index, _ in old["indexes"]]}
            write.define(definition)
            return definition

        fresh = Store(catalog.access.engine.pager, await unit.perform(define))
        await Building(catalog, fresh, names, Progress(store.name, False)).run(unit)

    inside = unit is not None or catalog.access.attend() is not None
    catalog.access.check_writable()
    await within(catalog, unit, body)
    if not inside:
        await sweep(catalog)
