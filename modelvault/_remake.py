"""What becomes of a row when all are written anew: decoded, changed by upgrade functions, converted, encoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from modelvault._core.index import IndexKeys
from modelvault._core.recoding import Recoding
from modelvault._core.record import Face, RecordCodec
from modelvault._fills import alone, plain_default, sorted_out, unbound, whole
from modelvault._frozen import replace
from modelvault._job import Job, Row
from modelvault.converters import converter, same
from modelvault.lineage import Maker, has_outer_ref, is_optional, sources
from modelvault.members import Origins, has_union, hider, restore, strip, tagged
from modelvault.rules import bare
from modelvault.schema import Field, Index, Shape, Type

__all__ = ["extractor", "recoding"]

Change = Callable[[Row], Row]


def recoding(job: Job) -> Recoding:
    """What makes records under the new schema out of those of all the older ones."""
    if job.upgrades:
        upgrading = Upgrading(job)
        return between(job, job.store.schema.type, job.new.type, upgrading.changed, upgrading.settle)
    dumped = partial(plain_default, job.strict)
    old, new = job.store.schema.type, job.new.type
    convert = converter(old, new, dumped) or same
    if len(job.store.schemas) == 1 and not any(has_outer_ref(field.type) for field in new.fields):
        old, new = carrying(old, new, job.new.primary, dumped)
    return between(job, old, new, convert)


def between(job: Job, old: Type, new: Type, change: Change, settle: Change | None = None) -> Recoding:
    """What makes records of one type out of those of another, the stored one or like it."""
    primary = job.store.schema.primary
    tracks = isinstance(job.new.type.python, Shape) and job.new.type.python.style == "pydantic"
    reading = Face(job.store.codecs(sorted_out(old, tracks)), primary)
    spare = Face(job.store.codecs(whole(tagged(old), tracks)), primary) if has_timestamp(old) else None
    writing = Face([RecordCodec(sorted_out(new), job.new.version, job.new.primary)], job.new.primary)
    return Recoding(reading, writing, change, settle, spare)


def carrying(old: Type, new: Type, primary: str, dumped: Callable[[Field], Maker | None]) -> tuple[Type, Type]:
    """The two types of a row, in which those fields are carried over as they are stored that stay what they are."""
    origin = sources(old, new)
    carried = {
        origin[field.name].name: field.name
        for field in new.fields
        if field.name in origin and field.name != primary and stays(origin[field.name], field, dumped)
    }
    before = [carry(field) if field.name in carried else field for field in old.fields]
    after = [carry(field) if field.name in carried.values() else field for field in new.fields]
    return replace(old, fields=tuple(before)), replace(new, fields=tuple(after))


def stays(source: Field, field: Field, dumped: Callable[[Field], Maker | None]) -> bool:
    """Whether what is stored of a field is what is to be stored."""
    same_type = unbound(source.type) == unbound(field.type) and not field.type.group
    return same_type and converter(source.type, field.type, dumped) is None


def carry(field: Field) -> Field:
    """The field with its stored bytes in place of its values."""
    inner = Type("carried", (bare(field.type),))
    return Field(field.name, Type("optional", (inner,)) if is_optional(field.type) else inner)


def codec(job: Job) -> RecordCodec:
    """What writes the new rows, from plain values."""
    return RecordCodec(sorted_out(job.new.type), job.new.version, job.new.primary)


def extractor(job: Job, index: Index) -> IndexKeys:
    """What takes the entries of an index out of the new rows."""
    return IndexKeys(codec(job), index.paths)


class Upgrading:
    """Rows on their way through the upgrade functions."""

    def __init__(self, job: Job) -> None:
        self.functions = list(job.upgrades.values())
        self.has_members = has_union(job.store.schema.type)
        self.hides = hider(job.store.schema.type)
        self.convert = converter(job.store.schema.type, job.new.type, partial(plain_default, job.strict)) or same
        self.fields = {
            field.name: (alone(replace(field, type=sorted_out(field.type))), alone(field))
            for field in job.new.fields
            if not has_outer_ref(field.type)
        }
        """The fields that have a codec of their own: one for plain values, one for the model's."""

    def changed(self, found: Row) -> Row:
        """The new row: what the functions make of the old one, converted."""
        hidden = self.has_members or self.hides(found)  # there is more to it than a function is to see
        origins: Origins = {}
        row: Row = strip(found, origins) if hidden else found
        for upgrade in self.functions:
            changed = upgrade(row)
            row = row if changed is None else changed
            if row.__class__ is not dict:
                raise TypeError(f"an upgrade function gives a dict, or None for the one it was given, not {row!r:.60}")
        fresh: Row = self.convert(restore(found, row, origins) if hidden else row)
        return fresh

    def settle(self, row: Row) -> Row:
        """The row with plain values where it has the model's."""
        for name, value in list(row.items()):
            bare, bound = self.fields.get(name, (None, None))
            if bare is not None and bound is not None:
                try:
                    bare.encode({name: value})
                except (ValueError, TypeError, AttributeError, ArithmeticError):
                    value = bare.decode(bound.encode({name: value}))[name]
            row[name] = value
        return row


def has_timestamp(type: Type) -> bool:
    """Whether there may be a timestamp in the type, which may be beyond Python's; `any` holds everything."""
    if type.kind in ("timestamp", "any") or (type.kind == "custom" and not type.items):
        return True
    return any(map(has_timestamp, (*type.items, *(field.type for field in type.fields))))
