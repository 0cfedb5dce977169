"""Four users with a field of every kind, for tests of SQL and of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

from modelvault import Database, dbapi, models


class Level(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Address:
    city: str
    zip: str | None = None


@dataclass
class User:
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.index("age"), models.index("address.city"), models.unique("name"))

    id: int
    name: str
    age: int | None
    address: Address
    score: float = 0.0
    level: Level = Level.LOW
    active: bool = True
    born: date = date(2000, 1, 1)
    seen: datetime = datetime(2024, 1, 1, tzinfo=timezone.utc)
    key: UUID = UUID("00000000-0000-0000-0000-000000000007")  # noqa: RUF009
    price: Decimal = Decimal("1.50")
    raw: bytes = b"\x00\xff"
    tags: list[str] = field(default_factory=list)


USERS = [
    User(1, "ada", 36, Address("London"), 1.5, Level.HIGH, tags=["admin"]),
    User(2, "bob", None, Address("Paris", "75"), 2.5, born=date(1999, 5, 5), active=False),
    User(3, "cid", 17, Address("London"), -1.0, seen=datetime(2024, 6, 1, 12, tzinfo=timezone.utc)),
    User(4, "d%n", 36, Address("Rome"), 0.0, price=Decimal(20), key=UUID(int=9), tags=["admin", "old"]),
]


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.open_in_memory() as database:
        database.collection(User).insert_many(USERS)
        yield database


@pytest.fixture
def cursor(db: Database) -> Iterator[dbapi.Cursor]:
    with dbapi.connect(db) as connection, connection.cursor() as cursor:
        yield cursor
