"""The functions of SQL on values that are not NULL, and values as a column of a kind takes them.

Comparing and computing with values that do not go together is a TypeError.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from modelvault._kinds import is_list
from modelvault._sql.errors import NotSupportedError

__all__ = ["CASTS", "FUNCTIONS", "NUMBER", "cast_kind", "equal", "fitted", "instant", "ordered", "pattern_of", "text"]


def equal(one: Any, other: Any) -> bool:
    """Equality; a type that never equals the other is a mistake rather than false."""
    if one.__class__ is not other.__class__ or one.__class__ is datetime:
        one, other = together(one, other)
    return bool(one == other)


def ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    """The comparison of two values that are not NULL, brought to one type before."""

    def function(one: Any, other: Any) -> bool:
        if one.__class__ is not other.__class__ or one.__class__ is datetime:
            one, other = together(one, other)
        return bool(compare(one, other))

    return function


def together(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values as ones that compare: numbers do, datetimes by their instant, and text with what it can stand for."""
    if isinstance(one, datetime) or isinstance(other, datetime):
        return moment(one), moment(other)
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
MOST_DIGITS: Final = 309  # of an integer that a text or decimal is cast to: a float has no more
CLASSES: Final[dict[str, type]] = {"date": date, "time": time, "uuid": UUID}


def instant(value: Any) -> Any:
    """A datetime as the engine orders it: microseconds since 1970, by its own clock if it has no zone."""
    if not isinstance(value, datetime):
        return value
    return ((value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)) - EPOCH) // MICROSECOND


def moment(value: Any) -> Any:
    """What is compared with a datetime: another one's instant, or what a constant stands for."""
    return instant(value) if isinstance(value, datetime) else fitted("timestamp", value)


def number(value: Any) -> Any:
    """A number, or a point in time as one: microseconds. TypeError for anything else."""
    value = instant(value)
    if not isinstance(value, NUMBER):
        raise TypeError(f"{value!r} is not a number")
    return value


def arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operation on two numbers; a Decimal beside a float becomes one."""

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
    """The rest of a division; of integers one that cuts towards zero, as SQL has it."""
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
    """LIKE as regular expressions with these flags have it; the whole text has to fit."""

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
    if exact.is_finite():
        try:
            exact = exact.quantize(Decimal(1).scaleb(-number(digits)), rounding="ROUND_HALF_UP")
        except InvalidOperation:
            raise ValueError(f"{value} cannot be rounded to {digits} digits") from None
    return float(exact) if isinstance(value, float) else exact


def cast(value: Any, target: str) -> Any:
    """A value as another type, by its SQL name."""
    name = re.split(r"[( ]", target, maxsplit=1)[0]
    for names, convert in CASTS:
        if name in names:
            return convert(value)
    raise NotSupportedError(f"query error: CAST to {target} is not supported")


def to_int(value: Any) -> int:
    """CAST AS INTEGER: cut towards zero, of a text the number that it shows."""
    found = to_decimal(value) if isinstance(value, str) else value
    if isinstance(found, Decimal) and not (found.is_finite() and found.adjusted() < MOST_DIGITS):
        raise ValueError(f"{value!r} is no int")
    return int(found)


def to_bool(value: Any) -> bool:
    """CAST AS BOOLEAN: words for a text; ValueError for others."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in WORDS:
            raise ValueError(f"{value!r} is no bool")
        return WORDS[word]
    return bool(value)


WORDS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def to_timestamp(value: Any) -> Any:
    """CAST AS TIMESTAMP: a datetime; integers are microseconds since 1970."""
    found = value if isinstance(value, datetime) else fitted("timestamp", value)
    return EPOCH + found * MICROSECOND if isinstance(found, int) else found


def to_decimal(value: Any) -> Decimal:
    """CAST AS DECIMAL: of a float the digits that it shows."""
    try:
        return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is no decimal") from None


CASTS: Final[tuple[tuple[frozenset[str], Callable[[Any], Any]], ...]] = (
    (frozenset(("int", "integer", "bigint", "smallint", "tinyint", "int64")), to_int),
    (frozenset(("real", "float", "double", "float64")), float),
    (frozenset(("text", "varchar", "char", "string", "nvarchar")), text),
    (frozenset(("bool", "boolean")), to_bool),
    (frozenset(("decimal", "numeric")), to_decimal),
    (frozenset(("date",)), lambda value: fitted("date", value)),
    (frozenset(("time",)), lambda value: fitted("time", value)),
    (frozenset(("timestamp", "datetime", "timestamptz")), to_timestamp),
    (frozenset(("uuid",)), lambda value: fitted("uuid", value)),
    (frozenset(("blob", "bytes", "bytea", "varbinary", "binary")), lambda value: fitted("bytes", value)),
)


def unequal(one: Any, other: Any) -> bool:
    """<>"""
    return not equal(one, other)


def concatenated(one: Any, other: Any) -> str:
    """||"""
    return text(one) + text(other)


def negative(value: Any) -> Any:
    """The minus before a number."""
    return -number(value)


def absolute(value: Any) -> Any:
    """ABS(value)"""
    return abs(number(value))


def lowered(value: Any) -> str:
    """LOWER(value)"""
    return text(value).lower()


def raised(value: Any) -> str:
    """UPPER(value)"""
    return text(value).upper()


def length(value: Any) -> int:
    """LENGTH(value): of a text, of bytes, of a list."""
    return len(value) if isinstance(value, bytes) or is_list(value) else len(text(value))


def trimmed(value: Any) -> str:
    """TRIM(value)"""
    return text(value).strip()


def replaced(value: Any, old: Any, new: Any) -> str:
    """REPLACE(value, old, new)"""
    return text(value).replace(text(old), text(new)) if old else text(value)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "=": equal,
    "<>": unequal,
    "<": ordered(operator.lt),
    "<=": ordered(operator.le),
    ">": ordered(operator.gt),
    ">=": ordered(operator.ge),
    "+": arithmetic(operator.add),
    "-": arithmetic(operator.sub),
    "*": arithmetic(operator.mul),
    "/": arithmetic(divide),
    "%": arithmetic(remainder),
    "||": concatenated,
    "not": operator.not_,
    "neg": negative,
    "abs": absolute,
    "round": rounded,
    "lower": lowered,
    "upper": raised,
    "length": length,
    "trim": trimmed,
    "substr": substring,
    "replace": replaced,
    "min": lambda *values: min(values, key=instant),
    "max": lambda *values: max(values, key=instant),
    "cast": cast,
    "like": like(0),
    "ilike": like(re.IGNORECASE),
    "regexp": found,
}


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
    return (moment - EPOCH) // MICROSECOND


def fit_date(value: Any) -> Any:
    """A date to compare with dates, of a datetime or an ISO text."""
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(value.strip()) if isinstance(value, str) else value


def fit_integer(value: Any) -> Any:
    """An integer to compare with integers, of a number without a fraction; others stay as they are."""
    return int(value) if isinstance(value, float | Decimal) and value == value // 1 else value


EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND: Final = timedelta(microseconds=1)

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


def cast_kind(target: str) -> str | None:
    """The kind of what CAST gives, by the type's SQL name."""
    samples = {to_int: "int", float: "float64", text: "string", to_bool: "bool", to_decimal: "decimal"}
    name = re.split(r"[( ]", target, maxsplit=1)[0]
    for names, convert in CASTS:
        if name in names:
            return samples.get(convert, "timestamp" if name in ("datetime", "timestamptz") else name)
    return None
