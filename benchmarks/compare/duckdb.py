"""DuckDB: native columns for the list and the nested model; bulk loads through Arrow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

from benchmarks.compare.common import Common
from benchmarks.data import User

SCHEMA = """
    CREATE TABLE IF NOT EXISTS users (
        id BIGINT PRIMARY KEY, email VARCHAR NOT NULL UNIQUE, name VARCHAR NOT NULL, age INTEGER NOT NULL,
        active BOOLEAN NOT NULL, score DOUBLE NOT NULL, created TIMESTAMPTZ NOT NULL, tags VARCHAR[] NOT NULL,
        street VARCHAR NOT NULL, city VARCHAR NOT NULL, zip VARCHAR NOT NULL
    );
    CREATE INDEX IF NOT EXISTS users_city ON users (city);
    SET TimeZone = 'UTC';
"""
COLUMNS = "id, email, name, age, active, score, created, tags, street, city, zip"
NAMES = COLUMNS.split(", ")
CHANGES = ", ".join(f"{name} = EXCLUDED.{name}" for name in NAMES if name not in ("id", "email", "city"))
INSERT = f"""
    INSERT INTO users ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET {CHANGES}
"""
SELECT = f"SELECT {COLUMNS} FROM users"


def values(user: User) -> list[Any]:
    """The columns of a row."""
    *plain, address = user.__dict__.values()
    return [*plain, address.street, address.city, address.zip]


def model(row: tuple[Any, ...]) -> User:
    """The instance of a row."""
    *plain, street, city, zip_code = row
    named = dict(zip(NAMES, plain, strict=False))
    return User.model_validate(named | {"address": {"street": street, "city": city, "zip": zip_code}})


class Duck(Common):
    """One connection."""

    durability = "write-ahead log synced at every commit"
    how = "columns, native lists; bulk loads from an Arrow table; fetchall and model_validate"
    in_memory = durable = True

    @staticmethod
    def version() -> str:
        return duckdb.__version__

    def __init__(self, path: Path | None) -> None:
        self.connection = duckdb.connect(":memory:" if path is None else str(path / "users.duckdb"))
        self.connection.execute(SCHEMA)
        self.execute = self.connection.execute

    def close(self) -> None:
        self.connection.close()

    def load(self, users: Iterable[User]) -> None:
        columns = zip(*map(values, users), strict=True)
        table = pyarrow.table(dict(zip(NAMES, map(list, columns), strict=True)))
        self.connection.register("fresh", table)
        self.execute(f"INSERT INTO users ({COLUMNS}) SELECT {COLUMNS} FROM fresh")
        self.connection.unregister("fresh")

    def insert(self, user: User) -> None:
        self.execute(INSERT, values(user))

    def update(self, key: int, age: int) -> None:
        self.execute("UPDATE users SET age = ? WHERE id = ?", (age, key))

    def delete(self, key: int) -> None:
        self.execute("DELETE FROM users WHERE id = ?", (key,))

    def get(self, key: int) -> User | None:
        row = self.execute(f"{SELECT} WHERE id = ?", (key,)).fetchone()
        return None if row is None else model(row)

    def by_email(self, email: str) -> list[User]:
        return self._models(f"{SELECT} WHERE email = ?", email)

    def by_city(self, city: str) -> list[User]:
        return self._models(f"{SELECT} WHERE city = ?", city)

    def in_cities(self, first: str, last: str) -> list[User]:
        return self._models(f"{SELECT} WHERE city >= ? AND city < ? ORDER BY city LIMIT 20", first, last)

    def scored(self, limit: float) -> list[User]:
        return self._models(f"{SELECT} WHERE score < ?", limit)

    def count_scored(self, limit: float) -> int:
        row = self.execute("SELECT count(*) FROM users WHERE score < ?", (limit,)).fetchone()
        assert row is not None
        return int(row[0])

    def averages(self) -> list[Any]:
        return self.execute("SELECT age, avg(score) FROM users GROUP BY age").fetchall()

    def all(self) -> list[User]:
        return self._models(SELECT)

    def _models(self, statement: str, *arguments: Any) -> list[User]:
        return [model(row) for row in self.execute(statement, arguments).fetchall()]
