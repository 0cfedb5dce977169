"""What a collection answers to the selections of queries."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from modelvault._core.columns import Columns
from modelvault._core.order import SortKeys
from modelvault._rows import Opener, Rows, shaper
from modelvault.conditions import ALL, Order, Selection
from modelvault.expressions import spelled

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._store import Binding
    from modelvault.query import RowIterator

__all__ = ["Answers"]

Function = tuple[str, tuple[str, ...] | None]

SPELLED: Final = "Plan:\n  CollectionScan\n"


class Found:
    """The records that a selection asks for, sorted, with what it takes to make rows of them."""

    def __init__(self, binding: Binding, check: Callable[[Any], Any] | None, selection: Selection) -> None:
        self.binding = binding
        self.check = check
        self.selection = selection
        self.entries: list[tuple[bytes, bytes]] = []  # sort key, record
        self._keys = SortKeys(binding.face.codecs, selection.order)
        self._primary = Columns(binding.face.codecs, ((binding.schema.primary,),))

    def key(self, record: bytes) -> bytes:
        """The primary key of a record."""
        return self.binding.pack(self._primary.values(record)[0])

    def add(self, records: list[bytes]) -> None:
        """Take records in, those behind the selection's position."""
        after = self.selection.after
        for record in records:
            key = self._keys.key(record, self.key(record))
            if after is None or key > after:
                self.entries.append((key, record))

    def cut(self) -> None:
        """Sort, and leave what offset and limit leave."""
        self.entries.sort()
        start, limit = self.selection.offset, self.selection.limit
        if not self.selection.distinct or self.selection.fields is None:
            self.entries = self.entries[start : None if limit is None else start + limit]

    def rows(self) -> list[Any]:
        """The rows, or what the selection wants of them."""
        shape = shaper(self.binding, self.selection) or self.binding.face.decode
        rows = [shape(record) for _, record in self.entries]
        if self.selection.fields is None:
            return rows if self.check is None else [self.check(row) for row in rows]
        if not self.selection.distinct:
            return rows
        start, limit = self.selection.offset, self.selection.limit
        unique: dict[str, Any] = {}
        for row in rows:
            unique.setdefault(repr(row), row)
        return list(islice(unique.values(), start, None if limit is None else start + limit))


class Answers:
    """The answers to selections, from the rows of one collection."""

    __slots__ = ("_opener",)

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def rows(self, selection: Selection) -> RowIterator[Any]:
        """An iterator over the rows, of one snapshot."""
        streams = not selection.order and not (selection.distinct and selection.fields is not None)
        return Rows(self._opener, selection) if streams else Sorted(self, selection)

    async def fetch(self, selection: Selection, most: int | None = None) -> list[Any]:
        """The rows; at most `most`."""
        if most is not None and (selection.limit is None or most < selection.limit):
            selection = selection._replace(limit=most)
        rows = self.rows(selection)
        if not isinstance(rows, Rows):
            return (await self.search(selection)).rows()
        found: list[Any] = []
        try:
            while not rows.ended:
                found += await rows.batch()
        finally:
            await rows.aclose()
        return found

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""
        if selection.distinct and selection.fields is not None:
            return len(await self.fetch(selection))
        count = 0
        async for part in self._batches(selection._replace(order=(), fields=None, shape="row")):
            count += len(part)
        return count

    async def exists(self, selection: Selection) -> bool:
        """Is there a row?"""
        return bool(await self.fetch(selection, 1))

    async def page(self, selection: Selection, size: int) -> tuple[list[Any], bytes | None]:
        """At most `size` rows behind `selection.after`, and the position behind the last; None: there are no more."""
        found = await self.search(selection._replace(limit=size + 1))
        more = len(found.entries) > size
        del found.entries[size:]
        return found.rows(), found.entries[-1][0] if more else None

    async def aggregate(
        self, selection: Selection, functions: tuple[Function, ...], groups: tuple[tuple[str, ...], ...]
    ) -> list[tuple[Any, ...]]:
        """For each group, its values and those of the functions; without groups exactly one tuple."""
        found = await self.search(selection._replace(fields=None, shape="row"))
        codecs = found.binding.face.codecs
        keys, values = SortKeys(codecs, [Order(path) for path in groups]), Columns(codecs, groups)
        table: dict[bytes, list[bytes]] = {} if groups else {b"": []}
        for _, record in found.entries:
            table.setdefault(keys.key(record, b"") if groups else b"", []).append(record)
        return [
            (*(values.values(records[0]) if groups else ()), *(summary(codecs, call, records) for call in functions))
            for _, records in sorted(table.items())
        ]

    async def explain(self, selection: Selection, analyze: bool = False) -> str:
        """How the rows are found, in words."""
        text = SPELLED if selection.condition == ALL else f"{SPELLED}  Filter {spelled(selection.condition)}\n"
        return f"{text}Analyze:\n  returned {await self.tally(selection)}\n" if analyze else text

    async def search(self, selection: Selection) -> Found:
        """The records, all in memory, in order."""
        rows: Rows[Any] = Rows(self._opener, Selection(selection.condition))
        found: Found | None = None
        try:
            while not rows.ended:
                records = await rows.batch(raw=True)
                if found is None:
                    found = Found(rows.binding, rows.check, selection)
                found.add(records)
        finally:
            await rows.aclose()
        assert found is not None
        found.cut()
        return found

    async def _batches(self, selection: Selection) -> Any:
        rows: Rows[Any] = Rows(self._opener, selection)
        try:
            while not rows.ended:
                yield await rows.batch(raw=True)
        finally:
            await rows.aclose()


class Sorted:
    """An iterator over rows that are sorted at the first step."""

    __slots__ = ("_answers", "_rows", "_selection")

    def __init__(self, answers: Answers, selection: Selection) -> None:
        self._answers = answers
        self._selection = selection
        self._rows: list[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._rows is None:
            self._rows = (await self._answers.search(self._selection)).rows()[::-1]
        if not self._rows:
            raise StopAsyncIteration
        return self._rows.pop()

    async def aclose(self) -> None:
        """There are no more rows."""
        self._rows = []


def summary(codecs: Any, function: Function, records: list[bytes]) -> Any:
    """What a function makes of the values of some records; None does not count."""
    name, path = function
    if path is None:
        return len(records)
    columns, keys = Columns(codecs, (path,)), SortKeys(codecs, (Order(path),))
    values = [(keys.key(record, b""), columns.values(record)[0]) for record in records]
    values = [entry for entry in values if entry[1] is not None]
    if name == "count":
        return len(values)
    if name == "distinct":
        return len({key for key, _ in values})
    if name == "sum":
        return sum(value for _, value in values)
    if not values:
        return None
    if name == "avg":
        return sum(value for _, value in values) / len(values)
    return (min if name == "min" else max)(values)[1]
