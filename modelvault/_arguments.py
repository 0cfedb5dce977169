"""What a user gave to a query's methods, read and checked: paths, conditions, orders, numbers, changes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelvault._kinds import is_mapping, is_series
from modelvault.conditions import ALL, Condition, Every, Order, Test
from modelvault.errors import ModelVaultQueryError
from modelvault.expressions import Aggregate, Expression, FieldRef, Formula, Ordering, is_ref

if TYPE_CHECKING:
    from modelvault.sources import Source

__all__ = [
    "LIMIT",
    "Path",
    "PathOf",
    "check_owners",
    "comparison",
    "parse_path",
    "path_and_owner",
    "read_changes",
    "read_conditions",
    "read_count",
    "read_field",
    "read_fields",
    "read_order",
]

M = TypeVar("M")

Path = str | Sequence[str] | FieldRef[Any, Any]
"""A field: "address.city", ["address", "city"] or `User.age`."""

PathOf = str | Sequence[str] | FieldRef[M, Any]
"""A field of rows of this model."""

LIMIT: Final = 1_048_576  # rows that limit() may ask for


def parse_path(path: Any) -> tuple[str, ...]:
    """The segments of a path; ModelVaultQueryError (a ValueError) if it is none."""
    ref: FieldRef[Any, Any] = path
    if isinstance(path, FieldRef):
        return ref.__segments__
    if isinstance(path, str):
        path = path.strip()
        if not path:
            raise ModelVaultQueryError("query error: path must be non-empty")
        segments = tuple(path.split("."))
    elif is_series(path) and all(isinstance(part, str) for part in path):
        segments = tuple(path)
    else:
        raise ModelVaultQueryError(f'query error: path must be a dotted string ("a.b") or list[str], not {path!r}')
    if not segments:
        raise ModelVaultQueryError("query error: path must have at least one segment")
    if not all(segments):
        raise ModelVaultQueryError(f"query error: invalid path {path!r}")
    return segments


def read_conditions(source: Source, verb: str, given: tuple[Any, ...], named: dict[str, Any]) -> Condition:
    """The condition of `where(expression, ...)` or `where(path, value)`, checked."""
    if named or (len(given) == 2 and not isinstance(given[0], GIVEN)):
        return comparison(source, *path_and_value(verb, *given, **named))
    parts: list[Condition] = []
    for expression in given:
        if not isinstance(expression, Expression):
            raise no_expression(verb, expression)
        check_owners(source, expression.owners)
        condition = expression.condition
        if isinstance(condition, Every):
            parts += condition.parts
        else:
            parts.append(condition)
    return source.check(parts[0] if len(parts) == 1 else Every(tuple(parts)) if parts else ALL)


GIVEN: Final = (Expression, bool)


def path_and_value(verb: str, /, *given: Any, **named: Any) -> tuple[Any, str, Any]:
    """The arguments `(path, value)`, by place or name."""
    arguments = dict(zip(("path", "value"), given, strict=False))
    if len(given) > 2 or arguments.keys() & named.keys() or (arguments | named).keys() != {"path", "value"}:
        raise TypeError(f"{verb}() takes expressions, or a path and a value")
    return (arguments | named)["path"], "eq", (arguments | named)["value"]


def comparison(source: Source, path: Any, op: str, value: Any) -> Condition:
    """The test of one field, checked."""
    if isinstance(value, Expression | FieldRef | Formula):
        raise TypeError(f"a field is compared with a value, not with {value!r}")
    return source.check(Test(read_field(source, path), op, (value,)))


def no_expression(verb: str, given: Any) -> TypeError:
    """The error for something else in place of an expression, with advice."""
    hint = "compare a field, as in fields(User).age >= 18"
    if isinstance(given, bool):
        hint = (
            "Python has evaluated it already: compare fields(User).age, or User.age once the model has a collection, "
            "and use & | ~ rather than and, or, not"
        )
    elif is_ref(given):
        hint = f"compare it, as in {'.'.join(given.__segments__)} == True"
    elif hasattr(given, "or_where"):
        hint = "join queries with or_where()"
    elif callable(given):
        hint = "write it with fields(User) rather than as a function"
    elif isinstance(given, str | list | tuple):
        hint = f"a path needs a value: {verb}({given!r}, value)"
    return TypeError(f"{verb}() takes expressions, not {given!r}: {hint}")


def check_owners(source: Source, owners: Iterable[type | None]) -> None:
    """Refuse fields of another model."""
    for owner in owners:
        if owner is not None and owner is not source.cls and not source.takes(owner):
            raise ModelVaultQueryError(
                f"query error: a field of {owner.__name__} in a query of {source.name}, which holds "
                f"{source.cls.__name__}: use fields({source.cls.__name__})"
            )


def read_field(source: Source, field: Any) -> tuple[str, ...]:
    """The path of a field, its model checked."""
    if isinstance(field, FieldRef):
        check_owners(source, (field.__owner__,))
    return parse_path(field)


def read_fields(source: Source, fields: Iterable[Any]) -> tuple[tuple[str, ...], ...]:
    """The paths of a projection; ModelVaultQueryError for none, or for one that the schema does not have."""
    paths = tuple(read_field(source, field) for field in fields)
    if not paths:
        raise ModelVaultQueryError("query error: fields must list at least one schema path")
    for path in paths:
        try:
            source.field(path)
        except ModelVaultQueryError as error:
            spelling = ", ".join(f'"{part}"' for part in path)
            hint = str(error).rpartition(f" in {source.name}")[2]
            raise ModelVaultQueryError(
                f"query error: unknown field path for this collection: [{spelling}]{hint}"
            ) from None
    return paths


def read_order(source: Source, term: Any, desc: bool) -> Order:
    """One term of an order, checked."""
    if isinstance(term, FieldRef):
        if term.__owner__ is not source.cls:
            check_owners(source, term.__owners__)
        order = Order(term.__segments__, desc)
    elif isinstance(term, Ordering):
        check_owners(source, (term.owner,))
        order = term.term
        if not order.path or not all(order.path):
            parse_path(order.path)  # raises
    elif isinstance(term, NO_FIELDS):
        raise TypeError(f"order_by() takes fields, not {term!r}: order_by(u.age.desc(), u.name)")
    else:
        order = Order(read_field(source, term), desc)
    source.field(order.path).check_order("order_by()")
    return order


NO_FIELDS: Final = (Expression, bool, Aggregate, Formula)


def read_count(what: str, n: Any, most: int) -> int:
    """A number of rows: OverflowError if it is negative, ModelVaultQueryError if it is too great."""
    count = operator.index(n)
    if count < 0:
        raise OverflowError(f"can't convert negative int to unsigned: {what} {count}")
    if count > most:
        raise ModelVaultQueryError(f"query error: query {what} {count} exceeds maximum {most}")
    return count


def read_changes(source: Source, changes: Any) -> dict[tuple[str, ...], Any]:
    """The changes of `update` by path, fields and formulas checked."""
    if not is_mapping(changes):
        raise TypeError(f"update() takes a dict of fields and values, not {changes!r}")
    if not changes:
        raise ModelVaultQueryError("query error: update() needs at least one field")
    found: dict[tuple[str, ...], Any] = {}
    for field, value in changes.items():
        path = read_field(source, field)
        if source.field(path).many and not source.field(path).listed:
            raise ModelVaultQueryError(
                f'query error: "{".".join(path)}" lies inside a list: change the list as a whole'
            )
        if isinstance(value, Expression | Ordering | Aggregate):
            raise TypeError(f"update() takes values and formulas such as u.age + 1, not {value!r}")
        for part in value.fields() if isinstance(value, Formula) else [value] if is_ref(value) else []:
            source.field(read_field(source, part))
        found[path] = value
    for path in found:
        for end in range(1, len(path)):
            if path[:end] in found:
                raise ModelVaultQueryError(
                    f'query error: update() changes "{".".join(path[:end])}" and "{".".join(path)}" inside it'
                )
    return found


def path_and_owner(field: Any) -> tuple[tuple[str, ...], type | None]:
    """What an Aggregate is made of."""
    return parse_path(field), field.__owner__ if isinstance(field, FieldRef) else None
