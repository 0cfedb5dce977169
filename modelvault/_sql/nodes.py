"""sqlglot's expressions as terms. What we do not know is refused, and so is every option that would be passed over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from sqlglot import exp

from modelvault._kinds import kind_of
from modelvault._sql.errors import NotSupportedError, ProgrammingError
from modelvault._sql.terms import Call, Constant, Name, Parameter, Star, Term, Total

__all__ = ["refuse_options", "term_of", "unsupported"]

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


def unsupported(what: str) -> NotSupportedError:
    """The error for SQL that is right, but that we do not know."""
    return NotSupportedError(f"query error: trailing tokens after SQL statement: {what} is not supported")


def term_of(node: Any) -> Term:
    """A sqlglot expression as a term."""
    kind = kind_of(node)
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
    """NotSupportedError for a part of a node that is not among those we read."""
    for option, value in node.args.items():
        if value and option not in known:
            raise unsupported(f"{option.upper().replace('_', ' ')} of {described(node)}")


def call(function: str, *operands: Term) -> Term:
    """A call; minus a number is the number."""
    if function == "neg" and isinstance(operands[0], Constant) and isinstance(operands[0].value, int | float):
        return Constant(-operands[0].value)
    return Call(function, operands)


def read_total(function: str, node: exp.Expr) -> Term:
    """An aggregate; COUNT of a constant counts rows, as COUNT(*) does."""
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
    """A column, dotted or not; `t.*` is a name that ends in a star."""
    if isinstance(node.this, exp.Star):
        if node.this.args.get("except_") or node.this.args.get("replace"):
            raise unsupported("* EXCEPT")
        return Name((*(part.name for part in node.parts[:-1]), "*"))
    names = node.parts
    if not all(isinstance(part, exp.Identifier) for part in names):
        raise unsupported(node.sql())
    return Name(tuple(part.name for part in names))


def read_star(node: exp.Star) -> Term:
    """`*`, without EXCEPT and the like."""
    refuse_options(node)
    return Star()


def read_literal(node: exp.Literal) -> Term:
    """A text; or a number, an integer if its digits are one."""
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
    """IN over a list; a query in its place is refused."""
    refuse_options(node, "this", "expressions")
    return Call("in", (term_of(node.this), *(term_of(value) for value in node.expressions)))


def read_between(node: exp.Between) -> Term:
    """BETWEEN, both ends included."""
    refuse_options(node, "this", "low", "high")
    return Call("between", (term_of(node.this), term_of(node.args["low"]), term_of(node.args["high"])))


def read_like(node: exp.Like | exp.ILike, *escape: Term) -> Term:
    """LIKE or ILIKE; NOT may stand inside the node."""
    refuse_options(node, "this", "expression", "negate")
    function = "like" if isinstance(node, exp.Like) else "ilike"
    found = Call(function, (term_of(node.this), term_of(node.expression), *escape))
    return Call("not", (found,)) if node.args.get("negate") else found


def read_escape(node: exp.Escape) -> Term:
    """LIKE with its ESCAPE, which sqlglot puts around it, and around its NOT."""
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
    """IIF: NULL if its third part is missing."""
    default = node.args.get("false")
    rest = Constant(None) if default is None else term_of(default)
    return Call("case", (term_of(node.this), term_of(node.args["true"]), rest))


def read_cast(node: exp.Cast) -> Term:
    """CAST: the type's name as text, which the function knows or refuses."""
    return Call("cast", (term_of(node.this), Constant(node.args["to"].sql().lower())))


def read_many(function: str, node: exp.Expr) -> Term:
    """A function of several operands."""
    first = [] if node.this is None else [node.this]
    return Call(function, tuple(term_of(value) for value in (*first, *node.expressions)))


def read_substring(node: exp.Substring) -> Term:
    """SUBSTR: a start, and perhaps a length."""
    places = [node.args[name] for name in ("start", "length") if node.args.get(name) is not None]
    return Call("substr", (term_of(node.this), *(term_of(place) for place in places)))


def read_round(node: exp.Round) -> Term:
    """ROUND, perhaps to some decimals."""
    decimals = node.args.get("decimals")
    return Call("round", (term_of(node.this), *([] if decimals is None else [term_of(decimals)])))


def read_replace(node: exp.Replace) -> Term:
    """REPLACE: text, what to look for, what to put there."""
    return Call("replace", (term_of(node.this), term_of(node.expression), term_of(node.args["replacement"])))


def refuse_tuple(node: exp.Expr) -> NoReturn:
    """NotSupportedError: rows are not values here."""
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
