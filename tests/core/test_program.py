"""Conditions over record bytes mean what they mean in plain Python."""

from datetime import datetime, timezone
from typing import Any

from modelvault._core.program import Program
from modelvault._core.record import RecordCodec
from modelvault.annotations import row_type
from modelvault.conditions import ALL, NONE, Every, Negation, Some, Test
from tests.models import User, user


def check(path: str, op: str, *values: Any) -> Test:
    return Test(tuple(path.split(".")), op, values)


def holds(codecs: list[RecordCodec], condition: Any, record: bytes) -> bool:
    """What a Program says; what it says without Python must not differ."""
    program = Program(codecs, condition)
    answer = program.test(record)
    verdict = program.verdict(record)
    assert verdict == answer or (verdict == 2 and not program.complete)
    return answer


def test_the_benchmark_model() -> None:
    codec = RecordCodec(row_type(User), 1, "id")
    record = codec.encode(user(7))
    yes = [
        check("id", "eq", 7),
        check("id", "in", 1, 7, 9),
        check("age", "between", 20, 30),
        check("age", "ge", 25),
        check("active", "eq", True),
        check("score", "lt", 3.75),
        check("email", "startswith", "user7@"),
        check("email", "endswith", ".com"),
        check("name", "contains", "Number"),
        check("name", "like", "User%_7"),
        check("name", "regex", r"^User \w+ 7$"),
        check("tags", "eq", "common"),
        check("tags", "contains", "tag0"),
        check("tags", "eq", ["tag0", "tag7", "common"]),
        check("address.city", "eq", "City 7"),
        check("created", "gt", datetime(2024, 1, 1, tzinfo=timezone.utc)),
        ALL,
    ]
    for condition in yes:
        assert holds([codec], condition, record), condition
        assert not holds([codec], Negation(condition), record), condition
    assert holds([codec], Every(tuple(yes)), record)
    assert not holds([codec], Every((*yes, NONE)), record)
    assert holds([codec], Some((NONE, *yes)), record)
    assert not holds([codec], NONE, record)
