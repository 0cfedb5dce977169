"""Values as JSON has them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from modelvault._kinds import is_mapping, kind_of

__all__ = ["EPOCH", "as_json"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def as_json(value: Any, kind: str | None = None) -> Any:
    """A value as JSON has it: what JSON lacks is text, or a number of seconds; bytes are base64.

    kind: "timestamp" for one that is given as a number, and is ISO text in UTC then.
    """
    if kind == "timestamp" and isinstance(value, int):
        return moment(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if is_mapping(value):
        return {str(key): as_json(inner) for key, inner in value.items()}
    values: Iterable[Any] = value
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(inner) for inner in values]
    if isinstance(value, Enum):
        return as_json(value.value)
    if value is None or isinstance(value, str | int | float):
        return value
    fields = fields_of(value)
    return str(value) if fields is None else as_json(fields)


def moment(micros: int) -> str | int:
    """A timestamp as ISO text in UTC; the number where Python's calendar ends."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return micros


def fields_of(value: Any) -> Any:
    """The fields and extras of a model's or dataclass's instance, a RootModel's root; None for anything else."""
    cls = kind_of(value)
    if getattr(cls, "__pydantic_root_model__", False):
        return value.root
    if hasattr(cls, "__pydantic_extra__"):
        extras: dict[str, Any] = value.__pydantic_extra__ or {}
        return {**value.__dict__, **extras}
    if hasattr(cls, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in cls.__dataclass_fields__ if hasattr(value, name)}
    return None
