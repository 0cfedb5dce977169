"""SQL for reading, by PEP 249: `connect("app.modelvault")`, `cursor.execute("SELECT ...", (value,))`.

    with connect("app.modelvault") as connection:
        for name, age in connection.execute("SELECT name, age FROM users WHERE age >= ? ORDER BY age", (18,)):
            print(name, age)

Needs sqlglot: `pip install modelvault[sql]`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date as Date  # noqa: N812 - PEP 249's names
from datetime import datetime as Timestamp  # noqa: N812
from datetime import time as Time  # noqa: N812
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from modelvault._core.drive import drive
from modelvault._dated import dated
from modelvault._handle import Handle
from modelvault._selections import Selections
from modelvault._sql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
    translated,
)
from modelvault._sql.names import resolved
from modelvault._sql.plan import Description
from modelvault._sql.prepared import Statement
from modelvault._sql.run import PORTION, Result
from modelvault.sync import Database

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelvault._sql.terms import Select
    from modelvault._store import Binding
    from modelvault.schema import Schema

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "OBJECT",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel: Final = "2.0"
threadsafety: Final = 2  # threads may share the module and connections, not cursors
paramstyle: Final = "qmark"  # `:name` with a dict works too

STATEMENTS: Final = 512  # whose plans a connection remembers

Parameters = Sequence[Any] | Mapping[str, Any] | None


class DBAPIType:
    """A PEP 249 type object: equal to the kinds of a column that it describes (`description[0][1] == NUMBER`)."""

    def __init__(self, name: str, *kinds: str) -> None:
        self._name = name
        self._kinds = frozenset(kinds)

    def __eq__(self, other: object) -> bool:
        return other in self._kinds if isinstance(other, str) else self is other

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<modelvault.dbapi.{self._name}>"


STRING: Final = DBAPIType("STRING", "string", "enum", "literal", "uuid")
BINARY: Final = DBAPIType("BINARY", "bytes")
NUMBER: Final = DBAPIType("NUMBER", "bool", "int", "int64", "uint64", "float64", "decimal")
DATETIME: Final = DBAPIType("DATETIME", "timestamp", "date", "time", "timedelta")
ROWID: Final = DBAPIType("ROWID")
OBJECT: Final = DBAPIType("OBJECT", "object", "list", "dict", "tuple", "union", "any", "ref")

Binary = bytes


def DateFromTicks(ticks: float) -> Date:  # noqa: N802 - PEP 249's name
    """The local date at a time in seconds since 1970."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> Time:  # noqa: N802
    """The local time of day at a time in seconds since 1970."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> Timestamp:  # noqa: N802
    """The local date and time at a time in seconds since 1970."""
    return Timestamp(*time.localtime(ticks)[:6])


def connect(
    database: str | os.PathLike[str] | Database,
    *,
    strict_read_only: bool = False,
    timestamps: Literal["datetime", "int"] = "datetime",
) -> Connection:
    """A connection that reads: to the file at a path, which must exist, or to an open database.

    strict_read_only: refuse an open Database that could write. A path is always opened read-only.
    timestamps: "int" gives microseconds since 1970, as the dict interface and 0.16 do.
    OperationalError (an OSError) if the file cannot be opened, InternalError (a ValueError) if it is no database.
    """
    if timestamps not in ("datetime", "int"):
        raise ProgrammingError(f"timestamps must be 'datetime' or 'int', not {timestamps!r}")
    exact = timestamps == "datetime"
    with translated():
        if not isinstance(database, Database):
            return Connection(Database.open(database, read_only=True), owned=True, exact=exact)
    if strict_read_only and not database.__catalog__.access.read_only:
        raise InterfaceError(f"strict_read_only: {database!r} can write: open it with read_only=True, or give its path")
    return Connection(database, owned=False, exact=exact)


class Connection:
    """A way to read one database; made by `connect`. Threads may share it. `close`, or `with`."""

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, database: Database, *, owned: bool, exact: bool = True) -> None:
        self.__session__: Session = Session(database, owned, exact)

    def cursor(self) -> Cursor:
        """A new cursor."""
        self.__session__.attend()
        return Cursor(self)

    def execute(self, sql: str, params: Parameters = None) -> Cursor:
        """A new cursor that has executed a statement."""
        return self.cursor().execute(sql, params)

    def commit(self) -> None:
        """Nothing: there is nothing to commit."""
        self.__session__.attend()

    def rollback(self) -> None:
        """Nothing: there is nothing to roll back."""
        self.__session__.attend()

    def close(self) -> None:
        """Close the connection; its cursors can no longer be used. May be called again."""
        self.__session__.close()

    def __enter__(self) -> Self:
        self.__session__.attend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        session = self.__session__
        return f"<modelvault.dbapi.Connection {session.database.path()!r}{' closed' * session.closed}>"


class Session:
    """What a connection and its cursors share: the database, and the statements whose plans are remembered."""

    def __init__(self, database: Database, owned: bool, exact: bool) -> None:
        self.database: Database = database
        self.closed: bool = False
        self._owned = owned
        self._exact = exact  # timestamps as datetimes
        self._collections: dict[str, tuple[Handle, Binding, Selections]] = {}
        self._statements: dict[str, tuple[Schema | None, Statement]] = {}  # by text: as it is with this schema

    def attend(self) -> None:
        """InterfaceError if it is closed."""
        if self.closed:
            raise InterfaceError("connection is closed")

    def close(self) -> None:
        """Let the database go, and close it if the connection opened it. May be called again."""
        if not self.closed:
            self.closed = True
            if self._owned:
                with translated():
                    self.database.close()

    async def executed(self, select: Select, text: str, params: Parameters) -> Result:
        """The result of a statement, its first rows read."""
        source = schema = None
        if select.table is not None:
            source, schema = await self._collection(select.table)
        known, statement = self._statements.get(text, (None, None))
        if statement is None or known is not schema:
            primary = "" if schema is None else schema.primary
            statement = Statement(resolved(select, source, schema), source, primary)
            if len(self._statements) >= STATEMENTS:
                self._statements.clear()
            self._statements[text] = schema, statement
        result = Result(*statement.bound(params))
        await result.start(PORTION)
        return result

    async def _collection(self, name: str) -> tuple[Selections, Schema]:
        """Who answers statements about a collection, and its schema as it is now."""
        catalog = self.database.__catalog__
        await catalog.access.catch_up()
        known = self._collections.get(name)
        if known is None or await known[0].ready() is not known[1]:
            handle = Handle(catalog, name)
            if self._exact:
                handle = dated(handle)
            known = self._collections[name] = handle, await handle.ready(), Selections(handle)
        return known[2], known[1].schema


class Cursor:
    """The rows of one statement at a time, of the state of the database when it was executed.

    * `description`: for each column (name, type, None, None, None, None, None); None before the first statement.
      The type is the kind of the field ("int64", "string"), and compares equal to a type object (`NUMBER`, `STRING`).
    * `rowcount`: how many rows there are, -1 as long as that is not known.
    * `arraysize`: how many rows `fetchmany` gives.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._session = connection.__session__
        self.arraysize = 1
        self.description: Description | None = None
        self._result: Result | None = None
        self._closed = False

    @property
    def rowcount(self) -> int:
        """How many rows the statement has given; -1 as long as that is not known."""
        count = None if self._result is None else self._result.count
        return -1 if count is None else count

    def execute(self, sql: str, params: Parameters = None) -> Self:
        """Execute a SELECT, or EXPLAIN SELECT; the cursor itself, with its rows.

        params: a tuple or list for `?`, a dict for `:name`. ProgrammingError (a ValueError) for SQL that is wrong or
        names something unknown, NotSupportedError for SQL that the driver does not know, DataError for a value that
        does not go with its column.
        """
        self._attend()
        if not isinstance(sql, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ProgrammingError(f"argument 'sql': {type(sql).__name__!r} object is not an instance of 'str'")
        with translated():
            self._leave()
            result = drive(self._session.executed(parser()(sql), sql, params))
        self.description = result.plan.description
        self._result = result
        return self

    def executemany(self, sql: str, params: Sequence[Parameters]) -> NoReturn:
        """NotSupportedError: only statements that write are executed many times, and the driver reads."""
        self._attend()
        raise NotSupportedError("query error: executemany() is for statements that write: this driver only reads")

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None if there is none."""
        result = self._result
        if result is None or not result.ready or self._session.closed:
            result = self._attended()
            with translated():
                drive(result.fill())
        return result.ready.pop() if result.ready else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows, `arraysize` or `size` of them; fewer, or none, only at the end."""
        count = self.arraysize if size is None else size
        if count < 0:
            raise ProgrammingError(f"query error: fetchmany() takes a number of rows, not {count}")
        return self._take(self._attended(), count)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return self._take(self._attended(), None)

    def close(self) -> None:
        """Close the cursor. May be called again."""
        if not self._closed:
            self._leave()
            self._closed = True

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Nothing: parameters have no sizes."""
        self._attend()

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing: values come whole."""
        self._attend()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, ...]:
        result = self._result
        if result is not None and result.ready and not self._session.closed:
            return result.ready.pop()  # the short way of a loop
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def __enter__(self) -> Self:
        self._attend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attend(self) -> None:
        """InterfaceError if the cursor or its connection is closed."""
        if self._closed:
            raise InterfaceError("cursor is closed")
        self._session.attend()

    def _attended(self) -> Result:
        """The result to fetch from."""
        self._attend()
        if self._result is None:
            raise InterfaceError("no rows: execute a SELECT first")
        return self._result

    def _take(self, result: Result, most: int | None) -> list[tuple[Any, ...]]:
        """The next rows, at most so many; None for all."""
        with translated():
            return drive(result.take(most))

    def _leave(self) -> None:
        """Give up the result of the statement before."""
        result, self._result = self._result, None
        self.description = None
        if result is not None:
            drive(result.close())


def parser() -> Callable[[str], Select]:
    """What makes a Select of a text; loaded at the first statement."""
    try:
        from modelvault._sql.parse import parse
    except ModuleNotFoundError as error:
        if error.name != "sqlglot":
            raise
        raise NotSupportedError("SQL needs sqlglot: pip install 'modelvault[sql]'") from None
    return parse
