"""Terms computed in Python, where the engine does not: NULL in, NULL out; a condition is true, false or NULL.

`compiled` makes a function of a row. Comparing and computing with values that do not go together is a TypeError.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from modelvault._sql.errors import NotSupportedError
from modelvault._sql.terms import Call, Column, Constant, Slot, Term

__all__ = ["compiled", "constant", "fitted", "kind_of", "pattern_of", "with_fits"]

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
    subject, low, high = operands

    def above(row: tuple[Any, ...]) -> bool | None:
        value, end = subject(row), low(row)
        return None if value is None or end is None else ordered(operator.ge)(value, end)

    def below(row: tuple[Any, ...]) -> bool | None:
        value, end = subject(row), high(row)
        return None if value is None or end is None else ordered(operator.le)(value, end)

    return conjunction([above, below])


def case(operands: list[Compute]) -> Compute:
    branches = list(zip(operands[:-1:2], operands[1:-1:2], strict=True))
    rest = operands[-1]

    def compute(row: tuple[Any, ...]) -> Any:
        for condition, result in branches:
            if condition(row):
                return result(row)
        return rest(row)

    return compute


def coalesce(operands: list[Compute]) -> Compute:
    return lambda row: next((value for operand in operands if (value := operand(row)) is not None), None)


def concat(operands: list[Compute]) -> Compute:
    return lambda row: "".join(text(value) for operand in operands if (value := operand(row)) is not None)


def nullif(operands: list[Compute]) -> Compute:
    one, other = operands

    def compute(row: tuple[Any, ...]) -> Any:
        value, unwanted = one(row), other(row)
        return None if value is not None and unwanted is not None and equal(value, unwanted) else value

    return compute


def same(operands: list[Compute]) -> Compute:
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


# Functions that NULL does not reach


def equal(one: Any, other: Any) -> bool:
    """Equality; a type that never equals the other is a mistake rather than false."""
    if one.__class__ is not other.__class__:
        one, other = together(one, other)
    return bool(one == other)


def ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def function(one: Any, other: Any) -> bool:
        if one.__class__ is not other.__class__:
            one, other = together(one, other)
        return bool(compare(one, other))

    return function


def together(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values of different classes as ones that compare: numbers do, and text with what can be written as text."""
    if isinstance(one, NUMBER) and isinstance(other, NUMBER):
        return one, other
    for kind, cls in CLASSES.items():
        if isinstance(one, cls) and not isinstance(other, cls):
            return one, fitted(kind, other)
        if isinstance(other, cls) and not isinstance(one, cls):
            return fitted(kind, one), other
    if isinstance(one, type(other)) or isinstance(other, type(one)):
        return one, other
    raise TypeError(f"{type(one).__name__} and {type(other).__name__} cannot be compared")


NUMBER: Final = (int, float, Decimal)
CLASSES: Final[dict[str, type]] = {"timestamp": datetime, "date": date, "time": time, "uuid": UUID}


def number(value: Any) -> Any:
    if not isinstance(value, NUMBER):
        raise TypeError(f"{value!r} is not a number")
    return value


def arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def function(one: Any, other: Any) -> Any:
        one, other = number(one), number(other)
        if isinstance(one, float) and isinstance(other, Decimal):
            other = float(other)
        elif isinstance(other, float) and isinstance(one, Decimal):
            one = float(one)
        return compute(one, other)

    return function


def divide(one: Any, other: Any) -> Any:
    """Integers divide to an integer, towards zero, as in SQL."""
    if not other:
        raise ZeroDivisionError("division by zero")
    if isinstance(one, int) and isinstance(other, int):
        quotient = abs(one) // abs(other)
        return quotient if (one < 0) == (other < 0) else -quotient
    return one / other


def remainder(one: Any, other: Any) -> Any:
    return one - other * divide(one, other) if isinstance(one, int) and isinstance(other, int) else one % other


def text(value: Any) -> str:
    """A value as SQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode()
    return str(value)


def pattern_of(pattern: Any, escape: Any = "\\") -> str:
    """A LIKE pattern with a backslash as its escape."""
    if not isinstance(pattern, str) or not isinstance(escape, str) or len(escape) > 1:
        raise TypeError("LIKE takes a text, and ESCAPE one character")
    if escape == "\\":
        return pattern
    doubled = pattern.replace("\\", "\\\\")
    if not escape:
        return doubled
    return re.sub(f"{re.escape(escape)}(.)", lambda found: "\\" + found[1], doubled, flags=re.DOTALL)


@lru_cache(256)
def expression_of(pattern: str, flags: int) -> re.Pattern[str]:
    """A LIKE pattern as a regular expression."""
    source, escaped = "", False
    for letter in pattern:
        if escaped or letter not in "\\%_":
            source, escaped = source + re.escape(letter), False
        elif letter == "\\":
            escaped = True
        else:
            source += ".*" if letter == "%" else "."
    return re.compile(source, flags | re.DOTALL)


def like(flags: int) -> Callable[..., bool]:
    def function(value: Any, pattern: Any, escape: Any = "\\") -> bool:
        return expression_of(pattern_of(pattern, escape), flags).fullmatch(text(value)) is not None

    return function


def found(value: Any, pattern: str) -> bool:
    """Is the regular expression somewhere in the value?"""
    try:
        return re.search(pattern, text(value)) is not None
    except re.error as error:
        raise ValueError(f"invalid regular expression {pattern!r}: {error}") from None


def substring(value: Any, start: int, length: int | None = None) -> Any:
    """From the place `start`, counted from 1 or, negative, from the end."""
    value = value if isinstance(value, bytes) else text(value)
    begin = start - 1 if start > 0 else max(len(value) + start, 0) if start < 0 else 0
    return value[begin:] if length is None else value[begin : begin + max(length, 0)]


def rounded(value: Any, digits: int = 0) -> Any:
    """Half away from zero."""
    if isinstance(value, int):
        return value
    exact = Decimal(repr(value)) if isinstance(value, float) else number(value)
    found = exact.quantize(Decimal(1).scaleb(-digits), rounding="ROUND_HALF_UP") if exact.is_finite() else exact
    return float(found) if isinstance(value, float) else found


def cast(value: Any, target: str) -> Any:
    """A value as another type, by its SQL name."""
    name = re.split(r"[( ]", target, maxsplit=1)[0]
    for names, convert in CASTS:
        if name in names:
            return convert(value)
    raise NotSupportedError(f"query error: CAST to {target} is not supported")


def to_int(value: Any) -> int:
    return int(Decimal(value)) if isinstance(value, str) else int(value)


def to_bool(value: Any) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in WORDS:
            raise ValueError(f"{value!r} is no bool")
        return WORDS[word]
    return bool(value)


WORDS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def to_decimal(value: Any) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


CASTS: Final[tuple[tuple[frozenset[str], Callable[[Any], Any]], ...]] = (
    (frozenset(("int", "integer", "bigint", "smallint", "tinyint", "int64")), to_int),
    (frozenset(("real", "float", "double", "float64")), float),
    (frozenset(("text", "varchar", "char", "string", "nvarchar")), text),
    (frozenset(("bool", "boolean")), to_bool),
    (frozenset(("decimal", "numeric")), to_decimal),
    (frozenset(("date",)), lambda value: fitted("date", value)),
    (frozenset(("time",)), lambda value: fitted("time", value)),
    (frozenset(("timestamp", "datetime", "timestamptz")), lambda value: fitted("timestamp", value)),
    (frozenset(("uuid",)), lambda value: fitted("uuid", value)),
    (frozenset(("blob", "bytes", "bytea", "varbinary", "binary")), lambda value: fitted("bytes", value)),
)

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "=": equal,
    "<>": lambda one, other: not equal(one, other),
    "<": ordered(operator.lt),
    "<=": ordered(operator.le),
    ">": ordered(operator.gt),
    ">=": ordered(operator.ge),
    "+": arithmetic(operator.add),
    "-": arithmetic(operator.sub),
    "*": arithmetic(operator.mul),
    "/": arithmetic(divide),
    "%": arithmetic(remainder),
    "||": lambda one, other: text(one) + text(other),
    "not": operator.not_,
    "neg": lambda value: -number(value),
    "abs": lambda value: abs(number(value)),
    "round": rounded,
    "lower": lambda value: text(value).lower(),
    "upper": lambda value: text(value).upper(),
    "length": lambda value: len(value) if isinstance(value, bytes | list) else len(text(value)),
    "trim": lambda value: text(value).strip(),
    "substr": substring,
    "replace": lambda value, old, new: text(value).replace(text(old), text(new)) if old else text(value),
    "min": min,
    "max": max,
    "cast": cast,
    "like": like(0),
    "ilike": like(re.IGNORECASE),
    "regexp": found,
}


# Kinds


def fitted(kind: str, value: Any) -> Any:
    """A value as a field of this kind takes it: what SQL writes as text or as a number. Others are left as they are."""
    convert = FITS.get(kind)
    try:
        return value if convert is None else convert(value)
    except (ValueError, InvalidOperation):
        raise ValueError(f"{value!r} is no {kind}") from None


def fit_timestamp(value: Any) -> Any:
    """Microseconds since 1970. Text without an offset is UTC; a naive datetime is local time, as 0.16 has it."""
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc)
    elif isinstance(value, str | date):
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", str(value).strip()))
        moment = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
    else:
        return value
    return (moment - EPOCH) // timedelta(microseconds=1)


def fit_date(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(value.strip()) if isinstance(value, str) else value


def fit_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float | Decimal) and value == value // 1 else value


EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)

FITS: Final[dict[str, Callable[[Any], Any]]] = {
    "timestamp": fit_timestamp,
    "date": fit_date,
    "time": lambda value: time.fromisoformat(value.strip()) if isinstance(value, str) else value,
    "uuid": lambda value: UUID(value.strip()) if isinstance(value, str) else value,
    "decimal": lambda value: to_decimal(value) if isinstance(value, str | int | float) else value,
    "float64": lambda value: float(value) if isinstance(value, Decimal) else value,
    "bytes": lambda value: value.encode() if isinstance(value, str) else value,
    "bool": lambda value: bool(value) if isinstance(value, int) and value in (0, 1) else value,
    **dict.fromkeys(("int", "int64", "uint64"), fit_integer),
}

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
        return cast_kind(term.operands[1])
    results = term.operands
    if term.function == "case":
        results = (*term.operands[1:-1:2], term.operands[-1])
    kinds = [kind for kind in map(kind_of, results) if kind is not None]
    if "float64" in kinds:
        return "float64"
    return kinds[0] if kinds else None


def cast_kind(target: Term) -> str | None:
    samples = {to_int: "int", float: "float64", text: "string", to_bool: "bool", to_decimal: "decimal"}
    if not isinstance(target, Constant):
        return None
    name = re.split(r"[( ]", str(target.value), maxsplit=1)[0]
    for names, convert in CASTS:
        if name in names:
            return samples.get(convert, "timestamp" if name in ("datetime", "timestamptz") else name)
    return None
