"""What a SELECT says, as plain immutable data: terms with names as they were written, and the clauses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Call",
    "Column",
    "Constant",
    "Explain",
    "Item",
    "Name",
    "Parameter",
    "Select",
    "Slot",
    "Sort",
    "Star",
    "Term",
    "Total",
    "mapped",
    "parts",
    "replaced",
    "roots",
    "spelled",
]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, or a parameter's value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """A place for a value: `?`, by its number from 0 on, or `:name`."""

    key: int | str


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it was written: a column, perhaps behind the table's name or of a nested object, or an alias."""

    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star:
    """Every column."""


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the collection."""

    path: tuple[str, ...]
    kind: str
    many: bool = False  # it is a list, or lies inside one


@dataclass(frozen=True, slots=True)
class Slot:
    """The value at this place of a row: a group's value, or a total."""

    number: int
    kind: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator and what it is applied to: `Call("=", (Name(("age",)), Constant(36)))`."""

    function: str
    operands: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """A function over many rows: count, sum, min, max, avg. Without an operand it counts rows."""

    function: str
    operand: Term | None = None
    distinct: bool = False


Term = Constant | Parameter | Name | Star | Column | Slot | Call | Total


@dataclass(frozen=True, slots=True)
class Item:
    """What is selected, under a name."""

    term: Term
    name: str | None


@dataclass(frozen=True, slots=True)
class Sort:
    """One term of an ORDER BY."""

    term: Term
    desc: bool
    nulls_first: bool


Explain = Literal["", "plan", "analyze"]
"""What is asked of a statement: its rows, how they would be found, or how they are found and what that took."""


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT statement. `parameters`: how many `?` there are, or the names."""

    items: tuple[Item, ...]
    table: str | None
    alias: str | None
    where: Term | None
    groups: tuple[Term, ...]
    having: Term | None
    order: tuple[Sort, ...]
    limit: Term | None
    offset: Term | None
    distinct: bool
    explain: Explain
    parameters: int | frozenset[str]


def mapped(select: Select, change: Callable[[Term], Term | None], parameters: int | frozenset[str]) -> Select:
    """The statement with the parts of all its terms exchanged."""

    def other(term: Term | None) -> Term | None:
        return None if term is None else replaced(term, change)

    return dataclasses.replace(
        select,
        items=tuple(Item(replaced(item.term, change), item.name) for item in select.items),
        where=other(select.where),
        groups=tuple(replaced(term, change) for term in select.groups),
        having=other(select.having),
        order=tuple(Sort(replaced(sort.term, change), sort.desc, sort.nulls_first) for sort in select.order),
        limit=other(select.limit),
        offset=other(select.offset),
        parameters=parameters,
    )


def parts(term: Term) -> Iterator[Term]:
    """A term and all that it is made of."""
    yield term
    if isinstance(term, Call):
        for operand in term.operands:
            yield from parts(operand)
    elif isinstance(term, Total) and term.operand is not None:
        yield from parts(term.operand)


def roots(select: Select) -> list[Term]:
    """All terms of a statement."""
    found = [item.term for item in select.items] + [*select.groups] + [sort.term for sort in select.order]
    return found + [term for term in (select.where, select.having, select.limit, select.offset) if term is not None]


def replaced(term: Term, change: Callable[[Term], Term | None]) -> Term:
    """The term with its parts exchanged, from the outside inward; `change` gives None for what stays."""
    found = change(term)
    if found is not None:
        return found
    if isinstance(term, Call):
        return Call(term.function, tuple(replaced(operand, change) for operand in term.operands))
    if isinstance(term, Total) and term.operand is not None:
        return Total(term.function, replaced(term.operand, change), term.distinct)
    return term


def spelled(term: Term) -> str:
    """A term as one would write it: the name of its column where it has no alias. Values are left as `?`."""
    if isinstance(term, Name):
        return ".".join(term.segments)
    if isinstance(term, Column):
        return ".".join(term.path)
    if isinstance(term, Total):
        inner = "*" if term.operand is None else spelled(term.operand)
        return f"{term.function}({'DISTINCT ' if term.distinct else ''}{inner})"
    if isinstance(term, Call):
        texts = [spelled(operand) for operand in term.operands]
        if len(texts) == 2 and not term.function.isidentifier():
            return f"{texts[0]} {term.function} {texts[1]}"
        return f"{term.function}({', '.join(texts)})"
    if isinstance(term, Constant) and not isinstance(term.value, bytes):
        return "NULL" if term.value is None else repr(term.value)
    return "*" if isinstance(term, Star) else "?"
