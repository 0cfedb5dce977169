"""The short form of the state machine."""

from __future__ import annotations

import pytest

from tests.reliability import machine
from tests.reliability.tally import PATIENCE, Tally

pytestmark = pytest.mark.damaged  # handles are left as a crash leaves them; the machine verifies what it opens


def test_every_history_agrees_with_a_dict() -> None:
    tally = Tally.counted("state machine")
    machine.run(tally, 20261130, examples=25 * PATIENCE, steps=40, shrink=PATIENCE == 1)
    tally.check(at_least=10)
