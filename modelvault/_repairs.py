"""0.16's repairs: values for rows that are older than a field, and indexes built anew."""

from __future__ import annotations

import json
from typing import Any

from modelvault._building import Building
from modelvault._change import within
from modelvault._definitions import Definition, Write
from modelvault._fills import fill_type
from modelvault._frozen import replace
from modelvault._job import stored
from modelvault._leftovers import discard, forget_migration, shadow_trees, sweep
from modelvault._progress import Progress
from modelvault._store import Catalog, Store
from modelvault._unit import Unit
from modelvault.errors import ModelVaultSchemaError

__all__ = ["backfill", "rebuild"]


async def backfill(catalog: Catalog, unit: Unit | None, name: str, path: tuple[str, ...], value: Any) -> None:
    """Give the rows that are older than a field a value for it; no row is touched. ValueError for an unknown field."""
    store = stored(catalog, unit, name)
    words = f'field "{path[0]}"' if len(path) == 1 else f"field path {json.dumps(path, ensure_ascii=False)}"
    if not path or store.schema.find(path) is None:
        raise ModelVaultSchemaError(f"unknown {words} of {store.name}")
    filled = fill_type(store.schema.type, path, value)
    # The others below the first segment, too: a group comes to be there when all that it must have is given.
    indexes = [index.name for index in store.schema.indexes if any(part[0] == path[0] for part in index.paths)]
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

        fresh = Store(catalog.access.engine.pager, await unit.perform(define, away=True))
        if indexes:
            await Building(catalog, fresh, indexes, Progress(store.name, False)).run(unit)

    inside = unit is not None or catalog.access.attend() is not None
    catalog.access.check_writable()
    await within(catalog, unit, body)
    if not inside:
        await sweep(catalog)


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

        fresh = Store(catalog.access.engine.pager, await unit.perform(define, away=True))
        await Building(catalog, fresh, names, Progress(store.name, False)).run(unit)

    inside = unit is not None or catalog.access.attend() is not None
    catalog.access.check_writable()
    await within(catalog, unit, body)
    if not inside:
        await sweep(catalog)
