"""Terms computed in Python, where the engine does not: NULL in, NULL out; a condition is true, false or NULL.

`compiled` makes a function of a row. Comparing and computing with values that do not go together is a TypeError.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from modelvault._sql.functions import FUNCTIONS, cast_kind, equal, fitted, ordered, text
from modelvault._sql.terms import Call, Column, Constant, Slot, Term

__all__ = ["compiled", "constant", "kind_of", "with_fits"]

Compute = Callable[[tuple[Any, ...]], Any]

COMPARING: Final = frozenset(("=", "<>", "<", "<=", ">", ">=", "is", "in", "between"))
LOGIC: Final = COMPARING | {"like", "ilike", "regexp", "and", "or", "not", "is null", "is true", "is false"}


def compiled(term: Term, places: Mapping[tuple[str, ...], int]) -> Compute:
    """The function that computes a term of a row; `places` says where in it each column is."""
    if isinstance(term, Constant):
        value = term.value
        return lambda row: value
    if isinstance(term, Column):
        return operator.itemgetter(places[term.path])
    if isinstance(term, Slot):
        return operator.itemgetter(term.number)
    assert isinstance(term, Call), term
    operands = [compiled(operand, places) for operand in term.operands]
    special = SPECIAL.get(term.function)
    if special is not None:
        return special(operands)
    function = FUNCTIONS[term.function]
    if len(operands) == 1:
        (only,) = operands
        return lambda row: None if (value := only(row)) is None else function(value)
    if len(operands) == 2:
        one, other = operands
        return lambda row: (
            None if (left := one(row)) is None or (right := other(row)) is None else function(left, right)
        )

    def compute(row: tuple[Any, ...]) -> Any:
        values = [operand(row) for operand in operands]
        return None if None in values else function(*values)

    return compute


def constant(term: Term) -> Term:
    """The term with what does not depend on a row computed."""
    if not isinstance(term, Call):
        return term
    operands = tuple(constant(operand) for operand in term.operands)
    if all(isinstance(operand, Constant) for operand in operands):
        return Constant(compiled(Call(term.function, operands), {})(()))
    return Call(term.function, operands)


def with_fits(term: Term) -> Term:
    """The term with the constants that are compared with a column as values of the column's kind."""
    if not isinstance(term, Call):
        return term
    operands = [with_fits(operand) for operand in term.operands]
    kinds = [operand.kind for operand in operands if isinstance(operand, Column | Slot) and operand.kind is not None]
    if term.function in COMPARING and kinds:
        operands = [
            Constant(fitted(kinds[0], operand.value)) if isinstance(operand, Constant) else operand
            for operand in operands
        ]
    return Call(term.function, tuple(operands))


# Three values


def conjunction(operands: list[Compute]) -> Compute:
    """AND: False if one is, else NULL if one is."""

    def compute(row: tuple[Any, ...]) -> bool | None:
        unknown = False
        for operand in operands:
            value = operand(row)
            if value is None:
                unknown = True
            elif not value:
                return False
        return None if unknown else True

    return compute


def disjunction(operands: list[Compute]) -> Compute:
    """OR: True if one is, else NULL if one is."""

    def compute(row: tuple[Any, ...]) -> bool | None:
        unknown = False
        for operand in operands:
            value = operand(row)
            if value is None:
                unknown = True
            elif value:
                return True
        return None if unknown else False

    return compute


def membership(operands: list[Compute]) -> Compute:
    """IN: the first operand among the others; NULL if that hangs on a NULL, False among none."""
    subject, *choices = operands

    def compute(row: tuple[Any, ...]) -> bool | None:
        value = subject(row)
        if not choices:
            return False
        if value is None:
            return None
        unknown = False
        for choice in choices:
            other = choice(row)
            if other is None:
                unknown = True
            elif equal(value, other):
                return True
        return None if unknown else False

    return compute


def between(operands: list[Compute]) -> Compute:
    """BETWEEN: both comparisons, joined by AND."""
    subject, low, high = operands

    def above(row: tuple[Any, ...]) -> bool | None:
        value, end = subject(row), low(row)
        return None if value is None or end is None else ordered(operator.ge)(value, end)

    def below(row: tuple[Any, ...]) -> bool | None:
        value, end = subject(row), high(row)
        return None if value is None or end is None else ordered(operator.le)(value, end)

    return conjunction([above, below])


def case(operands: list[Compute]) -> Compute:
    """CASE: pairs of a condition and a result, and the result of ELSE."""
    branches = list(zip(operands[:-1:2], operands[1:-1:2], strict=True))
    rest = operands[-1]

    def compute(row: tuple[Any, ...]) -> Any:
        for condition, result in branches:
            if condition(row):
                return result(row)
        return rest(row)

    return compute


def coalesce(operands: list[Compute]) -> Compute:
    """The first value that is not NULL."""
    return lambda row: next((value for operand in operands if (value := operand(row)) is not None), None)


def concat(operands: list[Compute]) -> Compute:
    """The values as one text; NULL is none."""
    return lambda row: "".join(text(value) for operand in operands if (value := operand(row)) is not None)


def nullif(operands: list[Compute]) -> Compute:
    """The first value, NULL if it equals the second."""
    one, other = operands

    def compute(row: tuple[Any, ...]) -> Any:
        value, unwanted = one(row), other(row)
        return None if value is not None and unwanted is not None and equal(value, unwanted) else value

    return compute


def same(operands: list[Compute]) -> Compute:
    """IS NOT DISTINCT FROM: equality in which NULL equals NULL."""
    one, other = operands

    def compute(row: tuple[Any, ...]) -> bool:
        left, right = one(row), other(row)
        return left is right if left is None or right is None else equal(left, right)

    return compute


SPECIAL: Final[dict[str, Callable[[list[Compute]], Compute]]] = {
    "and": conjunction,
    "or": disjunction,
    "in": membership,
    "between": between,
    "case": case,
    "coalesce": coalesce,
    "concat": concat,
    "nullif": nullif,
    "is": same,
    "is null": lambda operands: lambda row: operands[0](row) is None,
    "is true": lambda operands: lambda row: bool(operands[0](row)),
    "is false": lambda operands: lambda row: (value := operands[0](row)) is not None and not value,
}


# Kinds

VALUE_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (Decimal, "decimal"),
    (str, "string"),
    (bytes, "bytes"),
    (datetime, "timestamp"),
    (date, "date"),
    (time, "time"),
    (UUID, "uuid"),
)
ARITHMETIC: Final = frozenset("+-*/%")
KINDS: Final = {
    **dict.fromkeys(LOGIC, "bool"),
    **dict.fromkeys(("lower", "upper", "trim", "substr", "replace", "||", "concat"), "string"),
    "length": "int",
}


def kind_of(term: Term) -> str | None:
    """The kind of a term's values, as far as it can be told."""
    if isinstance(term, Column | Slot):
        return term.kind
    if isinstance(term, Constant):
        return next((kind for cls, kind in VALUE_KINDS if isinstance(term.value, cls)), None)
    if not isinstance(term, Call):
        return None
    known = KINDS.get(term.function)
    if known is not None:
        return known
    if term.function == "cast":
        target = term.operands[1]
        return cast_kind(str(target.value)) if isinstance(target, Constant) else None
    results = term.operands
    if term.function == "case":
        results = (*term.operands[1:-1:2], term.operands[-1])
    kinds = [kind for kind in map(kind_of, results) if kind is not None]
    if term.function in ARITHMETIC and "timestamp" in kinds:
        return "int"  # microseconds
    if "float64" in kinds:
        return "float64"
    return kinds[0] if kinds else None
