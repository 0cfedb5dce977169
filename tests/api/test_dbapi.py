"""PEP 249: connections, cursors, and what they raise."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import modelvault
from modelvault import Database, ModelVaultQueryError, ModelVaultSchemaError, dbapi
from tests.api.users import USERS, Address, Level, User, cursor, db

__all__ = ["cursor", "db"]


# The module


def test_the_module_says_what_pep_249_asks_for() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    assert modelvault.dbapi is dbapi
    assert dbapi.Date(2024, 2, 29) == date(2024, 2, 29)
    assert dbapi.TimestampFromTicks(0) == datetime.fromtimestamp(0)
    assert dbapi.DateFromTicks(0) == datetime.fromtimestamp(0).date()
    assert dbapi.TimeFromTicks(0) == datetime.fromtimestamp(0).time()
    assert dbapi.Binary(b"x") == b"x"


def test_sqlglot_is_loaded_with_the_first_statement() -> None:
    code = (
        "import sys, modelvault; print([name in sys.modules for name in ('modelvault.dbapi', 'sqlglot')])\n"
        "modelvault.dbapi; print('sqlglot' in sys.modules)\n"
        "sys.modules['sqlglot'] = None\n"
        "db = modelvault.Database.open_in_memory()\n"
        "try: modelvault.dbapi.connect(db).execute('SELECT 1')\n"
        "except modelvault.dbapi.Error as error: print(error)\n"
        "db.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[False, False]",
        "False",
        "SQL needs sqlglot: pip install 'modelvault[sql]'",
    ]


def test_exceptions_are_those_of_pep_249_and_those_of_0_16() -> None:
    for name in ("DataError", "ProgrammingError", "NotSupportedError", "InternalError", "IntegrityError"):
        error = getattr(dbapi, name)
        assert issubclass(error, dbapi.DatabaseError)
        assert issubclass(error, ValueError)
    assert issubclass(dbapi.OperationalError, OSError)
    assert issubclass(dbapi.InterfaceError, RuntimeError)
    assert issubclass(dbapi.ProgrammingError, ModelVaultSchemaError)
    assert issubclass(dbapi.ProgrammingError, ModelVaultQueryError)
    assert issubclass(dbapi.Error, modelvault.ModelVaultError)
    assert not issubclass(dbapi.Warning, dbapi.Error)


# Connections


def test_a_path_is_opened_for_reading_and_closed_with_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "a.modelvault"
    with pytest.raises(dbapi.OperationalError) as raised:
        dbapi.connect(path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(path))
    assert not path.exists()
    with Database.open(path) as db:
        db.collection(User).insert(USERS[0])
    with dbapi.connect(str(path), strict_read_only=True) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("ada",)]
        database = connection.__session__.database
    with pytest.raises(modelvault.ClosedError):
        database.collection_names()


def test_what_is_no_database_is_an_internal_error(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"hello, this is no database" * 400)
    with pytest.raises(dbapi.InternalError, match="format error"):
        dbapi.connect(path)


def test_a_given_database_stays_open(db: Database) -> None:
    dbapi.connect(db).close()
    assert db.collection_names() == ["users"]
    with pytest.raises(dbapi.InterfaceError, match="can write"):
        dbapi.connect(db, strict_read_only=True)


def test_a_reader_sees_what_another_handle_commits(tmp_path: Path) -> None:
    path = tmp_path / "a.modelvault"
    with Database.open(path) as db:
        db.collection(User).insert(USERS[0])
        with dbapi.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
            db.collection(User).insert(USERS[1])
            db.register_collection("late", '[{"path": ["id"], "type": "int64"}]', "id")
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)
            assert connection.execute("SELECT count(*) FROM late").fetchone() == (0,)


def test_what_is_closed_says_so(db: Database) -> None:
    connection = dbapi.connect(db)
    one, other = connection.cursor(), connection.execute("SELECT id FROM users")
    one.close()
    one.close()
    for call in (lambda: one.execute("SELECT 1"), one.fetchone, one.fetchall, one.fetchmany, lambda: next(one)):
        with pytest.raises(dbapi.InterfaceError, match="cursor is closed"):
            call()
    connection.close()
    connection.close()
    for call in (connection.cursor, connection.commit, connection.rollback, other.fetchone, connection.__enter__):
        with pytest.raises(RuntimeError, match="connection is closed"):
            call()


def test_a_database_that_is_closed_meanwhile_is_an_interface_error() -> None:
    db = Database.open_in_memory()
    connection = dbapi.connect(db)
    db.close()
    with pytest.raises(dbapi.InterfaceError, match="is closed"):
        connection.execute("SELECT id FROM users")


def test_threads_share_a_connection(db: Database) -> None:
    connection, found = dbapi.connect(db), []

    def ask() -> None:
        found.append(connection.execute("SELECT count(*) FROM users WHERE age = ?", (36,)).fetchone())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(2,)] * 4


# Cursors


def test_a_cursor_before_its_first_statement(cursor: dbapi.Cursor) -> None:
    assert (cursor.description, cursor.rowcount, cursor.arraysize) == (None, -1, 1)
    with pytest.raises(dbapi.InterfaceError, match="execute a SELECT first"):
        cursor.fetchone()


def test_rows_come_in_every_way(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT id FROM users ORDER BY id")
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    cursor.arraysize = 5
    assert cursor.fetchmany() == [(3,), (4,)]
    assert (cursor.fetchmany(), cursor.fetchall(), cursor.fetchone(), cursor.rowcount) == ([], [], None, 4)
    assert list(cursor.execute("SELECT id FROM users LIMIT 2")) == [(1,), (2,)]
    assert cursor.execute("SELECT id FROM users").fetchmany(0) == []
    with pytest.raises(dbapi.ProgrammingError):
        cursor.fetchmany(-1)


@pytest.mark.parametrize(
    "sql",
    ["SELECT n FROM t", "SELECT n FROM t WHERE n + 0 >= 0", "SELECT n FROM t ORDER BY k", "SELECT DISTINCT n FROM t"],
)
@pytest.mark.parametrize("size", [1, 3, 255, 256, 257, 999, 1000, 5000])
def test_many_rows_come_whole_and_in_order(sql: str, size: int) -> None:
    with Database.open_in_memory() as db:
        db.register_collection("t", '[{"path": ["n"], "type": "int64"}, {"path": ["k"], "type": "int64"}]', "n", None)
        db.collection("t").insert_many({"n": n, "k": n // 7} for n in range(1000))
        cursor = dbapi.connect(db).execute(sql)
        assert cursor.fetchone() == (0,)
        found: list[int] = []
        while part := cursor.fetchmany(size):
            found += [n for (n,) in part]
        assert found == list(range(1, 1000))
        assert cursor.rowcount == 1000
        cursor.execute(sql)
        assert cursor.fetchmany(300) + cursor.fetchall() == [(n,) for n in range(1000)]


def test_a_result_is_of_the_moment_of_execute(db: Database) -> None:
    users = db.collection(User)
    users.insert_many(User(n, f"n{n}", n, Address("Oslo")) for n in range(100, 1000))
    cursor = dbapi.connect(db).execute("SELECT count(*) FROM users")
    streamed = dbapi.connect(db).execute("SELECT id FROM users WHERE age >= 100 ORDER BY id")
    users.where("address.city", "Oslo").delete()
    assert cursor.fetchone() == (904,)
    assert streamed.fetchall() == [(n,) for n in range(100, 1000)]


def test_description_names_columns_and_types(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT * FROM users")
    names = ["id", "name", "age", "address", "score", "level", "active", "born", "seen", "key", "price", "raw", "tags"]
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == names
    types = {column[0]: column[1] for column in cursor.description}
    for name in ("id", "age", "score", "active", "price"):
        assert types[name] == dbapi.NUMBER
        assert types[name] != dbapi.STRING
    assert types["name"] == dbapi.STRING
    assert types["level"] == dbapi.STRING
    assert types["born"] == dbapi.DATETIME == types["seen"]
    assert types["raw"] == dbapi.BINARY
    assert types["address"] == dbapi.OBJECT == types["tags"]
    assert types["id"] != dbapi.ROWID
    assert cursor.description[0][2:] == (None,) * 5
    cursor.execute("SELECT u.id, name AS who, address.city, 1 + score, count(*) FROM users u GROUP BY 1, 2, 3, 4")
    assert [column[:2] for column in cursor.description] == [
        ("id", "int"),
        ("who", "string"),
        ("address.city", "string"),
        ("1 + score", "float64"),
        ("count(*)", "int"),
    ]


def test_values_come_as_python_has_them(cursor: dbapi.Cursor) -> None:
    row = cursor.execute("SELECT * FROM users WHERE id = 1").fetchone()
    assert row is not None
    assert row[:7] == (1, "ada", 36, {"city": "London", "zip": None}, 1.5, "high", True)
    assert row[7:] == (
        date(2000, 1, 1),
        datetime(2024, 1, 1, tzinfo=timezone.utc),
        UUID(int=7),
        Decimal("1.50"),
        b"\x00\xff",
        ["admin"],
    )


def test_a_failed_statement_leaves_no_rows(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT id FROM users")
    with pytest.raises(dbapi.ProgrammingError):
        cursor.execute("SELECT nope FROM users")
    assert (cursor.description, cursor.rowcount) == (None, -1)
    with pytest.raises(dbapi.InterfaceError):
        cursor.fetchall()
    assert cursor.execute("SELECT id FROM users").fetchone() == (1,)


def test_what_writes_is_refused(cursor: dbapi.Cursor) -> None:
    for sql in ("INSERT INTO users VALUES (1)", "DELETE FROM users", "DROP TABLE users", "BEGIN", "PRAGMA x"):
        with pytest.raises(dbapi.NotSupportedError, match='expected keyword "select": the driver only reads'):
            cursor.execute(sql)
    with pytest.raises(dbapi.NotSupportedError, match="only reads"):
        cursor.executemany("INSERT INTO users VALUES (?)", [(1,)])


# Parameters


def test_parameters_by_place_and_by_name(cursor: dbapi.Cursor) -> None:
    found = cursor.execute("SELECT id FROM users WHERE age = ? AND name <> ?", (36, "ada")).fetchall()
    assert found == [(4,)]
    sql = "SELECT id FROM users WHERE age = :age AND name <> :name"
    assert cursor.execute(sql, {"age": 36, "name": "ada", "more": 1}).fetchall() == [(4,)]
    assert cursor.execute("SELECT ? FROM users LIMIT ? OFFSET ?", ["x", 2, 3]).fetchall() == [("x",)]
    assert cursor.execute("SELECT id FROM users LIMIT ?, ?", (1, 2)).fetchall() == [(2,), (3,)]


def test_parameters_of_enums_and_numpy(cursor: dbapi.Cursor) -> None:
    numpy = pytest.importorskip("numpy")
    for where, value in [
        ("level", Level.HIGH),
        ("id", numpy.int64(1)),
        ("active AND name", numpy.str_("ada")),
        ("id = 1 AND active", numpy.bool_(True)),
        ("score", numpy.float64(1.5)),
    ]:
        assert cursor.execute(f"SELECT id FROM users WHERE {where} = ?", (value,)).fetchall() == [(1,)]


def test_a_statement_goes_with_the_schema(db: Database) -> None:
    connection = dbapi.connect(db)
    fields = '[{"path": ["id"], "type": "int64"}]'
    db.register_collection("things", fields, "id")
    db.insert("things", {"id": 1})
    for sql in ("SELECT * FROM things", "SELECT * FROM things WHERE id = 1"):
        assert connection.execute(sql).fetchall() == [(1,)]
    more = '[{"path": ["id"], "type": "int64"}, {"path": ["x"], "type": {"optional": "string"}}]'
    db.register_schema_version("things", more)
    for sql in ("SELECT * FROM things", "SELECT * FROM things WHERE id = 1"):
        assert connection.execute(sql).fetchall() == [(1, None)]


@pytest.mark.parametrize(
    ("sql", "params", "message"),
    [
        ("SELECT id FROM users WHERE id = ?", None, "expected 1 SQL parameters, got 0"),
        ("SELECT id FROM users WHERE id = ?", (1, 2), "expected 1 SQL parameters, got 2"),
        ("SELECT id FROM users", (1,), "expected 0 SQL parameters, got 1"),
        ("SELECT id FROM users WHERE name = ?", "x", "params must be a tuple or list"),
        ("SELECT id FROM users WHERE id = ?", {1}, "params must be a tuple or list"),
        ("SELECT id FROM users WHERE id = :a", (1,), "params must be a dict"),
        ("SELECT id FROM users WHERE id = :a", {"b": 1}, "expected the SQL parameter 'a'"),
        ("SELECT id FROM users WHERE id = :a AND id = ?", (1,), "not both"),
    ],
)
def test_wrong_parameters(cursor: dbapi.Cursor, sql: str, params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        cursor.execute(sql, params)
    assert isinstance(raised.value, dbapi.ProgrammingError)


# What 0.16 said


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", 'query error: expected keyword "select"'),
        ("UPDATE users SET id = 1", 'query error: expected keyword "select"'),
        ("hello", 'query error: expected keyword "select"'),
        ("SELECT id", 'query error: expected keyword "from"'),
        ("SELECT * ", 'query error: expected keyword "from"'),
        ("SELECT id FROM", "query error: expected identifier"),
        ("SELECT id FROM users WHERE", "query error: expected predicate"),
        ("SELECT id FROM users WHERE (id = 1", "query error: expected '\\)'"),
        ("SELECT id FROM users ORDER id", 'query error: expected keyword "by"'),
        ("SELECT id FROM users GROUP id", 'query error: expected keyword "by"'),
        ("SELECT id FROM users LIMIT", "query error: expected integer after LIMIT"),
        ("SELECT id FROM users LIMIT x", "query error: expected integer after LIMIT"),
        ("SELECT id FROM users LIMIT -1", "query error: expected integer after LIMIT"),
        ("SELECT id FROM users LIMIT 1.5", "query error: expected integer after LIMIT"),
        ("SELECT id FROM users WHERE name = 'x", "query error: unsupported character in SQL"),
        ("SELECT id FROM users; SELECT 1", "query error: trailing tokens after SQL statement"),
        ("SELECT id FROM users u JOIN users v ON u.id = v.id", "query error: trailing tokens after SQL statement"),
        ("SELECT id FROM users UNION SELECT 1", "query error: trailing tokens after SQL statement"),
        ("SELECT id FROM users WHERE id = 1 2", "query error: trailing tokens after SQL statement"),
        ("SELECT FROM users", "query error: expected '\\*' or column list after SELECT"),
        ("SELECT nope FROM users", 'unknown field path \\["nope"\\]'),
        ("SELECT id FROM users WHERE nope = 1", 'unknown field path \\["nope"\\]'),
        ("SELECT id FROM users ORDER BY nope", 'unknown field path \\["nope"\\]'),
        ("SELECT address.nope FROM users", 'unknown field path \\["address", "nope"\\]'),
        ("SELECT nam FROM users", "did you mean 'name'"),
        ("SELECT id FROM nope", 'schema error: unknown collection name "nope"'),
    ],
)
def test_errors_of_0_16(cursor: dbapi.Cursor, sql: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        cursor.execute(sql)
    assert isinstance(raised.value, dbapi.Error)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH q AS (SELECT 1) SELECT * FROM q",
        "SELECT * FROM (SELECT 1) q",
        "SELECT id FROM users WHERE id IN (SELECT 1)",
        "SELECT id FROM users WHERE EXISTS (SELECT 1)",
        "SELECT id FROM users WHERE id = (SELECT 1)",
        "SELECT count(*) OVER () FROM users",
        "SELECT sum(id) FILTER (WHERE id > 1) FROM users",
        "SELECT DISTINCT ON (id) name FROM users",
        "SELECT id FROM users GROUP BY ROLLUP (id)",
        "SELECT id FROM users WHERE (id, name) = (1, 'x')",
        "SELECT id FROM users WHERE id BETWEEN SYMMETRIC 2 AND 1",
        "SELECT name COLLATE nocase FROM users",
        "SELECT soundex(name) FROM users",
        "SELECT group_concat(name) FROM users",
        "SELECT id FROM users FOR UPDATE",
        "SELECT id FROM users TABLESAMPLE (10 PERCENT)",
        "SELECT id & 1 FROM users",
        "SELECT CAST(id AS json) FROM users",
        "SELECT trim(LEADING 'x' FROM name) FROM users",
        "SELECT current_timestamp",
        "VALUES (1)",
        "(SELECT 1)",
    ],
)
def test_sql_that_is_not_known_is_not_guessed(cursor: dbapi.Cursor, sql: str) -> None:
    with pytest.raises(dbapi.NotSupportedError):
        cursor.execute(sql).fetchall()


@pytest.mark.parametrize(
    "where", ["(" * 5000 + "id = 1" + ")" * 5000, "id <> 0" + " AND id <> 0" * 5000, "NOT " * 5000 + "active"]
)
def test_a_statement_that_nests_too_deeply_is_refused(cursor: dbapi.Cursor, where: str) -> None:
    with pytest.raises(dbapi.NotSupportedError, match="nests its terms too deeply"):
        cursor.execute(f"SELECT id FROM users WHERE {where}")
    assert cursor.execute("SELECT id FROM users WHERE id = 1").fetchall() == [(1,)]


def test_pandas_reads_a_frame(db: Database) -> None:
    pandas = pytest.importorskip("pandas")
    connection = dbapi.connect(db)
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        frame = pandas.read_sql(
            "SELECT name, age, score FROM users WHERE score >= ? ORDER BY name", connection, params=(0,)
        )
    assert list(frame.columns) == ["name", "age", "score"]
    assert frame["name"].tolist() == ["ada", "bob", "d%n"]
    assert frame["score"].sum() == 4.0
    sql = "SELECT seen FROM users WHERE id = 3"
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        frame = pandas.read_sql(sql, connection)
    assert frame["seen"][0] == pandas.Timestamp("2024-06-01 12:00", tz="UTC")
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        chunks = list(pandas.read_sql("SELECT id FROM users", connection, chunksize=3))
    assert [len(chunk) for chunk in chunks] == [3, 1]
