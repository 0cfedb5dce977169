"""SQL text -> Select, by sqlglot. Imported at the first statement, because sqlglot takes a quarter of a second."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar, Final

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.sqlite import SQLiteParser

from modelvault._sql.errors import NotSupportedError, ProgrammingError
from modelvault._sql.nodes import refuse_options, term_of, unsupported
from modelvault._sql.terms import (
    Constant,
    Explain,
    Item,
    Name,
    Parameter,
    Select,
    Sort,
    Star,
    Term,
    mapped,
    parts,
    roots,
)

__all__ = ["parse"]

STATEMENTS: Final = 512  # whose terms are remembered

CLAUSES: Final = frozenset(("expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct"))
WORDS: Final = {"joins": "JOIN", "with_": "WITH", "locks": "FOR UPDATE", "windows": "WINDOW"}


def placeholder(parser: Any) -> exp.Placeholder:
    """A `?` that knows where it stands."""
    return exp.Placeholder(this=f"?{parser._prev.start}")


class ModelVault(SQLite):
    """SQLite's SQL. NULL comes last, with DESC first, and each `?` knows where it stands in the text."""

    NULL_ORDERING = "nulls_are_large"

    class Parser(SQLiteParser):
        """The parser."""

        PLACEHOLDER_PARSERS: ClassVar[dict[TokenType, Any]] = {
            **SQLiteParser.PLACEHOLDER_PARSERS,  # pyright: ignore[reportUnknownMemberType] - sqlglot gives no types
            TokenType.PLACEHOLDER: placeholder,
        }


@lru_cache(STATEMENTS)
def parse(text: str) -> Select:
    """The SELECT that a text says. ProgrammingError if it is none, NotSupportedError for what we cannot answer."""
    dialect = ModelVault()
    explain, text = read_explain(text)
    try:
        tokens = dialect.tokenize(text)
        check_start(tokens)
        statements = [node for node in dialect.parser().parse(tokens, text) if node is not None]
    except TokenError as error:
        raise ProgrammingError(
            f"query error: unsupported character in SQL, or a quote that is not closed: {error}"
        ) from None
    except ParseError as error:
        raise wrong(error) from None
    if len(statements) != 1:
        raise ProgrammingError("query error: trailing tokens after SQL statement: execute one statement at a time")
    return read_statement(statements[0], explain)


EXPLAIN: Final = re.compile(
    r"((?:\s|--[^\n]*\n|/\*.*?\*/)*)explain(\s+query\s+plan|\s+analyze)?\b", re.IGNORECASE | re.DOTALL
)


def read_explain(text: str) -> tuple[Explain, str]:
    """What an EXPLAIN before the statement asks, and the statement alone."""
    found = EXPLAIN.match(text)
    if found is None:
        return "", text
    option = (found[2] or "").strip().lower()
    return "analyze" if option == "analyze" else "plan", " " * found.end() + text[found.end() :]


def check_start(tokens: list[Token]) -> None:
    """Raise unless it begins with SELECT."""
    first = tokens[0].text.upper().partition(" ")[0] if tokens else ""
    if first in ("WITH", "VALUES", "("):
        raise unsupported({"(": "a statement in parentheses"}.get(first, first))
    if first != "SELECT":
        hint = f": the driver only reads, it cannot run {first}" if first in WRITES else ""
        kind = NotSupportedError if first in WRITES else ProgrammingError
        raise kind(f'query error: expected keyword "select"{hint}')


WRITES: Final = frozenset(
    ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE")
    + ("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "PRAGMA", "VACUUM", "ANALYZE", "CALL")
)


def wrong(error: ParseError) -> ProgrammingError:
    """The error for text that is no SQL, in 0.16's words where it had some."""
    place = error.errors[0] if error.errors else {}
    described = str(place.get("description") or error)
    highlight = place.get("highlight")
    before = str(place.get("start_context", "")).split()[-1:]
    where = f" near {highlight!r} (line {place.get('line')}, column {place.get('col')})" if highlight else ""
    what = next((words for start, words in SYNTAX.items() if described.startswith(start)), described)
    if described.startswith("Invalid expression"):
        behind = before[0].lower() if before else ""
        what = 'expected keyword "by"' if behind in ("order", "group") else "trailing tokens after SQL statement"
    return ProgrammingError(f"query error: {what}{where}")


SYNTAX: Final = {
    "Expecting )": "expected ')'",
    "Expected table name": "expected identifier",
    **{
        f"Required keyword: '{part}' missing for <class 'sqlglot.expressions.{clause}'>": words
        for clause, words in {
            "query.Limit": "expected integer after LIMIT",
            "query.Offset": "expected integer after OFFSET",
            "query.Where": "expected predicate",
            "query.Having": "expected predicate",
            "core.Not": "expected predicate",
        }.items()
        for part in ("this", "expression")
    },
    "Required keyword: 'expression'": "expected parameter '?', a literal or a column",
    "Required keyword: 'this'": "expected predicate",
}


# Clauses


def read_statement(node: exp.Expr, explain: Explain) -> Select:
    """A sqlglot statement as a Select."""
    if not isinstance(node, exp.Select):
        raise unsupported(type(node).__name__.upper())
    for clause, value in node.args.items():
        if value and clause not in CLAUSES:
            raise unsupported(WORDS.get(clause, clause.rstrip("_").replace("_", " ").upper()))
    if not node.expressions:
        raise ProgrammingError("query error: expected '*' or column list after SELECT")
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise unsupported("DISTINCT ON")
    table, alias = read_table(node.args.get("from_"))
    group = node.args.get("group")
    order = node.args.get("order")
    select = Select(
        tuple(read_item(item) for item in node.expressions),
        table,
        alias,
        read_clause(node, "where"),
        () if group is None else read_groups(group),
        read_clause(node, "having"),
        () if order is None else tuple(read_sort(term) for term in order.expressions),
        read_limit(node.args.get("limit")),
        read_limit(node.args.get("offset")),
        distinct is not None,
        explain,
        0,
    )
    return numbered(select)


def read_table(source: Any) -> tuple[str | None, str | None]:
    """The collection's name and its alias."""
    if source is None:
        return None, None
    table = source.this
    if not isinstance(table, exp.Table):
        raise unsupported("a subquery in FROM" if isinstance(table, exp.Subquery) else f"FROM {table.sql()}")
    for word, value in table.args.items():
        if value and word not in ("this", "db", "catalog", "alias"):
            raise unsupported(WORDS.get(word, word.upper()))
    if not isinstance(table.this, exp.Identifier):
        raise unsupported(f"FROM {table.sql()}")
    alias = table.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        raise unsupported("a list of columns behind the table's alias")
    return ".".join(part.name for part in table.parts), table.alias or None


def read_clause(node: exp.Expr, name: str) -> Term | None:
    """What a clause such as WHERE says; None if it is not there."""
    clause = node.args.get(name)
    return None if clause is None else term_of(clause.this)


def read_item(node: exp.Expr) -> Item:
    """An item of SELECT: a term, and what its column is called if that is not its own name."""
    if isinstance(node, exp.Alias):
        return Item(term_of(node.this), node.alias)
    term = term_of(node)
    if isinstance(term, Name | Star):
        return Item(term, None)
    text = node.sql(dialect=ModelVault, normalize_functions="lower", comments=False)
    return Item(term, re.sub(r":\?\d+", "?", text))


def read_groups(group: exp.Group) -> tuple[Term, ...]:
    """The terms of GROUP BY; NotSupportedError for ROLLUP and the like."""
    for word, value in group.args.items():
        if value and word != "expressions":
            raise unsupported(f"GROUP BY {word.replace('_', ' ').upper()}")
    return tuple(term_of(term) for term in group.expressions)


def read_sort(node: exp.Expr) -> Sort:
    """A term of ORDER BY, with its direction and the place of NULL."""
    refuse_options(node, "this", "desc", "nulls_first")
    if not isinstance(node, exp.Ordered):
        raise unsupported(f"ORDER BY {node.sql()}")
    desc = bool(node.args.get("desc"))
    return Sort(term_of(node.this), desc, bool(node.args.get("nulls_first")))


def read_limit(node: Any) -> Term | None:
    """The number of a LIMIT, OFFSET or FETCH FIRST; None for LIMIT ALL."""
    if node is None:
        return None
    number = node.args.get("count") if isinstance(node, exp.Fetch) else node.expression
    options = node.args.get("limit_options")
    if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
        raise unsupported("FETCH FIRST PERCENT or WITH TIES")
    if isinstance(number, exp.Column) and number.name.lower() == "all":
        return None
    term = Constant(1) if number is None else term_of(number)
    if not isinstance(term, Constant | Parameter):
        raise ProgrammingError("query error: expected integer after LIMIT")
    return term


def numbered(select: Select) -> Select:
    """The statement with its `?` numbered in the order of the text; until then they carry their places."""
    keys = {term.key for root in roots(select) for term in parts(root) if isinstance(term, Parameter)}
    places = sorted(int(key[1:]) for key in keys if isinstance(key, str) and key.startswith("?"))
    names = {key for key in keys if isinstance(key, str) and not key.startswith("?")}
    if places and names:
        raise ProgrammingError("query error: use either ? or :name for the parameters of a statement, not both")
    if not places:
        return mapped(select, lambda term: None, frozenset(names) if names else 0)
    numbers = {f"?{place}": number for number, place in enumerate(places)}

    def change(term: Term) -> Term | None:
        return Parameter(numbers[str(term.key)]) if isinstance(term, Parameter) else None

    return mapped(select, change, len(places))
