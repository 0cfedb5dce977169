"""Indexes of two schemas with the same entries: what the new one takes over from the old one as it stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from modelvault._fills import plain_default
from modelvault._job import Job
from modelvault.lineage import is_optional, rename_path, sources, without_constraints
from modelvault.rules import bare
from modelvault.schema import Index, Type

__all__ = ["kept_by_rewrite", "twin_of"]


def twin_of(job: Job, index: Index, spare: Collection[str]) -> str | None:
    """The old index, among those of these names, with the entries of this one; of several the one of its name."""
    old = job.store.schema
    names: list[str] = []
    for other in old.indexes:
        paths = tuple(rename_path(old.type, job.new.type, path) for path in other.paths)
        if other.name in spare and paths == index.paths and (other.unique or not index.unique):
            names.append(other.name)
    return index.name if index.name in names else next(iter(names), None)


def kept_by_rewrite(job: Job, indexes: Mapping[str, int]) -> dict[str, int]:
    """The trees, of those of the old indexes, that fit the rows also when all are written anew: by the new names.

    What upgrade functions do to the rows has to be seen.
    """
    spare = dict(indexes)
    kept: dict[str, int] = {}
    for index in job.new.indexes:
        if all(stays(job, job.store.schema.type, job.new.type, path) for path in index.paths):
            name = twin_of(job, index, spare)
            if name is not None:
                kept[index.name] = spare.pop(name)
    return kept


def stays(job: Job, old: Type, new: Type, path: tuple[str, ...]) -> bool:
    """Whether a conversion leaves what every row has at a path of the new type as it is."""
    source = sources(old, new).get(path[0])
    field = next((field for field in new.fields if field.name == path[0]), None)
    if source is None or field is None or (is_optional(source.type) and not is_optional(field.type)):
        return False
    # Rows of an older version may lack a field, and get its default now.
    lacking = len(job.store.schemas) > 1 and not is_optional(field.type)
    if lacking and plain_default(job.strict, field) is not None:
        return False
    before, after = bare(source.type), bare(field.type)
    if len(path) > 1:
        objects = before.kind == after.kind == "object" and before.group == after.group
        return objects and stays(job, before, after, path[1:])
    return without_constraints(before) == without_constraints(after)
