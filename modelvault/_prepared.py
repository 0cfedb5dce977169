"""A plan without its values, for selections that differ in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from modelvault._ranges import Axis, successor
from modelvault._ways import NOWHERE, Layout, Plan, Source
from modelvault.conditions import ALL, Condition, Every, Test

__all__ = ["Prepared", "prepared"]

# A third of what `Plan(...)` takes; `tuple.__new__`, whose type leaves open what the tuple is of.
new_plan: Final[Callable[[type[Plan], tuple[Any, ...]], Plan]] = tuple.__dict__["__new__"]
LOWER: Final = {"ge": False, "gt": True}
UPPER: Final = {"lt": False, "le": True}


class End(NamedTuple):
    """What ends a range: the key of the value of the condition's part of this number, or the first key behind it."""

    number: int
    key: Callable[[Any], bytes]
    behind: Callable[[bytes], bytes | None] | None = None

    def of(self, parts: tuple[Test, ...]) -> bytes:
        """The end, of the parts of this condition."""
        key = self.key(parts[self.number].values[0])
        return key if self.behind is None else self.behind(key) or key


class Prepared(NamedTuple):
    """The plan of a form of selections; `of` puts values into it.

    equal: the values that the first paths of the index have. axis: of the next path, if it has a range, from `low` to
    `high`. rest: the numbers of the parts that are left to be tested. constant: the source has no values.
    """

    base: Plan
    equal: tuple[End, ...] = ()
    axis: Axis | None = None
    low: End | None = None
    high: End | None = None
    rest: tuple[int, ...] = ()
    constant: bool = False
    exact: bool = False

    def of(self, condition: Condition) -> Plan:
        """The plan for a condition of this form."""
        if self.constant:
            return self.base._replace(rest=condition)
        parts: Any = condition.parts if isinstance(condition, Every) else (condition,)
        source = self.source_of(parts)
        if source is None:
            return self.base._replace(way=NOWHERE, source=("keys", ()), rest=ALL, sorts=False, backward=False)
        rest: Condition = ALL
        if self.rest:
            left = tuple([parts[number] for number in self.rest])
            rest = left[0] if len(left) == 1 else Every(left)
        base = self.base
        return new_plan(Plan, (base[0], source, rest, *base[3:]))

    def source_of(self, parts: tuple[Test, ...]) -> Source | None:
        """The source for these values; None if there is no key between the ends."""
        prefix = b"".join([end.of(parts) for end in self.equal]) if self.equal else b""
        low, high = self.range_of(parts, prefix)
        if high is not None and low >= high:
            return None
        index = self.base.way.index
        if index is None:
            return ("keys", (low,)) if self.axis is None else ("rows", low or None, high)
        wrapped = self.base.source[0] == "union"
        base = self.base.source[1][0] if wrapped else self.base.source
        source = ("entries", index.name, ((low, high),), base[3])
        return ("union", (source,)) if wrapped else source

    def range_of(self, parts: tuple[Test, ...], prefix: bytes) -> tuple[bytes, bytes | None]:
        """The range behind a prefix."""
        axis = self.axis
        if axis is None:
            return prefix, prefix + b"\0" if self.exact else successor(prefix)
        low = prefix + (axis.values.low if self.low is None else self.low.of(parts))
        if self.high is not None:
            return low, prefix + self.high.of(parts)
        return low, successor(prefix) if axis.values.high is None else prefix + axis.values.high


def prepared(layout: Layout, condition: Condition, plan: Plan) -> Prepared | None:
    """What is the same in the plans of such selections; None where values decide about more than ends of ranges."""
    way = plan.way
    if not way.columns:
        return None if way.parts or way is NOWHERE else Prepared(plan, constant=True)
    parts = condition.parts if isinstance(condition, Every) else (condition,)
    tests = [part for part in parts if isinstance(part, Test)]
    if len(tests) < len(parts):
        return None
    used = [any(part is one for one in way.used) for part in parts]
    found = Prepared(plan, rest=tuple(number for number, one in enumerate(used) if not one))
    for position, (path, _) in enumerate(way.columns):
        open = way.index is None or position == len(way.index.paths)
        axis = layout.key[path] if open else layout.axes[path]
        here = [number for number, one in enumerate(used) if one and tests[number].path == path]
        if len(here) == 1 and tests[here[0]].op in ("eq", "contains"):
            found = found._replace(equal=(*found.equal, End(here[0], axis.key)), exact=open)
            continue
        lower, upper = (first_end(axis, tests, here, ops) for ops in (LOWER, UPPER))
        if not here or len(here) > (lower is not None) + (upper is not None):
            return None
        return found._replace(axis=axis, low=lower, high=upper)
    return found


def first_end(axis: Axis, tests: list[Test], numbers: list[int], ops: Mapping[str, bool]) -> End | None:
    """The end that the first test with one of these operators gives."""
    for number in numbers:
        if tests[number].op in ops:
            return End(number, axis.key, axis.behind if ops[tests[number].op] else None)
    return None
