"""Every promise names the tests that keep it, and they are there."""

from __future__ import annotations

import pytest

from tests.reliability.promises import exists, rows


def test_there_are_sixteen_promises() -> None:
    assert list(rows()) == [f"P{number}" for number in range(1, 17)]


@pytest.mark.parametrize("promise", [f"P{number}" for number in range(1, 17)])
def test_a_promise_is_kept_by_tests_that_exist(promise: str) -> None:
    tests = rows()[promise]
    assert tests, "nothing keeps it"
    missing = [test for test in tests if not exists(f"tests/{test}")]
    assert not missing
