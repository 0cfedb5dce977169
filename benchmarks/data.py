"""The rows that every benchmark uses: nine fields, among them a nested model and a list, two indexes.

The class is the same under modelvault 0.16, which runs these files too: it uses what both packages have.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from math import gcd

from pydantic import BaseModel

from modelvault import models

CITIES = 10_000
SCORES = 10_000
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


class Address(BaseModel):
    street: str
    city: str
    zip: str


class User(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("email"), models.index("address.city")]

    id: int
    email: str
    name: str
    age: int
    active: bool
    score: float
    created: datetime
    tags: list[str]
    address: Address


def row(number: int) -> User:
    """The benchmark row of a number; about one row in CITIES shares its city, one in SCORES its score."""
    return User(
        id=number,
        email=email(number),
        name=f"User Number {number}",
        age=18 + number % 60,
        active=number % 3 != 0,
        score=number * 6007 % SCORES / 10,
        created=START + timedelta(seconds=number),
        tags=[f"tag{number % 7}", f"tag{number % 11}", "common"],
        address=Address(street=f"{number} Main Street", city=city(number), zip=f"{number % 100_000:05}"),
    )


def email(number: int) -> str:
    """The email address of a row, which no other has."""
    return f"user{number}@example.com"


def city(number: int) -> str:
    """The city of a row."""
    return f"City {number * 7919 % CITIES:04}"


def rows(count: int, first: int = 1) -> Iterator[User]:
    """`count` rows with rising numbers."""
    return (row(number) for number in range(first, first + count))


def shuffled(count: int, size: int) -> list[int]:
    """`size` keys out of 1 to `count`, far from one another, the same every time."""
    step = int(count * 0.618)
    while gcd(step, count) != 1:
        step += 1
    return [number * step % count + 1 for number in range(size)]
