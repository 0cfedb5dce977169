"""What a user writes on a model: indexes, constraints; and the class attributes that refer to its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelvault._frozen import frozen
from modelvault._kinds import is_series
from modelvault.expressions import FieldRef, is_ref

__all__ = ["ClassRef", "ConstraintSpec", "FieldRef", "IndexSpec", "RenamedFrom", "constrained", "index", "unique"]


class ClassRef:
    """The class attribute through which `Book.title` is a FieldRef.

    It answers for the class it was put on and for no other: to a subclass, to instances and to Pydantic while it
    collects the fields of a new class, there is no such attribute. So it never becomes a field's default.
    """

    __slots__ = ("_frame", "owner", "ref")

    def __init__(self, owner: type, ref: FieldRef[Any, Any]) -> None:
        from inspect import currentframe  # which dataclasses and Pydantic have imported, and we do not

        self._frame = currentframe
        self.owner: type = owner
        self.ref: FieldRef[Any, Any] = ref

    def __get__(self, instance: object, owner: type | None = None) -> FieldRef[Any, Any]:
        if instance is None and owner is self.owner:
            here = self._frame()
            caller = None if here is None else here.f_back
            if caller is None or not caller.f_globals.get("__name__", "").startswith("pydantic._internal."):
                return self.ref
        raise AttributeError(f"{owner.__name__ if owner else 'object'!r} has no attribute {self.ref.__segments__[0]!r}")


@frozen
class IndexSpec:
    """An index that a model declares: `field` is a dotted path, or a tuple of them for a composite index."""

    field: str | tuple[str, ...]
    name: str
    unique: bool = False

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The indexed paths as segments."""
        fields = (self.field,) if isinstance(self.field, str) else self.field
        return tuple(tuple(field.split(".")) for field in fields)


@frozen
class ConstraintSpec:
    """A constraint that a model declares; `value` False means that it does not hold."""

    kind: str
    value: object


@frozen
class RenamedFrom:
    """`Annotated[str, RenamedFrom("name")]`: the field was called `name` in an earlier version of the model.

    It may stand there several times: once for each name that the field has had.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"RenamedFrom takes the field's former name as a str, not {type(self.name).__name__}")
        if not self.name:
            raise ValueError("RenamedFrom takes the field's former name, not an empty one")


def dotted(field: object) -> str:
    """A field as a dotted path."""
    if is_ref(field):
        return ".".join(field.__segments__)
    if isinstance(field, str):
        return field
    raise TypeError(f"an index field must be a str or a FieldRef, not {type(field).__name__}")


def spec(field: object, name: str | None, unique: bool) -> IndexSpec:
    """The spec of an index, its name derived from the fields if none is given."""
    fields: str | tuple[str, ...]
    if is_series(field):
        fields = tuple(dotted(part) for part in field)
        derived = "_".join(fields) + "_idx"
    else:
        fields = dotted(field)
        derived = f"{fields}_idx"
    if name is not None and not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"an index name must be a str, not {type(name).__name__}")
    return IndexSpec(fields, derived if name is None else name, unique)


def index(field: str | FieldRef[Any, Any] | Sequence[str | FieldRef[Any, Any]], name: str | None = None) -> IndexSpec:
    """An index over a field, by default named `<field>_idx`.

    Dots reach into nested models ("address.city"); a list field is indexed by its elements; a tuple or list of fields
    makes a composite index.
    """
    return spec(field, name, False)


def unique(field: str | FieldRef[Any, Any] | Sequence[str | FieldRef[Any, Any]], name: str | None = None) -> IndexSpec:
    """Like `index`, and no two rows have the same value; None is exempt."""
    return spec(field, name, True)


def constrained(**constraints: object) -> list[ConstraintSpec]:
    """Constraints for `Annotated[str, constrained(min_length=3, nonempty=True)]`.

    Kinds: min_i64 max_i64 min_u64 max_u64 min_f64 max_f64 min_length max_length regex email url nonempty. They are
    checked when the model is used for a collection.
    """
    return [ConstraintSpec(kind, value) for kind, value in constraints.items()]
