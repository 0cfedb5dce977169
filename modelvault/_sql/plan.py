"""A statement as what the engine is asked, and what is left to do with the rows that it gives."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelvault._sql.errors import ProgrammingError
from modelvault._sql.functions import instant
from modelvault._sql.logic import conjuncts, every, joined, truth
from modelvault._sql.names import bound
from modelvault._sql.terms import (
    Column,
    Constant,
    Explain,
    Item,
    Select,
    Slot,
    Sort,
    Term,
    Total,
    parts,
    replaced,
    spelled,
)
from modelvault._sql.values import compiled, constant, kind_of, with_fits
from modelvault.conditions import EVERYTHING, Condition, Order, Selection
from modelvault.sources import Source

__all__ = ["Description", "Grouping", "Key", "Plan", "planned"]

Compute = Callable[[tuple[Any, ...]], Any]
Description = tuple[tuple[str, Any, None, None, None, None, None], ...]
"""PEP 249's, of the columns."""


@dataclass(frozen=True, slots=True)
class Key:
    """One term of an order that is made in Python."""

    compute: Compute
    desc: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows summed up: `groups` and `operands` are computed of the engine's rows; direct: the engine does it."""

    totals: tuple[Total, ...]
    groups: tuple[Compute, ...]
    operands: tuple[Compute | None, ...]
    direct: bool = False
    functions: tuple[tuple[str, tuple[str, ...] | None], ...] = ()
    paths: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done for a statement, in this order.

    The rows of `selection`, as tuples of its fields; those for which `rest` is true; in groups, if `grouping` says so;
    those for which `having` is true; sorted by `keys`; of each the `items`, None for the rows as they are; without
    duplicates if `distinct`; from `start` on, at most `limit`. `description` is that of names and kinds.
    """

    names: tuple[str, ...]
    kinds: tuple[str | None, ...]
    source: Source | None = None
    primary: str = ""
    selection: Selection = EVERYTHING
    rest: Compute | None = None
    grouping: Grouping | None = None
    having: Compute | None = None
    keys: tuple[Key, ...] = ()
    items: tuple[Compute, ...] | None = None
    distinct: bool = False
    start: int = 0
    limit: int | None = None
    explain: Explain = ""
    notes: tuple[str, ...] = ()
    description: Description = field(init=False, default=())

    def __post_init__(self) -> None:
        columns = [("plan", "string")] if self.explain else zip(self.names, self.kinds, strict=True)
        described = tuple((name, kind, None, None, None, None, None) for name, kind in columns)
        object.__setattr__(self, "description", described)

    @property
    def streams(self) -> bool:
        """Can the rows be had one after the other?"""
        return self.grouping is None and not self.keys


def planned(select: Select, parameters: Any, source: Source | None, primary: str) -> Plan:
    """The plan of a resolved statement over a collection with this primary key; without a source one without FROM."""
    select = bound(select, parameters)
    items = tuple(Item(prepared(item.term), item.name) for item in select.items)
    having = None if select.having is None else prepared(select.having)
    order = tuple(replace(sort, term=prepared(sort.term)) for sort in select.order)
    groups = tuple(prepared(term) for term in select.groups)
    selection, rest = conditions(select, source)
    plan = Plan(
        tuple(item.name or "?" for item in items),
        tuple(kind_of(item.term) for item in items),
        source=source,
        primary=primary,
        distinct=select.distinct,
        start=whole(select.offset, "OFFSET") or 0,
        limit=whole(select.limit, "LIMIT"),
        explain=select.explain,
    )
    summed = [item.term for item in items] + [sort.term for sort in order] + ([] if having is None else [having])
    if groups or any(isinstance(part, Total) for term in summed for part in parts(term)):
        return with_groups(plan, selection, rest, items, groups, having, order)
    if having is not None:
        raise ProgrammingError("query error: HAVING needs GROUP BY, or an aggregate")
    return with_rows(plan, selection, rest, items, order)


def prepared(term: Term) -> Term:
    """A term with its constants fitted to the columns, and what does not depend on rows computed."""
    return with_fits(constant(term))


def whole(term: Term | None, clause: str) -> int | None:
    """The number of a LIMIT or OFFSET."""
    if term is None:
        return None
    value = term.value if isinstance(term, Constant) else None
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ProgrammingError(f"query error: expected integer after {clause}: {value!r} is not 0 or greater")
    return number


def conditions(select: Select, source: Source | None) -> tuple[Selection, Term | None]:
    """What the engine tests, and the term that is left of WHERE."""
    if select.where is None:
        return Selection(), None
    term = prepared(select.where)
    if any(isinstance(part, Total) for part in parts(term)):
        raise ProgrammingError("query error: WHERE tests rows one by one: an aggregate belongs into HAVING")
    tested: list[Condition] = []
    left: list[Term] = []
    for part in conjuncts(term):
        found = None if source is None else truth(part, source.check)
        if found is None:
            left.append(part)
        else:
            tested.append(found.holds)
    return Selection(every(tested)), joined(left) if left else None


def with_rows(
    plan: Plan, selection: Selection, rest: Term | None, items: tuple[Item, ...], order: tuple[Sort, ...]
) -> Plan:
    """The plan of a statement that gives rows."""
    terms = [item.term for item in items]
    ordered = orders(plan, order)
    keys = () if ordered is not None else order
    plain = all(isinstance(term, Column) for term in terms) and rest is None and not keys
    used = terms if plain else [*terms, *([] if rest is None else [rest]), *(sort.term for sort in keys)]
    paths = tuple(columns(used)) if not plain else tuple(term.path for term in terms if isinstance(term, Column))
    places = {path: place for place, path in enumerate(paths)}
    selection = selection._replace(order=ordered or (), shape="tuple", fields=fetched(plan, paths))
    if plain and paths:
        selection = selection._replace(limit=plan.limit, offset=plan.start, distinct=plan.distinct)
        return replace(plan, selection=selection, limit=None, start=0, distinct=False)
    if rest is None and not keys and not plan.distinct:
        selection = selection._replace(limit=plan.limit, offset=plan.start)
        plan = replace(plan, limit=None, start=0)
    return replace(
        plan,
        selection=selection,
        rest=None if rest is None else compiled(rest, places),
        keys=tuple(Key(sortable(sort.term, places), sort.desc, sort.nulls_first) for sort in keys),
        items=tuple(compiled(term, places) for term in terms),
        notes=tuple(noted(rest, keys, [term for term in terms if not isinstance(term, Column)])),
    )


def sortable(term: Term, places: Mapping[tuple[str, ...], int]) -> Compute:
    """The function that computes a term of an order: of a datetime its instant."""
    compute = compiled(term, places)
    return (lambda row: instant(compute(row))) if kind_of(term) == "timestamp" else compute


def noted(rest: Term | None, keys: tuple[Sort, ...], computed: list[Term]) -> Iterator[str]:
    """The lines of EXPLAIN about what is done in Python."""
    if rest is not None:
        yield f"  Filter {spelled(rest)}"
    if computed:
        yield f"  Compute [{', '.join(map(spelled, computed))}]"
    if keys:
        yield f"  Sort [{', '.join(spelled(sort.term) for sort in keys)}]"


def orders(plan: Plan, order: tuple[Sort, ...]) -> tuple[Order, ...] | None:
    """The order as the engine's; None if it has to be made in Python."""
    found: list[Order] = []
    for sort in order:
        if not isinstance(sort.term, Column) or sort.desc != sort.nulls_first or plan.source is None:
            return None
        plan.source.field(sort.term.path).check_order("ORDER BY")
        found.append(Order(sort.term.path, sort.desc))
    return tuple(found)


def columns(terms: list[Term]) -> dict[tuple[str, ...], None]:
    """The paths of the columns in terms, each once."""
    return {part.path: None for term in terms for part in parts(term) if isinstance(part, Column)}


def fetched(plan: Plan, paths: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """The fields to ask for: the primary key, if none is needed."""
    return paths or ((plan.primary,),)


# Groups


def with_groups(
    plan: Plan,
    selection: Selection,
    rest: Term | None,
    items: tuple[Item, ...],
    groups: tuple[Term, ...],
    having: Term | None,
    order: tuple[Sort, ...],
) -> Plan:
    """The plan of a statement with groups or aggregates: items, HAVING and ORDER BY see slots of groups and totals."""
    terms = [item.term for item in items] + [sort.term for sort in order] + ([] if having is None else [having])
    totals = tuple(dict.fromkeys(part for term in terms for part in parts(term) if isinstance(part, Total)))
    for group in groups:
        if any(isinstance(part, Total) for part in parts(group)):
            raise ProgrammingError(f"query error: GROUP BY takes columns, not the aggregate {spelled(group)}")

    def slotted(term: Term) -> Term:
        found = replaced(term, lambda part: slot_of(part, groups, totals))
        for part in parts(found):
            if isinstance(part, Column):
                raise ProgrammingError(
                    f'query error: the column "{spelled(part)}" must be in GROUP BY, or inside an aggregate'
                )
        return with_fits(found)

    used = [*groups, *(total.operand for total in totals if total.operand is not None)]
    used += [] if rest is None else [rest]
    paths = tuple(columns(used))
    places = {path: place for place, path in enumerate(paths)}
    slots = [slotted(item.term) for item in items]
    return replace(
        plan,
        kinds=tuple(kind_of(term) for term in slots),
        selection=selection._replace(fields=fetched(plan, paths), shape="tuple"),
        rest=None if rest is None else compiled(rest, places),
        grouping=grouping(plan, groups, totals, places, rest is None),
        having=None if having is None else compiled(slotted(having), {}),
        keys=tuple(Key(sortable(slotted(sort.term), {}), sort.desc, sort.nulls_first) for sort in order),
        items=tuple(compiled(term, {}) for term in slots),
        notes=(
            *noted(rest, (), []),
            f"  Aggregate [{', '.join(map(spelled, totals))}]"
            + (f" by [{', '.join(map(spelled, groups))}]" if groups else ""),
            *noted(having, order, []),
        ),
    )


def slot_of(part: Term, groups: tuple[Term, ...], totals: tuple[Total, ...]) -> Term | None:
    """The place of a group's value, or of a total."""
    if part in groups and not isinstance(part, Constant):
        return Slot(groups.index(part), kind_of(part))
    if isinstance(part, Total):
        return Slot(len(groups) + totals.index(part), kind_of_total(part))
    return None


def kind_of_total(total: Total) -> str | None:
    """The kind of an aggregate's values; None if only its rows can tell."""
    if total.function == "count":
        return "int"
    kind = None if total.operand is None else kind_of(total.operand)
    return "float64" if total.function == "avg" and kind != "decimal" else kind


def grouping(
    plan: Plan, groups: tuple[Term, ...], totals: tuple[Total, ...], places: dict[tuple[str, ...], int], tested: bool
) -> Grouping:
    """How the rows are summed up: by the engine where groups and operands are columns and it tests all of WHERE."""
    found = Grouping(
        totals,
        tuple(compiled(term, places) for term in groups),
        tuple(None if total.operand is None else compiled(total.operand, places) for total in totals),
    )
    source = plan.source
    for total in totals:
        check_total(source, total)
    plain = all(isinstance(term, Column) and not term.many for term in groups)
    if source is None or not tested or not plain or not all(map(simple, totals)):
        return found
    functions: list[tuple[str, tuple[str, ...] | None]] = []
    for total in totals:
        path = total.operand.path if isinstance(total.operand, Column) else None
        functions.append(("distinct" if total.function == "count" and total.distinct else total.function, path))
        if total.function == "sum":
            functions.append(("count", path))  # the sum of nothing is NULL
    paths = tuple(term.path for term in groups if isinstance(term, Column))
    for path in paths:
        source.field(path).check_order("GROUP BY")
    return replace(found, direct=True, functions=tuple(functions), paths=paths)


def check_total(source: Source | None, total: Total) -> None:
    """ModelVaultQueryError for a column that cannot be summed up so."""
    if source is None or not isinstance(total.operand, Column) or total.function == "count":
        return
    target = source.field(total.operand.path)
    check = target.check_number if total.function in ("sum", "avg") else target.check_order
    check(f"{total.function}()")


def simple(total: Total) -> bool:
    """Does the engine know the function?"""
    if total.operand is None:
        return True
    column = total.operand
    if not isinstance(column, Column) or column.many:
        return False
    return not total.distinct or total.function in ("count", "min", "max")
