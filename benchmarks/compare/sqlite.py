"""SQLite through the standard library: columns for scalars, JSON for the list and the nested model."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tests.models import User

SCHEMA = """
    CREATE TABLE users (
        id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, age INTEGER NOT NULL,
        active INTEGER NOT NULL, score REAL NOT NULL, created TEXT NOT NULL, tags TEXT NOT NULL, address TEXT NOT NULL
    );
    CREATE INDEX users_city ON users (json_extract(address, '$.city'));
"""
COLUMNS = "id, email, name, age, active, score, created, tags, address"
INSERT = f"INSERT OR REPLACE INTO users ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
GET = f"SELECT {COLUMNS} FROM users WHERE id = ?"
BY_EMAIL = f"SELECT {COLUMNS} FROM users WHERE email = ?"
BY_CITY = f"SELECT {COLUMNS} FROM users WHERE json_extract(address, '$.city') = ?"

Row = tuple[int, str, str, int, int, float, str, str, str]


def values(user: User) -> Row:
    return (
        user.id,
        user.email,
        user.name,
        user.age,
        user.active,
        user.score,
        user.created.isoformat(),
        json.dumps(user.tags),
        user.address.model_dump_json(),
    )


def model(row: Row) -> User:
    number, email, name, age, active, score, created, tags, address = row
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
            "address": json.loads(address),
        }
    )


class Sqlite:
    """One connection. The module keeps the prepared statements of its last 128 texts, so each is prepared once."""

    name = "sqlite3"

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        if path is not None:
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
        if not self.connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            self.connection.executescript(SCHEMA)
        self.execute = self.connection.cursor().execute

    def load(self, users: Iterable[User]) -> None:
        self.execute("BEGIN")
        self.connection.executemany(INSERT, map(values, users))
        self.execute("COMMIT")

    def insert(self, user: User) -> None:
        self.execute(INSERT, values(user))

    def get(self, key: int) -> User | None:
        row = self.execute(GET, (key,)).fetchone()
        return None if row is None else model(row)

    def by_email(self, email: str) -> list[User]:
        return [model(row) for row in self.execute(BY_EMAIL, (email,))]

    def by_city(self, city: str) -> list[User]:
        return [model(row) for row in self.execute(BY_CITY, (city,))]

    def size(self) -> int:
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert self.path is not None
        return self.path.stat().st_size

    def close(self) -> None:
        self.connection.close()
