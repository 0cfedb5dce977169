"""A statement that was planned before, for other parameters: most of its plan stays.

A parameter that stands beside a column of WHERE, in a comparison that has to hold for every row, changes nothing but
that comparison; one of LIMIT or OFFSET changes nothing but the number. Statements with parameters elsewhere are planned
anew each time, and so are values that the engine does not compare: NULL, or a fraction with an integer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from modelvault._sql.functions import fitted, pattern_of
from modelvault._sql.logic import MIRRORED, TESTS, conjuncts, every, joined
from modelvault._sql.names import given, plain
from modelvault._sql.plan import Plan, planned, whole
from modelvault._sql.terms import Call, Column, Constant, Parameter, Select, Term, parts, roots
from modelvault.conditions import ALL, Condition, Selection, Test
from modelvault.sources import Source
from modelvault.types import INTEGERS

__all__ = ["Statement"]

Key = int | str

OPERATORS: Final = {**TESTS, "between": "between", "in": "in", "like": "like"}
ANY_NUMBER: Final = (1 << 62) + 1  # in the place of a LIMIT that is a parameter


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column compared with parameters: `op` is that of a Test."""

    path: tuple[str, ...]
    kind: str
    op: str
    keys: tuple[Key, ...]

    def test(self, values: Any, source: Source) -> Condition | None:
        """The checked test with the parameters' values; None if the engine does not compare with them."""
        found: list[Any] = []
        for key in self.keys:
            value = fitted(self.kind, plain(values[key]))
            if value is None or (self.kind in INTEGERS and type(value) is not int):
                return None
            found.append(pattern_of(value) if self.op == "like" else value)
        try:
            return source.check(Test(self.path, self.op, tuple(found)))
        except OverflowError:
            return None


class Statement:
    """One text over one schema: `select` with columns for names, and its plan as far as parameters leave it alone."""

    __slots__ = ("_comparisons", "_limit", "_offset", "_plan", "primary", "select", "source")

    def __init__(self, select: Select, source: Source | None, primary: str) -> None:
        self.select = select
        self.source = source
        self.primary = primary
        self._plan: Plan | None = None
        self._comparisons: tuple[Comparison, ...] = ()
        self._limit = select.limit.key if isinstance(select.limit, Parameter) else None
        self._offset = select.offset.key if isinstance(select.offset, Parameter) else None
        lasting, comparisons = divided(select)
        if lasting is not None:
            self._plan = planned(lasting, None, source, primary)
            self._comparisons = comparisons

    def bound(self, parameters: Any) -> tuple[Plan, Selection]:
        """The plan with these parameters, and what the engine is asked in it. ProgrammingError if they do not fit."""
        values = given(self.select, parameters)
        plan = self._plan
        found = None if plan is None else self._selection(plan, values)
        if plan is None or found is None:
            plan = planned(self.select, parameters, self.source, self.primary)
            return plan, plan.selection
        if self._limit is None and self._offset is None:
            return plan, found
        return self._cut(plan, found, values)

    def _selection(self, plan: Plan, values: Any) -> Selection | None:
        """The selection with the comparisons; None if one of them cannot be the engine's."""
        if not self._comparisons:
            return plan.selection
        assert self.source is not None
        condition = plan.selection.condition
        tests = [] if condition == ALL else [condition]
        for comparison in self._comparisons:
            test = comparison.test(values, self.source)
            if test is None:
                return None
            tests.append(test)
        return plan.selection._replace(condition=tests[0] if len(tests) == 1 else every(tests))

    def _cut(self, plan: Plan, selection: Selection, values: Any) -> tuple[Plan, Selection]:
        """The same with the parameters of LIMIT and OFFSET, wherever the plan has them."""
        inside = plan.limit is None and not plan.start  # then the engine counts
        limit, offset = (selection.limit, selection.offset) if inside else (plan.limit, plan.start)
        if self._limit is not None:
            limit = whole(Constant(plain(values[self._limit])), "LIMIT")
        if self._offset is not None:
            offset = whole(Constant(plain(values[self._offset])), "OFFSET") or 0
        if inside:
            return plan, selection._replace(limit=limit, offset=offset)
        return replace(plan, limit=limit, start=offset), selection


def divided(select: Select) -> tuple[Select | None, tuple[Comparison, ...]]:
    """The statement without its parameters, and the comparisons with them; None if they stand elsewhere."""
    lasting: list[Term] = []
    found: list[Comparison] = []
    for term in [] if select.where is None else conjuncts(select.where):
        if any(isinstance(part, Parameter) for part in parts(term)):
            comparison = compared(term)
            if comparison is None:
                return None, ()
            found.append(comparison)
        else:
            lasting.append(term)
    number = Constant(ANY_NUMBER)
    rest = replace(
        select,
        where=joined(lasting) if lasting else None,
        limit=number if isinstance(select.limit, Parameter) else select.limit,
        offset=number if isinstance(select.offset, Parameter) else select.offset,
        parameters=0,
    )
    if any(isinstance(part, Parameter) for root in roots(rest) for part in parts(root)):
        return None, ()
    return rest, tuple(found)


def compared(term: Term) -> Comparison | None:
    """A comparison of a column with parameters only."""
    if not isinstance(term, Call):
        return None
    column, others, function = term.operands[0], term.operands[1:], term.function
    if isinstance(column, Parameter) and function in MIRRORED:
        column, others, function = others[0], (column,), MIRRORED[function]
    if function not in OPERATORS or not isinstance(column, Column) or not others:
        return None
    if (function == "between" and column.many) or (function == "like" and (column.kind != "string" or len(others) > 1)):
        return None
    keys = [other.key for other in others if isinstance(other, Parameter)]
    return Comparison(column.path, column.kind, OPERATORS[function], tuple(keys)) if len(keys) == len(others) else None
