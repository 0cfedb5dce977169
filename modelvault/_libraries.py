"""Libraries that some verbs need, and nothing else does."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["library"]


def library(name: str, what: str) -> Any:
    """A library that is not needed for anything else; ImportError says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = "modelvault[arrow]" if name == "pyarrow" else f"modelvault[arrow] {name}"
        raise ImportError(f"{what} needs {name}: pip install {advice}", name=name) from error
