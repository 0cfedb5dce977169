"""The short form of the SIGKILL loops."""

from __future__ import annotations

import pytest

from tests.reliability import kills
from tests.reliability.tally import Tally
from tests.reliability.writer_process import MODES


@pytest.mark.parametrize("mode", MODES)
def test_kill_loses_nothing_acknowledged(mode: str) -> None:
    tally = Tally.counted(f"SIGKILL, {mode}")
    kills.run(tally, 20261124, kills=5, modes=[mode])
    tally.check(at_least=5)
