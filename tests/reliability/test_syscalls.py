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


@pytest.mark.parametrize("operation", ["export", "export anew", "restore", "compact_to"])
def test_a_copy_is_durable_before_it_has_its_name(operation: str, tmp_path: Path) -> None:
    """And the name is durable when the call returns; a power cut in between leaves what was there."""
    calls, _ = syscalls.under(tmp_path, operation)
    named = max(at for at, call in enumerate(calls) if call in ("linkat", "link", "rename"))
    first = min(at for at, call in enumerate(calls) if call in ("linkat", "link", "rename"))
    written = max(at for at, call in enumerate(calls) if call.startswith("pwritev") and at < first)
    assert {"fsync", "fdatasync"} & {*calls[written:first]}, calls
    assert {"fsync", "fdatasync"} & {*calls[named:]}, calls
