"""Changing the schema of a stored collection, with the rows in it.

A change that touches no row stores a new definition, in which the older layouts have the newest names, and builds the
indexes that are new: one transaction. One that needs every row written anew is a `Rewrite`.

What this is not: the comparison of schemas, which is `migrations`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from modelvault._building import Building
from modelvault._definitions import Definition, Write
from modelvault._fills import first_fill, groups_moved, next_fill
from modelvault._frozen import replace
from modelvault._job import Job, check, current
from modelvault._leftovers import discard, forget_migration, shadow_trees, sweep
from modelvault._progress import Progress
from modelvault._rewrite import Rewrite
from modelvault._store import Catalog, Store
from modelvault._twins import twin_of
from modelvault._unit import Unit, Work
from modelvault.lineage import carry, relabel
from modelvault.schema import Schema

__all__ = ["run", "within"]


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
    check_options(force, chunk, progress, dry_run)
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
    return job.version


def check_options(force: object, chunk: object, progress: object, dry_run: object) -> None:
    """TypeError or ValueError for arguments that mean nothing."""
    for name, value in (("force", force), ("dry_run", dry_run)):
        if not isinstance(value, bool):
            raise TypeError(f"argument {name!r}: {type(value).__name__!r} object is not an instance of 'bool'")
    if chunk is not None and (not isinstance(chunk, int) or isinstance(chunk, bool)):
        raise TypeError(f"chunk must be an int or None, not {chunk!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be True, False or a function of a count, not {progress!r}")


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


class Undo(Exception):
    """Ends a dry run."""


async def undone(catalog: Catalog, unit: Unit | None, body: Callable[[Unit], Awaitable[Any]]) -> None:
    """Run something, and take it back."""

    async def attempt(unit: Unit) -> None:
        await body(unit)
        raise Undo

    try:
        await within(catalog, unit, attempt)
    except Undo:
        return


async def redefine(catalog: Catalog, job: Job, meter: Progress, unit: Unit) -> None:
    """Store the new definition, and build the indexes that are new."""
    fresh: list[str] = []

    def define(write: Write, wait: bool) -> Definition:
        old = current(write, job)
        definition, spare = next_definition(write, job, fresh)
        write.define(definition)
        discard(write, spare)
        forget_migration(write, old)
        return definition

    store = Store(catalog.access.engine.pager, await unit.perform(define, away=True))
    if fresh:
        await Building(catalog, store, fresh, meter).run(unit)


def next_definition(write: Write, job: Job, fresh: list[str]) -> tuple[Definition, list[int]]:
    """The definition after a change that touches no row, and the trees that it no longer has.

    fresh: gets the names of the indexes to build.
    """
    old = job.store.definition
    definition = {key: value for key, value in old.items() if key != "migration"} | {"version": job.version}
    if not job.changed:
        return definition, shadow_trees(old)
    empty = write.roots[old["tree"]][3] == 0
    carried = carry(
        job.store.schema.type, job.new.type, partial(first_fill, job.strict), partial(next_fill, job.strict)
    )
    newest = replace(job.new, type=carried)
    older = [] if empty else [lens(job, schema).to_json() for schema in job.store.schemas]
    spare: dict[str, int] = dict(old["indexes"])
    indexes: list[list[Any]] = []
    moved = groups_moved(job.store.schema.type, carried)
    for index in job.new.indexes:
        name = None if moved.intersection(path[0] for path in index.paths) else twin_of(job, index, spare)
        if name is None:
            fresh.append(index.name)
        indexes.append([index.name, write.new_tree() if name is None else spare.pop(name)])
    definition |= {"schemas": [*older, newest.to_json()], "indexes": indexes}
    return definition, [*spare.values(), *shadow_trees(old)]


def lens(job: Job, schema: Schema) -> Schema:
    """An older schema by the new names."""
    type = relabel(schema.type, job.store.schema.type, job.new.type)
    return replace(schema, type=type, primary=job.new.primary, indexes=())
