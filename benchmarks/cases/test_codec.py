"""A record alone: bytes from a model, a model from bytes, one field of it."""

from dataclasses import dataclass
from datetime import datetime

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.data import Address, User, row
from modelvault._core.record import Face, RecordCodec
from modelvault.mapping import schema_of


@dataclass
class Person:
    """The benchmark model as a dataclass."""

    __modelvault_primary_key__ = "id"

    id: int
    email: str
    name: str
    age: int
    active: bool
    score: float
    created: datetime
    tags: list[str]
    address: Address


@pytest.fixture
def face() -> Face:
    return Face([RecordCodec(schema_of(User).type, 1)], "id")


def test_encode(benchmark: BenchmarkFixture, face: Face) -> None:
    benchmark(face.encode, row(1))


def test_decode(benchmark: BenchmarkFixture, face: Face) -> None:
    _, record = face.encode(row(1))
    assert benchmark(face.decode, record) == row(1)


def test_decode_a_dataclass(benchmark: BenchmarkFixture) -> None:
    face = Face([RecordCodec(schema_of(Person).type, 1)], "id")
    person = Person(**row(1).__dict__)
    _, record = face.encode(person)
    assert benchmark(face.decode, record) == person


def test_read_one_field(benchmark: BenchmarkFixture) -> None:
    codec = RecordCodec(schema_of(User).type, 1)
    assert benchmark(codec.read, codec.encode(row(1)), ("address", "city")) == row(1).address.city
