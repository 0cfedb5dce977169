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

from modelvault._building import (
    SHOWN,
    SLICE,
    Duplicates,
    all_or_none,
    batches,
    enough,
    note_duplicate,
    read_slice,
    refuse_duplicates,
    unpacked,
)
from modelvault._core.batch import Batch
from modelvault._core.cursor import Cursor
from modelvault._core.walk import Tree
from modelvault._definitions import CATALOG, Definition, Write
from modelvault._job import Job, current
from modelvault._leftovers import discard, forget_migration, mark_key, shadow_trees, sweep
from modelvault._progress import Progress
from modelvault._queue import BROKEN, Statement
from modelvault._remake import extractor, recoding
from modelvault._store import BATCH_SIZE, STEPS, Catalog, Store
from modelvault._twins import kept_by_rewrite
from modelvault._unit import Unit, Work
from modelvault.errors import ColdPage, DuplicateKeyError, ModelVaultError, ModelVaultSchemaError

__all__ = ["Rewrite"]


class EntryMoved(Exception):
    """An upgrade function has changed what an index has of a row."""


class Rewrite:
    """One rewrite: where its rows come from, what becomes of them, and where they go."""

    def __init__(self, catalog: Catalog, job: Job, meter: Progress) -> None:
        self.catalog = catalog
        self.job = job
        self.meter = meter
        self.source = job.store
        self.recoding = recoding(job)
        self.batch_size = min(BATCH_SIZE, catalog.access.engine.pager.cache_size // 4)
        self.keeping = True  # indexes whose entries stay
        self.start()

    def start(self) -> None:
        """Nothing is done yet."""
        self.after: bytes | None = None
        self.left = maxsize  # rows to catch up with, as of the last time
        self.bad: list[tuple[Any, Exception]] = []
        self.duplicates: Duplicates = {}

    def start_over(self) -> None:
        """A row has another entry than before in an index that was to be kept: fill all of them anew."""
        self.keeping = False
        self.start()

    # The two ways

    async def at_once(self, unit: Unit) -> None:
        """All in one transaction."""
        try:
            await self.attempt(unit)
        except EntryMoved:
            self.start_over()
            await self.attempt(unit)

    async def attempt(self, unit: Unit) -> None:
        """at_once, or nothing."""
        async with unit.savepoint():
            shadow: Definition = await unit.perform(self.begin)
            self.watch(shadow)
            await self.rows(unit, self.shadow(shadow), 0, maxsize)
            self.refuse()
            await unit.perform(partial(self.finish, shadow), away=True)

    async def in_chunks(self, chunk: int) -> None:
        """In transactions of `chunk` rows; it goes on where an earlier attempt at the same ended."""
        definition = await self.enter(self.announce)
        try:
            more = True
            while more:
                try:
                    async with Work(self.catalog.access, None) as unit:
                        more = await self.chunk(unit, definition, self.shadow(definition["migration"]), chunk)
                except EntryMoved:
                    self.start_over()
                    definition = await self.enter(partial(self.announce_again, definition))
            self.refuse()
        except ModelVaultError:
            await self.give_up(definition)
            raise

    async def enter(self, statement: Statement) -> Definition:
        """Announce the rewrite; the definition with it."""
        async with Work(self.catalog.access, None) as unit:
            definition: Definition = await unit.perform(statement, away=True)
        self.watch(definition["migration"])
        return definition

    async def chunk(self, unit: Unit, definition: Definition, target: Store, size: int) -> bool:
        """One transaction; False if it was the last."""
        if await unit.perform(partial(self.resume, definition)):
            return False
        journal = definition["migration"]["journal"]
        if not await self.rows(unit, target, journal, size):
            if self.hopeless:
                return False
            if not await unit.perform(partial(self.catch_up, target, journal, size), away=True):
                await unit.perform(partial(self.replay, target, journal), away=True)
                if not self.bad and not self.duplicates:
                    await unit.perform(partial(self.finish, definition["migration"]), away=True)
                return False
        if not self.bad:  # else it will be given up; who goes on after a crash has to come to those rows again
            await unit.perform(partial(self.mark, definition), away=True)
        return True

    async def rows(self, unit: Unit, target: Store, journal: int, most: int) -> bool:
        """Write at most `most` rows anew; False if there are no more, or too many that cannot be."""
        more = True
        while more and most:
            first, batch, done = self.after, Batch(), 0
            while more and done < most and batch.size < self.batch_size:
                size = min(SLICE, most - done)
                count = await unit.perform(partial(self.fill, batch, size), away=True)
                self.look()
                more = count == size and not self.hopeless
                done += count
                self.meter.add(count)
                await self.catalog.access.breathe(count)
            most -= done
            if not self.bad and not await unit.perform(partial(self.put_together, target, batch), away=True):
                await unit.perform(partial(self.put_singly, target, journal, first), away=True)
        return more

    @property
    def hopeless(self) -> bool:
        """Whether there are as many rows that cannot be as an error names."""
        return len(self.bad) >= SHOWN or enough(self.duplicates)

    # Statements

    def begin(self, write: Write, wait: bool) -> Definition:
        """Make the shadow's trees; where they are."""
        return self.new_shadow(write, current(write, self.job))

    def new_shadow(self, write: Write, old: Definition) -> Definition:
        """Make the trees that are to be filled, and say which of the old ones are kept."""
        kept = kept_by_rewrite(self.job, dict(old["indexes"])) if self.keeping else {}
        indexes = [[index.name, write.new_tree()] for index in self.job.new.indexes if index.name not in kept]
        shadow = {"schema": self.job.new.to_json(), "tree": write.new_tree(), "indexes": indexes}
        return shadow | {"kept": [[name, tree] for name, tree in kept.items()]}

    def announce(self, write: Write, wait: bool) -> Definition:
        """Enter the rewrite into the definition; the definition. One that is there already is taken up or replaced."""
        old = current(write, self.job)
        state = old.get("migration")
        upgrades = list(self.job.upgrades)
        if state is not None and state["schema"] == self.job.new.to_json() and state["upgrades"] == upgrades:
            return old
        return self.replaced(write, old)

    def announce_again(self, definition: Definition, write: Write, wait: bool) -> Definition:
        """Begin anew what a definition announces; the definition."""
        self.check_announced(definition, write)
        return self.replaced(write, definition)

    def replaced(self, write: Write, old: Definition) -> Definition:
        """Enter the rewrite into the definition, in the place of any other."""
        discard(write, shadow_trees(old))
        forget_migration(write, old)
        state = self.new_shadow(write, old) | {"journal": write.new_tree(), "upgrades": list(self.job.upgrades)}
        definition = old | {"migration": state}
        write.define(definition)
        return definition

    def check_announced(self, definition: Definition, write: Write) -> None:
        """Raise unless the rewrite is under way as that definition has it."""
        if write.definitions.get(self.job.name) != definition:
            raise ModelVaultSchemaError(
                f"schema error: the schema of {self.job.name} changed meanwhile: this migration has ended; plan again"
            )

    def resume(self, definition: Definition, write: Write, wait: bool) -> bool:
        """Find out how far it has come; whether somebody else, who did the same, has brought it to its end."""
        now = write.definitions.get(self.job.name)
        if now is not None and now["tree"] == definition["migration"]["tree"]:
            return True
        self.check_announced(definition, write)
        if not self.bad:
            self.after = Tree(write.draft, write.roots[CATALOG]).get(mark_key(definition))
        return False

    def mark(self, definition: Definition, write: Write, wait: bool) -> None:
        """Note how far it has come."""
        write.take_room()
        catalog = Tree(write.draft, write.roots[CATALOG])
        catalog.put(mark_key(definition), self.after or b"")
        write.roots[CATALOG] = catalog.root

    def fill(self, batch: Batch, most: int, write: Write, wait: bool) -> int:
        """Make at most `most` rows into new ones; how many there were."""
        if not wait:
            raise ColdPage("many rows")
        done, before, there = 0, batch.count, True
        while there and done < most and len(self.bad) < SHOWN:
            cursor = Cursor(write.draft.pager, write.roots[self.source.definition["tree"]])
            there = cursor.to_first() if self.after is None else cursor.to(self.after + b"\0")
            try:
                done += self.recoding.fill(batch, cursor, most - done)
                there = False
            except (ColdPage, *BROKEN):
                raise
            except Exception as error:
                done += batch.count - before + 1
                self.bad.append((self.name(self.recoding.last), error))
            before = batch.count
            self.after = self.recoding.last if done else self.after
        return done

    def put_together(self, target: Store, batch: Batch, write: Write, wait: bool) -> bool:
        """Put new rows into the shadow; False, and nothing has changed, if a unique value is taken."""
        if not wait:
            raise ColdPage("many rows")
        return all_or_none(write, target.schema.indexes, lambda: batch.put_all(target.table, write, STEPS))

    def put_singly(self, target: Store, journal: int, first: bytes | None, write: Write, wait: bool) -> None:
        """Put the rows behind a key, as far as they have come, one by one.

        With a journal, a unique value that is taken is put off: the row that has it may have changed since.
        """
        last, key = self.after, first
        assert last is not None
        while key != last:
            for key, record in read_slice(write, self.source.definition["tree"], key, wait):  # noqa: B020
                try:
                    self.put(target, write, key, record, wait, raising=bool(journal))
                except DuplicateKeyError:
                    note_key(write, journal, key)
                if key == last or self.hopeless:
                    return

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
            record, bad = source.get(key), len(self.bad)
            try:
                if record is not None:
                    self.put(target, write, key, record, wait, raising=True)
            except DuplicateKeyError:
                note_key(write, journal, key)
            if len(self.bad) > bad:  # who goes on after a crash has to come to it again
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
                if self.hopeless:
                    return
                if record is not None:
                    self.put(target, write, key, record, wait)
            if write.is_large:
                write.spill()

    def finish(self, shadow: Definition, write: Write, wait: bool) -> None:
        """Put the shadow in the place of the collection's trees."""
        old = write.definitions[self.job.name]
        definition = {key: value for key, value in old.items() if key != "migration"}
        places = dict(shadow["indexes"]) | dict(shadow.get("kept", []))
        indexes = [[index.name, places[index.name]] for index in self.job.new.indexes]
        definition |= {"tree": shadow["tree"], "schemas": [shadow["schema"]], "indexes": indexes}
        definition["version"] = self.job.version
        forget_migration(write, old)
        trees = [old["tree"], *(tree for _, tree in old["indexes"] if tree not in places.values())]
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
        """The stored collection that is being filled, with the indexes that are."""
        names = [name for name, _ in shadow["indexes"]]
        indexes = [index for index in shadow["schema"]["indexes"] if index[0] in names]
        schema = shadow["schema"] | {"indexes": indexes}
        definition = {"name": self.job.name, "id": 0, "tree": shadow["tree"], "schemas": [schema]}
        store = Store(self.catalog.access.engine.pager, definition | {"indexes": shadow["indexes"]})
        store.table.definition = None
        return store

    def watch(self, shadow: Definition) -> None:
        """Have it seen if an upgrade function moves an entry of an index that is to be kept."""
        if self.job.upgrades:
            old = {index.tree: index for index in self.source.table.indexes}
            new = {index.name: extractor(self.job, index) for index in self.job.new.indexes}
            self.recoding.watch([(old[tree], new[name]) for name, tree in shadow.get("kept", [])])

    def look(self) -> None:
        """EntryMoved if that was seen."""
        if self.recoding.moved:
            raise EntryMoved

    def put(self, target: Store, write: Write, key: bytes, record: bytes, wait: bool, *, raising: bool = False) -> None:
        """Write one row anew, or note what is wrong with it."""
        try:
            fresh = self.recoding.record(key, record)
            self.look()
        except (ColdPage, EntryMoved, *BROKEN):
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

    def refuse(self) -> None:
        """Raise what is wrong with the rows, if anything is."""
        if self.bad:
            keys: dict[str, list[str]] = {}
            for key, error in self.bad:
                keys.setdefault(worded(error), []).append(repr(key))
            words = "; ".join(f"{', '.join(found)}: {text}" for text, found in keys.items())
            reason = self.job.plan.reason or "every row is written anew"
            raise ModelVaultSchemaError(
                f"schema error: incompatible schema change: {reason}: rows of {self.job.name} cannot be read under it "
                f"({words}{'; perhaps more' if len(self.bad) >= SHOWN else ''}); nothing has changed"
            ) from self.bad[0][1]
        refuse_duplicates(self.job.name, self.duplicates)


def worded(error: Exception) -> str:
    """What is wrong with a row: the message, and the class where an upgrade function went wrong by itself."""
    return str(error) if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: {error}"


def note_key(write: Write, journal: int, key: bytes) -> None:
    """Have a row come again, when others that changed since do."""
    write.put(journal, key, b"")
