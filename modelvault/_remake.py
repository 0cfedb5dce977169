"""What becomes of a row when all are written anew: decoded, changed by upgrade functions, converted, encoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from modelvault._core.index import IndexKeys
from modelvault._core.record import Face, RecordCodec
from modelvault._core.recoding import Recoding
from modelvault._fills import alone, plain_default, sorted_out
from modelvault._frozen import replace
from modelvault._job import Job, Row
from modelvault.converters import converter, same
from modelvault.lineage import has_outer_ref
from modelvault.members import has_union, retag, strip, tagged
from modelvault.schema import Index, Type

__all__ = ["extractor", "recoding"]


def recoding(job: Job) -> Recoding:
    """What makes records under the new schema out of those of all the older ones."""
    primary = job.store.schema.primary
    old = job.store.schema.type
    reading = Face(job.store.codecs(sorted_out(old)), primary)
    spare = Face(job.store.codecs(tagged(old)), primary) if has_timestamp(old) else None
    writing = Face([codec(job)], job.new.primary)
    if not job.upgrades:
        return Recoding(reading, writing, conversion(job), None, spare)
    upgrading = Upgrading(job)
    return Recoding(reading, writing, upgrading.changed, upgrading.settle, spare)


def codec(job: Job) -> RecordCodec:
    """What writes the new rows, from plain values."""
    return RecordCodec(sorted_out(job.new.type), job.new.version, job.new.primary)


def extractor(job: Job, index: Index) -> IndexKeys:
    """What takes the entries of an index out of the new rows."""
    return IndexKeys(codec(job), index.paths)


def conversion(job: Job) -> Callable[[Row], Row]:
    """What makes a row of the new type out of one of the old."""
    return converter(job.store.schema.type, job.new.type, partial(plain_default, job.strict)) or same


class Upgrading:
    """Rows on their way through the upgrade functions."""

    def __init__(self, job: Job) -> None:
        self.functions = list(job.upgrades.values())
        self.has_members = has_union(job.store.schema.type)
        self.convert = conversion(job)
        self.fields = {
            field.name: (alone(replace(field, type=sorted_out(field.type))), alone(field))
            for field in job.new.fields
            if not has_outer_ref(field.type)
        }
        """The fields that have a codec of their own: one for plain values, one for the model's."""

    def changed(self, found: Row) -> Row:
        """The new row: what the functions make of the old one, converted."""
        row: Row = strip(found) if self.has_members else found
        for upgrade in self.functions:
            changed = upgrade(row)
            row = row if changed is None else changed
            if row.__class__ is not dict:
                raise TypeError(f"an upgrade function gives a dict, or None for the one it was given, not {row!r:.60}")
        if self.has_members:
            row = retag(found, row)
        return self.convert(row)

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


def has_timestamp(type: Type) -> bool:
    """Whether there may be a timestamp in the type, which may be beyond Python's; `any` holds everything."""
    if type.kind in ("timestamp", "any") or (type.kind == "custom" and not type.items):
        return True
    return any(map(has_timestamp, (*type.items, *(field.type for field in type.fields))))
