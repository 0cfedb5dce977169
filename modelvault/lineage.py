"""Two versions of a type and how they belong together: which field was which, and what the one lends the other.

Rows keep the layout under which they were written, so a change of schema is mostly a matter of names: the older layouts
are *relabelled*, and a field that they lack gets a *fill*.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from modelvault._frozen import replace
from modelvault.rules import bare
from modelvault.types import INTEGERS, MISSING, Field, Shape, Type

__all__ = [
    "CHOICES",
    "CONTAINERS",
    "Maker",
    "adopt",
    "carry",
    "default_of",
    "former_names",
    "has_outer_ref",
    "is_constant",
    "is_optional",
    "partners",
    "relabel",
    "rename_path",
    "sources",
    "typed_values",
    "without_constraints",
]

Path = tuple[str, ...]
Maker = Callable[[], Any]

CONTAINERS: Final = frozenset(("list", "set", "frozenset", "vartuple", "tuple", "dict"))
CHOICES: Final = frozenset(("enum", "literal"))


def sources(old: Type, new: Type) -> dict[str, Field]:
    """For each field of the new object its field in the old one, if it has one.

    A declared name of before counts where the field's own name is not there, or belongs to another field by then: so a
    field can give its name to a new one, and names can move on along a chain.
    """
    before = {field.name: field for field in old.fields if field.name}
    former = former_names(before.keys(), new)
    taken = set(former.values())
    found: dict[str, Field] = {}
    for field in new.fields:
        name = former.get(field.name, "" if field.name in taken else field.name)
        if name in before:
            found[field.name] = before[name]
    return found


def former_names(before: Collection[str], new: Type) -> dict[str, str]:
    """The old names of the fields that were renamed; a field that gives its name to another comes after that one."""
    former: dict[str, str] = {}
    taken: set[str] = set()
    moved = True
    while moved:
        moved = False
        for field in new.fields:
            if field.name in former or (field.name in before and field.name not in taken):
                continue
            name = next((name for name in field.renamed_from if name in before and name not in taken), None)
            if name is not None:
                former[field.name] = name
                taken.add(name)
                moved = True
    return former


def partners(old: Type, new: Type) -> list[int | None]:
    """For each member of a union its place in another one: where the same type is, else its own if the kind agrees."""
    bare_old = [without_constraints(bare(item)) for item in old.items]
    bare_new = [without_constraints(bare(item)) for item in new.items]
    places: list[int | None] = [None] * len(bare_old)
    left = set(range(len(bare_new)))
    for number, item in enumerate(bare_old):
        same = [place for place in sorted(left, key=lambda place: place != number) if bare_new[place] == item]
        if same:
            places[number] = same[0]
            left.discard(same[0])
    for number, item in enumerate(bare_old):
        if places[number] is None and number in left and bare_new[number].kind == item.kind:
            places[number] = number
            left.discard(number)
    return places


def rename_path(old: Type, new: Type, path: Path) -> Path | None:
    """What a path of the old type is called in the new one; None if it leads to a field that is gone."""
    if not path:
        return ()
    before, after = bare(old), bare(new)
    for name, source in sources(before, after).items():
        if source.name == path[0]:
            field = next(field for field in after.fields if field.name == name)
            rest = rename_path(source.type, field.type, path[1:])
            return None if rest is None else (name, *rest)
    return None


def relabel(lens: Type, old: Type, new: Type) -> Type:
    """An older layout with the names of the new type in place of those of the old one; "" where a field is gone."""
    old, new = bare(old), bare(new)
    if lens.kind == "optional" or (lens.kind == "custom" and lens.items):
        return replace(lens, items=(relabel(lens.items[0], old, new),))
    if lens.kind == old.kind == new.kind == "object":
        names = {source.name: name for name, source in sources(old, new).items()}
        before = {field.name: field.type for field in old.fields}
        after = {field.name: field.type for field in new.fields}
        fields: list[Field] = []
        for field in lens.fields:
            name = names.get(field.name, "") if field.name else ""
            type = relabel(field.type, before[field.name], after[name]) if name else field.type
            fields.append(Field(name, type))
        return replace(lens, fields=tuple(fields))
    if lens.kind == old.kind == new.kind and has_counterparts(lens, old) and has_counterparts(old, new):
        parts = zip(lens.items, old.items, new.items, strict=False)
        return replace(lens, items=tuple(relabel(*part) for part in parts))
    return lens


def has_counterparts(old: Type, new: Type) -> bool:
    """Whether the items of two types of one kind belong together by their places; a union may have grown."""
    return len(old.items) == len(new.items) or (new.kind == "union" and len(old.items) < len(new.items))


def adopt(stored: Type, mapped: Type) -> Type:
    """A model's type as near to what is stored as can be: integers of the stored kind, values and fields in order."""
    if mapped.kind == "custom" and mapped.items:
        return replace(mapped, items=(adopt(stored, mapped.items[0]),))
    if mapped.kind == "optional":
        return replace(mapped, items=(adopt(stored, mapped.items[0]),))
    stored = bare(stored)
    if stored.kind in INTEGERS and mapped.kind in INTEGERS:
        return replace(mapped, kind=stored.kind)
    if stored.kind != mapped.kind:
        return mapped
    if mapped.kind == "object":
        return adopt_object(stored, mapped)
    if mapped.kind in CHOICES:
        return in_order(stored, mapped)
    if has_counterparts(stored, mapped):
        parts = zip(stored.items, mapped.items, strict=False)
        return replace(mapped, items=(*(adopt(*part) for part in parts), *mapped.items[len(stored.items) :]))
    return mapped


def adopt_object(stored: Type, mapped: Type) -> Type:
    """The fields in the stored order, new ones behind them."""
    origin = sources(stored, mapped)
    places = {field.name: number for number, field in enumerate(stored.fields)}
    last = len(places)

    def place(number: int) -> int:
        source = origin.get(mapped.fields[number].name)
        return last if source is None else places[source.name]

    order = sorted(range(len(mapped.fields)), key=place)
    fields: list[Field] = []
    for number in order:
        field = mapped.fields[number]
        source = origin.get(field.name)
        fields.append(field if source is None else replace(field, type=adopt(source.type, field.type)))
    python = mapped.python
    if isinstance(python, Shape):
        python = replace(python, attributes=tuple(python.attributes[number] for number in order))
    return replace(mapped, fields=tuple(fields), python=python, group=stored.group)


def in_order(stored: Type, mapped: Type) -> Type:
    """The values of an enum in the stored order, new ones behind them."""
    places = {key: number for number, key in enumerate(typed_values(stored))}
    keys = list(typed_values(mapped))
    order = sorted(range(len(keys)), key=lambda number: places.get(keys[number], len(places)))
    python = mapped.python
    if python is not None:
        python = tuple(python[number] for number in order)
    return replace(mapped, values=tuple(mapped.values[number] for number in order), python=python)


def typed_values(type: Type) -> dict[tuple[Any, Any], Any]:
    """The values of an enum, apart by their classes: True is not 1."""
    return {(value.__class__, value): value for value in type.values}


def carry(
    old: Type, new: Type, fresh: Callable[[Field], bytes | None], again: Callable[[Field, Field], bytes | None]
) -> Type:
    """The new type with the fills of its fields, for the rows that are older than they.

    fresh(field): of a field that is new. again(source, field): of one that was there, whose own fields have theirs.
    """
    if new.kind == "optional" or (new.kind == "custom" and new.items):
        return replace(new, items=(carry(old, new.items[0], fresh, again),))
    old = bare(old)
    if old.kind == new.kind == "object":
        origin = sources(old, new)
        fields: list[Field] = []
        for field in new.fields:
            source = origin.get(field.name)
            if source is None:
                fields.append(replace(field, stored_fill=fresh(field)))
                continue
            field = replace(field, type=carry(source.type, field.type, fresh, again))
            fields.append(replace(field, stored_fill=again(source, field)))
        return replace(new, fields=tuple(fields))
    if old.kind == new.kind and has_counterparts(old, new):
        parts = zip(old.items, new.items, strict=False)
        items = (*(carry(*part, fresh, again) for part in parts), *new.items[len(old.items) :])
        return replace(new, items=items)
    return new


def without_constraints(type: Type) -> Type:
    """The type, whatever its values are held to."""
    items = tuple(without_constraints(item) for item in type.items)
    fields = tuple(replace(field, type=without_constraints(field.type)) for field in type.fields)
    return replace(type, items=items, fields=fields, constraints=())


def is_optional(type: Type) -> bool:
    """Whether None is a value, as far as records are concerned."""
    while type.kind == "custom" and type.items:
        type = type.items[0]
    return type.kind == "optional"


def has_outer_ref(type: Type, depth: int = 0) -> bool:
    """Whether the type names an object around it, so that it means nothing by itself."""
    if type.kind == "ref":
        return bool(type.values[0] >= depth)
    inside = depth + (type.kind == "object")
    parts = [*type.items, *(field.type for field in type.fields)]
    return any(has_outer_ref(part, inside) for part in parts)


def default_of(field: Field) -> Maker | None:
    """What makes a field's default, None if it has none."""
    if field.factory is not None:
        return field.factory
    if field.default is MISSING:
        return None
    return lambda: field.default


def is_constant(field: Field) -> bool:
    """Whether the default is the same each time: a value, or what a factory such as `list` makes."""
    if field.factory is None:
        return True
    first, second = field.factory(), field.factory()
    return not first and bool(first == second)
