"""Makes golden.modelvault, a small database with every part of the format: `python -m tests.format.golden`.

Same input, same bytes: the file's uuid is given, and nothing else in it is random or depends on the time.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from modelvault import Database, models
from modelvault._core.meta import Meta, first_pages

GOLDEN = Path(__file__).with_name("golden.modelvault")
UUID_BYTES = bytes(range(16))
PAGE_SIZE = 4096


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Place(BaseModel):
    city: str
    zip: str | None


class Thing(BaseModel):
    """A row with a field of each form: fixed, wide, variable, optional, nested, list."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("name"), models.index("place.city"), models.index("tags")]
    id: int
    name: str
    wide: int
    ratio: float
    flag: bool
    made: datetime
    key: UUID
    price: Decimal
    color: Color
    note: str | None
    place: Place
    tags: list[str]
    numbers: list[int | None]
    raw: bytes


def thing(number: int) -> Thing:
    """The row with this number."""
    zone = timezone(timedelta(hours=number % 5)) if number % 3 else None
    return Thing(
        id=number - 50,
        name=f"thing {number:03d}\0" if number % 7 == 0 else f"thing {number:03d}",
        wide=2**63 + number if number % 2 else -number,
        ratio=number / 8,
        flag=number % 2 == 1,
        made=datetime(2000, 1, 1, 12, tzinfo=zone) + timedelta(days=number, microseconds=number),
        key=UUID(int=number),
        price=Decimal(number).scaleb(-2),
        color=Color.GREEN if number % 3 else Color.RED,
        note=None if number % 4 else f"note {number}",
        place=Place(city=f"city {number % 10}", zip=None if number % 5 else str(number)),
        tags=[f"tag {number % k}" for k in (2, 3, 2)],
        numbers=[number, None, -number, 2**64 - 1],
        raw=bytes(range(number)) * (300 if number == 99 else 1),
    )


def content() -> dict[int, Thing]:
    """What the file holds, by key."""
    rows = [thing(number) for number in range(100) if number % 10 != 3]
    return {row.id: row for row in rows}


def make(path: Path) -> None:
    """Write the file: rows, then some of them deleted, so that there are free pages too."""
    path.write_bytes(first_pages(Meta(PAGE_SIZE, UUID_BYTES)))
    with Database.open(path) as db:
        things = models.collection(db, Thing)
        things.insert_many([thing(number) for number in range(100)])
        for number in range(3, 100, 10):
            things.delete(number - 50)


def plain(row: Any) -> Any:
    """A row as the reader of tests/format/reader.py gives it."""
    if isinstance(row, BaseModel):
        return {name: plain(value) for name, value in row}
    if isinstance(row, list):
        return [plain(value) for value in row]
    return row.value if isinstance(row, Enum) else row


if __name__ == "__main__":
    GOLDEN.unlink(missing_ok=True)
    make(GOLDEN)
