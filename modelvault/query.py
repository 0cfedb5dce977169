"""What is asked of a collection, and how it is found: conditions, a limit, and the choice of a plan. Immutable.

Conditions are equalities here. They compare what is stored, byte for byte, as an index does: None equals None, a list
path is equal to each of its elements, and -0.0 is 0.0.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

from modelvault.errors import ModelVaultQueryError
from modelvault.schema import Index, Schema
from modelvault.specs import FieldRef

__all__ = ["AsyncQuery", "Condition", "Path", "Plan", "Selection", "choose", "parse_path"]

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

Path = str | Sequence[str] | FieldRef
"""A field: "address.city", ["address", "city"] or `User.age`."""

LIMIT: Final = 1_048_576  # rows that limit() may ask for


def parse_path(path: Path) -> tuple[str, ...]:
    """The segments of a path; ModelVaultQueryError (a ValueError) if it is none."""
    if isinstance(path, FieldRef):
        return tuple(path.path)
    if isinstance(path, str):
        path = path.strip()
        if not path:
            raise ModelVaultQueryError("query error: path must be non-empty")
        segments = tuple(path.split("."))
    elif isinstance(path, list | tuple) and all(isinstance(part, str) for part in path):
        segments = tuple(path)
    else:
        raise ModelVaultQueryError(f'query error: path must be a dotted string ("a.b") or list[str], not {path!r}')
    if not segments:
        raise ModelVaultQueryError("query error: path must have at least one segment")
    if not all(segments):
        raise ModelVaultQueryError(f"query error: invalid path {path!r}")
    return segments


@dataclass(frozen=True, slots=True)
class Condition:
    """The field at `path` equals `value`."""

    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True, slots=True)
class Selection:
    """What rows are wanted: all conditions hold; at most `limit` of them, in the order of the plan."""

    conditions: tuple[Condition, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are found: by `key`, through `index` where `used` hold, or one by one; then `rest` must hold too."""

    rest: tuple[Condition, ...]
    key: Condition | None = None
    index: Index | None = None
    used: tuple[Condition, ...] = ()


def choose(schema: Schema, conditions: tuple[Condition, ...]) -> Plan:
    """The plan: the primary key, else a unique index, else the index over most of the conditions, else a scan."""
    for condition in conditions:
        if condition.path == (schema.primary,) and condition.value is not None:
            return Plan(tuple(other for other in conditions if other is not condition), key=condition)
    by_path = {condition.path: condition for condition in reversed(conditions)}
    usable = [index for index in schema.indexes if all(path in by_path for path in index.paths)]
    if not usable:
        return Plan(conditions)
    index = max(usable, key=lambda index: (index.unique, len(index.paths)))
    used = tuple(by_path[path] for path in index.paths)
    rest = tuple(condition for condition in conditions if not any(condition is other for other in used))
    return Plan(rest, index=index, used=used)


class RowIterator(Protocol[M_co]):
    """Rows as they are read: `async for`, or `aclose()` before the end."""

    def __aiter__(self) -> AsyncIterator[M_co]:
        """Itself."""

    async def __anext__(self) -> M_co:
        """The next row."""

    async def aclose(self) -> None:
        """Give up what the iteration holds."""


class Source(Protocol[M]):
    """What a query asks: a collection."""

    def condition(self, path: Path, value: Any) -> Condition:
        """The condition, checked against the schema."""

    def select(self, selection: Selection) -> RowIterator[M]:
        """An iterator over the rows."""

    async def fetch(self, selection: Selection) -> list[M]:
        """The rows."""

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""


class AsyncQuery(Generic[M]):
    """A question to a collection. Each method that narrows it gives a new query.

    Nothing runs before it is awaited or iterated. Rows come in primary-key order.
    """

    __slots__ = ("_selection", "_source")

    def __init__(self, source: Source[M], selection: Selection) -> None:
        self._source = source
        self._selection = selection

    def and_where(self, path: Path, value: Any) -> AsyncQuery[M]:
        """Rows where the field at `path` also equals `value`."""
        conditions = (*self._selection.conditions, self._source.condition(path, value))
        return AsyncQuery(self._source, replace(self._selection, conditions=conditions))

    def limit(self, n: int) -> AsyncQuery[M]:
        """At most `n` rows, 0 to 1,048,576; the last call wins."""
        count = operator.index(n)
        if count < 0:
            raise OverflowError("can't convert negative int to unsigned")
        if count > LIMIT:
            raise ModelVaultQueryError(f"query error: query limit {count} exceeds maximum {LIMIT}")
        return AsyncQuery(self._source, replace(self._selection, limit=count))

    async def all(self) -> list[M]:
        """The rows, as a list."""
        return await self._source.fetch(self._selection)

    async def first(self) -> M | None:
        """The first row, None if there is none."""
        selection = self._selection
        if selection.limit != 0:
            selection = replace(selection, limit=1)
        rows = await self._source.fetch(selection)
        return rows[0] if rows else None

    async def count(self) -> int:
        """How many rows there are."""
        return await self._source.tally(self._selection)

    def __aiter__(self) -> RowIterator[M]:
        """The rows one after the other, as one snapshot and in bounded memory."""
        return self._source.select(self._selection)

    def __repr__(self) -> str:
        conditions = " and ".join(f"{'.'.join(part.path)} = ..." for part in self._selection.conditions)
        return f"<AsyncQuery where {conditions or 'anything'}>"
