"""SQLite through the standard library: a column for every scalar, those of the nested model too; JSON for the list."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.compare.common import CACHE, Common
from benchmarks.data import User

FILE = "users.sqlite"
SCHEMA = """
    CREATE TABLE users (
        id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, age INTEGER NOT NULL,
        active INTEGER NOT NULL, score REAL NOT NULL, created TEXT NOT NULL, tags TEXT NOT NULL,
        street TEXT NOT NULL, city TEXT NOT NULL, zip TEXT NOT NULL
    );
    CREATE INDEX users_city ON users (city);
"""
PRAGMAS = (
    f"PRAGMA cache_size = -{CACHE >> 10}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
)
COLUMNS = "id, email, name, age, active, score, created, tags, street, city, zip"
INSERT = f"INSERT OR REPLACE INTO users ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPDATE = "UPDATE users SET age = ? WHERE id = ?"
DELETE = "DELETE FROM users WHERE id = ?"
SELECT = f"SELECT {COLUMNS} FROM users"
GET = f"{SELECT} WHERE id = ?"
BY_EMAIL = f"{SELECT} WHERE email = ?"
BY_CITY = f"{SELECT} WHERE city = ?"
IN_CITIES = f"{SELECT} WHERE city >= ? AND city < ? ORDER BY city LIMIT 20"
SCORED = f"{SELECT} WHERE score < ?"
COUNT = "SELECT count(*) FROM users WHERE score < ?"
AVERAGES = "SELECT age, avg(score) FROM users GROUP BY age"

Row = tuple[int, str, str, int, int, float, str, str, str, str, str]


def values(user: User) -> Row:
    """The columns of a row."""
    address = user.address
    return (
        user.id,
        user.email,
        user.name,
        user.age,
        user.active,
        user.score,
        user.created.isoformat(),
        json.dumps(user.tags),
        address.street,
        address.city,
        address.zip,
    )


def model(row: Row) -> User:
    """The instance of a row."""
    number, email, name, age, active, score, created, tags, street, city, zip_code = row
    return User.model_validate(
        {
            "id": number,
            "email": email,
            "name": name,
            "age": age,
            "active": active,
            "score": score,
            "created": created,
            "tags": json.loads(tags),
            "address": {"street": street, "city": city, "zip": zip_code},
        }
    )


class Sqlite(Common):
    """One connection. The module keeps the prepared statements of its last 128 texts, so each is prepared once."""

    durability = "WAL with synchronous = FULL: synced at every commit"
    how = "standard library, one column a scalar, JSON for the list, prepared statements, model_validate"
    in_memory = durable = forks = True

    @staticmethod
    def version() -> str:
        return sqlite3.sqlite_version

    @staticmethod
    def encoder() -> Callable[[User], Row]:
        return values

    @staticmethod
    def decoder() -> Callable[[Row], User]:
        return model

    def __init__(self, path: Path | None) -> None:
        file = ":memory:" if path is None else str(path / FILE)
        self.connection = sqlite3.connect(file, isolation_level=None)
        for pragma in PRAGMAS:
            self.connection.execute(pragma)
        if not self.connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            self.connection.executescript(SCHEMA)
        self.execute = self.connection.cursor().execute

    def close(self) -> None:
        self.connection.close()  # the last one to close brings the WAL into the file

    def load(self, users: Iterable[User]) -> None:
        self.execute("BEGIN")
        self.connection.executemany(INSERT, map(values, users))
        self.execute("COMMIT")

    def insert(self, user: User) -> None:
        self.execute(INSERT, values(user))

    def update(self, key: int, age: int) -> None:
        self.execute(UPDATE, (age, key))

    def delete(self, key: int) -> None:
        self.execute(DELETE, (key,))

    def get(self, key: int) -> User | None:
        row = self.execute(GET, (key,)).fetchone()
        return None if row is None else model(row)

    def by_email(self, email: str) -> list[User]:
        return [model(row) for row in self.execute(BY_EMAIL, (email,))]

    def by_city(self, city: str) -> list[User]:
        return [model(row) for row in self.execute(BY_CITY, (city,))]

    def in_cities(self, first: str, last: str) -> list[User]:
        return [model(row) for row in self.execute(IN_CITIES, (first, last))]

    def scored(self, limit: float) -> list[User]:
        return [model(row) for row in self.execute(SCORED, (limit,))]

    def count_scored(self, limit: float) -> int:
        return int(self.execute(COUNT, (limit,)).fetchone()[0])

    def averages(self) -> list[Any]:
        return self.execute(AVERAGES).fetchall()

    def all(self) -> list[User]:
        return [model(row) for row in self.execute(SELECT)]
