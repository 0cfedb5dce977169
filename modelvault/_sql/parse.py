"""SQL text -> Select, by sqlglot. Imported at the first statement, because sqlglot takes a quarter of a second."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, NoReturn

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.sqlite import SQLiteParser

from modelvault._sql.errors import NotSupportedError, ProgrammingError
from modelvault._sql.terms import Call, Constant, Item, Name, Parameter, Select, Sort, Star, Term, Total, mapped, parts

__all__ = ["parse"]

STATEMENTS: Final = 512  # whose terms are remembered

OPERATORS: Final[dict[type[exp.Expr], str]] = {
    exp.And: "and",
    exp.Or: "or",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "is",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.DPipe: "||",
    exp.RegexpLike: "regexp",
    exp.Nullif: "nullif",
}
FUNCTIONS: Final[dict[type[exp.Expr], str]] = {
    exp.Abs: "abs",
    exp.Lower: "lower",
    exp.Upper: "upper",
    exp.Length: "length",
    exp.Neg: "neg",
    exp.Not: "not",
    exp.Trim: "trim",
}
TOTALS: Final[dict[type[exp.Expr], str]] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Min: "min",
    exp.Max: "max",
    exp.Avg: "avg",
}
CLAUSES: Final = frozenset(("expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct"))
WORDS: Final = {"joins": "JOIN", "with_": "WITH", "locks": "FOR UPDATE", "windows": "WINDOW"}


class Dialect(SQLite):
    """SQLite's SQL. NULL comes last, with DESC first, and each `?` knows where it stands in the text."""

    NULL_ORDERING = "nulls_are_large"

    class Parser(SQLiteParser):
        """The parser."""

        PLACEHOLDER_PARSERS = {  # noqa: RUF012 - as sqlglot declares it
            **SQLiteParser.PLACEHOLDER_PARSERS,
            TokenType.PLACEHOLDER: lambda self: exp.Placeholder(this=f"?{self._prev.start}"),
        }


@lru_cache(STATEMENTS)
def parse(text: str) -> Select:
    """The SELECT that a text says. ProgrammingError if it is none, NotSupportedError for what we cannot answer."""
    dialect = Dialect()
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


EXPLAIN: Final = re.compile(r"((?:\s|--[^\n]*\n|/\*.*?\*/)*)explain(\s+query\s+plan)?\b", re.IGNORECASE | re.DOTALL)


def read_explain(text: str) -> tuple[bool, str]:
    """Whether it is an EXPLAIN, and the statement alone."""
    found = EXPLAIN.match(text)
    return (False, text) if found is None else (True, " " * found.end() + text[found.end() :])


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


def unsupported(what: str) -> NotSupportedError:
    """The error for SQL that is right, but that we do not know."""
    return NotSupportedError(f"query error: trailing tokens after SQL statement: {what} is not supported")


# Clauses


def read_statement(node: exp.Expr, explain: bool) -> Select:
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
    clause = node.args.get(name)
    return None if clause is None else term_of(clause.this)


def read_item(node: exp.Expr) -> Item:
    if isinstance(node, exp.Alias):
        return Item(term_of(node.this), node.alias)
    term = term_of(node)
    if isinstance(term, Name | Star):
        return Item(term, None)
    text = node.sql(dialect=Dialect, normalize_functions="lower")
    return Item(term, re.sub(r":\?\d+", "?", text))


def read_groups(group: exp.Group) -> tuple[Term, ...]:
    for word, value in group.args.items():
        if value and word != "expressions":
            raise unsupported(f"GROUP BY {word.replace('_', ' ').upper()}")
    return tuple(term_of(term) for term in group.expressions)


def read_sort(node: exp.Expr) -> Sort:
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


def roots(select: Select) -> list[Term]:
    found = [item.term for item in select.items] + [*select.groups] + [sort.term for sort in select.order]
    return found + [term for term in (select.where, select.having, select.limit, select.offset) if term is not None]


# Terms


def term_of(node: Any) -> Term:
    """A sqlglot expression as a term."""
    kind = type(node)
    operator = OPERATORS.get(kind)
    if operator is not None:
        refuse_options(node, "this", "expression", "typed", "safe")
        return Call(operator, (term_of(node.this), term_of(node.expression)))
    function = FUNCTIONS.get(kind)
    if function is not None:
        refuse_options(node, "this", "binary", "encoding")
        return call(function, term_of(node.this))
    total = TOTALS.get(kind)
    if total is not None:
        return read_total(total, node)
    build = BUILDERS.get(kind)
    if build is None:
        raise unsupported(described(node))
    return build(node)


def described(node: Any) -> str:
    """What a construct is called, for an error."""
    if isinstance(node, exp.Subquery | exp.Select | exp.Exists):
        return "a subquery"
    if isinstance(node, exp.Window):
        return "OVER"
    if isinstance(node, exp.Anonymous):
        return f"the function {node.name}()"
    if isinstance(node, exp.Func):
        return f"the function {node.sql_name()}()"
    return f"{type(node).__name__.upper()} ({node.sql()})" if isinstance(node, exp.Expr) else repr(node)


def refuse_options(node: exp.Expr, *known: str) -> None:
    for option, value in node.args.items():
        if value and option not in known:
            raise unsupported(f"{option.upper().replace('_', ' ')} of {described(node)}")


def call(function: str, *operands: Term) -> Term:
    """A call; minus a number is the number."""
    if function == "neg" and isinstance(operands[0], Constant) and isinstance(operands[0].value, int | float):
        return Constant(-operands[0].value)
    return Call(function, operands)


def read_total(function: str, node: exp.Expr) -> Term:
    refuse_options(node, "this", "big_int")
    inner = node.this
    if isinstance(inner, exp.Distinct):
        if len(inner.expressions) != 1:
            raise unsupported("DISTINCT over several columns")
        return Total(function, term_of(inner.expressions[0]), True)
    if isinstance(inner, exp.Star) or inner is None:
        if function != "count":
            raise ProgrammingError(f"query error: {function}(*) has no meaning: name a column")
        return Total("count")
    term = term_of(inner)
    if function == "count" and isinstance(term, Constant) and term.value is not None:
        return Total("count")
    return Total(function, term)


def read_name(node: Any) -> Term:
    if isinstance(node.this, exp.Star):
        if node.this.args.get("except_") or node.this.args.get("replace"):
            raise unsupported("* EXCEPT")
        return Name((*(part.name for part in node.parts[:-1]), "*"))
    names = node.parts
    if not all(isinstance(part, exp.Identifier) for part in names):
        raise unsupported(node.sql())
    return Name(tuple(part.name for part in names))


def read_star(node: exp.Star) -> Term:
    refuse_options(node)
    return Star()


def read_literal(node: exp.Literal) -> Term:
    text = node.this
    if node.is_string:
        return Constant(text)
    try:
        return Constant(int(text))
    except ValueError:
        pass
    try:
        return Constant(float(text))
    except ValueError:
        raise ProgrammingError(f"query error: invalid integer literal: {text!r}") from None


def read_is(node: exp.Is) -> Term:
    """IS NULL, IS TRUE, IS FALSE."""
    inner = term_of(node.this)
    if isinstance(node.expression, exp.Null):
        return Call("is null", (inner,))
    if isinstance(node.expression, exp.Boolean):
        return Call("is true" if node.expression.this else "is false", (inner,))
    return Call("is", (inner, term_of(node.expression)))


def read_in(node: exp.In) -> Term:
    refuse_options(node, "this", "expressions")
    return Call("in", (term_of(node.this), *(term_of(value) for value in node.expressions)))


def read_between(node: exp.Between) -> Term:
    refuse_options(node, "this", "low", "high")
    return Call("between", (term_of(node.this), term_of(node.args["low"]), term_of(node.args["high"])))


def read_like(node: exp.Like | exp.ILike, *escape: Term) -> Term:
    refuse_options(node, "this", "expression", "negate")
    function = "like" if isinstance(node, exp.Like) else "ilike"
    found = Call(function, (term_of(node.this), term_of(node.expression), *escape))
    return Call("not", (found,)) if node.args.get("negate") else found


def read_escape(node: exp.Escape) -> Term:
    inner = node.this
    if isinstance(inner, exp.Not):
        return Call("not", (read_escape(exp.Escape(this=inner.this, expression=node.expression)),))
    if not isinstance(inner, exp.Like | exp.ILike):
        raise unsupported("ESCAPE without LIKE")
    return read_like(inner, term_of(node.expression))


def read_case(node: exp.Case) -> Term:
    """CASE as its conditions and results in turn, then what is left."""
    subject = None if node.this is None else term_of(node.this)
    operands: list[Term] = []
    for branch in node.args["ifs"]:
        condition = term_of(branch.this)
        operands += [condition if subject is None else Call("=", (subject, condition)), term_of(branch.args["true"])]
    default = node.args.get("default")
    return Call("case", (*operands, Constant(None) if default is None else term_of(default)))


def read_if(node: exp.If) -> Term:
    default = node.args.get("false")
    rest = Constant(None) if default is None else term_of(default)
    return Call("case", (term_of(node.this), term_of(node.args["true"]), rest))


def read_cast(node: exp.Cast) -> Term:
    return Call("cast", (term_of(node.this), Constant(node.args["to"].sql().lower())))


def read_many(function: str, node: exp.Expr) -> Term:
    """A function of several operands."""
    first = [] if node.this is None else [node.this]
    return Call(function, tuple(term_of(value) for value in (*first, *node.expressions)))


def read_substring(node: exp.Substring) -> Term:
    places = [node.args[name] for name in ("start", "length") if node.args.get(name) is not None]
    return Call("substr", (term_of(node.this), *(term_of(place) for place in places)))


def read_round(node: exp.Round) -> Term:
    decimals = node.args.get("decimals")
    return Call("round", (term_of(node.this), *([] if decimals is None else [term_of(decimals)])))


def read_replace(node: exp.Replace) -> Term:
    return Call("replace", (term_of(node.this), term_of(node.expression), term_of(node.args["replacement"])))


def refuse_tuple(node: exp.Expr) -> NoReturn:
    raise unsupported(f"a row value ({node.sql()})")


BUILDERS: Final[dict[type[Any], Callable[[Any], Term]]] = {
    exp.Column: read_name,
    exp.Dot: read_name,
    exp.Star: read_star,
    exp.Literal: read_literal,
    exp.HexString: lambda node: Constant(bytes.fromhex(node.this)),
    exp.Boolean: lambda node: Constant(bool(node.this)),
    exp.Null: lambda node: Constant(None),
    exp.Placeholder: lambda node: Parameter(node.this),
    exp.Paren: lambda node: term_of(node.this),
    exp.NullSafeNEQ: lambda node: Call("not", (Call("is", (term_of(node.this), term_of(node.expression))),)),
    exp.Is: read_is,
    exp.In: read_in,
    exp.Between: read_between,
    exp.Like: read_like,
    exp.ILike: read_like,
    exp.Escape: read_escape,
    exp.Case: read_case,
    exp.If: read_if,
    exp.Cast: read_cast,
    exp.Coalesce: partial(read_many, "coalesce"),
    exp.Concat: partial(read_many, "concat"),
    exp.Greatest: partial(read_many, "max"),
    exp.Least: partial(read_many, "min"),
    exp.Substring: read_substring,
    exp.Round: read_round,
    exp.Replace: read_replace,
    exp.Tuple: refuse_tuple,
}
