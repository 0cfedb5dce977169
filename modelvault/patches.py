"""Changing an instance by a patch, and checking one that was read: always a new, validated instance."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from modelvault._kinds import is_dict, is_series, kind_of
from modelvault.annotations import is_pydantic, row_type
from modelvault.expressions import Formula, is_ref
from modelvault.partials import Branch, tree_of
from modelvault.rules import bare
from modelvault.types import Shape, Type

__all__ = ["changer", "copy_of", "patcher", "revalidator"]

M = TypeVar("M")

# What a validator may raise that meets a raw value.
FROM_VALIDATORS = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError)


def copy_of(instance: M) -> M:
    """The instance for a patch to change while others have it: a shallow copy, where patches change it itself."""
    if not is_pydantic(type(instance)):
        return instance
    copied: M = instance.model_copy()  # type: ignore[attr-defined]
    return copied  # pyright: ignore[reportUnknownVariableType] - M has no model_copy


def patcher(cls: type[M], row: Type | None = None) -> Callable[[M, Any], M]:
    """A function of an instance of this class, which nobody else has, and a patch: the instance with the patch's fields
    replaced, validated. It may be changed itself, also where that raises. What has to be known of the class is found
    out once.

    A patch is a dict by field names (or aliases), or a model or dataclass: of the same class, all its fields count; of
    another Pydantic class, those that were set. Shallow: a nested value is replaced as a whole, and may be given as a
    dict. `row` is the class's type, if the caller has it. The other fields are not validated again, except in frozen
    models. Raises ValueError for an unknown field, Pydantic's ValidationError (a ValueError) for an unfit value.
    """
    if not is_pydantic(cls) or is_frozen(cls, cls.__pydantic_fields__):  # type: ignore[attr-defined]
        return lambda instance, patch: patched(instance, patch, row)
    names = frozenset(cls.__pydantic_fields__)  # type: ignore[attr-defined]

    def change(instance: M, patch: Any) -> M:
        if patch.__class__ is dict and patch.keys() <= names:
            changed: M = patched_model(instance, patch, False)
            return changed
        return patched(instance, patch, row)

    return change


def patched(instance: M, patch: object, row: Type | None = None) -> M:
    """The function of `patcher`, for any class and any patch."""
    cls = kind_of(instance)
    changes = patch_values(instance, patch)
    fresh: M
    if is_pydantic(cls):
        fields = cls.__pydantic_fields__
        if not changes.keys() <= fields.keys():
            changes = resolve_names(cls, changes)
        fresh = patched_model(instance, changes, is_frozen(cls, fields))
        return fresh
    unknown = changes.keys() - field_names(cls)
    if unknown:
        raise unknown_field(cls, unknown)
    if not hasattr(cls, "__pydantic_validator__"):
        types = {field.name: field.type for field in (row or row_type(cls)).fields}
        changes = {name: built(types[name], value) for name, value in changes.items()}
    fresh = patched_dataclass(instance, changes)
    return fresh


def field_names(cls: Any) -> set[str]:
    """The names of a dataclass's fields."""
    import dataclasses

    return {field.name for field in dataclasses.fields(cls)}


def unknown_field(cls: type, names: set[str]) -> ValueError:
    """The error for a field that the class does not have."""
    first = min(names)
    return ValueError(f'unknown field "{first}" in a patch of {cls.__name__}')


def patch_values(instance: Any, patch: Any) -> dict[str, Any]:
    """The patch as a dict by name."""
    cls = kind_of(patch)
    given: Any = patch
    if cls is dict or isinstance(patch, Mapping):
        for name in given:
            if not isinstance(name, str):
                raise TypeError(f"a patch has field names as keys, not {name!r}")
        return given if cls is dict else dict(given)
    if is_pydantic(cls):
        names = cls.model_fields if cls is type(instance) else patch.model_fields_set
        return {name: getattr(patch, name) for name in names} | (patch.__pydantic_extra__ or {})
    if hasattr(cls, "__dataclass_fields__"):
        return {name: getattr(patch, name) for name in field_names(cls)}
    raise TypeError(f"a patch is a dict, a model or a dataclass, not {cls.__name__}")


def resolve_names(cls: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes by field name, where aliases stand for fields; extra keys pass only if the model takes extras."""
    aliases: dict[str, str] = {}
    for name, info in cls.model_fields.items():
        for alias in (info.alias, info.validation_alias):
            if isinstance(alias, str):
                aliases[alias] = name
    found: dict[str, Any] = {}
    for key, value in changes.items():
        name = key if key in cls.model_fields else aliases.get(key, key)
        if name not in cls.model_fields and cls.model_config.get("extra") != "allow":
            raise unknown_field(cls, {key})
        found[name] = value
    return found


def is_frozen(cls: Any, fields: dict[str, Any]) -> bool:
    """Whether a Pydantic class, or one of its fields, refuses assignments."""
    return bool(cls.model_config.get("frozen")) or True in [info.frozen for info in fields.values()]


def patched_model(instance: Any, changes: dict[str, Any], frozen: bool) -> Any:
    """The Pydantic instance, patched: each change goes through the validators that an assignment would run."""
    if frozen:
        return revalidated(instance, {**values_of(instance), **changes}, instance.model_fields_set | changes.keys())
    if len(changes) == 1 or not settled(instance, changes):
        assign(instance, changes)
    return instance


def settled(instance: Any, changes: dict[str, Any]) -> bool:
    """Assign all changes so that the model's own validators see them together: two fields that must agree can change
    together. False if such a validator was unhappy on the way; it may have met a value that was not converted yet.
    """
    for name, value in changes.items():
        set_raw(instance, name, value)
    outcomes = [accepted(instance, name, value) for name, value in changes.items()]
    return all(outcomes)


def accepted(instance: Any, name: str, value: Any) -> bool:
    """Assign one field; False if the model's own validators raised. What the field's own raise is an error."""
    try:
        assign(instance, {name: value})
    except FROM_VALIDATORS as error:
        told: list[dict[str, Any]] = getattr(error, "errors", list)()  # Pydantic's
        if any(part["loc"] for part in told):
            raise
        return False
    return True


def set_raw(instance: Any, name: str, value: Any) -> None:
    """Set a field or an extra past all validators."""
    cls = kind_of(instance)
    target = instance.__dict__ if name in cls.model_fields else instance.__pydantic_extra__
    target[name] = value


def assign(instance: Any, changes: dict[str, Any]) -> None:
    """Set fields by the validators of an assignment."""
    cls = kind_of(instance)
    for name, value in changes.items():
        cls.__pydantic_validator__.validate_assignment(instance, name, value)


def values_of(instance: Any) -> dict[str, Any]:
    """A Pydantic instance's fields and extras by name, without a copy of what they hold."""
    cls = kind_of(instance)
    names: dict[str, Any] = cls.model_fields
    return {name: getattr(instance, name) for name in names} | (instance.__pydantic_extra__ or {})


def revalidated(instance: Any, values: dict[str, Any], fields_set: set[str]) -> Any:
    """A new instance from values by name, through all validators; private attributes are taken over."""
    cls = kind_of(instance)
    fresh = cls.__pydantic_validator__.validate_python(values, by_alias=False, by_name=True)
    private = instance.__pydantic_private__
    object.__setattr__(fresh, "__pydantic_private__", None if private is None else dict(private))
    object.__setattr__(fresh, "__pydantic_fields_set__", set(fields_set))
    return fresh


def patched_dataclass(instance: Any, changes: dict[str, Any]) -> Any:
    """A patched dataclass: made by its constructor where that takes its fields, else copied and filled."""
    import dataclasses

    cls = kind_of(instance)
    fields = dataclasses.fields(cls)
    # Only the pseudo-field's own mark tells an InitVar from a string annotation.
    needs_more = any(repr(part._field_type) == "_FIELD_INITVAR" for part in cls.__dataclass_fields__.values())
    if needs_more or any(not field.init and field.name in changes for field in fields):
        fresh = copy.copy(instance)
        for name, value in changes.items():
            object.__setattr__(fresh, name, value)
        return fresh
    fresh = dataclasses.replace(instance, **changes)
    for field in fields:
        if not field.init and not hasattr(fresh, field.name) and hasattr(instance, field.name):
            object.__setattr__(fresh, field.name, getattr(instance, field.name))
    return fresh


def built(type: Type, value: Any) -> Any:
    """The value with dicts made into the models and dataclasses that the type has in their places."""
    if is_dict(value) and type.kind == "object" and isinstance(type.python, Shape):
        return built_object(type, type.python, value)
    if type.kind == "optional" and value is not None:
        return built(type.items[0], value)
    if type.kind in ("list", "vartuple") and is_series(value):
        return value.__class__(built(type.items[0], item) for item in value)
    if type.kind == "dict" and is_dict(value):
        return {key: built(type.items[1], item) for key, item in value.items()}
    return value


def built_object(type: Type, shape: Shape, value: dict[str, Any]) -> Any:
    """A dict made into the class that stands in its place."""
    if shape.style == "typeddict":
        return value
    if shape.style == "pydantic":
        return shape.cls.__pydantic_validator__.validate_python(value)  # type: ignore[attr-defined]
    types = {field.name: field.type for field in type.fields}
    unknown = value.keys() - types.keys()
    if unknown:
        raise unknown_field(shape.cls, unknown)
    return shape.cls(**{name: built(types[name], item) for name, item in value.items()})


def changer(changes: dict[tuple[str, ...], Any], row: Type) -> Callable[[Any], Any]:
    """What makes a changed, validated copy of a row of a type, a dict or an instance.

    A change is a value, a FieldRef or a Formula of the fields of the row as it was.
    """
    tree = tree_of(changes)
    patchers: dict[type, Callable[[Any, Any], Any]] = {}

    def patch_of(part: Any, type: Type | None) -> Callable[[Any, Any], Any]:
        cls = kind_of(part)
        found = patchers.get(cls)
        if found is None:
            found = patchers[cls] = patcher(cls, type)
        return found

    def changed(part: Any, type: Type | None, node: Branch, whole: Any) -> Any:
        patch: dict[str, Any] = {}
        for name, change in node.items():
            if isinstance(change, Branch):
                inner = part_at(part, name)
                if inner is None:
                    raise ValueError(f"cannot change a field of {name!r}, which is None in a row: change it as a whole")
                patch[name] = changed(inner, object_at(type, name), change, whole)
            else:
                patch[name] = computed(change, whole)
        return {**part, **patch} if is_dict(part) else patch_of(part, type)(copy_of(part), patch)

    return lambda instance: changed(instance, row, tree, instance)


def object_at(type: Type | None, name: str) -> Type | None:
    """The type of an object that a field of this type holds."""
    for field in () if type is None else type.fields:
        if field.name == name and bare(field.type).kind == "object":
            return bare(field.type)
    return None


def computed(change: Any, row: Any) -> Any:
    """The value of a change in a row."""
    if isinstance(change, Formula):
        return change.evaluate(lambda path: value_at(row, path))
    return value_at(row, change.__segments__) if is_ref(change) else change


def value_at(row: Any, path: tuple[str, ...]) -> Any:
    """The value of a row at a path; None below None."""
    for name in path:
        if row is None:
            return None
        row = part_at(row, name)
    return row


def part_at(value: Any, name: str) -> Any:
    """A field of an instance or of a dict."""
    return value.get(name) if is_dict(value) else getattr(value, name)


def revalidator(cls: type[M]) -> Callable[[M], M]:
    """A function that puts a decoded instance through its class's validators, nested models included.

    Pydantic models only: a dataclass has no validation apart from its constructor's, and comes back as it is.
    """
    if not is_pydantic(cls):
        return lambda instance: instance

    def check(instance: Any) -> Any:
        return revalidated(instance, plain(instance), instance.model_fields_set)

    return check


def plain(value: Any) -> Any:
    """The value with Pydantic instances as dicts by field name, so that their validators run again."""
    cls = kind_of(value)
    if is_pydantic(cls):
        return {name: plain(part) for name, part in values_of(value).items()}
    if cls in (list, tuple) and value:
        return value.__class__(plain(item) for item in value)
    if cls is dict:
        return {key: plain(item) for key, item in value.items()}
    return value
