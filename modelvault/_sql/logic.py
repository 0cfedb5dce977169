"""WHERE as conditions of the engine: SQL's three values in two.

A term that may be NULL becomes a pair of conditions: for which rows it is true, and for which it is false. NOT changes
the two about, so a row for which it is NULL is in neither. What the engine cannot test is left to be computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final

from modelvault._sql.functions import pattern_of
from modelvault._sql.terms import Call, Column, Constant, Term
from modelvault.conditions import ALL, NONE, Condition, Every, Negation, Some, Test
from modelvault.types import INTEGERS

__all__ = ["conjuncts", "every", "joined", "truth"]

Check = Callable[[Condition], Condition]


@dataclass(frozen=True, slots=True)
class Truth:
    """For which rows a term is true, and for which it is false."""

    holds: Condition
    fails: Condition


UNKNOWN: Final = Truth(NONE, NONE)
TESTS: Final = {"=": "eq", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
OPPOSITES: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def conjuncts(term: Term) -> list[Term]:
    """The terms that are joined by AND."""
    if isinstance(term, Call) and term.function == "and":
        return [part for operand in term.operands for part in conjuncts(operand)]
    return [term]


def joined(terms: list[Term]) -> Term:
    """The terms joined by AND."""
    return reduce(lambda one, other: Call("and", (one, other)), terms)


def every(parts: list[Condition]) -> Condition:
    """All of them, flat, without what always holds."""
    found: list[Condition] = []
    for part in parts:
        if part == NONE:
            return NONE
        found += part.parts if isinstance(part, Every) else (part,)
    return found[0] if len(found) == 1 else Every(tuple(found))


def some(parts: list[Condition]) -> Condition:
    """One of them, flat, without what never holds."""
    found: list[Condition] = []
    for part in parts:
        if part == ALL:
            return ALL
        found += part.parts if isinstance(part, Some) else (part,)
    return found[0] if len(found) == 1 else Some(tuple(found))


def truth(term: Term, check: Check) -> Truth | None:
    """A term as conditions, each checked against the schema; None if the engine cannot test it."""
    if isinstance(term, Constant):
        return UNKNOWN if term.value is None else Truth(ALL, NONE) if term.value else Truth(NONE, ALL)
    if isinstance(term, Column):
        return of_column(term, "eq", (True,), check) if term.kind == "bool" else None
    if not isinstance(term, Call):
        return None
    if term.function in ("and", "or", "not", "is true", "is false"):
        inner = [truth(operand, check) for operand in term.operands]
        return None if None in inner else of_logic(term.function, [part for part in inner if part is not None])
    return of_test(term, check)


def of_logic(function: str, parts: list[Truth]) -> Truth:
    """The truth of terms joined or negated."""
    holds, fails = [part.holds for part in parts], [part.fails for part in parts]
    if function == "and":
        return Truth(every(holds), some(fails))
    if function == "or":
        return Truth(some(holds), every(fails))
    if function == "not":
        return Truth(fails[0], holds[0])
    wanted = holds[0] if function == "is true" else fails[0]
    return Truth(wanted, opposite(wanted))


def opposite(condition: Condition) -> Condition:
    """The negation, without one around what always or never holds."""
    if condition in (ALL, NONE):
        return NONE if condition == ALL else ALL
    return Negation(condition)


def of_test(call: Call, check: Check) -> Truth | None:
    """The truth of a comparison of one column with constants."""
    column, *others = call.operands
    function = call.function
    if isinstance(column, Constant) and function in MIRRORED:
        column, others, function = others[0], [column], MIRRORED[function]
    if not isinstance(column, Column) or not all(isinstance(other, Constant) for other in others):
        return None
    values = tuple(other.value for other in others if isinstance(other, Constant))
    if function in ("is null", "is") and (function == "is null" or values[0] is None):
        null = check(Test(column.path, "null"))
        return Truth(null, Negation(null))
    if function == "in":
        return of_choice(column, values, check)
    if function == "is":
        return of_sameness(column, values[0], check)
    if function == "between":
        low, high = (Call(sign, (column, end)) for sign, end in zip((">=", "<="), others, strict=True))
        if None in values or column.many:
            return truth(Call("and", (low, high)), check)
        return of_column(column, "between", values, check, lambda: truth(Call("and", (low, high)), check))
    if None in values:
        return UNKNOWN if function in MIRRORED or function in ("like", "regexp") else None
    return of_comparison(column, function, values, check)


def of_comparison(column: Column, function: str, values: tuple[Any, ...], check: Check) -> Truth | None:
    """The truth of a comparison with a value."""
    if function in ("like", "regexp") and column.kind != "string":
        return None
    if function == "like":
        return of_column(column, "like", (pattern_of(*values),), check)
    if function == "regexp":
        return of_column(column, "regex", values, check)
    if function == "<>":
        equal = of_comparison(column, "=", values, check)
        return None if equal is None else Truth(equal.fails, equal.holds)
    if function not in TESTS:
        return None
    found = of_column(column, TESTS[function], values, check)
    if found is not None and function in OPPOSITES and not column.many:
        contrary = check(Test(column.path, TESTS[OPPOSITES[function]], values))
        return Truth(found.holds, contrary)
    return found


def of_choice(column: Column, values: tuple[Any, ...], check: Check) -> Truth | None:
    """IN: with NULL among the choices it is never false."""
    known = tuple(value for value in values if value is not None)
    if not values:
        return Truth(NONE, ALL)
    if not known:
        return UNKNOWN
    found = of_column(column, "in", known, check)
    return found if found is None or len(known) == len(values) else Truth(found.holds, NONE)


def of_sameness(column: Column, value: Any, check: Check) -> Truth | None:
    """IS: never NULL."""
    found = of_column(column, "eq", (value,), check)
    return None if found is None else Truth(found.holds, Negation(found.holds))


def of_column(
    column: Column, op: str, values: tuple[Any, ...], check: Check, fails: Callable[[], Truth | None] | None = None
) -> Truth | None:
    """The truth of a test: false where it does not hold and the column is not NULL. None: no such value fits."""
    if column.kind in INTEGERS and any(isinstance(value, float | Decimal) for value in values):
        return None  # a fraction: compared as a number, in Python
    try:
        holds = check(Test(column.path, op, values))
    except OverflowError:
        return None
    if fails is not None:
        other = fails()
        return None if other is None else Truth(holds, other.fails)
    return Truth(holds, every([Negation(holds), Negation(check(Test(column.path, "null")))]))
