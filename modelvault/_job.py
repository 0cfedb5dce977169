"""A collection and what it is to become: what a new definition means for it, and whether it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as given
from typing import Any, Final

from modelvault._access import Unit
from modelvault._store import Catalog, Store, unknown_collection
from modelvault._version import Definition, Write
from modelvault.errors import ModelVaultSchemaError
from modelvault.lineage import adopt, sources
from modelvault.migrations import Change, Plan, compare
from modelvault.schema import Schema
from modelvault.types import INTEGERS

__all__ = ["Job", "Row", "Upgrades", "check", "current", "fields_job", "model_job", "stored"]

Row = dict[str, Any]
Upgrades = Mapping[int, Callable[[Row], Row | None]]
"""Functions that make a row of the version before into one of this version: by changing it, or giving another."""

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


def current(write: Write, job: Job) -> Definition:
    """The collection's definition, which must still be the one that the job is about."""
    definition = write.definitions.get(job.name)
    if definition != job.store.definition:
        raise ModelVaultSchemaError(
            f"schema error: the schema of {job.name} changed meanwhile: nothing was done; plan again"
        )
    assert definition is not None
    return definition
