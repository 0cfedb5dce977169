"""A plan in words: 0.16's lines where it had them, more of the same kind for what it could not do, and the reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from modelvault._planner import name_of
from modelvault._ranges import Bound, Path, Ranges
from modelvault._ways import NOWHERE, Plan, Way
from modelvault.conditions import ALL, Condition, Every, Negation, Selection, Test
from modelvault.rules import bare
from modelvault.schema import Schema

if TYPE_CHECKING:
    from modelvault._core.scan import Scan

__all__ = ["analyzed", "described", "explained"]

NAMES: Final = {
    "eq": "Eq",
    "ne": "Ne",
    "lt": "Lt",
    "le": "Lte",
    "gt": "Gt",
    "ge": "Gte",
    "startswith": "StartsWith",
    "endswith": "EndsWith",
    "contains": "Contains",
    "like": "Like",
    "regex": "Regex",
}
VALUES: Final = {"int": "Int64", "int64": "Int64", "uint64": "Uint64", "float64": "Float64"}


def explained(
    schema: Schema,
    selection: Selection,
    plan: Plan,
    functions: tuple[tuple[str, Path | None], ...] = (),
    groups: tuple[Path, ...] = (),
) -> str:
    """What `explain()` gives: the plan, then the reasons. functions, groups: what the rows are summed up to."""
    lines = ["Plan:", *("  " + line for line in of_way(schema, plan.way))]
    if plan.covers:
        lines.append("  IndexOnly")
    if plan.rest != ALL:
        name = "Filter" if plan.way.kind == "rows" and not plan.way.columns else "ResidualFilter"
        lines.append(f"  {name} {described(schema, plan.rest)}")
    if selection.offset:
        lines.append(f"  Offset {selection.offset}")
    if selection.limit is not None:
        lines.append(f"  Limit {selection.limit}")
    lines += [f"  OrderBy {spelled_path(term.path)} {'Desc' if term.desc else 'Asc'}" for term in selection.order]
    if selection.fields is not None:
        paths = ", ".join(spelled_path(path) for path in selection.fields)
        lines.append(f"  {'Distinct' if selection.distinct else 'Project'} [{paths}]")
    if groups:
        lines.append(f"  GroupBy [{', '.join(spelled_path(path) for path in groups)}]")
    if functions:
        lines.append(f"  Aggregate [{', '.join(of_function(*function) for function in functions)}]")
    lines += ["Why:", *("  " + line for line in plan.reasons)]
    if (functions or groups) and selection.limit is None and not selection.offset:
        lines.append("  the order of the rows does not matter: nothing is sorted")
    elif plan.way is not NOWHERE:
        lines.append("  " + how_ordered(selection, plan))
    return "\n".join(lines) + "\n"


def analyzed(scan: Scan, returned: int, seconds: float) -> str:
    """What `explain(analyze=True)` adds: what it took to find the rows."""
    lines = ["Analyze:", f"  examined {scan.examined}", f"  returned {returned}", f"  pages {scan.pages}"]
    return "\n".join([*lines, f"  time {1000 * seconds:.3f} ms"]) + "\n"


def how_ordered(selection: Selection, plan: Plan) -> str:
    """How the order comes about."""
    where = f"index {plan.way.index.name}" if plan.source[0] == "entries" and plan.way.index else "primary key"
    if plan.sorts:
        if selection.limit is None:
            return "the rows are sorted"
        return f"the first {selection.limit + selection.offset} in the order are kept while the rows are read"
    if plan.source[0] == "union" and plan.way.kind != "union":
        return "the keys found are brought into the order of the primary key"
    return f"the rows come in the order of the {where}{', backward' if plan.backward else ''}: nothing is sorted"


def of_way(schema: Schema, way: Way) -> Iterator[str]:
    """How rows are found, line by line."""
    yield name_of(way)
    for part in way.parts:
        for line in of_way(schema, part):
            yield "  " + line
    if way.kind == "keys" or way.parts:
        return
    for path, ranges in way.columns:
        yield from of_ranges(schema, path, ranges)


def of_ranges(schema: Schema, path: Path, ranges: Ranges) -> Iterator[str]:
    """The ends of a range of keys; a value looked up needs no line, as in 0.16."""
    for part in ranges:
        if not part.point:
            yield from (f"KeyRange {end}" for end in ends(schema, path, part.floor, part.ceiling))


def ends(schema: Schema, path: Path, floor: Bound | None, ceiling: Bound | None) -> Iterator[str]:
    """The ends of a range, each as a word."""
    if floor is not None:
        sign, value = floor
        yield (
            f"begins {spelled(schema, path, value)}"
            if sign == "begins"
            else f"lo {sign} {spelled(schema, path, value)}"
        )
    if ceiling is not None:
        sign, value = ceiling
        yield f"hi {sign} {spelled(schema, path, value)}"


def described(schema: Schema, condition: Condition) -> str:
    """A condition in 0.16's spelling."""
    if isinstance(condition, Test):
        return of_test(schema, condition)
    if isinstance(condition, Negation):
        return f"Not({described(schema, condition.part)})"
    name = "And" if isinstance(condition, Every) else "Or"
    return f"{name}([{', '.join(described(schema, part) for part in condition.parts)}])"


def of_test(schema: Schema, test: Test) -> str:
    """The test of one field as a text."""
    path = spelled_path(test.path)
    values = [spelled(schema, test.path, value) for value in test.values]
    if test.op == "null":
        return f"IsNull {{ path: {path} }}"
    if test.op == "in":
        return f"In {{ path: {path}, values: [{', '.join(values)}] }}"
    if test.op == "between":
        return f"Between {{ path: {path}, low: {values[0]}, high: {values[1]} }}"
    return f"{NAMES[test.op]} {{ path: {path}, value: {values[0]} }}"


def of_function(name: str, path: Path | None) -> str:
    """`Count`, `Avg FieldPath(["score"])`."""
    return name.capitalize() if path is None else f"{name.capitalize()} {spelled_path(path)}"


def spelled_path(path: Path) -> str:
    """`FieldPath(["address", "city"])`."""
    return f"FieldPath({json.dumps(list(path), ensure_ascii=False)})"


def spelled(schema: Schema, path: Path, value: Any) -> str:
    """A value in 0.16's spelling, by the kind of its field: `Int64(3)`, `String("s")`, `Bool(true)`."""
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"String({json.dumps(value, ensure_ascii=False)})"
    if isinstance(value, bool):
        return f"Bool({str(value).lower()})"
    type = schema.find(path)
    while type is not None and type.kind in ("optional", "list", "set", "frozenset", "vartuple"):
        type = type.items[0]
    kind = "any" if type is None else bare(type).kind
    if isinstance(value, int | float):
        number = float(value) if kind == "float64" else value
        return f"{VALUES.get(kind, 'Float64' if isinstance(value, float) else 'Int64')}({number!r})"
    return f"{kind.capitalize()}({value!s})"
