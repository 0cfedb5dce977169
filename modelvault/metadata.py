"""What the metadata of an annotation says: constraints, ours and other libraries', and a field's former names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from modelvault._kinds import is_series
from modelvault.errors import ModelVaultSchemaError
from modelvault.fields_json import parse_constraint
from modelvault.specs import ConstraintSpec, RenamedFrom
from modelvault.types import Constraint

__all__ = ["constraints", "former_names"]

BOUNDS: Final = ("ge", "gt", "le", "lt", "multiple_of")
LENGTHS: Final = {"min_length": "min_len", "max_length": "max_len"}


def constraints(metadata: Iterable[Any]) -> list[Constraint]:
    """The constraints in the metadata of an annotation: ours, annotated_types' and Pydantic's."""
    found: list[Constraint] = []
    for entry in metadata:
        if isinstance(entry, ConstraintSpec):
            found += specified(entry)
        elif is_series(entry):
            found += constraints(part for part in entry if isinstance(part, ConstraintSpec))
        elif type(entry).__name__ == "FieldInfo":
            found += constraints(entry.metadata)
        elif type(entry).__module__.partition(".")[0] in ("annotated_types", "pydantic"):
            found += foreign(entry)
    return found


def foreign(entry: Any) -> list[Constraint]:
    """The constraints that one object of annotated_types or Pydantic stands for."""
    if type(entry).__name__ == "UrlConstraints":
        return []
    found = [Constraint(kind, bound) for kind in BOUNDS if (bound := getattr(entry, kind, None)) is not None]
    for name, kind in LENGTHS.items():
        length = getattr(entry, name, None)
        if isinstance(length, int) and (length or kind == "max_len"):
            found.append(Constraint(kind, length))
    pattern = getattr(entry, "pattern", None)
    if isinstance(pattern, re.Pattern):
        pattern = flagged(pattern)
    if isinstance(pattern, str) and compiles(pattern):
        found.append(Constraint("pattern", pattern))
    return found


def flagged(pattern: Any) -> Any:
    """A regular expression's text, its flags in front."""
    letters = "".join(
        letter
        for letter, flag in (
            ("a", re.ASCII),
            ("i", re.IGNORECASE),
            ("m", re.MULTILINE),
            ("s", re.DOTALL),
            ("x", re.VERBOSE),
        )
        if pattern.flags & flag
    )
    return f"(?{letters}){pattern.pattern}" if letters and isinstance(pattern.pattern, str) else pattern.pattern


def compiles(pattern: str) -> bool:
    """Pydantic's patterns are Rust's by default; the few that Python cannot read stay with Pydantic."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def specified(spec: ConstraintSpec) -> list[Constraint]:
    """One of `models.constrained`'s; raises for an unknown kind or an unsuitable value."""
    kinds = [
        "min_i64",
        "max_i64",
        "min_u64",
        "max_u64",
        "min_f64",
        "max_f64",
        "min_length",
        "max_length",
        "regex",
        "email",
        "url",
        "nonempty",
    ]
    if spec.kind not in kinds:
        raise ModelVaultSchemaError(f'unknown constraint kind "{spec.kind}": it is one of {", ".join(kinds)}')
    if spec.value is None:
        raise ModelVaultSchemaError(f"{spec.kind} requires a value")
    if spec.kind in ("email", "url", "nonempty") and spec.value is False:
        return []
    constraint = parse_constraint(spec.kind, spec.value)
    if constraint is None:
        raise TypeError(f"{spec.kind} does not take {spec.value!r}")
    return [constraint]


def former_names(metadata: Iterable[Any]) -> tuple[str, ...]:
    """The names that a field had before, of the metadata of its annotation."""
    return tuple(entry.name for entry in metadata if isinstance(entry, RenamedFrom))
