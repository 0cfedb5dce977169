"""Every row of a collection written anew, under another schema.

A rewrite fills a second set of trees, the *shadow*, row by row in primary-key order, while the collection goes on as it
was; the last transaction puts the shadow in its place. In chunks, each is a transaction of its own: the definition says
where the shadow is, the catalog how far it has come, and a journal has the keys of the rows that were written
meanwhile; so another process can go on after a crash.
"""

from __future__ import annotations

from functools import partial
from sys import maxsize
from typing import Any

from modelvault._access import Unit, Work
from modelvault._building import (
    SHOWN,
    SLICE,
    batches,
    note_duplicate,
    read_slice,
    refuse_duplicates,
    unpacked,
)
from modelvault._core.batch import Batch
from modelvault._core.record import Face, RecordCodec
from modelvault._core.walk import Tree
from modelvault._fills import alone, plain_default, sorted_out
from modelvault._frozen import replace
from modelvault._job import Job, Row, current
from modelvault._leftovers import discard, forget_migration, mark_key, shadow_trees, sweep
from modelvault._progress import Progress
from modelvault._queue import BROKEN
from modelvault._store import STEPS, Catalog, Store
from modelvault._version import CATALOG, Definition, Write
from modelvault.converters import converter, same
from modelvault.errors import ColdPage, DuplicateKeyError, ModelVaultError, ModelVaultSchemaError
from modelvault.lineage import has_outer_ref
from modelvault.members import has_union, retag, strip, tagged
from modelvault.schema import Field, Type

__all__ = ["Rewrite"]


class Rewrite:
    """One rewrite: where its rows come from, what becomes of them, and where they go."""

    def __init__(self, catalog: Catalog, job: Job, meter: Progress) -> None:
        self.catalog = catalog
        self.job = job
        self.meter = meter
        self.source = job.store
        primary = job.store.schema.primary
        old = job.store.schema.type
        self.reading = [Face(job.store.codecs(type), primary) for type in (sorted_out(old), tagged(old))]
        bare = sorted_out(job.new.type)
        self.writing = Face([RecordCodec(bare, job.new.version, job.new.primary)], job.new.primary)
        self.has_members = has_union(old)
        self.convert = converter(old, job.new.type, partial(plain_default, job.strict)) or same
        # What a row goes through, resolved once: record, old row, new row, record.
        self.decode = self.decode_oddly if has_timestamp(old) else self.reading[0].decode
        self.row = self.changed if job.upgrades else self.convert
        self.encode = self.encode_any if job.upgrades else self.writing.encode
        self.fields = {
            field.name: (alone(replace(field, type=sorted_out(field.type))), alone(field)) for field in sealed(job)
        }
        self.after: bytes | None = None
        self.left = maxsize  # rows to catch up with, as of the last time
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
            await self.rest(count)
        self.refuse()
        await unit.perform(partial(self.finish, shadow), away=True)

    async def in_chunks(self, chunk: int) -> None:
        """In transactions of `chunk` rows; it goes on where an earlier attempt at the same ended."""
        access = self.catalog.access
        async with Work(access, None) as unit:
            definition = await unit.perform(self.announce, away=True)
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
        if await unit.perform(partial(self.resume, definition)):
            return False
        journal = definition["migration"]["journal"]
        done = 0
        while done < size:
            most = min(SLICE, size - done)
            count = await unit.perform(partial(self.slice, target, journal, most))
            done += count
            await self.rest(count)
            if len(self.bad) >= SHOWN:
                return False
            if count < most and not await unit.perform(partial(self.catch_up, target, journal, size), away=True):
                await unit.perform(partial(self.replay, target, journal), away=True)
                if not self.bad and not self.duplicates:
                    await unit.perform(partial(self.finish, definition["migration"]), away=True)
                return False
            if count < most:
                break
        await unit.perform(partial(self.mark, definition), away=True)
        return True

    async def rest(self, count: int) -> None:
        """So many rows are done: count them, and let others run."""
        self.meter.add(count)
        await self.catalog.access.breathe(count)

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

    def resume(self, definition: Definition, write: Write, wait: bool) -> bool:
        """Find out how far it has come; whether somebody else, who did the same, has brought it to its end."""
        now = write.definitions.get(self.job.name)
        if now is not None and now["tree"] == definition["migration"]["tree"]:
            return True
        if now != definition:
            raise ModelVaultSchemaError(
                f"schema error: the schema of {self.job.name} changed meanwhile: this migration has ended; plan again"
            )
        self.after = Tree(write.draft, write.roots[CATALOG]).get(mark_key(definition))
        return False

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
        if not self.put_together(target, write, rows, wait):
            for key, record in rows:
                try:
                    self.put(target, write, key, record, wait, raising=bool(journal))
                except DuplicateKeyError:
                    note_key(write, journal, key)
        self.after = rows[-1][0] if rows else self.after
        return len(rows)

    def catch_up(self, target: Store, journal: int, most: int, write: Write, wait: bool) -> int:
        """Bring some rows that changed since in step, if there are many: the last transaction is to be short.

        How many there were; 0 if they are few, or do not become fewer, which leaves them to `replay`.
        """
        left = int(write.roots[journal][3])
        if left <= most or left >= self.left:
            return 0
        self.left = left
        source = Tree(write.draft, write.roots[self.source.definition["tree"]])
        keys = [key for key, _ in read_slice(write, journal, None, wait, most)]
        for key in keys:
            target.table.delete(write, key, wait)
            write.delete(journal, key)
        for key in keys:
            record = source.get(key)
            try:
                if record is not None:
                    self.put(target, write, key, record, wait, raising=True)
            except DuplicateKeyError:
                note_key(write, journal, key)
        return left

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
        definition["version"] = self.job.version
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
            await unit.perform(erase, away=True)
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
            packed, fresh = self.encode(self.row(self.decode(record)))
            if packed != key:
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

    def put_together(self, target: Store, write: Write, rows: list[tuple[bytes, bytes]], wait: bool) -> bool:
        """Write rows anew as one batch; False, and nothing has changed, if it is to be done one by one."""
        batch = Batch()
        try:
            for _, record in rows:
                if not self.add(batch, self.decode(record)):
                    return False
        except (ColdPage, *BROKEN):
            raise
        except Exception:
            return False
        savepoint = write.savepoint() if any(index.unique for index in target.schema.indexes) else None
        try:
            while not batch.put(target.table, write, STEPS, wait):
                pass
        except DuplicateKeyError:
            assert savepoint is not None
            write.rewind(savepoint)
            return False
        if savepoint is not None:
            write.release(savepoint)
        return True

    def add(self, batch: Batch, found: Row) -> bool:
        """Encode what becomes of a row; False if its primary key is another one."""
        if not self.job.upgrades:
            batch.add(self.writing, self.row(found), dict, check_nothing)
            return True
        key = found[self.source.schema.primary]
        row = self.row(found)
        try:
            batch.add(self.writing, row, dict, check_nothing)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            row = self.settle(row)
            batch.add(self.writing, row, dict, check_nothing)
        return bool(row[self.job.new.primary] == key)

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

    def decode_oddly(self, record: bytes) -> Row:
        """The old row; its timestamps as datetimes where they are within Python's range."""
        try:
            row: Row = self.reading[0].decode(record)
        except (OverflowError, ValueError):
            row = self.reading[1].decode(record)
        return row

    def changed(self, found: Row) -> Row:
        """The new row: what the upgrade functions make of the old one, converted."""
        row: Row = strip(found) if self.has_members else found
        for upgrade in self.job.upgrades.values():
            changed = upgrade(row)
            row = row if changed is None else changed
            if row.__class__ is not dict:
                raise TypeError(f"an upgrade function gives a dict, or None for the one it was given, not {row!r:.60}")
        if self.has_members:
            row = retag(found, row)
        fresh: Row = self.convert(row)
        return fresh

    def encode_any(self, row: Row) -> tuple[bytes, bytes]:
        """The key and record of a new row from upgrade functions: its values may be as the model has them."""
        try:
            return self.writing.encode(row)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            return self.writing.encode(self.settle(row))

    def settle(self, row: Row) -> Row:
        """The row with plain values where it has the model's."""
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


def check_nothing(cls: type, row: Any) -> None:
    """Rows that are decoded need no check of their class."""


def sealed(job: Job) -> list[Field]:
    """The fields of the new type that have a codec of their own."""
    return [field for field in job.new.fields if job.upgrades and not has_outer_ref(field.type)]


def has_timestamp(type: Type) -> bool:
    """Whether there may be a timestamp in the type; `any` holds everything."""
    if type.kind in ("timestamp", "any") or (type.kind == "custom" and not type.items):
        return True
    return any(map(has_timestamp, (*type.items, *(field.type for field in type.fields))))


def note_key(write: Write, journal: int, key: bytes) -> None:
    write.put(journal, key, b"")
