"""Copies, restores and compactions, struck at every system call: SIGKILL, EIO and ENOSPC."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from tests.reliability import syscalls

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library that strikes is written for Linux")


@pytest.mark.parametrize("error", [0, errno.EIO, errno.ENOSPC], ids=["SIGKILL", "EIO", "ENOSPC"])
@pytest.mark.parametrize("operation", syscalls.OPERATIONS)
def test_a_strike_leaves_old_or_new(operation: str, error: int, tmp_path: Path) -> None:
    found = syscalls.run(operation, error, tmp_path)
    assert not found["wrong"]
    assert found["calls"] >= (20 if operation == "compact" else 5)
