"""What a condition leaves of the keys at one path: ranges, as an index or the primary tree has them.

A `Range` is `low <= key < high`; `Ranges` are some of them, ascending and apart. An `Axis` turns values into keys: the
tagged components of an index (none is the beginning of another), or the open keys of the primary tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, Final, NamedTuple

from modelvault._core.keys import KeyCodec
from modelvault.conditions import WHOLE, Condition, Negation, Some, Test
from modelvault.rules import bare
from modelvault.schema import Type

__all__ = ["Axis", "Bound", "Found", "Path", "Range", "Ranges", "both", "either", "ranges_of", "successor"]

COLLECTIONS: Final = frozenset(("list", "set", "frozenset", "vartuple"))
PLAIN: Final = r"(?s:[^%_\\]|\\.)*"  # compiled at its first use
"""What a LIKE pattern begins with, before its first wildcard."""

Path = tuple[str, ...]
Bound = tuple[str, Any]
"""Where an end of a range comes from: an operator, and the user's value."""


class Range(NamedTuple):
    """`low <= key < high`, to the end for None. point: one key. floor, ceiling: what the ends come from."""

    low: bytes
    high: bytes | None
    point: bool = False
    floor: Bound | None = None
    ceiling: Bound | None = None


Ranges = tuple[Range, ...]


class Found(NamedTuple):
    """A condition on one path, as ranges. exact: all rows of the ranges satisfy it, else some may not."""

    path: Path
    ranges: Ranges
    exact: bool = True


class Axis:
    """The keys of the values at one path. many: it leads to a list, and a row has a key for each element."""

    __slots__ = ("codec", "key", "kind", "many", "nothing", "open", "type", "values")

    def __init__(self, type: Type, *, open: bool = False) -> None:
        self.many = False
        while type.kind == "optional" or bare(type).kind in COLLECTIONS:
            self.many = self.many or type.kind in COLLECTIONS
            type = type.items[0]
        self.type = type
        self.kind = bare(type).kind
        self.open = open
        self.codec = KeyCodec(type)
        self.key = self.codec.pack if open else self.codec.tagged
        self.values = Range(b"", None) if open else Range(b"\x01", b"\x02")
        self.nothing = () if open else (Range(b"\x02", b"\x03", True, ("==", None), ("==", None)),)

    def behind(self, key: bytes) -> bytes | None:
        """The first possible key behind this one."""
        return key + b"\0" if self.open else successor(key)

    def at(self, value: Any) -> Ranges:
        """The key of a value, or of None."""
        if value is None:
            return self.nothing
        key = self.key(value)
        bound = ("==", value)
        return (Range(key, self.behind(key), True, bound, bound),)

    def compared(self, op: str, value: Any) -> Ranges:
        """The keys of the values that are lt, le, gt or ge this one."""
        key = self.key(value)
        edge = key if op in ("lt", "ge") else self.behind(key)
        assert edge is not None
        if op in ("lt", "le"):
            return proper(self.values.low, edge, None, ("<" if op == "lt" else "<=", value))
        return proper(edge, self.values.high, (">" if op == "gt" else ">=", value), None)

    def beginning(self, text: str | bytes) -> Ranges:
        """The keys of the strings that begin with `text`."""
        stored = text.encode() if isinstance(text, str) else bytes(text)
        low = stored if self.open else b"\x01" + stored.replace(b"\0", b"\0\xff")
        return (Range(low, successor(low), False, ("begins", text), None),)

    def complement(self, ranges: Ranges) -> Ranges:
        """All other keys, None among them."""
        found: list[Range] = []
        low: bytes = self.values.low
        floor: Bound | None = None
        for part in ranges:
            found += proper(low, part.low, floor, turned(part.floor, BELOW))
            if part.high is None:
                return tuple(found)
            low, floor = part.high, turned(part.ceiling, ABOVE)
        found += proper(low, self.nothing[0].high if self.nothing else None, floor)
        return tuple(found)


BELOW: Final = {">": "<=", ">=": "<", "==": "<"}
ABOVE: Final = {"<": ">=", "<=": ">", "==": ">"}


def turned(bound: Bound | None, other: Mapping[str, str]) -> Bound | None:
    """The end of what lies beyond this end."""
    return None if bound is None or bound[0] not in other else (other[bound[0]], bound[1])


def successor(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None if there is none."""
    rest = prefix.rstrip(b"\xff")
    return rest[:-1] + bytes((rest[-1] + 1,)) if rest else None


def proper(low: bytes, high: bytes | None, floor: Bound | None = None, ceiling: Bound | None = None) -> Ranges:
    """The range, if it can have a key."""
    return () if high is not None and low >= high else (Range(low, high, False, floor, ceiling),)


def meet(a: Range, b: Range) -> Ranges:
    """What two ranges have in common. Points are not divided."""
    low, floor = (a.low, a.floor) if a.low >= b.low else (b.low, b.floor)
    if b.high is None or (a.high is not None and a.high <= b.high):
        high, ceiling = a.high, a.ceiling
    else:
        high, ceiling = b.high, b.ceiling
    if high is not None and low >= high:
        return ()
    return (Range(low, high, a.point or b.point, floor, ceiling),)


def both(left: Ranges, right: Ranges) -> Ranges:
    """The keys that are in both."""
    found: list[Range] = []
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        found += meet(a, b)
        if b.high is None or (a.high is not None and a.high < b.high):
            i += 1
        else:
            j += 1
    return tuple(found)


def either(parts: Iterable[Ranges]) -> Ranges:
    """The keys that are in one of them."""
    found: list[Range] = []
    for part in sorted((part for ranges in parts for part in ranges), key=lambda part: (part.low, not part.point)):
        last = found[-1] if found else None
        if last is None or (last.high is not None and part.low > last.high) or (last.point and part.low != last.low):
            found.append(part)
        elif last.high is not None and (part.high is None or part.high > last.high):
            found[-1] = Range(last.low, part.high, False, last.floor, part.ceiling)
    return tuple(found)


def ranges_of(condition: Condition, axes: Mapping[Path, Axis]) -> Found | None:
    """A condition on one of the paths that have an axis, as ranges; None if it cannot be said so."""
    if isinstance(condition, Test):
        axis = axes.get(condition.path)
        return None if axis is None else of_test(condition, axis)
    if isinstance(condition, Negation):
        found = ranges_of(condition.part, axes)
        if found is None or not found.exact or axes[found.path].many:
            return None
        return Found(found.path, axes[found.path].complement(found.ranges))
    parts = [ranges_of(part, axes) for part in condition.parts]
    return joined([part for part in parts if part], axes, isinstance(condition, Some)) if parts and all(parts) else None


def joined(parts: list[Found], axes: Mapping[Path, Axis], some: bool) -> Found | None:
    """Conditions on one path as one. Two elements of a list may satisfy two tests: no range says that."""
    path = parts[0].path
    if any(part.path != path for part in parts) or (axes[path].many and not some):
        return None
    ranges = either(part.ranges for part in parts) if some else reduce(both, (part.ranges for part in parts))
    return Found(path, ranges, all(part.exact for part in parts))


def of_test(test: Test, axis: Axis) -> Found | None:
    """A single test as ranges."""
    op, values = test.op, test.values
    if op == "null":
        return None if axis.many else Found(test.path, axis.nothing)
    if any(isinstance(value, WHOLE) for value in values) or (axis.many and None in values):
        return None
    if op == "in":
        return Found(test.path, either(axis.at(value) for value in values))
    if op == "eq" or (op == "contains" and axis.many):
        return Found(test.path, axis.at(values[0]))
    if op == "ne":
        return None if axis.many else Found(test.path, axis.complement(axis.at(values[0])))
    if None in values:
        return None
    if op == "between":
        return Found(test.path, both(axis.compared("ge", values[0]), axis.compared("le", values[1])))
    if op in ("lt", "le", "gt", "ge"):
        return Found(test.path, axis.compared(op, values[0]))
    if op == "startswith" and axis.kind in ("string", "bytes"):
        return Found(test.path, axis.beginning(values[0]))
    return of_like(test, axis) if op == "like" and axis.type.kind == "string" else None


def of_like(test: Test, axis: Axis) -> Found | None:
    """A LIKE pattern by what it begins with."""
    plain = re.match(PLAIN, test.values[0])
    assert plain is not None
    text, rest = re.sub(r"\\(.)", r"\1", plain.group(), flags=re.DOTALL), test.values[0][plain.end() :]
    if not rest:
        return Found(test.path, axis.at(text))
    return Found(test.path, axis.beginning(text), rest == "%") if text else None
