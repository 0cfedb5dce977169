"""One value to order-preserving bytes and back."""

from datetime import datetime, timezone
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from modelvault._core.keys import KeyCodec
from modelvault.types import Type

VALUES = {
    "int": 123_456,
    "string": "user123456@example.com",
    "float64": 0.5,
    "timestamp": datetime(2024, 1, 1, tzinfo=timezone.utc),
}


def codec(kind: str) -> KeyCodec:
    return KeyCodec(Type(kind, python="datetime") if kind == "timestamp" else Type(kind))


@pytest.mark.parametrize("kind", VALUES)
def test_pack(benchmark: BenchmarkFixture, kind: str) -> None:
    value: Any = VALUES[kind]
    packed = benchmark(codec(kind).pack, value)
    assert codec(kind).unpack(packed) == value


@pytest.mark.parametrize("kind", VALUES)
def test_unpack(benchmark: BenchmarkFixture, kind: str) -> None:
    value: Any = VALUES[kind]
    assert benchmark(codec(kind).unpack, codec(kind).pack(value)) == value
