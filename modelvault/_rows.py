"""Rows in batches: out of a collection as a plan finds them, and into one as an iterable yields them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from modelvault._core.columns import Columns
from modelvault._core.program import Program
from modelvault.conditions import ALL, Condition, Every, Selection, Test
from modelvault.schema import Index, Schema

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from modelvault._access import View
    from modelvault._store import Binding

__all__ = ["BATCH", "Opener", "Rows", "Slices", "shaper"]

M = TypeVar("M")

BATCH: Final = 64  # rows handled before other tasks get a chance: about 0.1 ms


class Opener(Protocol):
    """What rows need of their collection."""

    async def open_view(self) -> tuple[Binding, View, Callable[[Any], Any] | None]:
        """The stored collection, a state of the database to read it in, and the check of each row if there is one."""


class Rows(Generic[M]):
    """An iterator over the rows that a selection asks for: one snapshot, one batch in memory.

    In a transaction it shows the transaction's own rows, as they are when a batch is read. It may be left at any
    point; `aclose` gives the snapshot up at once, else it goes with the object.
    """

    __slots__ = (
        "_after",
        "_batch",
        "_done",
        "_left",
        "_plan",
        "_selection",
        "_shape",
        "_skip",
        "_source",
        "_test",
        "_view",
        "binding",
        "check",
    )

    def __init__(self, source: Opener, selection: Selection) -> None:
        self._source = source
        self._selection = selection
        self._left = selection.limit
        self._batch: list[M] = []
        self._done = selection.limit == 0
        self._skip = selection.offset
        self._view: View | None = None
        self._after: bytes | None = selection.after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        while not self._batch:
            if self._done:
                raise StopAsyncIteration
            self._batch = await self.batch()
            self._batch.reverse()
        return self._batch.pop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the snapshot up; there are no more rows."""
        self._done = True
        self._batch = []
        if self._view is not None:
            self._view.close()

    @property
    def ended(self) -> bool:
        """Has every batch been read?"""
        return self._done

    async def batch(self, raw: bool = False) -> list[Any]:
        """The next rows, perhaps none; `ended` says whether there may be more. raw: records instead of rows."""
        if self._view is None:
            await self._open()
        assert self._view is not None
        records = raw or self._test is not None or self._shape is not None
        face = None if records else self.binding.face
        rows: list[Any] = await self._view.read(lambda roots, wait: self._fetch(roots, face, wait))
        if self._test is not None:
            rows = [row for row in rows if self._test(row)]
        if self._skip:
            skipped = min(self._skip, len(rows))
            rows, self._skip = rows[skipped:], self._skip - skipped
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
            self._done = self._done or not self._left
        if self._done:
            self._view.close()
        if records and not raw:
            rows = [*map(self._shape or self.binding.face.decode, rows)]
        if self.check is not None and self._shape is None and not raw:
            rows = [self.check(row) for row in rows]
        return rows

    async def _open(self) -> None:
        self.binding, self._view, self.check = await self._source.open_view()
        binding, selection = self.binding, self._selection
        tests = equalities(selection.condition)
        self._plan: Plan = choose(binding.store.schema, tests)
        found = len(self._plan.used) + (self._plan.key is not None)
        wanted = 1 if isinstance(selection.condition, Test) else 2 if selection.condition != ALL else 0
        exact = isinstance(selection.condition, Every) and found == len(selection.condition.parts)
        self._test = None
        if not exact and found < wanted:
            self._test = Program(binding.face.codecs, selection.condition).test
        self._shape = shaper(binding, selection)

    def _fetch(self, roots: Any, face: Any, wait: bool) -> list[Any]:
        """One batch as the plan finds it, from where the last one ended. Nothing has moved on if it raises."""
        binding, plan = self.binding, self._plan
        if plan.key is not None:
            rows = binding.find_rows(roots, plan.key.values[0], face, wait)
            self._done = True
            return rows
        count = BATCH if self._left is None or self._test is not None else min(BATCH, self._left + self._skip)
        if plan.index is not None:
            prefix = binding.prefix(plan.used)
            rows, after = binding.lookup(roots, plan.index.name, prefix, self._after, face, count, wait)
        else:
            rows, after = binding.scan(roots, self._after, face, count, wait)
        self._after = after
        self._done = after is None
        result: list[Any] = rows
        return result


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are found: by `key`, through `index` where `used` hold, or one by one; then `rest` must hold too."""

    rest: tuple[Test, ...]
    key: Test | None = None
    index: Index | None = None
    used: tuple[Test, ...] = ()


def choose(schema: Schema, conditions: tuple[Test, ...]) -> Plan:
    """The plan: the primary key, else a unique index, else the index over most of the conditions, else a scan."""
    for condition in conditions:
        if condition.path == (schema.primary,):
            return Plan(tuple(other for other in conditions if other is not condition), key=condition)
    by_path = {condition.path: condition for condition in reversed(conditions)}
    usable = [index for index in schema.indexes if all(path in by_path for path in index.paths)]
    if not usable:
        return Plan(conditions)
    index = max(usable, key=lambda index: (index.unique, len(index.paths)))
    used = tuple(by_path[path] for path in index.paths)
    rest = tuple(condition for condition in conditions if not any(condition is other for other in used))
    return Plan(rest, index=index, used=used)


def equalities(condition: Condition) -> tuple[Test, ...]:
    """The parts of a condition that an index may answer: equalities with one value."""
    parts = condition.parts if isinstance(condition, Every) else (condition,)
    return tuple(
        part
        for part in parts
        if isinstance(part, Test) and part.op == "eq" and not isinstance(part.values[0], list | tuple | set | frozenset)
    )


def shaper(binding: Binding, selection: Selection) -> Callable[[bytes], Any] | None:
    """What makes a result of a record, None for whole rows."""
    if selection.fields is None:
        return None
    columns = Columns(binding.face.codecs, selection.fields)
    return columns.project if selection.shape == "dict" else columns.values


class Slices(Generic[M]):
    """A plain or an asynchronous iterable of rows, in encoded slices."""

    def __init__(self, rows: Iterable[M] | AsyncIterable[M], encode: Callable[[M], Any]) -> None:
        self._plain = None if isinstance(rows, AsyncIterable) else iter(rows)
        self._asynchronous = aiter(rows) if isinstance(rows, AsyncIterable) else None
        self._encode = encode

    async def next(self, count: int = BATCH) -> list[Any]:
        """The next `count` rows, fewer at the end."""
        if self._plain is not None:
            return [self._encode(row) for row in islice(self._plain, count)]
        assert self._asynchronous is not None
        part: list[Any] = []
        while len(part) < count:
            try:
                part.append(self._encode(await anext(self._asynchronous)))
            except StopAsyncIteration:
                break
        return part
