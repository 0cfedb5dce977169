"""Changed rows of dicts, with what the change leaves alone as it is stored.

A dict does not show all that is stored: which fields of a model were set, its private attributes, the zone of a
datetime, of which member of a union a value is. So a changed dict is not put in the place of the row: its parts are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelvault._core.record import Face, RecordCodec
from modelvault._fills import sorted_out, whole
from modelvault._kinds import is_dict, is_series, is_set
from modelvault.members import Member, Whole, tagged
from modelvault.schema import Schema, Type

__all__ = ["Keeping"]


class Keeping:
    """The rows of a collection with all that is stored of them. codecs: for the newest type, those of all versions."""

    def __init__(self, schema: Schema, codecs: Callable[[Type], Sequence[RecordCodec]]) -> None:
        self._face = Face(codecs(sorted_out(schema.type)), schema.primary, schema.name)
        # A timestamp may be beyond Python's datetimes, and is an integer then, as all of its row are.
        self._spare = Face(codecs(whole(tagged(schema.type), False)), schema.primary, schema.name)

    def kept(self, face: Face, record: bytes, changed: bytes) -> bytes:
        """The record of a row that was changed: what is as it was is as it was stored. face: of plain dicts."""
        before, after = face.decode(record), face.decode(changed)
        for full in (self._face, self._spare):
            try:
                return full.encode(kept(full.decode(record), before, after, full.decode(changed)))[1]
            except (OverflowError, ValueError):
                if full is self._spare:
                    raise
        raise AssertionError("the spare face is the last")


def kept(stored: Any, before: Any, after: Any, fresh: Any) -> Any:
    """A value as it is stored if it has not changed, else the fresh one. before, after: both as dicts show them."""
    if same(before, after):
        return stored
    if stored.__class__ is Member and fresh.__class__ is Member and stored.number == fresh.number:
        return Member(stored.number, kept(stored.value, before, after, fresh.value))
    if is_series(stored) and is_series(fresh):
        return kept_items(stored, before, after, fresh)
    if is_dict(stored) and is_dict(fresh):
        parts = {
            name: kept(stored[name], before[name], after[name], item) if name in before and name in stored else item
            for name, item in fresh.items()
        }
        if not isinstance(stored, Whole):
            return parts
        return stored.changed(
            parts, {name for name in parts if name not in before or not same(before[name], after[name])}
        )
    return fresh


def kept_items(stored: Any, before: Any, after: Any, fresh: Any) -> Any:
    """A list or tuple, with the items that were in it as they are stored, wherever they are now."""
    known: dict[str, list[Any]] = {}
    for old, item in zip(before, stored, strict=True):
        known.setdefault(repr(old), []).append(item)
    found: list[Any] = []
    for new, item in zip(after, fresh, strict=True):
        as_stored = known.get(repr(new))
        found.append(as_stored.pop(0) if as_stored else item)
    return fresh.__class__(found)


def same(before: Any, after: Any) -> bool:
    """Whether two values of the dict interface are the same: equality does not see the digits of a decimal."""
    return repr(before) == repr(after) or (is_set(before) and before.__class__ is after.__class__ and before == after)
