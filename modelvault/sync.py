"""The blocking interface: the same coroutines, driven to their end on the caller's thread.

It works in any thread, also inside a running event loop, which it then blocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from modelvault._core import LONG
from modelvault._core.drive import drive
from modelvault._options import CACHE_SIZE, PAGE_SIZE, TIMEOUT, file_name
from modelvault._runner import BlockingRunner
from modelvault.database import AsyncDatabase, Durability, content, open_copy, open_file, open_memory
from modelvault.errors import StaleSchemaError
from modelvault.sync_frames import Frames
from modelvault.sync_rows import Rows
from modelvault.sync_upkeep import Upkeep

if TYPE_CHECKING:
    from typing import TypeGuard

    from typing_extensions import Never, Self

    from modelvault._arguments import Path, PathOf
    from modelvault._backup import Tell
    from modelvault._handle import Handle
    from modelvault._unit import Mark
    from modelvault.collection import AsyncCollection
    from modelvault.expressions import Aggregate, Expression, FieldRef, Ordering
    from modelvault.groups import Groups as AsyncGroups
    from modelvault.migrations import Plan
    from modelvault.pages import Page
    from modelvault.query import AsyncQuery
    from modelvault.query import Questions as AsyncQuestions
    from modelvault.snapshot import AsyncSnapshot
    from modelvault.transaction import AsyncTransaction

__all__ = ["Collection", "Database", "Groups", "Query", "Questions", "Rows", "Savepoint", "Snapshot", "Transaction"]

M = TypeVar("M")
N = TypeVar("N")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Database(Upkeep):
    """One open database, for threads; AsyncDatabase has the same methods. Made by `open` or `open_in_memory`.

    It may be used by any thread. Reads see the last commit and wait for no writer. A write outside a transaction is a
    transaction of its own; those that come while another is being committed are committed together.
    """

    _twin: AsyncDatabase

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        recovery: Literal["strict", "auto_truncate"] | None = None,
        cache_size: int = CACHE_SIZE,
        page_size: int = PAGE_SIZE,
        durability: Durability = "full",
    ) -> Database:
        """Open the file at `path`, or create it. `with Database.open(path) as db`, or call `close`.

        * read_only: never changes the file; several processes may read while one writes.
        * recovery: what to do with a commit that a crash has cut off in the middle, and that nobody was told of:
          "auto_truncate" (the default) leaves it out, "strict" raises ModelVaultFormatError. Neither leaves out what
          was committed: damage raises CorruptionError.
        * cache_size: bytes of pages kept in memory.
        * page_size: bytes, a power of two from 4096 to 65536; used for a new file.
        * durability: "full": what was acknowledged survives a power failure. "relaxed": a power failure may take the
          commits of the last 50 ms, in their order. "off": the system decides when to write; a power failure may
          damage the file. A crash of the process loses nothing in any of them.

        OSError with errno: missing directory, no permission, a directory, a file that another process writes
        (LockedError). ModelVaultFormatError: no database. CorruptionError: a damaged one.
        """
        return Database(
            drive(
                open_file(
                    BlockingRunner(),
                    path,
                    read_only,
                    recovery,
                    cache_size=cache_size,
                    page_size=page_size,
                    durability=durability,
                )
            )
        )

    @staticmethod
    def open_snapshot(path: str | os.PathLike[str]) -> Database:
        """Load a database file into memory: what is written there does not go back. Every page of it is checked.

        OSError, ModelVaultFormatError, CorruptionError as `open`.
        """
        return Database(drive(open_copy(BlockingRunner(), file_name(path, "path"))))

    @staticmethod
    def open_snapshot_bytes(data: bytes) -> Database:
        """A database in memory with what `snapshot_bytes` gave, or with the content of a file; b"" is an empty one.

        ModelVaultFormatError, CorruptionError.
        """
        return Database(drive(open_copy(BlockingRunner(), content(data))))

    @staticmethod
    def open_in_memory(*, page_size: int = PAGE_SIZE) -> Database:
        """A new database in memory, gone when it is closed."""
        return Database(drive(open_memory(BlockingRunner(), page_size)))

    def fork(self) -> Database:
        """A second database in memory, which begins as the last commit of this one: for a test that changes things.

        They share pages until one of them changes them, so it takes microseconds whatever the number of rows. Each is
        closed by itself. ValueError for a database on disk, ModelVaultTransactionError in a transaction.
        """
        return Database(AsyncDatabase(self.__catalog__.access.fork(BlockingRunner())))

    def close(self) -> None:
        """Close the database: a commit under way is finished, an open transaction rolled back. May be called again."""
        drive(self._twin.close())

    def __enter__(self) -> Self:
        drive(self._twin.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def path(self) -> str:
        """The path as it was given; ':memory:' for a database in memory."""
        return self._twin.path()

    @property
    def recovery_info(self) -> dict[str, int | str | None]:
        """What `open` left out: `truncated_bytes` of a commit that a crash had cut off, and `truncate_reason`.

        The reason is "torn_tail", or None if there was nothing to leave out.
        """
        return self._twin.recovery_info

    # Snapshots

    def snapshot(self) -> Snapshot:
        """`with db.snapshot() as then`: the database as it is now, for reading; see Snapshot."""
        return Snapshot(self._twin.snapshot())

    def __repr__(self) -> str:
        return f"<Database {self.path()!r}>"

    # Collections

    def register_collection(
        self, name: str, fields_json: str, primary_field: str, indexes_json: str | None = None
    ) -> tuple[int, int]:
        """Add a collection of dicts; its id and schema version.

        fields_json: `[{"path": ["id"], "type": "int64", "constraints": [...]}, ...]`.
        indexes_json: `[{"name": "by_id", "path": ["id"], "kind": "unique" or "index"}, ...]`.
        """
        return drive(self._twin.register_collection(name, fields_json, primary_field, indexes_json))

    def collection_names(self) -> list[str]:
        """The names of all collections, sorted by code point."""
        return self._twin.collection_names()

    @overload
    def collection(self, name: str) -> Collection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> Collection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> Collection[Any]:
        """The collection of that name, as dicts, or of that model class. ModelVaultSchemaError for an unknown name.

        validate_on_read: put each row that is read through the model's validators.
        """
        return Collection(drive(self._twin.collection(name, validate_on_read=validate_on_read).register()))

    # Versions of a schema

    def register_schema_version(
        self, name: str, fields_json: str, indexes_json: str | None = None, force: bool = False
    ) -> int:
        """Give a collection of dicts a new schema; its version. Rows of older versions stay readable as they are.

        Without `force` ModelVaultSchemaError for whatever `plan_schema_version` does not call safe. With it:

        * old rows come back without a required field that is new, until `backfill_top_level_field` gives it a value;
        * a new unique index is built, or DuplicateKeyError says which rows have the same value;
        * a field that changed its type or its constraints is written anew in every row, or ModelVaultSchemaError says
          which rows cannot be read under the new schema.

        When it raises, nothing has changed.
        """
        return drive(self._twin.register_schema_version(name, fields_json, indexes_json, force))

    def plan_schema_version(self, name: str, fields_json: str, indexes_json: str | None = None) -> Plan:
        """What a new schema would mean: `change` ("safe", "needs_migration", "breaking"), `reason`, `steps`."""
        return drive(self._twin.plan_schema_version(name, fields_json, indexes_json))

    def backfill_top_level_field(self, name: str, field: str, value: Any) -> None:
        """Give the rows that are older than a field a value for it. Rows that have one keep it, None too."""
        drive(self._twin.backfill_top_level_field(name, field, value))

    def backfill_field_at_path(self, name: str, path: list[str], value: Any) -> None:
        """Give the rows that are older than a field inside others a value for it, by its path.

        A row that lacks what it lies in has it as soon as all fields that are required there have values.
        """
        drive(self._twin.backfill_field_at_path(name, path, value))

    def rebuild_indexes(self, name: str) -> None:
        """Build all indexes of a collection anew from its rows."""
        drive(self._twin.rebuild_indexes(name))

    # The dict interface

    def insert(self, collection: str, row: dict[str, Any]) -> None:
        """Store a row; one with the same primary key is replaced as a whole."""
        drive(self._twin.insert(collection, row))

    def get(self, collection: str, pk: Any) -> dict[str, Any] | None:
        """The row with this primary key, None if there is none."""
        return drive(self._twin.get(collection, pk))

    def delete(self, collection: str, pk: Any) -> None:
        """Delete the row with this primary key, if there is one."""
        drive(self._twin.delete(collection, pk))

    # Transactions

    def transaction(self, *, timeout: float | None = TIMEOUT) -> Transaction:
        """`with db.transaction() as tx`: see Transaction.

        timeout: seconds to wait for the writer's turn, then ModelVaultTransactionError; None waits for ever.
        """
        return Transaction(self._twin.transaction(timeout=timeout))


class Questions(Frames, Generic[M]):
    """What can be asked of a collection or a query: each method that narrows gives a new query."""

    __slots__ = ()

    _twin: AsyncQuestions[M]  # pyright: ignore[reportIncompatibleVariableOverride]  # and never set again

    # Narrowing

    @overload
    def where(self, /, *conditions: Expression[M] | bool) -> Query[M]: ...
    @overload
    def where(self, path: PathOf[M], value: Any) -> Query[M]: ...
    def where(self, *conditions: Any, **named: Any) -> Query[M]:
        """Rows for which all conditions hold: `where(u.age >= 18, u.name.startswith("A"))`.

        `where(path, value)` is 0.16's spelling of `where(u.age == value)`.
        """
        return Query(self._twin.where(*conditions, **named))

    def gt_where(self, path: PathOf[M], value: Any) -> Query[M]:
        """Rows where the field at `path` is greater than `value`."""
        return Query(self._twin.gt_where(path, value))

    def gte_where(self, path: PathOf[M], value: Any) -> Query[M]:
        """Rows where the field at `path` is greater than `value`, or equal."""
        return Query(self._twin.gte_where(path, value))

    def lt_where(self, path: PathOf[M], value: Any) -> Query[M]:
        """Rows where the field at `path` is less than `value`."""
        return Query(self._twin.lt_where(path, value))

    def lte_where(self, path: PathOf[M], value: Any) -> Query[M]:
        """Rows where the field at `path` is less than `value`, or equal."""
        return Query(self._twin.lte_where(path, value))

    def order_by(self, *terms: PathOf[M] | Ordering[M], desc: bool = False) -> Query[M]:
        """Rows in this order: `order_by(u.age.desc(), u.name)`; the last call wins.

        None comes last, with `desc` first. Rows that are equal come by primary key, in the direction of the last
        term. desc: the direction of the terms that have none of their own.
        """
        return Query(self._twin.order_by(*terms, desc=desc))

    def limit(self, n: int) -> Query[M]:
        """At most `n` rows, 0 to 1,048,576; the last call wins."""
        return Query(self._twin.limit(n))

    def offset(self, n: int) -> Query[M]:
        """Without the first `n` rows; the last call wins. `page` goes through many rows at less cost."""
        return Query(self._twin.offset(n))

    def distinct(self) -> Query[M]:
        """Each selected value once, the first in the order; whole rows are distinct anyway."""
        return Query(self._twin.distinct())

    @overload
    def select(self, field: type[N], /) -> Query[N]: ...
    @overload
    def select(self, field: FieldRef[M, A], /) -> Query[A]: ...
    @overload
    def select(self, first: FieldRef[M, A], second: FieldRef[M, B], /) -> Query[tuple[A, B]]: ...
    @overload
    def select(
        self, first: FieldRef[M, A], second: FieldRef[M, B], third: FieldRef[M, C], /
    ) -> Query[tuple[A, B, C]]: ...
    @overload
    def select(
        self, first: FieldRef[M, A], second: FieldRef[M, B], third: FieldRef[M, C], fourth: FieldRef[M, D], /
    ) -> Query[tuple[A, B, C, D]]: ...
    @overload
    def select(
        self, one: PathOf[M], two: PathOf[M], three: PathOf[M], four: PathOf[M], five: PathOf[M], /, *more: PathOf[M]
    ) -> Query[Any]: ...
    @overload
    def select(self, *fields: str | Sequence[str]) -> Query[Any]: ...
    def select(self, *fields: Any) -> Query[Any]:
        """Parts of the rows.

        * of a model: `select(u.email)` gives values, `select(u.email, u.age)` tuples
        * of dicts: dicts with these fields, nested under their parents
        * `select(Card)`: instances of a model or dataclass that has some of the fields
        """
        return Query(self._twin.select(*fields))

    def group_by(self, *fields: PathOf[M], **named: PathOf[M]) -> Groups[M]:
        """Rows in groups with equal values: `group_by(u.address.city).agg(n=count())`.

        A group's values are named by their paths, or as `group_by(city=u.address.city)` says.
        """
        return Groups(self._twin.group_by(*fields, **named))

    # Asking

    def all(self, fields: PathOf[M] | Iterable[PathOf[M]] | None = None) -> list[M]:
        """The rows, as a list.

        fields: only these, as dicts nested under their parents; of a model, instances that lack the other attributes.
        A string or FieldRef is one field, a list or tuple holds several.
        """
        if fields is not None:
            return drive(self._twin.all(fields))
        twin = self._twin
        source, selection, make = twin.__source__, twin.__selection__, twin.__make__
        rows = source.at_once(selection)
        if rows is None:
            rows = drive(source.fetch(selection))
        return rows if make is None else [make(row) for row in rows]

    def first(self) -> M | None:
        """The first row, None if there is none."""
        return drive(self._twin.first())

    def one(self) -> M:
        """The only row. NotFoundError (a LookupError) if there is none, ModelVaultQueryError if there are more."""
        return drive(self._twin.one())

    def one_or_none(self) -> M | None:
        """The only row, None if there is none. ModelVaultQueryError if there are more."""
        return drive(self._twin.one_or_none())

    def count(self) -> int:
        """How many rows there are."""
        return drive(self._twin.count())

    def exists(self) -> bool:
        """Is there a row?"""
        return drive(self._twin.exists())

    def page(self, size: int = 20, after: str | None = None) -> Page[M]:
        """At most `size` rows behind the cursor of another page, and the cursor of the next page.

        Each page continues in the order of the query exactly behind the last row of the one before, however the
        collection has changed. CursorError for the cursor of another query, or one that was changed.
        """
        return drive(self._twin.page(size, after))

    @overload
    def sum(self, field: FieldRef[M, A]) -> A: ...
    @overload
    def sum(self, field: str | Sequence[str]) -> Any: ...
    def sum(self, field: Any) -> Any:
        """The sum of a number; 0 if there is none. None does not count."""
        return drive(self._twin.sum(field))

    @overload
    def min_(self, field: FieldRef[M, A]) -> A | None: ...
    @overload
    def min_(self, field: str | Sequence[str]) -> Any: ...
    def min_(self, field: Any) -> Any:
        """The smallest value; None if there is none."""
        return drive(self._twin.min_(field))

    @overload
    def max_(self, field: FieldRef[M, A]) -> A | None: ...
    @overload
    def max_(self, field: str | Sequence[str]) -> Any: ...
    def max_(self, field: Any) -> Any:
        """The greatest value; None if there is none."""
        return drive(self._twin.max_(field))

    def avg(self, field: FieldRef[M, Any] | str | Sequence[str]) -> Any:
        """The mean of a number; None if there is none. None does not count."""
        return drive(self._twin.avg(field))

    def agg(self, **functions: Aggregate[M, Any]) -> dict[str, Any]:
        """Several numbers about the rows: `agg(n=count(), oldest=max_(u.age))` is {"n": 3, "oldest": 77}."""
        return drive(self._twin.agg(**functions))

    def explain(self, analyze: bool = False, **functions: Aggregate[M, Any]) -> str:
        """How the rows are found, and why. analyze: also find them, and say how many were looked at, and the time.

        With functions as `agg` takes them, how these are found: `explain(n=count())`, `explain(oldest=max_(u.age))`.
        """
        return drive(self._twin.explain(analyze, **functions))

    def __iter__(self) -> Rows[M]:
        """The rows one after the other, as one snapshot and in bounded memory."""
        return Rows(self._twin.__aiter__())


class Collection(Questions[M]):
    """A collection of `M`: instances of a model class, or dicts; AsyncCollection has the same methods.

    Made by `Database.collection` and `models.collection`. A `key` is a primary key or, for models, an instance that
    has it. Rows come in primary-key order. A row that does not fit raises before anything is changed:
    ModelVaultSchemaError, ModelVaultValidationError, or the TypeError, ValueError or OverflowError of the value that
    cannot be converted.
    """

    __slots__ = ("__handle__", "__weakref__", "_twin")

    _twin: AsyncCollection[M]

    def __init__(self, twin: AsyncCollection[M]) -> None:
        self._twin = twin  # pyright: ignore[reportIncompatibleVariableOverride]  # and never set again
        self.__handle__: Handle = twin.__handle__

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._twin.name

    def __repr__(self) -> str:
        return repr(self._twin).replace("Async", "", 1)

    # Reading

    def get(self, key: Any) -> M | None:
        """The row with this primary key, None if there is none."""
        handle = self.__handle__
        shortcut = handle.shortcut  # another thread may take it away
        row: M | None = LONG if shortcut is None else shortcut.get(key)
        return drive(handle.get(key)) if row is LONG else row

    def get_or_raise(self, key: Any) -> M:
        """The row with this primary key; NotFoundError (a LookupError) if there is none."""
        return drive(self._twin.get_or_raise(key))

    def get_by(self, field: PathOf[M], value: Any) -> M | None:
        """The row with this value in a field, None if there is none; with a unique index nearly as quick as `get`.

        ModelVaultQueryError if several rows have it.
        """
        row: M | None = self.__handle__.got_by(field, value)
        return drive(self._twin.where(field, value).one_or_none()) if row is LONG else row

    def __contains__(self, key: Any) -> bool:
        """`key in users`: is there a row with this primary key? What `get` raises."""
        return self.get(key) is not None

    def get_many(self, keys: Iterable[Any]) -> list[M | None]:
        """The rows with these primary keys, in the order of the keys and of one commit; None where there is no row."""
        return drive(self._twin.get_many(keys))

    # Writing

    def insert(self, row: M) -> None:
        """Store a row; one with the same primary key is replaced. DuplicateKeyError if a unique value is taken."""
        handle = self.__handle__
        shortcut = handle.shortcut
        put = LONG if shortcut is None else shortcut.put(row)
        if put is not None:
            try:
                drive(handle.submit(put, row))
            except StaleSchemaError:
                drive(handle.store(row, False))

    def create(self, row: M) -> None:
        """Store a new row; DuplicateKeyError if its primary key, or a unique value, is taken."""
        drive(self._twin.create(row))

    def insert_many(
        self,
        rows: Iterable[M],
        *,
        chunk: int | None = None,
        progress: bool | Callable[[int], object] = False,
    ) -> int:
        """Insert or replace the rows of an iterable, in one commit or in commits of `chunk` rows; how many there were.

        If a row fails, nothing of its commit is stored. More than a thousand rows keep other writers waiting until
        they are in. progress: True shows a line on standard error, a function is called with the count now and then.
        """
        return drive(self._twin.insert_many(rows, chunk=chunk, progress=progress))

    def insert_arrow(
        self, data: Any, *, chunk: int | None = None, progress: bool | Callable[[int], object] = False
    ) -> int:
        """Insert or replace the rows of a table, in one commit or in commits of `chunk` rows; how many there were.

        data: anything with `__arrow_c_stream__`: a table, batch or stream of pyarrow, a frame of pandas or polars, a
        relation of DuckDB, a query. A column for each field, by name; fields with a default may lack one. Values are
        validated as the model and its constraints say: ModelVaultValidationError names row, from 0 on, and column.
        A stream is read batch by batch. chunk, progress: as of `insert_many`.
        """
        return drive(self._twin.insert_arrow(data, chunk=chunk, progress=progress))

    def update(self, key: Any, patch: Any) -> M:
        """Change the fields that `patch` names (a dict, or an instance), validated; the row as it is then.

        NotFoundError (a ValueError) if there is no such row, ValueError if a field is unknown, or if the primary key
        would change.
        """
        handle = self.__handle__
        row: M = handle.change_at_once(key, patch)
        return drive(handle.update(key, patch)) if row is LONG else row

    def upsert(self, row: M, *, on: Path | None = None) -> None:
        """Store a row in place of the one with the same primary key and, with `on`, of the one with the same value.

        on: the path of a field with a unique index. The row that has this value goes, whatever its primary key is.
        """
        drive(self._twin.upsert(row, on=on))

    def delete(self, key: Any) -> bool:
        """Delete the row with this primary key; True if it was there."""
        handle = self.__handle__
        shortcut = handle.shortcut
        there = LONG if shortcut is None else shortcut.remove(key)
        return drive(handle.delete(key)) if there is LONG else bool(there)


def is_query(value: object) -> TypeGuard[Query[Any]]:
    """A query, of whatever model."""
    return isinstance(value, Query)


class Query(Questions[M]):
    """A question to a collection; AsyncQuery has the same methods. Each method that narrows it gives a new query.

    Nothing runs before it is asked for rows or a number. Rows come in primary-key order unless `order_by` says
    otherwise.
    """

    __slots__ = ("_twin",)

    _twin: AsyncQuery[M]

    def __init__(self, twin: AsyncQuery[M]) -> None:
        self._twin = twin  # pyright: ignore[reportIncompatibleVariableOverride]  # and never set again

    def __bool__(self) -> NoReturn:
        self._twin.__bool__()

    def __contains__(self, item: Never) -> bool:
        return item in self._twin

    def __repr__(self) -> str:
        return repr(self._twin).replace("Async", "", 1)

    @overload
    def and_where(self, /, *conditions: Expression[M] | bool) -> Query[M]: ...
    @overload
    def and_where(self, path: PathOf[M], value: Any) -> Query[M]: ...
    def and_where(self, *conditions: Any, **named: Any) -> Query[M]:
        """Rows for which these conditions hold too; `and_where(path, value)` asks for equality."""
        return Query(self._twin.and_where(*conditions, **named))

    @overload
    def or_where(self, other: Query[M] | Expression[M] | bool, /) -> Query[M]: ...
    @overload
    def or_where(self, path: PathOf[M], value: Any) -> Query[M]: ...
    def or_where(self, *other: Any, **named: Any) -> Query[M]:
        """Rows that fit this query or the other one; limit, offset and order are this one's, else the other's."""
        twins: list[Any] = [part._twin if is_query(part) else part for part in other]
        return Query(self._twin.or_where(*twins, **named))

    def update(self, changes: Mapping[str, Any] | Mapping[FieldRef[M, Any], Any] | Mapping[PathOf[M], Any]) -> int:
        """Change these fields of the rows, all or none; how many rows there were.

        `{u.age: u.age + 1, u.address.city: "Paris", "name": "Ada"}`: a value, or what is computed from the row as it
        was. Each row is validated as by the collection's `update`. The primary key cannot change.
        """
        return drive(self._twin.update(changes))

    def delete(self) -> int:
        """Delete the rows, all or none; how many there were."""
        return drive(self._twin.delete())


class Groups(Generic[M]):
    """The rows of a query in groups; see `Questions.group_by`."""

    __slots__ = ("_twin",)

    def __init__(self, twin: AsyncGroups[M]) -> None:
        self._twin = twin

    def agg(self, **functions: Aggregate[M, Any]) -> list[dict[str, Any]]:
        """A dict for each group, with its values and those of the functions, in the order of the group's values.

        `users.group_by(u.address.city).agg(n=count())` is [{"address.city": "London", "n": 3}, ...].
        """
        return drive(self._twin.agg(**functions))

    def count(self) -> list[dict[str, Any]]:
        """How many rows each group has, as "count"."""
        return drive(self._twin.count())

    def explain(self, analyze: bool = False, **functions: Aggregate[M, Any]) -> str:
        """How the rows are found, and why; `functions` as of `agg`: they decide what of the rows is needed.

        analyze: also find them, and say how many were looked at, how many groups there are, and the time.
        """
        return drive(self._twin.explain(analyze, **functions))

    def __repr__(self) -> str:
        return repr(self._twin)


class Transaction:
    """`with db.transaction() as tx`: everything that its thread does with the database happens in it, or nothing does.

    It waits for the writer's turn. Other threads never enter it: they read the last commit, and their writes wait
    until it ends. Another thread takes part through `tx.collection(...)`. Any exception rolls it back. A statement
    that fails leaves it as it was before the statement: catch the error and go on.

    It may be entered again after it ended.
    """

    def __init__(self, twin: AsyncTransaction) -> None:
        self._twin = twin

    def __enter__(self) -> Self:
        drive(self._twin.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._twin.__aexit__(kind, error, trace))

    @overload
    def collection(self, name: str) -> Collection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> Collection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> Collection[Any]:
        """A collection all of whose operations happen in this transaction, whichever thread calls them."""
        return Collection(drive(self._twin.collection(name, validate_on_read=validate_on_read).register()))

    def savepoint(self) -> Savepoint:
        """`with tx.savepoint()`: an exception undoes what happened in it, and the transaction goes on."""
        return Savepoint(self._twin.savepoint())


class Snapshot:
    """`with db.snapshot() as then`: the database as it was at the last commit, for reading.

    Nothing that is written later shows there, whoever writes; several queries fit together. It costs nobody a wait.
    What it shows stays in the file until it is closed, so a snapshot that is held for long lets the file grow.
    """

    def __init__(self, twin: AsyncSnapshot) -> None:
        self._twin = twin

    def __enter__(self) -> Self:
        drive(self._twin.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the state up; may be called again."""
        self._twin.close()

    @overload
    def collection(self, name: str) -> Collection[dict[str, Any]]: ...
    @overload
    def collection(self, name: type[M], *, validate_on_read: bool = False) -> Collection[M]: ...
    def collection(self, name: Any, *, validate_on_read: bool = False) -> Collection[Any]:
        """The collection as it was. Its writing methods raise ModelVaultTransactionError."""
        return Collection(drive(self._twin.collection(name, validate_on_read=validate_on_read).register()))

    def collection_names(self) -> list[str]:
        """The names of all collections that there were, sorted by code point."""
        return self._twin.collection_names()

    def get(self, collection: str, pk: Any) -> dict[str, Any] | None:
        """The row that had this primary key, None if there was none."""
        return drive(self._twin.get(collection, pk))

    def export_snapshot(self, dest_path: str | os.PathLike[str], *, progress: Tell = False) -> None:
        """Write this state to a file, as the database's `export_snapshot` writes the last commit."""
        drive(self._twin.export_snapshot(dest_path, progress=progress))

    @property
    def sequence(self) -> int:
        """How many commits the database had seen."""
        return self._twin.sequence


class Savepoint:
    """A part of a transaction that can be undone alone; see `Transaction.savepoint`."""

    def __init__(self, twin: Mark) -> None:
        self._twin = twin

    def __enter__(self) -> None:
        drive(self._twin.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._twin.__aexit__(kind, error, trace))
