"""Defaults of the public calls: apart from the engine, which is imported when the first database is opened."""

from __future__ import annotations

import errno
import os
from typing import Any, Final, cast

__all__ = ["CACHE_SIZE", "CHUNK", "DURABILITY", "PAGE_SIZE", "TIMEOUT", "file_name"]

PAGE_SIZE: Final = 8192
CACHE_SIZE: Final = 64 * 1024 * 1024
DURABILITY: Final = ("full", "relaxed", "off")
TIMEOUT: Final = 5.0  # seconds that a writer waits for its turn
CHUNK: Final = 10_000  # rows of a rewrite that are committed together


def file_name(path: Any, argument: str) -> str:
    """The path as a string. TypeError with the argument's name; OSError for a NUL."""
    name = cast("object", os.fspath(path)) if isinstance(path, str | os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"argument {argument!r}: {type(name).__name__!r} object is not an instance of 'str'")
    if "\0" in name:
        raise OSError(errno.EINVAL, "file name contained an unexpected NUL byte", name)
    return name
