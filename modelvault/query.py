"""What is asked of a collection: conditions, order, limits, and the verbs that ask it. Immutable; nothing runs here.

A query is checked as it is built, by the schema of its collection; a Source answers it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, overload

from modelvault._arguments import (
    LIMIT,
    PathOf,
    check_owners,
    comparison,
    path_and_owner,
    read_changes,
    read_conditions,
    read_count,
    read_field,
    read_fields,
    read_order,
)
from modelvault.conditions import ALL, EVERYTHING, Condition, Every, Selection, Some, Test
from modelvault.errors import ModelVaultQueryError, NotFoundError
from modelvault.expressions import Aggregate, Expression, FieldRef, Ordering, spelled
from modelvault.frames import AsyncFrames
from modelvault.groups import Groups, explain, summarise
from modelvault.pages import Page, read_cursor, write_cursor

if TYPE_CHECKING:
    from typing_extensions import Never

    from modelvault.sources import RowIterator, Source

__all__ = ["AsyncQuery", "Questions"]

M = TypeVar("M")
N = TypeVar("N")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

# A third of what `_make` takes; `tuple.__new__`, whose type leaves open what the tuple is of.
new_selection: Final[Callable[[type[Selection], tuple[Any, ...]], Selection]] = tuple.__dict__["__new__"]


class Questions(AsyncFrames, Generic[M]):
    """What can be asked of a collection or a query: each method that narrows gives a new query."""

    __slots__ = ()

    __source__: Source  # pyright: ignore[reportIncompatibleVariableOverride]  # and never set again
    __make__: Callable[[Any], M] | None  # what makes a result of what the source gives, if that is not it

    # Narrowing

    @overload
    def where(self, /, *conditions: Expression[M] | bool) -> AsyncQuery[M]: ...
    @overload
    def where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]: ...
    def where(self, *conditions: Any, **named: Any) -> AsyncQuery[M]:
        """Rows for which all conditions hold: `where(u.age >= 18, u.name.startswith("A"))`.

        `where(path, value)` is 0.16's spelling of `where(u.age == value)`.
        """
        if not named and self.__selection__ is EVERYTHING:  # the way of nearly all: half of what the other one takes
            source, single = self.__source__, len(conditions) == 1
            parts: list[Condition] = []
            for expression in conditions:
                if expression.__class__ is not Expression or not (single or expression.condition.__class__ is Test):
                    break
                for owner in expression.owners:
                    if owner is not source.cls:
                        check_owners(source, expression.owners)
                parts.append(expression.condition)
            else:
                if parts:
                    asked = parts[0] if single else Every(tuple(parts))
                    return AsyncQuery(source, Selection(source.check(asked)), self.__make__)
        return self._narrowed(read_conditions(self.__source__, "where", conditions, named))

    def gt_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]:
        """Rows where the field at `path` is greater than `value`."""
        return self._narrowed(comparison(self.__source__, path, "gt", value))

    def gte_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]:
        """Rows where the field at `path` is greater than `value`, or equal."""
        return self._narrowed(comparison(self.__source__, path, "ge", value))

    def lt_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]:
        """Rows where the field at `path` is less than `value`."""
        return self._narrowed(comparison(self.__source__, path, "lt", value))

    def lte_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]:
        """Rows where the field at `path` is less than `value`, or equal."""
        return self._narrowed(comparison(self.__source__, path, "le", value))

    def order_by(self, *terms: PathOf[M] | Ordering[M], desc: bool = False) -> AsyncQuery[M]:
        """Rows in this order: `order_by(u.age.desc(), u.name)`; the last call wins.

        None comes last, with `desc` first. Rows that are equal come by primary key, in the direction of the last
        term. desc: the direction of the terms that have none of their own.
        """
        if not isinstance(desc, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"argument 'desc': {type(desc).__name__!r} object is not an instance of 'bool'")
        if not terms:
            raise TypeError("order_by() needs a field")
        source, known = self.__source__, self.__selection__
        order = tuple([read_order(source, term, desc) for term in terms])
        return AsyncQuery(source, new_selection(Selection, (known[0], order, *known[2:])), self.__make__)

    def limit(self, n: int) -> AsyncQuery[M]:
        """At most `n` rows, 0 to 1,048,576; the last call wins."""
        count, known = read_count("limit", n, LIMIT), self.__selection__
        return AsyncQuery(self.__source__, new_selection(Selection, (*known[:2], count, *known[3:])), self.__make__)

    def offset(self, n: int) -> AsyncQuery[M]:
        """Without the first `n` rows; the last call wins. `page` goes through many rows at less cost."""
        return self._but(self.__selection__._replace(offset=read_count("offset", n, (1 << 63) - 1)))

    def distinct(self) -> AsyncQuery[M]:
        """Each selected value once, the first in the order; whole rows are distinct anyway."""
        return self._but(self.__selection__._replace(distinct=True))

    @overload
    def select(self, field: type[N], /) -> AsyncQuery[N]: ...
    @overload
    def select(self, field: FieldRef[M, A], /) -> AsyncQuery[A]: ...
    @overload
    def select(self, first: FieldRef[M, A], second: FieldRef[M, B], /) -> AsyncQuery[tuple[A, B]]: ...
    @overload
    def select(
        self, first: FieldRef[M, A], second: FieldRef[M, B], third: FieldRef[M, C], /
    ) -> AsyncQuery[tuple[A, B, C]]: ...
    @overload
    def select(
        self, first: FieldRef[M, A], second: FieldRef[M, B], third: FieldRef[M, C], fourth: FieldRef[M, D], /
    ) -> AsyncQuery[tuple[A, B, C, D]]: ...
    @overload
    def select(
        self, one: PathOf[M], two: PathOf[M], three: PathOf[M], four: PathOf[M], five: PathOf[M], /, *more: PathOf[M]
    ) -> AsyncQuery[Any]: ...
    @overload
    def select(self, *fields: str | Sequence[str]) -> AsyncQuery[Any]: ...
    def select(self, *fields: Any) -> AsyncQuery[Any]:
        """Parts of the rows.

        * of a model: `select(u.email)` gives values, `select(u.email, u.age)` tuples
        * of dicts: dicts with these fields, nested under their parents
        * `select(Card)`: instances of a model or dataclass that has some of the fields
        """
        if len(fields) == 1 and isinstance(fields[0], type):
            return AsyncQuery(self.__source__.part(fields[0]), self.__selection__)
        paths = read_fields(self.__source__, fields)
        if self.__source__.cls is dict:
            return AsyncQuery(self.__source__, self.__selection__._replace(fields=paths, shape="dict"))
        selection = self.__selection__._replace(fields=paths, shape="tuple")
        return AsyncQuery(self.__source__, selection, operator.itemgetter(0) if len(paths) == 1 else None)

    def group_by(self, *fields: PathOf[M], **named: PathOf[M]) -> Groups[M]:
        """Rows in groups with equal values: `group_by(u.address.city).agg(n=count())`.

        A group's values are named by their paths, or as `group_by(city=u.address.city)` says.
        """
        keys: dict[str, tuple[str, ...]] = {}
        for name, field in [(None, field) for field in fields] + list(named.items()):
            path = read_field(self.__source__, field)
            self.__source__.field(path).check_order("group_by()")
            keys[name or ".".join(path)] = path
        if not keys:
            raise TypeError("group_by() needs a field; agg() alone summarises all rows")
        return Groups(self.__source__, self.__selection__, keys)

    # Asking

    async def all(self, fields: PathOf[M] | Iterable[PathOf[M]] | None = None) -> list[M]:
        """The rows, as a list.

        fields: only these, as dicts nested under their parents; of a model, instances that lack the other attributes.
        A string or FieldRef is one field, a list or tuple holds several.
        """
        if fields is None:
            return await self._fetched(self.__selection__, self.__make__)
        one = isinstance(fields, FieldRef | str) or not isinstance(fields, Iterable)  # pyright: ignore[reportUnnecessaryIsInstance]
        listed: Any = (fields,) if one else fields
        paths = read_fields(self.__source__, listed)
        plain = self.__source__.cls is dict or self.__selection__.shape != "row"
        make = None if plain else self.__source__.partial(paths)
        return await self._fetched(self.__selection__._replace(fields=paths, shape="dict"), make)

    async def first(self) -> M | None:
        """The first row, None if there is none."""
        found = await self._fetched(self.__selection__, self.__make__, 1)
        return found[0] if found else None

    async def one(self) -> M:
        """The only row. NotFoundError (a LookupError) if there is none, ModelVaultQueryError if there are more."""
        found = await self._fetched(self.__selection__, self.__make__, 2)
        if not found:
            raise NotFoundError(
                f"no row of {self.__source__.name} fits: {self._asked()}", collection=self.__source__.name
            )
        return self._single(found)

    async def one_or_none(self) -> M | None:
        """The only row, None if there is none. ModelVaultQueryError if there are more."""
        found = await self._fetched(self.__selection__, self.__make__, 2)
        return self._single(found) if found else None

    async def count(self) -> int:
        """How many rows there are."""
        return await self.__source__.tally(self.__selection__)

    async def exists(self) -> bool:
        """Is there a row?"""
        return await self.__source__.exists(self.__selection__)

    async def page(self, size: int = 20, after: str | None = None) -> Page[M]:
        """At most `size` rows behind the cursor of another page, and the cursor of the next page.

        Each page continues in the order of the query exactly behind the last row of the one before, however the
        collection has changed. CursorError for the cursor of another query, or one that was changed.
        """
        selection = self.__selection__
        size = read_count("page size", size, LIMIT)
        if size == 0:
            raise ModelVaultQueryError("query error: the page size must be at least 1")
        if selection.distinct and selection.fields is not None:
            raise ModelVaultQueryError("query error: distinct values have no cursors: use offset() and limit()")
        query, given = self._description(), 0
        if after is not None:
            given, position = read_cursor(query, after)
            selection = selection._replace(after=position, offset=0)
        left = size if selection.limit is None else min(size, selection.limit - given)
        if left <= 0:
            return Page([])
        rows, end = await self.__source__.page(selection._replace(limit=None), left)
        given += len(rows)
        if end is None or given == selection.limit:
            return Page(self._made(rows))
        return Page(self._made(rows), write_cursor(query, given, end))

    @overload
    async def sum(self, field: FieldRef[M, A]) -> A: ...
    @overload
    async def sum(self, field: str | Sequence[str]) -> Any: ...
    async def sum(self, field: Any) -> Any:
        """The sum of a number; 0 if there is none. None does not count."""
        return await self._total(Aggregate("sum", *path_and_owner(field)))

    @overload
    async def min_(self, field: FieldRef[M, A]) -> A | None: ...
    @overload
    async def min_(self, field: str | Sequence[str]) -> Any: ...
    async def min_(self, field: Any) -> Any:
        """The smallest value; None if there is none."""
        return await self._total(Aggregate("min", *path_and_owner(field)))

    @overload
    async def max_(self, field: FieldRef[M, A]) -> A | None: ...
    @overload
    async def max_(self, field: str | Sequence[str]) -> Any: ...
    async def max_(self, field: Any) -> Any:
        """The greatest value; None if there is none."""
        return await self._total(Aggregate("max", *path_and_owner(field)))

    async def avg(self, field: FieldRef[M, Any] | str | Sequence[str]) -> Any:
        """The mean of a number; None if there is none. None does not count."""
        return await self._total(Aggregate("avg", *path_and_owner(field)))

    async def agg(self, **functions: Aggregate[M, Any]) -> dict[str, Any]:
        """Several numbers about the rows: `agg(n=count(), oldest=max_(u.age))` is {"n": 3, "oldest": 77}."""
        return (await summarise(self.__source__, self.__selection__, {}, functions))[0]

    async def explain(self, analyze: bool = False, **functions: Aggregate[M, Any]) -> str:
        """How the rows are found, and why. analyze: also find them, and say how many were looked at, and the time.

        With functions as `agg` takes them, how these are found: `explain(n=count())`, `explain(oldest=max_(u.age))`.
        """
        return await explain(self.__source__, self.__selection__, analyze, {}, functions)

    def __aiter__(self) -> RowIterator[M]:
        """The rows one after the other, as one snapshot and in bounded memory."""
        rows = self.__source__.rows(self.__selection__)
        return rows if self.__make__ is None else MadeRows(rows, self.__make__)

    # Parts of the above

    def __contains__(self, item: Never) -> bool:
        raise TypeError("`in` does not wait, and a query has no keys: ask get(key) of the collection, or exists()")

    def _but(self, selection: Selection) -> AsyncQuery[M]:
        """The same question with another selection."""
        return AsyncQuery(self.__source__, selection, self.__make__)

    def _narrowed(self, condition: Condition) -> AsyncQuery[M]:
        """The same question of rows that fit one more condition."""
        selection = self.__selection__
        if selection is EVERYTHING:
            return AsyncQuery(self.__source__, Selection(condition), self.__make__)
        return self._but(selection._replace(condition=both(selection.condition, condition)))

    async def _fetched(
        self, selection: Selection, make: Callable[[Any], Any] | None, most: int | None = None
    ) -> list[Any]:
        """What `make` makes of the rows, at most `most`: of a few at once, of many in slices."""
        found = self.__source__.at_once(selection, most)
        if found is None:
            return await self.__source__.fetch(selection, most, make)
        return found if make is None else [make(row) for row in found]

    def _made(self, found: list[Any]) -> list[M]:
        """The rows as what is made of each."""
        make = self.__make__
        return found if make is None else [make(row) for row in found]

    def _single(self, found: list[M]) -> M:
        """The only row of one or two. ModelVaultQueryError for two."""
        if len(found) > 1:
            raise ModelVaultQueryError(
                f"query error: more than one row of {self.__source__.name} fits: {self._asked()}"
            )
        return found[0]

    async def _total(self, function: Aggregate[Any, Any]) -> Any:
        """One aggregate of all rows."""
        return (await summarise(self.__source__, self.__selection__, {}, {"total": function}))[0]["total"]

    def _asked(self) -> str:
        """The question in words, for errors."""
        return describe(self.__source__.name, self.__selection__)

    def _description(self) -> str:
        """The query as a text: what a cursor is bound to."""
        source, selection = self.__source__, self.__selection__
        order = ";".join(f"{term.path!r} {source.field(term.path).kind} {term.desc}" for term in selection.order)
        return f"{source.name!r} where {source.describe(selection.condition)} by {order}"


class AsyncQuery(Questions[M]):
    """A question to a collection. Each method that narrows it gives a new query.

    Nothing runs before it is awaited or iterated. Rows come in primary-key order unless `order_by` says otherwise.
    """

    __slots__ = ("__make__", "__selection__", "__source__")

    def __init__(self, source: Source, selection: Selection, make: Callable[[Any], M] | None = None) -> None:
        self.__source__: Source = source  # pyright: ignore[reportIncompatibleVariableOverride]
        self.__selection__: Selection = selection
        self.__make__: Callable[[Any], M] | None = make

    @overload
    def and_where(self, /, *conditions: Expression[M] | bool) -> AsyncQuery[M]: ...
    @overload
    def and_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]: ...
    def and_where(self, *conditions: Any, **named: Any) -> AsyncQuery[M]:
        """Rows for which these conditions hold too; `and_where(path, value)` asks for equality."""
        return self._narrowed(read_conditions(self.__source__, "and_where", conditions, named))

    @overload
    def or_where(self, other: AsyncQuery[M] | Expression[M] | bool, /) -> AsyncQuery[M]: ...
    @overload
    def or_where(self, path: PathOf[M], value: Any) -> AsyncQuery[M]: ...
    def or_where(self, *other: Any, **named: Any) -> AsyncQuery[M]:
        """Rows that fit this query or the other one; limit, offset and order are this one's, else the other's."""
        if len(other) == 1 and isinstance(other[0], AsyncQuery):
            return self._joined(*other)
        if other == () == tuple(named):
            raise TypeError("or_where() takes another query, an expression, or a path and a value")
        if len(other) == 1 and not isinstance(other[0], Expression | bool):
            raise TypeError(f"argument 'other': {type(other[0]).__name__!r} object is not an instance of 'Query'")
        condition = read_conditions(self.__source__, "or_where", other, named)
        return self._but(self.__selection__._replace(condition=either(self.__selection__.condition, condition)))

    def _joined(self, other: AsyncQuery[M]) -> AsyncQuery[M]:
        """Rows that fit this query or the other one."""
        if not self.__source__.same(other.__source__):
            raise ModelVaultQueryError("query error: or_where requires the same collection")
        mine, theirs = self.__selection__, other.__selection__
        return self._but(
            mine._replace(
                condition=either(mine.condition, theirs.condition),
                order=mine.order or theirs.order,
                limit=theirs.limit if mine.limit is None else mine.limit,
                offset=mine.offset or theirs.offset,
            )
        )

    async def update(
        self, changes: Mapping[str, Any] | Mapping[FieldRef[M, Any], Any] | Mapping[PathOf[M], Any]
    ) -> int:
        """Change these fields of the rows, all or none; how many rows there were.

        `{u.age: u.age + 1, u.address.city: "Paris", "name": "Ada"}`: a value, or what is computed from the row as it
        was. Each row is validated as by the collection's `update`. The primary key cannot change.
        """
        return await self.__source__.update(
            self.__selection__, self.__source__.change(read_changes(self.__source__, changes))
        )

    async def delete(self) -> int:
        """Delete the rows, all or none; how many there were."""
        return await self.__source__.delete(self.__selection__)

    def __bool__(self) -> NoReturn:
        raise TypeError("a query has no truth value: ask exists() whether there is a row, count() how many there are")

    def __repr__(self) -> str:
        return f"<AsyncQuery {describe(self.__source__.name, self.__selection__)}>"


class MadeRows(Generic[M]):
    """An iterator over what is made of other rows."""

    __slots__ = ("_make", "_rows")

    def __init__(self, rows: RowIterator[Any], make: Callable[[Any], M]) -> None:
        self._rows = rows
        self._make = make

    def __aiter__(self) -> MadeRows[M]:
        return self

    async def __anext__(self) -> M:
        return self._make(await self._rows.__anext__())

    async def batch(self) -> list[M]:
        """The next rows, as many as come at once; none at the end."""
        return [self._make(row) for row in await self._rows.batch()]

    async def aclose(self) -> None:
        """Give the snapshot up; there are no more rows."""
        await self._rows.aclose()


def both(one: Condition, other: Condition) -> Condition:
    """Both conditions, without an Every in an Every."""
    if one == ALL:
        return other
    if other == ALL:
        return one
    mine = one.parts if isinstance(one, Every) else (one,)
    return Every(mine + (other.parts if isinstance(other, Every) else (other,)))


def either(one: Condition, other: Condition) -> Condition:
    """One of the conditions or both, without a Some in a Some."""
    if one == ALL or other == ALL:
        return ALL
    mine = one.parts if isinstance(one, Some) else (one,)
    return Some(mine + (other.parts if isinstance(other, Some) else (other,)))


def describe(name: str, selection: Selection) -> str:
    """A selection in a line, without values: they may be confidential."""
    text = f"{name} where {spelled(selection.condition)}"
    if selection.order:
        text += " by " + ", ".join(f"{'.'.join(term.path)}{' desc' * term.desc}" for term in selection.order)
    for word in ("limit", "offset"):
        if getattr(selection, word):
            text += f" {word} {getattr(selection, word)}"
    return text
