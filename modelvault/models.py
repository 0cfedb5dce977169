"""Typed collections of Pydantic models and dataclasses, by the names that 0.16 gave them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from modelvault._core.drive import drive
from modelvault._options import CHUNK
from modelvault.database import AsyncDatabase
from modelvault.errors import ModelVaultSchemaError, StaleSchemaError
from modelvault.expressions import FieldRef
from modelvault.mapping import fields
from modelvault.query import AsyncQuery
from modelvault.specs import ConstraintSpec, IndexSpec, RenamedFrom, constrained, index, unique
from modelvault.sync import Collection, Database, Query

if TYPE_CHECKING:
    from modelvault._job import Upgrades
    from modelvault._store import Catalog
    from modelvault.collection import AsyncCollection
    from modelvault.collection import AsyncCollection as AsyncModelCollection
    from modelvault.migrations import Plan

__all__ = [
    "AsyncModelCollection",
    "AsyncModelQuery",
    "ConstraintSpec",
    "FieldRef",
    "IndexSpec",
    "ModelCollection",
    "ModelQuery",
    "Plan",
    "RenamedFrom",
    "apply",
    "async_apply",
    "async_collection",
    "async_plan",
    "collection",
    "constrained",
    "fields",
    "index",
    "plan",
    "unique",
]

# `import modelvault` is to take less than 35 ms: what few programs use is imported by the functions that use it.

M = TypeVar("M")

ModelCollection = Collection
ModelQuery = Query
AsyncModelQuery = AsyncQuery


def collection(
    db: Database, cls: type[M], *, validate_on_read: bool = False, migrate: Literal["safe"] | None = None
) -> Collection[M]:
    """The collection of a model class, registered if the database does not have it.

    The class names its primary key in `__modelvault_primary_key__` and may have `__modelvault_collection__` and
    `__modelvault_indexes__`. ModelVaultSchemaError (a ValueError) if it cannot be stored, or does not fit what is
    stored.

    migrate: "safe" makes what is stored fit the class, where that loses nothing, cannot fail and touches no row: new
    fields that may be None or have a default, renamed fields, types that take more, indexes that are not unique.
    """
    check_database(db, Database)
    if check_migrate(migrate):
        drive(migrate_safely(db.__catalog__, cls))
    return db.collection(cls, validate_on_read=validate_on_read)


def async_collection(
    db: AsyncDatabase, cls: type[M], *, validate_on_read: bool = False, migrate: Literal["safe"] | None = None
) -> AsyncCollection[M]:
    """The collection of a model class, registered by the first operation if the database does not have it.

    The class names its primary key in `__modelvault_primary_key__` and may have `__modelvault_collection__` and
    `__modelvault_indexes__`. ModelVaultSchemaError (a ValueError) if it cannot be stored, or does not fit what is
    stored.

    migrate: "safe" makes what is stored fit the class with the first operation, as in `collection`.
    """
    check_database(db, AsyncDatabase)
    if not check_migrate(migrate):
        return db.collection(cls, validate_on_read=validate_on_read)
    prepare = partial(migrate_safely, db.__catalog__, cls)
    from modelvault.collection import collection_of  # with a fifth of the package

    return collection_of(db.__catalog__, cls, validate_on_read=validate_on_read, prepare=prepare)


def plan(db: Database, cls: type, *, upgrade: Upgrades | None = None) -> Plan:
    """What it would take to make a stored collection fit its model class; `print` shows the differences.

    A dict with `change` ("safe", "needs_migration" or "breaking"), `reason` (absent when safe) and `steps`. upgrade: as
    in `apply`. ModelVaultSchemaError for a collection that is not stored.
    """
    check_database(db, Database)
    return drive(planned(db.__catalog__, cls, upgrade))


async def async_plan(db: AsyncDatabase, cls: type, *, upgrade: Upgrades | None = None) -> Plan:
    """What it would take to make a stored collection fit its model class; `print` shows the differences.

    A dict with `change` ("safe", "needs_migration" or "breaking"), `reason` (absent when safe) and `steps`. upgrade: as
    in `async_apply`. ModelVaultSchemaError for a collection that is not stored.
    """
    check_database(db, AsyncDatabase)
    return await planned(db.__catalog__, cls, upgrade)


def apply(
    db: Database,
    cls: type,
    *,
    force: bool = False,
    upgrade: Upgrades | None = None,
    chunk: int | None = CHUNK,
    progress: bool | Callable[[int], object] = False,
    dry_run: bool = False,
) -> int:
    """Make a stored collection fit its model class; the new schema version.

    * upgrade: functions by version, `{2: fn}`: each gets the row of the version before as a dict, and changes it or
      gives another. Those for versions that the collection has reached are left out; without any to run, and without
      differences, nothing happens.
    * force: drop fields that the class no longer has, and accept required fields without a default.
    * chunk: where every row is written anew, how many are committed together. The collection is as it was until the
      last of them, and can be read and written. After a crash the same call goes on. None: all in one transaction.
    * progress: True shows a line on standard error, a function is called with the count of rows now and then.
    * dry_run: do everything, and take it back; the version that it would be.

    ModelVaultSchemaError, and nothing has changed, if it needs a decision, or rows do not fit: it names their keys.
    """
    check_database(db, Database)
    return drive(applied(db.__catalog__, cls, upgrade, force=force, chunk=chunk, progress=progress, dry_run=dry_run))


async def async_apply(
    db: AsyncDatabase,
    cls: type,
    *,
    force: bool = False,
    upgrade: Upgrades | None = None,
    chunk: int | None = CHUNK,
    progress: bool | Callable[[int], object] = False,
    dry_run: bool = False,
) -> int:
    """Make a stored collection fit its model class; the new schema version. The arguments are those of `apply`.

    It can run in a task of its own: other tasks read and write the collection meanwhile.
    """
    check_database(db, AsyncDatabase)
    return await applied(db.__catalog__, cls, upgrade, force=force, chunk=chunk, progress=progress, dry_run=dry_run)


async def planned(catalog: Catalog, cls: type, upgrade: Upgrades | None) -> Plan:
    """`plan`, of a database of either kind."""
    await load(catalog)
    from modelvault._job import model_job

    await catalog.access.catch_up()
    return model_job(catalog, catalog.access.attend(), cls, upgrade).plan


async def applied(catalog: Catalog, cls: type, upgrade: Upgrades | None, **options: Any) -> int:
    """`apply`, to a database of either kind; options: those of `_change.run`."""
    await load(catalog)
    from modelvault._change import run
    from modelvault._job import model_job

    while True:
        await catalog.access.catch_up()
        unit = catalog.access.attend()
        job = model_job(catalog, unit, cls, upgrade)
        if upgrade is not None and not job.changed:
            return job.store.version
        try:
            return await run(catalog, job, unit, **options)
        except StaleSchemaError:
            pass  # somebody else changed it before this began: look again


async def migrate_safely(catalog: Catalog, cls: type) -> None:
    """Make what is stored fit the class if it does not yet and nothing can be lost by it."""
    await load(catalog)
    from modelvault._change import run
    from modelvault._job import model_job

    while True:
        await catalog.access.catch_up()
        unit = catalog.access.attend()
        mapped = catalog.mapped(cls)
        store = catalog.find(mapped.name, unit)
        if store is None or store.fits(mapped):
            return
        job = model_job(catalog, unit, cls)
        if not job.plan.automatic:
            what = "incompatible schema change" if job.plan.change == "breaking" else "migration required"
            raise ModelVaultSchemaError(
                f"schema error: {what}: {job.plan.reason}: {cls.__name__} does not fit what is stored; "
                "look at models.plan, then models.apply"
            )
        try:
            await run(catalog, job, unit)
            return
        except StaleSchemaError:
            pass  # another handle did it


async def load(catalog: Catalog) -> None:
    """Have what changes schemas imported, which few programs need; away from the event loop, as it takes 20 ms."""
    if "modelvault._change" not in sys.modules:
        catalog.access.attend()
        await catalog.access.runner.run(import_module, "modelvault._change")


def __getattr__(name: str) -> Any:
    """What few ask for: loaded when it is first asked for."""
    if name == "Plan":
        from modelvault.migrations import Plan

        return Plan
    if name == "AsyncModelCollection":
        from modelvault.collection import AsyncCollection

        return AsyncCollection
    raise AttributeError(f"module 'modelvault.models' has no attribute {name!r}")


def check_database(db: object, cls: type) -> None:
    """TypeError for what is no database of this class."""
    if not isinstance(db, cls):
        raise TypeError(f"argument 'db': {type(db).__name__!r} object is not an instance of {cls.__name__!r}")


def check_migrate(migrate: str | None) -> bool:
    """Whether safe changes are made. ValueError for another word."""
    if migrate not in (None, "safe"):
        raise ValueError(f"migrate must be 'safe' or None, not {migrate!r}")
    return migrate is not None
