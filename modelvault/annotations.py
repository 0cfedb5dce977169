"""From a Python annotation to a Type with its bindings; nested models and dataclasses included."""

from __future__ import annotations

import collections
import collections.abc
import sys
import types
import typing
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from enum import Enum, Flag
from functools import partial
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

from modelvault._frozen import replace
from modelvault._kinds import kind_of
from modelvault.conversions import adapted, converted, custom, plain_pydantic
from modelvault.errors import ModelVaultSchemaError
from modelvault.fits import with_choices
from modelvault.metadata import constraints, former_names
from modelvault.rules import MAX_DEPTH, constrain
from modelvault.types import MISSING, Field, Shape, Type

__all__ = ["is_pydantic", "row_type"]

SCALAR_TYPES: Final[dict[Any, Type]] = {
    bool: Type("bool"),
    int: Type("int"),
    float: Type("float64"),
    str: Type("string"),
    bytes: Type("bytes"),
    datetime: Type("timestamp", python="datetime"),
    date: Type("date"),
    time: Type("time"),
    timedelta: Type("timedelta"),
    Any: Type("any"),
    object: Type("any"),
    None: Type("any"),
    types.NoneType: Type("any"),
}
LATE: Final = (("uuid", "UUID"), ("decimal", "Decimal"))  # classes of modules that few import: see `class_of`

# The containers that an abstract or concrete annotation admits, in the order in which a value looks for its own.
CONTAINERS: Final[dict[Any, tuple[str, ...]]] = {
    list: ("list",),
    set: ("set",),
    frozenset: ("frozenset",),
    collections.abc.MutableSequence: ("list",),
    collections.abc.Sequence: ("list", "vartuple"),
    collections.abc.MutableSet: ("set",),
    collections.abc.Set: ("set", "frozenset"),
    collections.abc.Collection: ("list", "vartuple", "set", "frozenset"),
}
OPAQUE: Final[tuple[Any, ...]] = (
    type,
    collections.abc.Callable,  # pyright: ignore[reportUnknownMemberType] - of whatever arguments
    collections.abc.Iterable,
    collections.abc.Iterator,
)
MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
QUALIFIERS: Final = frozenset(("Required", "NotRequired", "ReadOnly", "Final", "Unpack"))


def is_pydantic(cls: object) -> bool:
    """Is this a Pydantic model class? Answered without importing pydantic."""
    module = sys.modules.get("pydantic")
    return module is not None and isinstance(cls, type) and issubclass(cls, module.BaseModel)


def is_typed_dict(cls: type) -> bool:
    """Is this a TypedDict, of typing or typing_extensions?"""
    return hasattr(cls, "__required_keys__") and issubclass(cls, dict)


def row_type(cls: type) -> Type:
    """The object type of a model's or dataclass's instances, with bindings; ModelVaultSchemaError for what has none."""
    resolver = Resolver(cls.__name__)
    return with_choices(resolver.object_type(cls, {}))


class Resolver:
    """One walk over a model's annotations; knows the classes around the current place, for recursion and messages."""

    def __init__(self, name: str) -> None:
        self.path: list[str] = [name]
        self.stack: list[Any] = []
        self.aliases: list[Any] = []
        self.depth: int = 0

    @contextmanager
    def inside(self, name: str) -> Generator[None, None, None]:
        """A context in which errors name what is within this part."""
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()

    def fail(self, annotation: object) -> ModelVaultSchemaError:
        """The error for an annotation that no type fits, with its place."""
        return ModelVaultSchemaError(f"unsupported model field type: {annotation!r} ({'.'.join(self.path)})")

    def resolve(self, annotation: Any, variables: Mapping[Any, Any], metadata: Sequence[Any] = ()) -> Type:
        """The Type of an annotation; `variables` gives the arguments of a generic class."""
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH * 4:
                raise ModelVaultSchemaError(f"model type nesting too deep: {'.'.join(self.path[:8])}...")
            return constrain(self.unwrap(annotation, variables, metadata), constraints(metadata))
        finally:
            self.depth -= 1

    def unwrap(self, annotation: Any, variables: Mapping[Any, Any], metadata: Sequence[Any]) -> Type:
        """Look through aliases, qualifiers and type variables."""
        with suppress(TypeError):  # An Annotated with a list in it has no hash.
            if annotation in SCALAR_TYPES:
                return SCALAR_TYPES[annotation]
        if is_late(annotation):
            return Type(annotation.__module__)
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is typing.Annotated:
            inner, *extra = args
            return self.resolve(inner, variables, (*extra, *metadata))
        if hasattr(annotation, "__supertype__"):
            return self.resolve(annotation.__supertype__, variables)
        if hasattr(annotation, "__value__") or (origin is not None and hasattr(origin, "__value__")):
            return self.alias_type(annotation, origin, args, variables)
        if isinstance(annotation, TypeVar):
            return self.variable_type(annotation, variables)
        if origin is not None and getattr(origin, "_name", None) in QUALIFIERS and args:
            return self.resolve(args[0], variables)
        if origin is Literal:
            return literal(args)
        if origin in (Union, types.UnionType):
            return self.union_type(args, variables)
        if isinstance(annotation, str | typing.ForwardRef):
            return self.resolve(self.evaluated(annotation), variables, metadata)
        cls = annotation if origin is None else origin
        if isinstance(cls, type):
            found = self.container_type(cls, args, variables) or self.class_type(
                annotation, cls, args, variables, metadata
            )
            if found is not None:
                return found
        raise self.fail(annotation)

    def evaluated(self, annotation: Any) -> Any:
        """An annotation that is still text, evaluated in the module of the alias or class around it."""
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        around = self.aliases[-1] if self.aliases else self.stack[-1][0]
        try:
            return eval(text, vars(sys.modules[around.__module__]))
        except (NameError, KeyError, TypeError, SyntaxError) as error:
            raise ModelVaultSchemaError(
                f"cannot resolve the annotation {text!r} of {'.'.join(self.path)}: {error}"
            ) from error

    def alias_type(self, annotation: Any, origin: Any, args: tuple[Any, ...], variables: Mapping[Any, Any]) -> Type:
        """A `type X = ...` alias; one that contains itself ends in `any`."""
        alias = annotation if origin is None else origin
        if alias in self.aliases:
            return Type("any")
        self.aliases.append(alias)
        try:
            given = [substitute(arg, variables) for arg in args]
            return self.resolve(alias.__value__, dict(zip(alias.__type_params__, given, strict=False)))
        finally:
            self.aliases.pop()

    def variable_type(self, variable: TypeVar, variables: Mapping[Any, Any]) -> Type:
        """The type of a type variable: what was given for it, its default, constraints or bound."""
        if variable in variables:
            return self.resolve(variables[variable], {})
        default = getattr(variable, "__default__", None)
        if default is not None and getattr(variable, "has_default", bool)():
            return self.resolve(default, variables)
        if variable.__constraints__:
            return self.union_type(variable.__constraints__, variables)
        return self.resolve(Any if variable.__bound__ is None else variable.__bound__, variables)

    def union_type(self, args: Sequence[Any], variables: Mapping[Any, Any]) -> Type:
        """A union without None inside, in an optional if None was there."""
        members: list[Type] = []
        optional = False
        for arg in args:
            bare = get_args(arg)[0] if get_origin(arg) is typing.Annotated else arg
            if bare is None or bare is types.NoneType:
                optional = True
                continue
            member = self.resolve(arg, variables)
            if member.kind == "optional":
                optional, member = True, member.items[0]
            for part in member.items if member.kind == "union" else (member,):
                if not any(part == other and part.python is other.python for other in members):
                    members.append(part)
        if not members:
            return Type("any")
        found = members[0] if len(members) == 1 else Type("union", tuple(members))
        return Type("optional", (found,)) if optional and found.kind != "any" else found

    def container_type(self, cls: type, args: tuple[Any, ...], variables: Mapping[Any, Any]) -> Type | None:
        """The Type of a container class, None if it is none."""
        if cls in CONTAINERS:
            inner = self.resolve(args[0] if args else Any, variables)
            found = [Type(kind, (inner,)) for kind in CONTAINERS[cls]]
            return found[0] if len(found) == 1 else Type("union", tuple(found))
        if cls is tuple:
            return self.tuple_type(args, variables)
        if cls in MAPPINGS:
            return self.dict_type(args or (Any, Any), variables)
        if cls is collections.OrderedDict:
            return custom(cls, self.dict_type(args or (Any, Any), variables), dict, cls)
        if cls is collections.Counter:
            return custom(cls, self.dict_type((args[0] if args else Any, int), variables), dict, cls)
        if cls is collections.deque:
            inner = self.resolve(args[0] if args else Any, variables)
            return custom(cls, Type("list", (inner,)), list, cls)
        if cls is collections.defaultdict:
            factory = default_factory(args)
            return custom(
                cls,
                self.dict_type(args or (Any, Any), variables),
                dict,
                lambda plain: collections.defaultdict(factory, plain),
            )
        return None

    def dict_type(self, args: tuple[Any, ...], variables: Mapping[Any, Any]) -> Type:
        """The type of a dict."""
        return Type("dict", tuple(self.resolve(arg, variables) for arg in args))

    def tuple_type(self, args: tuple[Any, ...], variables: Mapping[Any, Any]) -> Type:
        """The type of a tuple, of fixed length or not."""
        if args and args[-1] is not Ellipsis and not any(getattr(arg, "__unpacked__", False) for arg in args):
            return Type("tuple", tuple(self.resolve(arg, variables) for arg in args if arg != ()))
        if len(args) == 2 and args[-1] is Ellipsis:
            return Type("vartuple", (self.resolve(args[0], variables),))
        return Type("vartuple", (Type("any"),))

    def class_type(
        self, annotation: Any, cls: Any, args: tuple[Any, ...], variables: Mapping[Any, Any], metadata: Sequence[Any]
    ) -> Type | None:
        """Enums, models, dataclasses, named tuples, and whatever can be taken apart."""
        if issubclass(cls, Enum) and not issubclass(cls, Flag):
            return enum(cls)
        if is_pydantic(cls) or hasattr(cls, "__dataclass_fields__") or is_typed_dict(cls):
            return self.object_type(cls, variables, args)
        if hasattr(cls, "_fields") and issubclass(cls, tuple):
            return self.named_tuple_type(cls)
        if cls.__name__ == "Secret" and cls.__module__.startswith("pydantic"):
            inner = self.resolve(args[0] if args else Any, variables)
            return custom(cls, inner, lambda value: value.get_secret_value(), annotation)
        if cls in OPAQUE:
            return None
        return plain_pydantic(cls) or converted(cls) or adapted(annotation, metadata)

    def named_tuple_type(self, cls: Any) -> Type:
        """The type of a named tuple: that of a tuple, made into the class again."""
        hints = typing.get_type_hints(cls, include_extras=True)
        items: list[Type] = []
        for name in cls._fields:
            with self.inside(name):
                items.append(self.resolve(hints.get(name, Any), {}))
        return custom(cls, Type("tuple", tuple(items)), tuple, cls._make)

    def object_type(self, cls: Any, variables: Mapping[Any, Any], args: tuple[Any, ...] = ()) -> Type:
        """The object type of a model, dataclass or TypedDict; a reference where the class is already around."""
        given = tuple(substitute(arg, variables) for arg in args)
        key = (cls, given)
        if key in self.stack:
            depth = len(self.stack) - 1 - self.stack.index(key)
            return Type("ref", values=(depth,), python=None if is_typed_dict(cls) else cls)
        if len(self.stack) >= MAX_DEPTH:
            raise ModelVaultSchemaError(f"model type nesting too deep: {'.'.join(self.path[:8])}...")
        self.stack.append(key)
        try:
            if is_pydantic(cls):
                return self.pydantic_type(cls)
            if is_typed_dict(cls):
                return self.typed_dict_type(cls)
            return self.dataclass_type(cls, given)
        finally:
            self.stack.pop()

    def pydantic_type(self, cls: Any) -> Type:
        """A Pydantic model: its fields as Pydantic resolved them, stored under their Python names."""
        if not cls.__pydantic_complete__:
            try:
                cls.model_rebuild()
            except Exception as error:
                raise ModelVaultSchemaError(f"cannot resolve the annotations of {cls.__name__}: {error}") from error
        fields = self.infos(cls, cls.model_fields, cls.model_config)
        private = cls.__private_attributes__
        extras = cls.model_config.get("extra") == "allow"
        return Type(
            "object",
            fields=fields,
            extras=extras,
            python=Shape(
                cls,
                "pydantic",
                tuple(field.name for field in fields),
                extras=extras,
                privates=bool(private),
                private_defaults=private_defaults(private) if private else None,
            ),
        )

    def infos(self, cls: type, infos: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Field, ...]:
        """Fields from Pydantic's FieldInfo objects."""
        fields: list[Field] = []
        for name, info in infos.items():
            with self.inside(name):
                found = self.resolve(info.annotation, {}, info.metadata)
            if config.get("use_enum_values"):
                found = by_value(found)
            default, factory = MISSING, info.default_factory
            if factory is not None and info.default_factory_takes_validated_data:
                factory = None
            elif factory is None and not info.is_required():
                default, factory = defaulted(info.default)
            fields.append(field_of(name, found, default, factory, info.metadata))
        return tuple(fields)

    def dataclass_type(self, cls: Any, args: tuple[Any, ...]) -> Type:
        """A standard or Pydantic dataclass; its instances are filled without calling anything of theirs."""
        import dataclasses

        infos = getattr(cls, "__pydantic_fields__", None)
        config = getattr(cls, "__pydantic_config__", {})
        if infos is not None and not args:
            stored = {field.name for field in dataclasses.fields(cls)}
            fields = self.infos(cls, {name: info for name, info in infos.items() if name in stored}, config)
        else:
            fields = self.plain_fields(cls, args)
        uses_dict = cls.__dictoffset__ != 0 and not any(is_slot(cls, field.name) for field in fields)
        more = config.get("extra") == "allow"
        extras = uses_dict and (hasattr(cls, "__post_init__") or more)
        shape = Shape(cls, "dataclass", tuple(field.name for field in fields), uses_dict=uses_dict, extras=extras)
        return Type("object", fields=fields, extras=more, python=shape)

    def plain_fields(self, cls: Any, args: tuple[Any, ...]) -> tuple[Field, ...]:
        """The fields of a dataclass that Pydantic does not know."""
        import dataclasses

        hints = hints_of(cls)
        variables = arguments(cls, args)
        fields: list[Field] = []
        for field in dataclasses.fields(cls):
            with self.inside(field.name):
                found = self.resolve(hints[field.name], variables)
            default, factory = MISSING, None
            if field.default_factory is not dataclasses.MISSING:
                factory = field.default_factory
            elif field.default is not dataclasses.MISSING:
                default, factory = defaulted(field.default)
            hint = hints[field.name]
            metadata = get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ()
            fields.append(field_of(field.name, found, default, factory, metadata))
        return tuple(fields)

    def typed_dict_type(self, cls: Any) -> Type:
        """A TypedDict; one with keys that may be absent stores each of those as None or a tuple of one."""
        hints = typing.get_type_hints(cls, include_extras=True)
        absent = [name for name in hints if name not in cls.__required_keys__]
        fields: list[Field] = []
        for name, hint in hints.items():
            with self.inside(name):
                found = self.resolve(hint, {})
            if name in absent:
                found = Type("optional", (Type("tuple", (found,)),))
            fields.append(Field(name, found, renamed_from=former_names(getattr(hint, "__metadata__", ()))))
        plain = Type("object", fields=tuple(fields), python=Shape(dict, "typeddict", tuple(hints)))
        if not absent:
            return plain
        return custom(
            dict,
            plain,
            lambda value: value | {name: (value[name],) if name in value else None for name in absent},
            lambda value: {
                k: v if k not in absent else v[0] for k, v in value.items() if k not in absent or v is not None
            },
        )


def field_of(
    name: str, type: Type, default: Any, factory: Callable[[], Any] | None, metadata: Iterable[Any] = ()
) -> Field:
    """A field; one whose default is None can hold it, whatever its annotation says (`age: int = None`)."""
    if default is None and type.kind not in ("optional", "any"):
        type = Type("optional", (type,))
    return Field(name, type, default, factory, renamed_from=former_names(metadata))


def is_slot(cls: type, name: str) -> bool:
    """Does the class keep this attribute in a slot rather than in its __dict__?"""
    return any(isinstance(base.__dict__.get(name), types.MemberDescriptorType) for base in cls.__mro__)


def hints_of(cls: Any) -> dict[str, Any]:
    """A dataclass's annotations, evaluated; the class knows its own name even inside a function."""
    try:
        return typing.get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except (NameError, TypeError) as error:
        raise ModelVaultSchemaError(f"cannot resolve the annotations of {cls.__name__}: {error}") from error


def arguments(cls: Any, args: tuple[Any, ...]) -> dict[Any, Any]:
    """The type variables of a generic class and of its bases, with their arguments."""
    found = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if origin is not None and origin is not typing.Generic:
            found |= arguments(origin, tuple(substitute(arg, found) for arg in get_args(base)))
    return found


def substitute(annotation: Any, variables: Mapping[Any, Any]) -> Any:
    """The annotation with type variables replaced by their arguments."""
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if parameters and not isinstance(annotation, type):
        return annotation[tuple(variables.get(parameter, parameter) for parameter in parameters)]
    return annotation


def defaulted(default: Any) -> tuple[Any, Callable[[], Any] | None]:
    """A default as a value, or as a factory if it could be changed in place."""
    changeable: Any = default
    if isinstance(default, list | dict | set) or type(default).__hash__ is None:
        return MISSING, lambda: deepcopy(changeable)
    return default, None


def private_defaults(private: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    """A function that makes the private attributes as a new instance has them."""
    makers: dict[str, Callable[[], Any]] = {}
    for name, attribute in private.items():
        if attribute.default_factory is not None:
            makers[name] = attribute.default_factory
        elif type(attribute.default).__name__ != "PydanticUndefinedType":
            makers[name] = partial(deepcopy, attribute.default)
    return lambda: {name: make() for name, make in makers.items()}


def default_factory(args: tuple[Any, ...]) -> Callable[[], Any] | None:
    """What a defaultdict of this annotation makes for a missing key, as Pydantic derives it."""
    if len(args) != 2:
        return None
    cls = get_origin(args[1]) or args[1]
    return cls if cls in (int, float, str, bool, bytes, list, dict, set, tuple, frozenset) else None


def is_late(annotation: Any) -> bool:
    """Is it one of the classes that are known by their names?"""
    return isinstance(annotation, type) and (annotation.__module__, annotation.__qualname__) in LATE


def is_plain(value: object) -> bool:
    """Is it a scalar, of no subclass?"""
    return (type(value) in SCALAR_TYPES and value is not None and type(value) is not object) or is_late(type(value))


def enum(cls: type[Enum]) -> Type:
    """An enum by its members' values; by their names when a value is no scalar."""
    members = tuple(cls)
    values = tuple(member.value for member in members)
    if not all(map(is_plain, values)):
        values = tuple(member.name for member in members)
    return Type("enum", values=values, python=members)


def by_value(type: Type) -> Type:
    """The type as instances of a model with `use_enum_values` hold it; a default may still be a member."""
    if type.kind == "enum" and type.python is not None:
        plain = replace(type, python=None)
        return Type(
            "custom",
            (plain,),
            python=(value_of, same),
        )
    return replace(type, items=tuple(by_value(item) for item in type.items))


def value_of(member: Any) -> Any:
    """An enum member's value; what is none already is a value."""
    return member.value if isinstance(member, Enum) else member


def same(value: Any) -> Any:
    """The value."""
    return value


def literal(args: tuple[Any, ...]) -> Type:
    """A literal; None in it makes it optional, enum members in it stay members."""
    members: dict[tuple[type[Any], Any], None] = dict.fromkeys((kind_of(arg), arg) for arg in args if arg is not None)
    objects = tuple(arg for _, arg in members)
    values = tuple(arg.value if isinstance(arg, Enum) else arg for arg in objects)
    if not objects:
        return Type("any")
    if not all(map(is_plain, values)):
        values = tuple(arg.name if isinstance(arg, Enum) else arg for arg in objects)
    found = Type("literal", values=values, python=objects if values != objects or any_enum(objects) else None)
    return Type("optional", (found,)) if None in args else found


def any_enum(objects: Iterable[Any]) -> bool:
    """Whether there is a member of an enum."""
    return any(isinstance(value, Enum) for value in objects)
