"""Records: what `@dataclass(frozen=True, slots=True)` makes, and without `frozen`, without importing `dataclasses`.

That module takes 8 ms to import, and up to a millisecond for each class: it writes six methods as text and has them
compiled. `import modelvault` makes twenty such classes and is to take less than 35 ms. Here one method is compiled,
`__init__`, and the others read the fields with one call of C code. Making, comparing and hashing instances cost the
same.

Whoever looks for a dataclass finds one: `__dataclass_fields__` is made when somebody asks. So `dataclasses.replace`
works, and Pydantic takes a `Page[User]`.
"""

# The PATTERNS are code without a type.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        """Only type checkers have to know."""
        return lambda function: function


__all__ = ["fresh", "frozen", "hidden", "mutable", "replace"]

T = TypeVar("T")


class Hidden:
    """A field that does not count: neither for equality nor for the text of an instance."""

    __slots__ = ("default",)

    def __init__(self, default: Any) -> None:
        self.default = default


class Fresh:
    """A field whose default is made anew for each instance."""

    __slots__ = ("factory",)

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def hidden(*, default: Any) -> Any:
    """A field with a default that is left out of comparisons, hashes and the text of an instance."""
    return Hidden(default)


def fresh(*, default_factory: Callable[[], Any]) -> Any:
    """A field whose default is what the function gives."""
    return Fresh(default_factory)


@dataclass_transform(frozen_default=True, field_specifiers=(hidden, fresh))
def frozen(cls: type[T]) -> type[T]:
    """The class, made anew with slots for its annotated attributes, which are set by `__init__` and never after."""
    return made_anew(cls, changes=False)


@dataclass_transform(field_specifiers=(hidden, fresh))
def mutable(cls: type[T]) -> type[T]:
    """The same with attributes that may change; so it has no hash."""
    return made_anew(cls, changes=True)


def made_anew(cls: type[T], changes: bool) -> type[T]:
    """The class with slots, `__init__` and the methods of a record."""
    annotations = {name: kind for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")}
    names = tuple(annotations)
    given = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    shown = tuple(name for name in names if not isinstance(given.get(name), Hidden))
    defaults = {name: value.default if isinstance(value, Hidden) else value for name, value in given.items()}
    content = {key: value for key, value in cls.__dict__.items() if key not in (*names, "__dict__", "__weakref__")}
    methods = {
        "__slots__": names,
        "__match_args__": names,
        "__dataclass_fields__": FieldsOnDemand(annotations, defaults, shown),
        **methods_over(names, shown),
    }
    if changes:
        del methods["__setattr__"], methods["__delattr__"]
        methods["__hash__"] = None
    build = cast("Any", type(cls))
    made: Any = build(cls.__name__, cls.__bases__, {**methods, **content})
    made.__qualname__ = cls.__qualname__
    made.__init__ = compiled_init(made, names, defaults)
    return made  # type: ignore[no-any-return]


def methods_over(names: tuple[str, ...], shown: tuple[str, ...]) -> dict[str, Any]:
    """The methods that read all fields, or those that count."""
    whole, counting = attrgetter(*names), attrgetter(*shown)

    def equal(self: Any, other: object) -> Any:
        return counting(self) == counting(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(counting(self))

    def text(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def keep(self: Any, name: str) -> NoReturn:
        raise AttributeError(f"cannot change {name!r}: a {self.__class__.__name__} is immutable")

    def refuse(self: Any, name: str, value: object) -> NoReturn:
        keep(self, name)

    def parts(self: Any) -> tuple[Any, tuple[Any, ...]]:
        values = whole(self)
        return self.__class__, values if len(names) > 1 else (values,)

    return {
        "__eq__": equal,
        "__hash__": hashed,
        "__repr__": text,
        "__setattr__": refuse,
        "__delattr__": keep,
        "__reduce__": parts,
    }


def compiled_init(cls: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """The constructor: its arguments are the fields in their order. `__post_init__` checks them, if there is one."""
    if len(names) < len(PATTERNS) and not hasattr(cls, "__post_init__") and Fresh not in map(type, defaults.values()):
        return patterned_init(cls, names, defaults)
    scope: dict[str, Any] = {f"set_{name}": cls.__dict__[name].__set__ for name in names}
    arguments: list[str] = []
    body: list[str] = []
    for name in names:
        default = defaults.get(name)
        scope[f"default_{name}"] = default
        arguments.append(f"{name}=default_{name}" if name in defaults else name)
        value = name
        if isinstance(default, Fresh):
            scope[f"make_{name}"] = default.factory
            value = f"make_{name}() if {name} is default_{name} else {name}"
        body.append(f"    set_{name}(self, {value})\n")
    body += ["    self.__post_init__()\n"] if hasattr(cls, "__post_init__") else []
    exec(f"def __init__(self, {', '.join(arguments)}):\n{''.join(body)}", scope)
    return scope["__init__"]


# Constructors of classes with so many fields: each setter gives None, so the next one follows. To compile one for each
# class would take 0.1 ms, and there are twenty when the package is imported.
A: Any = None  # in a constructor made of one of these: the setter of its first field
B = C = D = E = F = G = H = A
PATTERNS: Any = (
    lambda self: None,
    lambda self, a: A(self, a),
    lambda self, a, b: A(self, a) or B(self, b),
    lambda self, a, b, c: A(self, a) or B(self, b) or C(self, c),
    lambda self, a, b, c, d: A(self, a) or B(self, b) or C(self, c) or D(self, d),
    lambda self, a, b, c, d, e: A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e),
    lambda self, a, b, c, d, e, f: A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f),
    lambda self, a, b, c, d, e, f, g: (
        A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f) or G(self, g)
    ),
    lambda self, a, b, c, d, e, f, g, h: (
        A(self, a) or B(self, b) or C(self, c) or D(self, d) or E(self, e) or F(self, f) or G(self, g) or H(self, h)
    ),
)


def patterned_init(cls: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """The constructor of a pattern, with the names of these fields."""
    code = PATTERNS[len(names)].__code__.replace(co_name="__init__", co_varnames=("self", *names))
    scope = {letter: cls.__dict__[name].__set__ for letter, name in zip("ABCDEFGH", names, strict=False)}
    init = FunctionType(code, scope, "__init__", tuple(defaults.values()))
    init.__qualname__ = f"{cls.__qualname__}.__init__"  # for error messages
    return init


class FieldsOnDemand:
    """The class attribute by which a dataclass is known; made by `dataclasses` itself, once."""

    def __init__(self, annotations: dict[str, Any], defaults: dict[str, Any], shown: tuple[str, ...]) -> None:
        self._annotations = annotations
        self._defaults = defaults
        self._shown = shown
        self._made: dict[str, Any] | None = None

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        made = self._made
        if made is None:
            from dataclasses import field, make_dataclass

            fields: list[Any] = []
            for name, kind in self._annotations.items():
                counts = name in self._shown
                options: dict[str, Any] = {"compare": counts, "repr": counts}
                if name in self._defaults:
                    default = self._defaults[name]
                    lasting = not isinstance(default, Fresh)
                    options["default" if lasting else "default_factory"] = default if lasting else default.factory
                fields.append((name, kind, field(**options)))
            made = self._made = dict(vars(make_dataclass(owner.__name__, fields))["__dataclass_fields__"])
        return made


def replace(record: T, **changes: Any) -> T:
    """The record with some fields changed. TypeError for a field that it does not have."""
    cls: Any = record.__class__
    names: tuple[str, ...] = cls.__match_args__
    values = [changes.pop(name) if name in changes else getattr(record, name) for name in names]
    if changes:
        raise TypeError(f"{cls.__name__} has no field {next(iter(changes))!r}")
    made: T = cls(*values)
    return made
