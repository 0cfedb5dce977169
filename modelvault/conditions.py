"""What may be asked of a row, as plain immutable data: tests, what joins them, and terms of an order.

Conditions are two-valued, as Python's are: a comparison with a field that is None, or lies below an object that is
None, is false; `Negation` is the exact complement. A path that ends in, or goes through, a list holds if one of its
elements satisfies the test. Values are ordered as index keys are (docs/format.md, section 5).
"""

# Annotations are evaluated here: as texts, `NamedTuple` would have each of them compiled, which takes a millisecond.
from typing import Any, ClassVar, Final, Literal, NamedTuple

from modelvault._frozen import frozen

__all__ = [
    "ALL",
    "EVERYTHING",
    "NEEDS",
    "NONE",
    "OPERATORS",
    "RECORDS",
    "WHOLE",
    "Condition",
    "Every",
    "Needs",
    "Negation",
    "Order",
    "Selection",
    "Some",
    "Test",
]

WHOLE: Final = (list, tuple, set, frozenset)
"""Values that a list is compared with as a whole."""

OPERATORS: Final[dict[str, int | None]] = {
    "eq": 1,
    "ne": 1,
    "lt": 1,
    "le": 1,
    "gt": 1,
    "ge": 1,
    "in": None,
    "between": 2,
    "startswith": 1,
    "endswith": 1,
    "contains": 1,
    "like": 1,
    "regex": 1,
    "null": 0,
}
"""The operators, and how many values each takes: None for any number."""


@frozen
class Test:
    """The field at `path` compares with `values` as `op` says.

    * eq ne lt le gt ge: with one value. eq of None is `null`, ne is exactly not eq. With a list, tuple, set or
      frozenset as the value, eq and ne compare a list field as a whole.
    * in: equal to one of them. between: from the first to the second, both included. null: is None.
    * startswith endswith: of a string or bytes. contains: a part of a string or bytes, an element of a list.
    * like: SQL's LIKE (% and _, case-sensitive, a backslash escapes). regex: `re.search`.
    """

    __test__: "ClassVar[bool]" = False  # pytest takes it for a test case otherwise

    path: tuple[str, ...]
    op: str
    values: tuple[Any, ...] = ()


@frozen
class Every:
    """All parts hold; of none, true."""

    parts: "tuple[Condition, ...]"


@frozen
class Some:
    """At least one part holds; of none, false."""

    parts: "tuple[Condition, ...]"


@frozen
class Negation:
    """The part does not hold."""

    part: "Condition"


Condition = Test | Every | Some | Negation

ALL: Final = Every(())
"""Holds for every row."""

NONE: Final = Some(())
"""Holds for no row."""


@frozen
class Order:
    """One term of an order: by the field at `path`; None last, with `desc` first."""

    path: tuple[str, ...]
    desc: bool = False


class Selection(NamedTuple):
    """What is asked of a collection: the rows that satisfy `condition`, in an order, from `offset` on, at most `limit`.

    Without an order they come by primary key. fields: only these paths, as `shape` says: nested dicts or tuples; with
    `distinct`, each such value once. after: behind the row at this position (`SortKeys` of its order).
    """

    condition: Condition = ALL
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    fields: tuple[tuple[str, ...], ...] | None = None
    distinct: bool = False
    after: bytes | None = None
    shape: Literal["row", "dict", "tuple"] = "row"


EVERYTHING: Final = Selection()
"""All rows, by primary key."""


class Needs(NamedTuple):
    """What is made of the rows. ordered: their order matters. paths: only these fields are shown; None: all are."""

    ordered: bool = True
    paths: tuple[tuple[str, ...], ...] | None = None


NEEDS: Final = Needs()
RECORDS: Final = Needs(paths=((),))
"""For those who need the records as they are: no index has them."""
