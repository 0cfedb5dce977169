"""Values of unions that say which member they are of.

A plain value often fits several members: the fields of a cat and of a dog may be the same, and a path is stored as a
string. Whoever takes rows apart and puts them together again reads them with *tagged* types, under which a value of a
union is a `Member`, and so stays what it was. A `Whole`, likewise, knows what an instance had besides its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelvault._frozen import frozen, replace
from modelvault._kinds import is_dict
from modelvault.fits import with_choices
from modelvault.types import Type

__all__ = [
    "Member",
    "Origins",
    "Whole",
    "has_union",
    "hider",
    "restore",
    "strip",
    "tagged",
]

Origins = dict[int, tuple[Any, Any]]
"""By the id of a copy: the copy, and what it is one of."""


@frozen
class Member:
    """A plain value, and the number of the union's member that it belongs to."""

    number: int
    value: Any


class Whole(dict[str, Any]):
    """The fields of an object by name, and what an instance carries besides.

    set: the names of those that were set, None for all. private: private attributes, None for none.
    """

    __slots__ = ("private", "set")

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.set: set[str] | None = None
        self.private: dict[str, Any] | None = None

    def changed(self, fields: dict[str, Any], names: set[str]) -> Whole:
        """The object with other fields, of which these have changed: they are set now, the others if they were."""
        found = Whole(fields)
        found.private = self.private
        if self.set is not None:
            found.set = (self.set - (self.keys() - fields.keys())) | names
        return found


def has_union(type: Type) -> bool:
    """Whether there is a union anywhere in the type."""
    return type.kind == "union" or any(map(has_union, (*type.items, *(field.type for field in type.fields))))


def tagged(type: Type) -> Type:
    """A plain type whose unions give, and take, Members; they take other plain values, too, by what these are."""
    chosen = with_choices(type)
    return tag(chosen) if has_union(chosen) else chosen


def tag(type: Type) -> Type:
    """The type with Members in the places of unions."""
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
    """A Member's value, or the value."""
    return value.value if value.__class__ is Member else value


def partial_member(number: int) -> Callable[[Any], Member]:
    """What makes a value a Member of this number."""
    return lambda value: Member(number, value)


def chooser(number: int, rule: Any) -> Callable[[Any], bool]:
    """Whether a value is of this member: it says so, or the rule for plain values does."""

    def chosen(value: Any) -> bool:
        if value.__class__ is Member:
            return bool(value.number == number)
        return isinstance(value, rule) if isinstance(rule, type) else bool(rule(value))

    return chosen


def hides(value: Any) -> bool:
    """Whether there is a Member or a Whole in a value."""
    cls = value.__class__
    if cls is dict:
        return any(map(hides, value.values()))
    if cls is list or cls is tuple or cls is set or cls is frozenset:
        return any(map(hides, value))
    return cls is Whole or cls is Member


def holds_objects(type: Type) -> bool:
    """Whether there is an object anywhere in the type."""
    return type.kind in ("object", "ref") or any(map(holds_objects, type.items))


def hider(type: Type) -> Callable[[Any], bool]:
    """`hides` for the values of one type without unions, which looks only where there can be a Whole."""
    if type.kind == "optional":
        return hider(type.items[0])
    if type.kind != "object":
        return hides
    inside = [(field.name, hider(field.type)) for field in type.fields if holds_objects(field.type)]
    if not inside:
        return lambda value: value.__class__ is Whole

    def hidden(value: Any) -> bool:
        if value.__class__ is not dict:
            return value.__class__ is Whole
        for name, look in inside:  # noqa: SIM110 - a generator costs as much as the rest
            if name in value and look(value[name]):
                return True
        return False

    return hidden


def strip(value: Any, origins: Origins | None = None) -> Any:
    """A copy without Members and Wholes: of containers new ones, of all else itself. origins: gets them."""
    cls = value.__class__
    if cls is Member:
        return strip(value.value, origins)
    if cls is dict or cls is Whole:
        copy = {strip(key, origins): strip(item, origins) for key, item in value.items()}
        if origins is not None:
            origins[id(copy)] = (copy, value)
        return copy
    if cls is list or cls is tuple or cls is set or cls is frozenset:
        return value.__class__(strip(item, origins) for item in value)
    return value


def restore(before: Any, now: Any, origins: Origins) -> Any:
    """What became of the stripped copy of a value, with the Members of the parts that are as they were, and Wholes.

    A part comes from that of which it is the copy, wherever it is now, else from what was in its place.
    """
    if before.__class__ is Member:
        return before if alike(before.value, now) else restore(before.value, now, origins)
    cls = now.__class__
    if cls is dict:
        before = origins.get(id(now), (now, before))[1]
        known: dict[Any, Any] = before if is_dict(before) else {}
        names = {strip(key): key for key in known}
        parts = {names.get(key, key): restore(known.get(names.get(key)), item, origins) for key, item in now.items()}
        if not isinstance(known, Whole):
            return parts
        return known.changed(
            parts, {name for name, item in now.items() if name not in known or not alike(known[name], item)}
        )
    if cls is list or cls is tuple:
        former = before if before.__class__ is cls and len(before) == len(now) else [None] * len(now)
        return now.__class__([restore(*pair, origins) for pair in zip(former, now, strict=True)])
    return before if (cls is set or cls is frozenset) and alike(before, now) else now


def alike(tagged: Any, plain: Any) -> bool:
    """Whether the plain value is what the tagged one is without its Members, types and all."""
    cls = tagged.__class__
    if cls is Member:
        return alike(tagged.value, plain)
    if cls is Whole:
        cls = dict
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
