"""Instances of a model with some of their fields: what `all(fields=...)` reads of a model's collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from modelvault.types import Shape, Type

__all__ = ["Branch", "partial_maker", "tree_of"]

LISTS: Final = ("list", "set", "frozenset", "vartuple")


class Branch(dict[str, Any]):
    """By field: the Branch of what is meant below it, or a leaf, which may be a plain dict."""


def tree_of(leaves: dict[tuple[str, ...], Any]) -> Branch:
    """Paths as a tree; one that lies inside another is left out."""
    tree = Branch()
    for path in sorted(leaves, key=len):
        node: Any = tree
        for name in path[:-1]:
            node = node.setdefault(name, Branch())
            if not isinstance(node, Branch):
                break
        else:
            node[path[-1]] = leaves[path]
    return tree


def partial_maker(row: Type, fields: tuple[tuple[str, ...], ...]) -> Callable[[dict[str, Any]], Any]:
    """What makes a row of a type's class, without validation, of a nested dict with these fields.

    The other attributes are not there. Nested models and dataclasses have their part of the fields, too.
    """
    tree = tree_of(dict.fromkeys(fields))
    return lambda values: built(row, tree, values)


def built(type: Type, tree: Branch | None, value: Any) -> Any:
    """A value of a type; without a tree it is whole already."""
    if tree is None or value is None:
        return value
    if type.kind == "optional":
        return built(type.items[0], tree, value)
    if type.kind in LISTS:
        return value.__class__(built(type.items[0], tree, item) for item in value)
    if type.kind != "object" or not isinstance(type.python, Shape) or type.python.style == "typeddict":
        return value
    values: dict[str, Any] = {}
    for field, attribute in zip(type.fields, type.python.attributes, strict=True):
        if attribute is not None and field.name in tree:
            # What lies below None is not in the projection.
            values[attribute] = built(field.type, tree[field.name], value.get(field.name))
    return instance(type.python, values)


def instance(shape: Shape, values: dict[str, Any]) -> Any:
    """An instance of the class with these attributes and no others."""
    cls: Any = shape.cls
    made = cls.__new__(cls)
    if shape.style == "pydantic":
        object.__setattr__(made, "__dict__", values)
        object.__setattr__(made, "__pydantic_fields_set__", set(values))
        object.__setattr__(made, "__pydantic_extra__", {} if cls.model_config.get("extra") == "allow" else None)
        private = shape.private_defaults() if shape.privates and shape.private_defaults is not None else None
        object.__setattr__(made, "__pydantic_private__", private)
    else:
        for name, value in values.items():
            object.__setattr__(made, name, value)
    return made
