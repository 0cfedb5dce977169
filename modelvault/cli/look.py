"""`inspect` and `dump-catalog`: what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelvault import Database
from modelvault.cli.output import Output, size
from modelvault.cli.parts import Collection, File, Json
from modelvault.cli.places import reading, schema_of
from modelvault.mapping import describe
from modelvault.schema import Schema

__all__ = ["dump_catalog", "inspect", "show_collection"]


def inspect(file: File, collection: Collection = None, json: Json = False) -> None:
    """What is in a database: its collections, or the fields and indexes of one."""
    output = Output(json)
    with reading(file) as db:
        if collection is None:
            show_database(db, output)
        else:
            show_collection(db, schema_of(db, collection), output)


def show_database(db: Database, output: Output) -> None:
    """The file and its collections."""
    stats = db.stats()
    facts: dict[str, Any] = {
        "path": db.path(),
        "size": Path(db.path()).stat().st_size,
        "free": stats["page_size"] * stats["free_pages"],
        "page_size": stats["page_size"],
        "generation": stats["generation"],
        "log_size": stats["log_size"],
        **{name: value for name, value in db.recovery_info.items() if value},
    }
    names = ["collection", "rows", "version", "primary key", "fields", "indexes"]
    rows = [summary(db, name) for name in db.collection_names()]
    if output.json:
        listed = [dict(zip((name.replace(" ", "_") for name in names), row, strict=True)) for row in rows]
        output.document({**facts, "collections": listed})
        return
    for name in ("size", "free", "log_size"):
        facts[name] = size(facts[name])
    output.facts(facts)
    output.table(names, rows, ["string", "int", "int", "string", "int", "int"])


def summary(db: Database, name: str) -> tuple[Any, ...]:
    """A collection in a line."""
    schema = schema_of(db, name)
    count = db.collection(name).count()
    return name, count, schema.version, schema.primary, len(schema.fields), len(schema.indexes)


def show_collection(db: Database, schema: Schema, output: Output) -> None:
    """The fields and indexes of a collection."""
    fields = [(field.name, describe(field.type), rules(field.type)) for field in schema.fields]
    indexes = [
        (index.name, ", ".join(".".join(path) for path in index.paths), "unique" if index.unique else "index")
        for index in schema.indexes
    ]
    facts = {"collection": schema.name, "rows": db.collection(schema.name).count(), "version": schema.version}
    facts["primary_key"] = schema.primary
    if output.json:
        output.document(
            {
                **facts,
                "fields": [dict(zip(("name", "type", "constraints"), field, strict=True)) for field in fields],
                "indexes": [dict(zip(("name", "paths", "kind"), index, strict=True)) for index in indexes],
            }
        )
        return
    output.facts(facts)
    output.table(["field", "type", "constraints"], fields)
    if indexes:
        output.table(["index", "paths", "kind"], indexes)


def rules(type: Any) -> str:
    """The constraints of a field."""
    found = (*type.constraints, *(type.items[0].constraints if type.kind == "optional" else ()))
    return ", ".join(rule.kind if rule.value is True else f"{rule.kind} {rule.value}" for rule in found)


def dump_catalog(file: File, json: Json = False) -> None:
    """The catalog as it is stored: every collection's schemas of all versions, and its indexes. Always JSON."""
    with reading(file) as db:
        definitions = db.__catalog__.definitions(None)
        Output(json).document([definitions[name] for name in sorted(definitions)])
