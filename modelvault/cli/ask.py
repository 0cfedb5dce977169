"""`query`: SQL, or conditions such as `age>=18`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from modelvault import Database, dbapi
from modelvault._core.drive import drive
from modelvault._dated import dated
from modelvault._handle import Handle
from modelvault._selections import Selections
from modelvault._sql.names import resolved
from modelvault._sql.plan import planned
from modelvault._sql.run import PORTION, Result
from modelvault._sql.terms import Call, Constant, Item, Name, Select, Sort, Star, Term, Total
from modelvault.cli.output import Output
from modelvault.cli.parts import File, Json, UsageError
from modelvault.cli.places import reading, schema_of
from modelvault.cli.values import from_text
from modelvault.errors import ModelVaultQueryError
from modelvault.schema import Schema, Type

__all__ = ["conditions", "query", "show"]

SQL: Final = re.compile(r"\s*(select|explain|with|values)\b", re.IGNORECASE)
CONDITION: Final = re.compile(r"([^\s=!<>~]+)\s*(==|!=|<=|>=|<>|=|<|>|!~|~)(.*)", re.DOTALL)
SIGNS: Final = {"==": "=", "!=": "<>", "~": "regexp", "!~": "regexp"}

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="SQL | COLLECTION [CONDITION]...",
        help="A SELECT; or a collection and conditions, all of which must hold: age>=18 address.city=London "
        "name~^A nick!=null (= != < <= > >= ~ !~).",
        show_default=False,
    ),
]


def query(
    file: File,
    words: Words,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A value for a ? of the SQL.")] = None,
    columns: Annotated[str | None, typer.Option(help="Only these fields: id,address.city.")] = None,
    order: Annotated[str | None, typer.Option(help="Sort by these fields: -age,name (- is descending).")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Without the first rows.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many rows there are.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Only how the rows are found.")] = False,
    json: Json = False,
) -> None:
    """Ask for rows, by SQL or by conditions."""
    output = Output(json)
    with reading(file) as db:
        if SQL.match(words[0]):
            if columns or order or limit is not None or offset is not None or count:
                raise UsageError("--columns, --order, --limit, --offset, --count are for conditions: use SQL")
            sql = " ".join(words)
            with dbapi.connect(db) as connection:
                show(
                    connection.execute(f"EXPLAIN {sql}" if explain else sql, [guessed(text) for text in param or []]),
                    output,
                )
            return
        if param:
            raise UsageError("--param is for SQL")
        if " " in words[0] and words[0] not in db.collection_names():
            raise UsageError(f"{words[0]!r} is neither a SELECT nor a collection")
        asked = select_of(schema_of(db, words[0]), words[1:], columns, order, count=count)
        asked = replace(asked, limit=number(limit), offset=number(offset), explain="plan" if explain else "")
        result = drive(started(db, asked))
        plan = result.plan
        names, kinds = (("plan",), (None,)) if plan.explain else (plan.names, plan.kinds)
        output.table(names, rows_of(result), kinds)


def show(cursor: dbapi.Cursor, output: Output) -> int:
    """The rows of a cursor; how many there were."""
    assert cursor.description is not None
    return output.table(
        [column[0] for column in cursor.description], cursor, [column[1] for column in cursor.description]
    )


def guessed(text: str) -> Any:
    """A parameter's value: a number, a truth value, null, else text; 'quoted' is always text."""
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    for known, value in (("null", None), ("true", True), ("false", False)):
        if text.lower() == known:
            return value
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


async def started(db: Database, select: Select) -> Result:
    """The result of conditions, its first rows read."""
    assert select.table is not None
    handle = dated(Handle(db.__catalog__, select.table))
    source, schema = Selections(handle), handle.schema
    result = Result(planned(resolved(select, source, schema), None, source, schema.primary))
    await result.start(PORTION)
    return result


def rows_of(result: Result) -> Iterator[Sequence[Any]]:
    """The rows of a result, read as they are needed."""
    while part := drive(result.take(PORTION)):
        yield from part


def select_of(
    schema: Schema, words: list[str], columns: str | None, order: str | None, *, count: bool = False
) -> Select:
    """Conditions as a SELECT."""
    items: tuple[Item, ...] = (Item(Star(), None),)
    if count:
        items = (Item(Total("count"), "count"),)
    elif columns:
        items = tuple(Item(named(name), None) for name in columns.split(","))
    sorts = [] if order is None or count else [sort_of(word.strip()) for word in order.split(",")]
    where = conditions(schema, words)
    return Select(items, schema.name, None, where, (), None, tuple(sorts), None, None, False, "", 0)


def number(value: int | None) -> Term | None:
    """A number as a term of a statement; None if it was not given."""
    return None if value is None else Constant(value)


def named(path: str) -> Name:
    """A dotted path as a column's name."""
    return Name(tuple(path.strip().split(".")))


def sort_of(word: str) -> Sort:
    """A word of --order as a term; behind a minus it is descending, NULL first."""
    desc = word.startswith("-")
    return Sort(named(word.lstrip("-+")), desc, desc)


def conditions(schema: Schema, words: Iterable[str]) -> Term | None:
    """Words such as `age>=18`, joined by AND."""
    found: Term | None = None
    for word in words:
        term = condition(schema, word)
        found = term if found is None else Call("and", (found, term))
    return found


def condition(schema: Schema, word: str) -> Term:
    """One condition; its value is read as the field's type says."""
    match = CONDITION.fullmatch(word.strip())
    if match is None:
        raise ModelVaultQueryError(f"{word!r} is no condition: write it like age>=18, name=Ada or name~^A")
    path, sign, text = match[1], match[2], match[3].strip()
    name = named(path)
    function = SIGNS.get(sign, sign)
    if text.lower() == "null" and function in ("=", "<>"):
        null = Call("is null", (name,))
        return null if function == "=" else Call("not", (null,))
    value: Any = text if function == "regexp" else value_of(schema, name.segments, text, path)
    term = Call(function, (name, Constant(value)))
    return Call("not", (term,)) if sign == "!~" else term


def value_of(schema: Schema, path: tuple[str, ...], text: str, spelled: str) -> Any:
    """The value that a word means for the field at a path."""
    type = schema.find(path)
    if type is None:
        return text  # the planner says what is wrong with the path
    try:
        return from_text(element(type), text)
    except ValueError as error:
        raise ModelVaultQueryError(f"query error: {error}: {spelled}") from None


def element(type: Type) -> Type:
    """What a condition compares: for a list, its elements."""
    while type.kind in ("optional", "list", "set", "frozenset", "vartuple"):
        type = type.items[0]
    return type
