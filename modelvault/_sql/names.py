"""The names of a statement as columns of its collection, and its parameters as their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from modelvault._kinds import is_mapping, is_sequence
from modelvault._sql.errors import ProgrammingError
from modelvault._sql.terms import (
    Column,
    Constant,
    Item,
    Name,
    Parameter,
    Select,
    Star,
    Term,
    mapped,
    parts,
    replaced,
    spelled,
)
from modelvault.errors import ModelVaultQueryError
from modelvault.schema import Field, Schema
from modelvault.sources import Source

__all__ = ["bound", "given", "plain", "resolved"]

NOTHING: Final[tuple[()]] = ()


def bound(select: Select, parameters: Any) -> Select:
    """The statement with values for its parameters; ProgrammingError if they are not those it needs."""
    values = given(select, parameters)
    if not select.parameters:
        return select

    def change(term: Term) -> Term | None:
        return Constant(plain(values[term.key])) if isinstance(term, Parameter) else None

    return mapped(select, change, 0)


def given(select: Select, parameters: Any) -> Any:
    """The parameters, by number or name; ProgrammingError if they are not those that the statement needs."""
    wanted = select.parameters
    values: Any = NOTHING if parameters is None else parameters
    if isinstance(wanted, frozenset):
        if not is_mapping(values):
            raise ProgrammingError("query error: params must be a dict: the statement has parameters with names")
        missing = sorted(wanted - values.keys())
        if missing:
            raise ProgrammingError(f"query error: expected the SQL parameter {missing[0]!r}, got {sorted(values)}")
    else:
        if is_mapping(values) and not wanted and not values:
            values = NOTHING
        if isinstance(values, str | bytes) or not is_sequence(values):
            raise ProgrammingError("query error: params must be a tuple or list")
        if len(values) != wanted:
            raise ProgrammingError(f"query error: expected {wanted} SQL parameters, got {len(values)}")
    return values


def plain(value: Any) -> Any:
    """A parameter as the dict interface has such values: of an enum its value, of NumPy's scalars Python's."""
    if isinstance(value, Enum):
        return value.value
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def resolved(select: Select, source: Source | None, schema: Schema | None) -> Select:
    """The statement with columns in place of names; `*` and the numbers and names of items are what they stand for."""
    scope = Scope(select, source, schema)
    return replace(
        select,
        items=scope.items,
        where=None if select.where is None else scope.columns(select.where),
        groups=tuple(scope.output(term) for term in select.groups),
        having=None if select.having is None else scope.columns(select.having),
        order=tuple(replace(sort, term=scope.output(sort.term)) for sort in select.order),
    )


class Scope:
    """The columns of one collection, and what is selected of them under another name."""

    def __init__(self, select: Select, source: Source | None, schema: Schema | None) -> None:
        self._source = source
        self._schema = schema
        table = select.table or ""
        self._qualifiers = [
            tuple(qualifier)
            for qualifier in ([select.alias], [table], table.split("."), [table.rpartition(".")[2]])
            if qualifier[0]
        ]
        self.items = tuple(self._listed(select.items))
        self._aliases = {item.name: item.term for item in self.items if item.name is not None}

    def columns(self, term: Term) -> Term:
        """The term with its names as columns; what no column is called is the name of an item."""
        return replaced(term, lambda part: self._column(part, aliases=True) if isinstance(part, Name) else None)

    def output(self, term: Term) -> Term:
        """A term of ORDER BY or GROUP BY: the number or the name of an item, else as any other."""
        if isinstance(term, Constant) and type(term.value) is int:
            if not 1 <= term.value <= len(self.items):
                raise ProgrammingError(f"query error: there is no column {term.value} to order or group by")
            return self.items[term.value - 1].term
        if isinstance(term, Name) and len(term.segments) == 1 and term.segments[0] in self._aliases:
            return self._aliases[term.segments[0]]
        return self.columns(term)

    def _listed(self, items: tuple[Item, ...]) -> Iterator[Item]:
        """The items with `*` as the columns that it stands for."""
        for item in items:
            term = item.term
            if isinstance(term, Star) or (isinstance(term, Name) and self._is_star(term)):
                yield from self._all()
            else:
                inner = replaced(term, lambda part: self._column(part) if isinstance(part, Name) else None)
                if any(isinstance(part, Star) for part in parts(inner)):
                    raise ProgrammingError("query error: * has no meaning here")
                yield Item(inner, item.name or spelled(inner))

    def _is_star(self, name: Name) -> bool:
        """Whether it is `table.*`."""
        return name.segments[-1] == "*" and name.segments[:-1] in self._qualifiers

    def _all(self) -> Iterator[Item]:
        """What `*` stands for: each leaf, by its dotted path."""
        if self._schema is None:
            raise ProgrammingError('query error: expected keyword "from"')
        for path in leaves(self._schema.fields, ()):
            yield Item(self._find(path), ".".join(path))

    def _column(self, name: Name, *, aliases: bool = False) -> Term:
        """What a name stands for."""
        if self._source is None:
            raise ProgrammingError(f'query error: expected keyword "from" before the column "{spelled(name)}"')
        segments = name.segments
        paths = [segments[len(prefix) :] for prefix in self._qualifiers if segments[: len(prefix)] == prefix]
        paths.append(segments)
        if len(segments) == 1 and "." in segments[0]:
            paths.append(tuple(segments[0].split(".")))
        trouble: ModelVaultQueryError | None = None
        for path in paths:
            if path:
                try:
                    return self._find(path)
                except ModelVaultQueryError as error:
                    trouble = error
        if aliases and len(segments) == 1 and segments[0] in self._aliases:
            return self._aliases[segments[0]]
        spelling = ", ".join(f'"{part}"' for part in segments)
        hint = str(trouble).rpartition(" in ")[2]
        raise ProgrammingError(f"query error: unknown field path [{spelling}] in {hint}")

    def _find(self, path: tuple[str, ...]) -> Column:
        """The column at a path; ModelVaultQueryError if there is none."""
        assert self._source is not None
        target = self._source.field(path)
        return Column(path, target.kind, target.many)


def leaves(fields: tuple[Field, ...], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of `*`: the fields, and those of 0.16's dotted paths one by one."""
    for field in fields:
        path = (*above, field.name)
        if field.type.group:
            yield from leaves(field.type.fields, path)
        else:
            yield path
