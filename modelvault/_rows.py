"""Rows in batches: out of a collection as a plan finds them, and into one as an iterable yields them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

from modelvault.conditions import ALL, Every, Negation, Selection, Some, Test
from modelvault.expressions import spelled
from modelvault.query import RowIterator
from modelvault.schema import Index, Schema
from modelvault.targets import Target, Targets

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from modelvault._access import View
    from modelvault._store import Binding

__all__ = ["BATCH", "Rows", "Slices"]

M = TypeVar("M")

BATCH: Final = 64  # rows handled before other tasks get a chance: about 0.1 ms


class Opener(Protocol):
    """What rows need of their collection."""

    async def open_view(self) -> tuple[Binding, View, Callable[[Any], Any] | None]:
        """The stored collection, a state of the database to read it in, and the check of each row if there is one."""

    async def replace_rows(self, rows: list[tuple[Any, Any]]) -> int:
        """Put changed rows in place of others, all or none."""

    async def remove_rows(self, rows: list[Any]) -> int:
        """Delete rows, all or none."""


class Rows(Generic[M]):
    """An iterator over the rows that a selection asks for: one snapshot, one batch in memory.

    In a transaction it shows the transaction's own rows, as they are when a batch is read. It may be left at any
    point; `aclose` gives the snapshot up at once, else it goes with the object.
    """

    __slots__ = (
        "_after",
        "_batch",
        "_binding",
        "_check",
        "_done",
        "_left",
        "_plan",
        "_selection",
        "_source",
        "_test",
        "_view",
    )

    def __init__(self, source: Opener, selection: Selection) -> None:
        self._source = source
        self._selection = selection
        self._left = selection.limit
        self._batch: list[M] = []
        self._done = selection.limit == 0
        self._view: View | None = None
        self._after: bytes | None = None

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
        records = raw or self._test is not None
        face = None if records else self._binding.face
        rows: list[Any] = await self._view.read(lambda roots, wait: self._fetch(roots, face, wait))
        if self._test is not None:
            rows = [row for row in rows if self._test(row)]
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
            self._done = self._done or not self._left
        if self._done:
            self._view.close()
        if records and not raw:
            rows = [self._binding.face.decode(row) for row in rows]
        if self._check is not None and not raw:
            rows = [self._check(row) for row in rows]
        return rows

    async def _open(self) -> None:
        self._binding, self._view, self._check = await self._source.open_view()
        self._plan: Plan = choose(self._binding.store.schema, equalities(self._selection.condition) or ())
        self._test = self._binding.filter(self._plan.rest) if self._plan.rest else None

    def _fetch(self, roots: Any, face: Any, wait: bool) -> list[Any]:
        """One batch as the plan finds it, from where the last one ended. Nothing has moved on if it raises."""
        binding, plan = self._binding, self._plan
        if plan.key is not None:
            rows = binding.find_rows(roots, plan.key.values[0], face, wait)
            self._done = True
            return rows
        count = BATCH if self._left is None or self._test is not None else min(BATCH, self._left)
        if plan.index is not None:
            prefix = binding.prefix(plan.used)
            rows, after = binding.lookup(roots, plan.index.name, prefix, self._after, face, count, wait)
        else:
            rows, after = binding.scan(roots, self._after, face, count, wait)
        self._after = after
        self._done = after is None
        result: list[Any] = rows
        return result


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


def equalities(condition: Any) -> tuple[Test, ...] | None:
    """The condition as equalities of scalars, None if it is something else."""
    parts = condition.parts if isinstance(condition, Every) else (condition,)
    plain = all(
        isinstance(part, Test) and part.op == "eq" and not isinstance(part.values[0], list | tuple | set | frozenset)
        for part in parts
    )
    return cast("tuple[Test, ...]", parts) if plain else None


class Answers:
    """The answers to selections, from the rows of one collection."""

    __slots__ = ("_opener",)

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    @property
    def targets(self) -> Targets:
        """The fields that can be asked for."""
        raise AttributeError("targets")

    def rows(self, selection: Selection) -> RowIterator[Any]:
        """An iterator over the rows, of one snapshot."""
        simple = (
            equalities(selection.condition) is not None and selection._replace(condition=ALL, limit=None) == Selection()
        )
        targets = self.targets
        simple = simple and all(
            targets.find(part.path).keys is not None for part in equalities(selection.condition) or ()
        )
        return Rows(self._opener, selection) if simple else Found(self, selection)

    async def fetch(self, selection: Selection, most: int | None = None) -> list[Any]:
        """The rows; at most `most`."""
        if most is not None and (selection.limit is None or most < selection.limit):
            selection = selection._replace(limit=most)
        rows = self.rows(selection)
        if not isinstance(rows, Rows):
            return [row async for row in rows]
        found: list[Any] = []
        try:
            while not rows.ended:
                found += await rows.batch()
        finally:
            await rows.aclose()
        return found

    async def tally(self, selection: Selection) -> int:
        """How many rows there are."""
        rows = self.rows(selection)
        if not isinstance(rows, Rows):
            return len(await self.search(selection))
        count = 0
        try:
            while not rows.ended:
                count += len(await rows.batch(raw=True))
        finally:
            await rows.aclose()
        return count

    async def exists(self, selection: Selection) -> bool:
        """Is there a row?"""
        return bool(await self.fetch(selection, 1))

    async def page(self, selection: Selection, size: int) -> tuple[list[Any], bytes | None]:
        """At most `size` rows behind `selection.after`, and the position behind the last; None: there are no more."""
        found = await self.search(selection._replace(limit=size + 1))
        rows = [row for _, row, _ in found[:size]]
        return rows, found[size - 1][0] if len(found) > size else None

    async def aggregate(self, selection: Selection, functions: Any, groups: Any) -> list[tuple[Any, ...]]:
        """For each group, its values and those of the functions; without groups exactly one tuple."""
        table: dict[Any, tuple[Any, list[Any]]] = {} if groups else {(): ((), [])}
        targets = self.targets
        for _, row, plain in await self.search(selection._replace(fields=None, shape="row")):
            values = tuple(value_at(row, path) for path in groups)
            key = tuple(sort_key(targets.find(path), plain, False) for path in groups)
            table.setdefault(key, (values, []))[1].append((row, plain))
        return [
            (*values, *(summary(targets, name, path, rows) for name, path in functions))
            for _, (values, rows) in sorted(table.items(), key=lambda item: item[0])
        ]

    async def update(self, selection: Selection, change: Callable[[Any], Any]) -> int:
        """Change the rows; how many there were."""
        found = await self.search(selection)
        return await self._opener.replace_rows([(row, change(row)) for _, row, _ in found])

    async def delete(self, selection: Selection) -> int:
        """Delete the rows; how many there were."""
        found = await self.search(selection)
        return await self._opener.remove_rows([row for _, row, _ in found])

    async def explain(self, selection: Selection, analyze: bool = False) -> str:
        """How the rows are found, in words."""
        text = "Plan:\n  CollectionScan\n"
        if selection.condition != ALL:
            text += f"  Filter {spelled(selection.condition)}\n"
        return text

    async def search(self, selection: Selection) -> list[tuple[bytes, Any, Any]]:
        """Sort key, row and dict of the rows, all in memory."""
        targets = self.targets
        rows: Rows[Any] = Rows(self._opener, Selection())
        records: list[bytes] = []
        while not rows.ended:
            records += await rows.batch(raw=True)
        binding, check = rows._binding, rows._check
        decode = binding.store.binding(None).face.decode
        found = []
        for record in records:
            plain = decode(record)
            if not holds(targets, selection.condition, plain):
                continue
            key = b"".join(sort_key(targets.find(term.path), plain, term.desc) for term in selection.order)
            last = sort_key(targets.find((binding.schema.primary,)), plain, False)
            if selection.order and selection.order[-1].desc:
                last = complement(last)
            if selection.after is None or key + last > selection.after:
                found.append((key + last, record, plain))
        found.sort(key=lambda entry: entry[0])
        made = [(key, self._shaped(selection, binding, check, record), plain) for key, record, plain in found]
        if selection.distinct and selection.fields is not None:
            seen: dict[str, Any] = {}
            for entry in made:
                seen.setdefault(repr(entry[1]), entry)
            made = list(seen.values())
        end = None if selection.limit is None else selection.offset + selection.limit
        return made[selection.offset : end]

    def _shaped(self, selection: Selection, binding: Any, check: Any, record: bytes) -> Any:
        row = binding.face.decode(record)
        if selection.fields is None:
            return row if check is None else check(row)
        if selection.shape == "tuple":
            return tuple(value_at(row, path) for path in selection.fields)
        result: dict[str, Any] = {}
        for path in selection.fields:
            project(result, row, path)
        return result


class Found:
    """An iterator over rows that were all looked up at the first step."""

    def __init__(self, answers: Answers, selection: Selection) -> None:
        self._answers = answers
        self._selection = selection
        self._rows: list[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._rows is None:
            self._rows = [row for _, row, _ in await self._answers.search(self._selection)][::-1]
        if not self._rows:
            raise StopAsyncIteration
        return self._rows.pop()

    async def aclose(self) -> None:
        """There are no more rows."""
        self._rows = []


def part_of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name)


def value_at(value: Any, path: tuple[str, ...]) -> Any:
    for at, name in enumerate(path):
        if isinstance(value, list | tuple | set | frozenset):
            return [value_at(item, path[at:]) for item in value]
        if value is None:
            return None
        value = part_of(value, name)
    return value


def project(result: dict[str, Any], row: Any, path: tuple[str, ...]) -> None:
    name, rest = path[0], path[1:]
    value = part_of(row, name)
    if not rest:
        result[name] = value
    elif isinstance(value, list):
        parts = result.setdefault(name, [{} for _ in value])
        for part, item in zip(parts, value, strict=True):
            project(part, item, rest)
    else:
        inner = result.setdefault(name, {})
        if value is not None:
            project(inner, value, rest)


def complement(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data)


def plain_key(target: Target, value: Any) -> bytes:
    assert target.keys is not None
    if target.type.kind == "timestamp" and isinstance(value, int):
        return b"\x01" + (value + (1 << 63)).to_bytes(8, "big") + b"\x01"
    return target.keys.tagged(value)


def sort_key(target: Target, plain: Any, desc: bool) -> bytes:
    value = value_at(plain, target.path)
    key = plain_key(target, value) if target.keys is not None else repr(value).encode()
    return complement(key) if desc else key


def elements(target: Target, plain: Any) -> list[Any]:
    value = value_at(plain, target.path)
    flat = [value]
    while any(isinstance(item, list | set | tuple | frozenset) for item in flat):
        flat = [
            part for item in flat for part in (item if isinstance(item, list | set | tuple | frozenset) else [item])
        ]
    return flat


def holds(targets: Targets, condition: Any, plain: Any) -> bool:
    if isinstance(condition, Every):
        return all(holds(targets, part, plain) for part in condition.parts)
    if isinstance(condition, Some):
        return any(holds(targets, part, plain) for part in condition.parts)
    if isinstance(condition, Negation):
        return not holds(targets, condition.part, plain)
    if condition.op == "ne":
        return not holds(targets, Test(condition.path, "eq", condition.values), plain)
    target = targets.find(condition.path)
    whole = value_at(plain, condition.path)
    if target.listed and condition.op == "eq" and isinstance(condition.values[0], list | tuple | set | frozenset):
        return whole is not None and [*whole] == [*condition.values[0]]
    return any(holds_one(target, condition, item) for item in elements(target, plain))


def holds_one(target: Target, test: Test, value: Any) -> bool:
    op, given = test.op, test.values
    if op == "null":
        return value is None
    if op == "in":
        return any(
            value is None if item is None else holds_one(target, Test(test.path, "eq", (item,)), value)
            for item in given
        )
    if value is None:
        return False
    if op == "like":
        return re.fullmatch(like(given[0]), value, re.DOTALL) is not None
    if op == "regex":
        return re.search(given[0], value) is not None
    if op in ("startswith", "endswith"):
        return bool(getattr(value, op)(given[0]))
    if op == "contains" and not target.listed:
        return given[0] in value
    if target.keys is None:
        return bool(value == given[0])
    mine, theirs = plain_key(target, value), [target.keys.tagged(item) for item in given]
    return {
        "eq": mine == theirs[0],
        "contains": mine == theirs[0],
        "lt": mine < theirs[0],
        "le": mine <= theirs[0],
        "gt": mine > theirs[0],
        "ge": mine >= theirs[0],
        "between": theirs[0] <= mine <= theirs[-1],
    }[op]


def like(pattern: str) -> str:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)


def summary(targets: Targets, name: str, path: Any, rows: list[Any]) -> Any:
    if path is None:
        return len(rows)
    target = targets.find(path)
    values = [(sort_key(target, plain, False), value_at(row, path)) for row, plain in rows]
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
    return (min if name == "min" else max)(values, key=lambda entry: entry[0])[1]
