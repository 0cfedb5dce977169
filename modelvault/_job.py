"""A collection and what it is to become: what a new definition means for it, and whether it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from modelvault._definitions import Definition, Write
from modelvault._frozen import fresh, mutable, replace
from modelvault._kinds import is_mapping
from modelvault._store import Catalog, Store, unknown_collection
from modelvault._unit import Unit
from modelvault.errors import ModelVaultSchemaError, StaleSchemaError
from modelvault.lineage import adopt, sources
from modelvault.mapping import describe
from modelvault.migrations import Change, Plan, compare
from modelvault.rules import bare
from modelvault.schema import Schema
from modelvault.types import INTEGERS

__all__ = ["Job", "Row", "Upgrade", "Upgrades", "check", "current", "fields_job", "model_job", "stored"]

Row = dict[str, Any]
Upgrade = Callable[[Row], Row | None]
"""Makes a row of the version before into one of this version: by changing it, or giving another."""
Upgrades = Mapping[int, Upgrade]

MAX_VERSION: Final = 65535  # of the schemas that records name


@mutable
class Job:
    """A collection and what it is to become. `new` is bound to the model, if there is one."""

    store: Store
    new: Schema
    plan: Plan
    strict: bool
    upgrades: dict[int, Upgrade] = fresh(default_factory=dict)
    passed: bool = False
    """Whether there are upgrade functions, but only for versions that the rows have come to already."""

    @property
    def name(self) -> str:
        """The collection."""
        return self.store.name

    @property
    def version(self) -> int:
        """The number of the collection's schema afterwards."""
        return self.plan.target

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
    return Job(store, new, Plan(old.name, store.version, compare(old, new, strict=True), strict=True), True)


def model_job(catalog: Catalog, unit: Unit | None, cls: type, upgrade: Upgrades | None = None) -> Job:
    """What a model class makes of its collection."""
    mapped = catalog.mapped(cls)
    upgrades = checked(upgrade)
    store = stored(catalog, unit, mapped.name)
    old = store.schema
    new = replace(mapped, type=adopt(old.type, mapped.type), version=old.version + 1)
    source = sources(old.type, new.type).get(new.primary)
    if source is None or source.name != old.primary:
        raise lost_primary(old, f"; {cls.__name__} has {quoted(new.primary)} for it")
    pending = {number: function for number, function in upgrades.items() if number > store.version}
    plan = Plan(old.name, store.version, compare(old, new, strict=False), list(pending))
    return Job(store, new, plan, False, pending, bool(upgrades) and not pending)


def checked(upgrade: object) -> dict[int, Upgrade]:
    """The upgrade functions in their order; TypeError or ValueError for what can be none."""
    from inspect import iscoroutinefunction

    if upgrade is None:
        return {}
    if not is_mapping(upgrade):
        raise TypeError(f"upgrade takes functions by version, {{2: fn}}, not {type(upgrade).__name__}")
    for number, function in upgrade.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"upgrade takes functions by version, an int, not {number!r}")
        if number < 2:
            raise ValueError(f"upgrade: there is no version before {number}: the first that rows can come to is 2")
        if not callable(function) or iscoroutinefunction(function):
            raise TypeError(f"upgrade: for version {number} a plain function of a row is needed, not {function!r}")
    return {number: upgrade[number] for number in sorted(upgrade)}


def stored(catalog: Catalog, unit: Unit | None, name: str) -> Store:
    """The stored collection of that name. ModelVaultSchemaError if there is none."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"argument 'name': {type(name).__name__!r} object is not an instance of 'str'")
    store = catalog.find(name.strip(), unit)
    if store is None:
        raise unknown_collection(name.strip())
    return store


def lost_primary(schema: Schema, but: str = "") -> ModelVaultSchemaError:
    """The error for a change that takes the primary key away."""
    return ModelVaultSchemaError(
        f"schema error: schema update must retain top-level primary field {quoted(schema.primary)} of {schema.name}"
        f"{but}; for another key make a new collection and copy the rows"
    )


def quoted(name: str) -> str:
    """A name in double quotes."""
    return f'"{name}"'


def check(job: Job, force: bool) -> None:
    """ModelVaultSchemaError unless the change may be made."""
    old, new = job.store.schema, job.new
    before, after = old.find((old.primary,)), new.find((new.primary,))
    assert before is not None and after is not None
    before, after = bare(before), bare(after)
    same = before.kind == after.kind and before.values == after.values
    if not same and not (before.kind in INTEGERS and after.kind in INTEGERS):
        raise lost_primary(old, f", {describe(before)}: it cannot become {describe(after)}")
    if new.version > MAX_VERSION:
        raise ModelVaultSchemaError(f"schema error: {old.name} has had {MAX_VERSION} schemas: load it anew")
    if force or job.upgrades:
        return
    stops = [change for change in job.plan.changes if stops_at(change, job.strict)]
    if not stops:
        return
    what = "incompatible schema change" if job.plan.change == "breaking" else "migration required"
    ways = "force it" if job.strict else "give a default or an upgrade function, or force it"
    if job.passed:
        ways = f"its rows are at version {job.store.version}: an upgrade function has to be for a later one"
    raise ModelVaultSchemaError(
        f"schema error: {what}: {job.plan.reason} (collection {old.name}; nothing has changed: {ways})"
    )


def stops_at(change: Change, strict: bool) -> bool:
    """Whether a change is made only when somebody insists."""
    return change.stops or (strict and change.level != "safe")


def current(write: Write, job: Job) -> Definition:
    """The collection's definition, which must still be the one that the job is about: else StaleSchemaError."""
    definition = write.definitions.get(job.name)
    if definition != job.store.definition:
        raise StaleSchemaError(
            f"schema error: the schema of {job.name} changed meanwhile: nothing was done; plan again"
        )
    assert definition is not None
    return definition
