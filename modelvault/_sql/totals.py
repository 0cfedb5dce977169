"""Rows summed up in Python, where the engine cannot: operands that are computed, sums of distinct values."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from modelvault._kinds import is_dict, is_series
from modelvault._sql.functions import NUMBER, instant
from modelvault._sql.plan import Grouping
from modelvault._sql.terms import Total

__all__ = ["from_engine", "hashable", "summed"]


class Sum:
    """One total of one group; NULL does not count."""

    __slots__ = ("count", "function", "seen", "value")

    def __init__(self, total: Total) -> None:
        self.function = total.function
        self.count = 0
        self.value: Any = None
        self.seen: set[Any] | None = set() if total.distinct else None

    def add(self, value: Any) -> None:
        """Take a value in."""
        if value is None:
            return
        if self.seen is not None:
            key = hashable(value)
            if key in self.seen:
                return
            self.seen.add(key)
        self.count += 1
        if self.function in ("sum", "avg"):
            if not isinstance(value, NUMBER):
                raise TypeError(f"{self.function}() needs numbers, not {value!r}")
            if isinstance(value, float) and isinstance(self.value, Decimal):
                self.value = float(self.value)
            elif isinstance(value, Decimal) and isinstance(self.value, float):
                value = float(value)
            self.value = value if self.value is None else plus(self.value, value)
        elif self.function != "count" and (self.value is None or self._better(value)):
            self.value = value

    def _better(self, value: Any) -> bool:
        """Whether the value takes the place of the least or greatest one so far."""
        one, other = instant(value), instant(self.value)
        return bool(one < other if self.function == "min" else one > other)

    def result(self) -> Any:
        """The total."""
        if self.function == "count":
            return self.count
        if self.function == "avg" and self.count:
            return self.value / self.count
        return self.value


def hashable(value: Any) -> Any:
    """What stands for a value in a set: equal for equal values."""
    members: set[Any] | frozenset[Any] = value
    if is_series(value):
        return tuple(map(hashable, value))
    if is_dict(value):
        return frozenset((key, hashable(inner)) for key, inner in value.items())
    return frozenset(map(hashable, members)) if isinstance(value, set | frozenset) else value


def summed(grouping: Grouping, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """For each group, in the order of its first row, its values and its totals; without groups exactly one."""
    table: dict[Any, tuple[tuple[Any, ...], list[Sum]]] = {}
    if not grouping.groups:
        table[()] = (), [Sum(total) for total in grouping.totals]
    for row in rows:
        values = tuple([group(row) for group in grouping.groups])
        key = hashable(values)
        if key not in table:
            table[key] = values, [Sum(total) for total in grouping.totals]
        for total, operand in zip(table[key][1], grouping.operands, strict=True):
            total.add(1 if operand is None else operand(row))
    return [(*values, *(total.result() for total in totals)) for values, totals in table.values()]


def from_engine(grouping: Grouping, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The engine's groups, with NULL for the sum of nothing."""
    if all(total.function != "sum" for total in grouping.totals):
        return rows
    found: list[tuple[Any, ...]] = []
    for row in rows:
        values = iter(row[len(grouping.paths) :])
        totals: list[Any] = []
        for total in grouping.totals:
            value = next(values)
            totals.append(value if total.function != "sum" or next(values) else None)
        found.append((*row[: len(grouping.paths)], *totals))
    return found


def plus(one: Any, other: Any) -> Any:
    """The sum of two numbers of kinds that go together."""
    return one + other
