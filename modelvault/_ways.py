"""The ways to the rows of a condition: what each gives, and what it leaves to be tested.

A *way* is a source of rows for the core (`_core/scan`) and the part of the condition that it makes true: some primary
keys, a range of them, ranges of an index, a union of ways, or every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from modelvault._core.keys import KeyCodec
from modelvault._covered import Covered, covered
from modelvault._frozen import frozen
from modelvault._ranges import Axis, Found, Path, Range, Ranges, both, ranges_of, successor
from modelvault.conditions import ALL, Condition, Every, Order, Some, Test
from modelvault.schema import Index, Schema

__all__ = [
    "EVERYTHING",
    "NOWHERE",
    "SEEK",
    "Density",
    "Estimate",
    "Finder",
    "Layout",
    "Parts",
    "Pick",
    "Plan",
    "Point",
    "Points",
    "Source",
    "Way",
    "alike",
    "are_points",
    "rest_of",
]

Source = tuple[Any, ...]
"""What `_core.scan.Scan` takes."""

Estimate = Callable[[str | None, bytes | None, bytes | None], float]
"""About how many entries an index (None: how many rows the collection) has from one key up to another."""

Density = Callable[[str | None], float]
"""About how many entries of an index (None: how many rows) there are to a page; 0 where one leaf has them all."""

Pick = tuple[Any, ...]
"""The name of a way."""

Point = tuple[str | None, KeyCodec]
"""Where rows with one value are found: in which index (None: by primary key), and what packs the value."""

Points = dict[Path, Point]
"""The same for each path that has an index of its own."""

EVERYTHING: Final = ("everything",)
SEEK: Final = 10.0  # a way down a tree, in rows read one after the other
RANGES: Final = 256  # of one index in one plan
DIVES: Final = 16  # estimates for one way

# What part of the rows satisfies a test that no index can tell about.
GUESSES: Final = {"eq": 0.05, "null": 0.1, "in": 0.15, "ne": 0.95, "between": 0.25, "contains": 0.1}
GUESS: Final = 0.3


class Layout:
    """What can be searched in a collection: its primary key and its indexes. older: schemas that rows may have, too."""

    __slots__ = ("axes", "covers", "key", "primary", "schema")

    def __init__(self, schema: Schema, older: Sequence[Schema] = ()) -> None:
        self.schema: Schema = schema
        self.covers: dict[str, Covered] = {index.name: covered(schema, older, index) for index in schema.indexes}
        self.primary: Path = (schema.primary,)
        self.key: dict[Path, Axis] = {self.primary: Axis(typed(schema, self.primary), open=True)}
        paths = [path for index in schema.indexes for path in index.paths]
        self.axes: dict[Path, Axis] = {path: Axis(typed(schema, path)) for path in paths}

    def points(self) -> Points:
        """Where rows with one value at a path are found, if there is an index of just this path."""
        found: Points = {}
        for index in sorted(self.schema.indexes, key=lambda index: not index.unique):
            if len(index.paths) == 1 and index.paths[0] not in found:
                found[index.paths[0]] = index.name, self.axes[index.paths[0]].codec
        found[self.primary] = None, self.key[self.primary].codec
        return found


def typed(schema: Schema, path: Path) -> Any:
    """The type at the path of an index or of the primary key."""
    type = schema.find(path)
    assert type is not None
    return type


@frozen
class Way:
    """A source of rows, the parts of the condition that it makes true, and about how many rows it gives.

    pick: its name among the ways of a condition. columns: the ranges of each path that it looks for, in the order of
    the index. fixed: how many of them, at the beginning, are one value. parts: the ways of a union.
    """

    pick: Pick
    source: Source
    used: tuple[Condition, ...] = ()
    rows: float = 0.0
    seeks: int = 1
    index: Index | None = None
    columns: tuple[tuple[Path, Ranges], ...] = ()
    fixed: int = 0
    parts: tuple[Way, ...] = ()

    @property
    def kind(self) -> str:
        """keys, rows, entries or union."""
        kind: str = self.source[0]
        return kind


class Plan(NamedTuple):
    """A way, and what is left to do.

    rest: what is still to be tested. order, desc: the order without what does not matter; `desc` is the direction of
    the primary key behind it. sorts: the rows have to be sorted so. lead: what stands in the source's entries before
    the components that `order` names: where rows are not sorted, the source resumes behind lead + components + primary
    key. covers: all that is asked is in the entries, no row is looked at. reasons: why, in words.
    """

    way: Way
    source: Source
    rest: Condition
    order: tuple[Order, ...] = ()
    desc: bool = False
    sorts: bool = False
    backward: bool = False
    lead: bytes = b""
    covers: bool = False
    reasons: tuple[str, ...] = ()


NOWHERE: Final = Way(("nowhere",), ("keys", ()))


class Parts:
    """A condition taken apart: what must hold together, and what that leaves of each path."""

    def __init__(self, layout: Layout, condition: Condition) -> None:
        self.parts = tuple(conjuncts(condition))
        self.ranges: dict[Path, Ranges] = {}
        self.elements: list[tuple[Found, Condition]] = []
        self.keys: Ranges | None = None
        self.exact: dict[Path, list[Condition]] = {}
        self.key_exact: list[Condition] = []
        self.found: dict[int, Found] = {}
        self.empty = False
        for part in self.parts:
            self._add(layout, part)

    def _add(self, layout: Layout, part: Condition) -> None:
        """Add one of the conditions that must all hold."""
        self.empty = self.empty or (isinstance(part, Some) and not part.parts)
        key = ranges_of(part, layout.key)
        if key is not None:
            self.keys = key.ranges if self.keys is None else both(self.keys, key.ranges)
            self.key_exact += [part] if key.exact else []
            self.empty = self.empty or not self.keys
        found = ranges_of(part, layout.axes)
        if found is None:
            return
        self.found[id(part)] = found
        if layout.axes[found.path].many:
            self.elements.append((found, part))
            self.empty = self.empty or not found.ranges
            return
        known = self.ranges.get(found.path)
        self.ranges[found.path] = found.ranges if known is None else both(known, found.ranges)
        self.empty = self.empty or not self.ranges[found.path]
        if found.exact:
            self.exact.setdefault(found.path, []).append(part)

    def element(self, path: Path) -> tuple[Found, Condition] | None:
        """The narrowest test of the elements of a list."""
        tests = [test for test in self.elements if test[0].path == path]
        return min(tests, key=lambda test: (not are_points(test[0].ranges), len(test[0].ranges)), default=None)


def conjuncts(condition: Condition) -> Iterator[Condition]:
    """The conditions that hold together."""
    if isinstance(condition, Every):
        for part in condition.parts:
            yield from conjuncts(part)
    else:
        yield condition


def are_points(ranges: Ranges) -> bool:
    """Whether each range is a single value."""
    return all(part.point for part in ranges)


def alike(index: str | None) -> float:
    """In place of a density, where none is known."""
    return 0.0


class Finder:
    """All ways to the rows of a condition."""

    def __init__(self, layout: Layout, count: float, estimate: Estimate, density: Density = alike) -> None:
        self.layout = layout
        self.count = count
        self.estimate = estimate
        self.density = density
        self._measured: dict[Any, float] = {}

    def ways(self, parts: Parts) -> Iterator[Way]:
        """The ways that make a part of the condition true; every row is not among them."""
        if parts.keys is not None:
            yield self.by_key(parts)
        for index in self.layout.schema.indexes:
            way = self.by_index(parts, index)
            if way is not None:
                yield way
        for position in range(len(parts.parts)):
            way = self.by_union(parts, position)
            if way is not None:
                yield way

    def everything(self) -> Way:
        """Every row."""
        return Way(EVERYTHING, ("rows", None, None), rows=self.count)

    def picked(self, parts: Parts, pick: Pick) -> Iterator[Way | None]:
        """The way of that name, if this condition has it."""
        if pick == EVERYTHING:
            yield self.everything()
        elif pick[0] == "key" and parts.keys is not None:
            yield self.by_key(parts)
        elif pick[0] == "index":
            yield self.by_index(parts, pick[1])
        elif pick[0] == "union":
            yield self.by_union(parts, pick[1])

    def by_key(self, parts: Parts) -> Way:
        """Through the primary tree: some keys, or ranges of them."""
        keys = parts.keys
        assert keys is not None
        columns = ((self.layout.primary, keys),)
        used = tuple(parts.key_exact)
        if are_points(keys):
            source: Source = ("keys", tuple(key.low for key in keys))
            return Way(("key",), source, used, len(keys), len(keys), columns=columns)
        sources = tuple(("rows", key.low or None, key.high) for key in keys)
        rows = self.measure(None, [source[1:] for source in sources])
        source = sources[0] if len(sources) == 1 else ("union", sources)
        return Way(("key",), source, used, rows, len(keys), columns=columns)

    def by_index(self, parts: Parts, index: Index) -> Way | None:
        """Through an index: some values of its first paths, then ranges of the next one."""
        columns: list[tuple[Path, Ranges]] = []
        used: list[Condition] = []
        prefixes = [b""]
        fixed = 0
        for path in index.paths:
            ranges, exact = self.column(parts, path)
            if ranges is None or len(ranges) * len(prefixes) > RANGES:
                break
            columns.append((path, ranges))
            used += exact
            if not are_points(ranges):
                return self.through(index, joined(prefixes, ranges), columns, used, fixed)
            fixed += fixed == len(columns) - 1 and len(ranges) == 1
            prefixes = [prefix + part.low for prefix in prefixes for part in ranges]
        if not columns:
            return None
        if len(columns) == len(index.paths) and parts.keys is not None and len(prefixes) * len(parts.keys) <= RANGES:
            columns.append((self.layout.primary, parts.keys))
            used += parts.key_exact
            return self.through(index, joined(prefixes, parts.keys), columns, used, fixed)
        whole = [(prefix, successor(prefix)) for prefix in prefixes]
        return self.through(index, whole, columns, used, fixed)

    def column(self, parts: Parts, path: Path) -> tuple[Ranges | None, list[Condition]]:
        """What the condition leaves of one path of an index, and what of the condition that is."""
        if not self.layout.axes[path].many:
            return parts.ranges.get(path), parts.exact.get(path, [])
        test = parts.element(path)
        return (None, []) if test is None else (test[0].ranges, [test[1]] if test[0].exact else [])

    def through(
        self,
        index: Index,
        ranges: list[tuple[bytes, bytes | None]],
        columns: list[tuple[Path, Ranges]],
        used: list[Condition],
        fixed: int,
    ) -> Way | None:
        """The way through these ranges of an index; None where it does not have all rows."""
        distinct = False
        for position, path in enumerate(index.paths):
            if self.layout.axes[path].many:
                if position >= len(columns):
                    return None  # a row with an empty list has no entry
                one = columns[position][1]
                distinct = len(one) > 1 or not all(part.point for part in one)
        if index.unique and len(columns) >= len(index.paths) and not any_none(columns):
            rows = float(len(ranges))
        else:
            rows = self.measure(index.name, ranges)
        source = ("entries", index.name, tuple(ranges), distinct)
        return Way(("index", index), source, tuple(used), rows, len(ranges), index, tuple(columns), fixed)

    def by_union(self, parts: Parts, position: int) -> Way | None:
        """Each part of an OR by its own best way."""
        some = parts.parts[position]
        if not isinstance(some, Some) or id(some) in parts.found:
            return None
        ways: list[Way] = []
        complete = True
        for part in some.parts:
            inner = Parts(self.layout, part)
            if inner.empty:
                continue
            best = min(self.ways(inner), key=lambda way: way.rows + SEEK * way.seeks, default=None)
            if best is None:
                return None
            complete = complete and rest_of(inner.parts, best) == ALL
            ways.append(best)
        if sum(way.seeks for way in ways) > RANGES:
            return None
        sources = tuple(source for way in ways for source in (way.source[1] if way.kind == "union" else (way.source,)))
        rows = sum(way.rows for way in ways)
        used = (some,) if complete else ()
        seeks = sum(way.seeks for way in ways)
        return Way(("union", position), ("union", sources), used, rows, seeks, parts=tuple(ways))

    def measure(self, index: str | None, ranges: list[Any]) -> float:
        """About how many entries the ranges have."""
        name = index, *ranges[:DIVES]
        if name not in self._measured:
            self._measured[name] = sum(self.estimate(index, low, high) for low, high in name[1:])
        return self._measured[name] * max(len(ranges) / DIVES, 1)

    def fraction(self, parts: Parts, part: Condition) -> float:
        """What part of the rows satisfies a condition, as far as an index or the primary key can tell."""
        key = ranges_of(part, self.layout.key)
        if key is not None:
            return self.share(None, key.ranges)
        found = parts.found.get(id(part))
        if found is not None:
            for index in self.layout.schema.indexes:
                if index.paths[0] == found.path and not self.layout.axes[found.path].many:
                    return self.share(index.name, found.ranges)
        if isinstance(part, Some):
            return min(1.0, sum(GUESSES.get(one.op, GUESS) if isinstance(one, Test) else GUESS for one in part.parts))
        return GUESSES.get(part.op, GUESS) if isinstance(part, Test) else 1 - GUESS

    def share(self, index: str | None, ranges: Ranges) -> float:
        """The part of the rows that lie in these ranges, 0 to 1."""
        return min(1.0, self.measure(index, [part[:2] for part in ranges]) / max(self.count, 1.0))


def any_none(columns: list[tuple[Path, Ranges]]) -> bool:
    """Is one of the values None? A unique index may have it any number of times."""
    return any(part.low == b"\x02" for _, ranges in columns for part in ranges)


def joined(prefixes: list[bytes], ranges: tuple[Range, ...]) -> list[tuple[bytes, bytes | None]]:
    """Each range behind each prefix."""
    return [
        (prefix + part.low, successor(prefix) if part.high is None else prefix + part.high)
        for prefix in prefixes
        for part in ranges
    ]


def rest_of(parts: tuple[Condition, ...], way: Way) -> Condition:
    """What a way leaves to be tested."""
    rest = tuple(part for part in parts if not any(part is used for used in way.used))
    return rest[0] if len(rest) == 1 else Every(rest) if rest else ALL
