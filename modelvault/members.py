"""Values of unions that say which member they are of.

A plain value often fits several members: the fields of a cat and of a dog may be the same, and a path is stored as a
string. Whoever takes rows apart and puts them together again reads them with *tagged* types, under which a value of a
union is a `Member`, and so stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelvault._frozen import frozen, replace
from modelvault.fits import with_choices
from modelvault.types import Type

__all__ = ["Member", "has_union", "retag", "strip", "tagged"]


@frozen
class Member:
    """A plain value, and the number of the union's member that it belongs to."""

    number: int
    value: Any


def has_union(type: Type) -> bool:
    """Whether there is a union anywhere in the type."""
    return type.kind == "union" or any(map(has_union, (*type.items, *(field.type for field in type.fields))))


def tagged(type: Type) -> Type:
    """A plain type whose unions give, and take, Members; they take other plain values, too, by what these are."""
    chosen = with_choices(type)
    return tag(chosen) if has_union(chosen) else chosen


def tag(type: Type) -> Type:
    items = tuple(map(tag, type.items))
    fields = tuple(replace(field, type=tag(field.type)) for field in type.fields)
    if type.kind != "union":
        return replace(type, items=items, fields=fields)
    return replace(
        type,
        items=tuple(Type("custom", (item,), python=(dump, partial_member(n))) for n, item in enumerate(items)),
        python=tuple(chooser(n, rule) for n, rule in enumerate(type.python)),
    )


def dump(value: Any) -> Any:
    return value.value if value.__class__ is Member else value


def partial_member(number: int) -> Callable[[Any], Member]:
    return lambda value: Member(number, value)


def chooser(number: int, rule: Any) -> Callable[[Any], bool]:
    """Whether a value is of this member: it says so, or the rule for plain values does."""

    def chosen(value: Any) -> bool:
        if value.__class__ is Member:
            return bool(value.number == number)
        return isinstance(value, rule) if isinstance(rule, type) else bool(rule(value))

    return chosen


def strip(value: Any) -> Any:
    """A copy without Members: of containers new ones, of all else itself."""
    cls = value.__class__
    if cls is Member:
        return strip(value.value)
    if cls is dict:
        return {strip(key): strip(item) for key, item in value.items()}
    if cls is list or cls is tuple or cls is set or cls is frozenset:
        return cls(strip(item) for item in value)
    return value


def retag(tagged: Any, plain: Any) -> Any:
    """What became of the plain copy of a tagged value, with the Members of the parts that are as they were."""
    cls = tagged.__class__
    if cls is Member:
        return tagged if alike(tagged.value, plain) else plain
    if cls is not plain.__class__:
        return plain
    if cls is dict:
        names = {strip(key): key for key in tagged}
        return {names.get(key, key): retag(tagged.get(names.get(key)), item) for key, item in plain.items()}
    if (cls is list or cls is tuple) and len(tagged) == len(plain):
        return cls(map(retag, tagged, plain))
    return tagged if (cls is set or cls is frozenset) and alike(tagged, plain) else plain


def alike(tagged: Any, plain: Any) -> bool:
    """Whether the plain value is what the tagged one is without its Members, types and all."""
    cls = tagged.__class__
    if cls is Member:
        return alike(tagged.value, plain)
    if cls is not plain.__class__:
        return False
    if cls is dict:
        parts = zip(tagged.items(), plain.items(), strict=False)
        return len(tagged) == len(plain) and all(alike(k, other) and alike(v, item) for (k, v), (other, item) in parts)
    if cls is list or cls is tuple:
        return len(tagged) == len(plain) and all(map(alike, tagged, plain))
    if cls is set or cls is frozenset:
        typed = {(item.__class__, item) for item in plain}
        return typed == {(item.__class__, item) for item in strip(tagged)}
    return bool(tagged is plain or tagged == plain)
