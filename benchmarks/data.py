"""The rows that every benchmark uses: the model of tests/models.py, spread over enough cities for a useful index."""

from collections.abc import Iterator
from math import gcd

from tests.models import Address, User, user

CITIES = 10_000


def row(number: int) -> User:
    """The benchmark row of a number; about one row in CITIES shares its city."""
    address = Address(street=f"{number} Main Street", city=city(number), zip=f"{number % 100_000:05}")
    return user(number, address=address)


def city(number: int) -> str:
    """The city of a row."""
    return f"City {number * 7919 % CITIES}"


def rows(count: int, first: int = 1) -> Iterator[User]:
    """`count` rows with rising numbers."""
    return (row(number) for number in range(first, first + count))


def shuffled(count: int, size: int) -> list[int]:
    """`size` keys out of 1 to `count`, far from one another, the same every time."""
    step = int(count * 0.618)
    while gcd(step, count) != 1:
        step += 1
    return [number * step % count + 1 for number in range(size)]
