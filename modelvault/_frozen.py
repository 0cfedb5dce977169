"""Immutable records: what `@dataclass(frozen=True, slots=True)` makes, without importing `dataclasses`.

That module takes 8 ms to import, and up to a millisecond for each class: it writes six methods as text and has them
compiled. `import modelvault` makes twenty such classes and is to take less than 35 ms. Here one method is compiled,
`__init__`, and the others read the fields with one call of C code. Making, comparing and hashing instances cost the
same.

Whoever looks for a dataclass finds one: `__dataclass_fields__` is made when somebody asks. So `dataclasses.replace`
works, and Pydantic takes a `Page[User]`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        """Only type checkers have to know."""
        return lambda function: function


__all__ = ["frozen", "hidden", "replace"]

T = TypeVar("T")


class Hidden:
    """A field that does not count: neither for equality nor for the text of an instance."""

    __slots__ = ("default",)

    def __init__(self, default: Any) -> None:
        self.default = default


def hidden(*, default: Any) -> Any:
    """A field with a default that is left out of comparisons, hashes and the text of an instance."""
    return Hidden(default)


@dataclass_transform(frozen_default=True, field_specifiers=(hidden,))
def frozen(cls: type[T]) -> type[T]:
    """The class, made anew with slots for its annotated attributes, which are set by `__init__` and never after."""
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
    build: Any = type(cls)
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

    def refuse(self: Any, name: str, *_: object) -> NoReturn:
        raise AttributeError(f"cannot change {name!r}: a {self.__class__.__name__} is immutable")

    def parts(self: Any) -> tuple[Any, tuple[Any, ...]]:
        values = whole(self)
        return self.__class__, values if len(names) > 1 else (values,)

    return {
        "__eq__": equal,
        "__hash__": hashed,
        "__repr__": text,
        "__setattr__": refuse,
        "__delattr__": refuse,
        "__reduce__": parts,
    }


def compiled_init(cls: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """The constructor: its arguments are the fields in their order."""
    scope = {f"default_{name}": value for name, value in defaults.items()}
    scope |= {f"set_{name}": cls.__dict__[name].__set__ for name in names}
    arguments = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in names)
    exec(f"def __init__(self, {arguments}):\n" + "".join(f"    set_{name}(self, {name})\n" for name in names), scope)
    return scope["__init__"]


class FieldsOnDemand:
    """The class attribute by which a dataclass is known; made by `dataclasses` itself, once."""

    def __init__(self, annotations: dict[str, Any], defaults: dict[str, Any], shown: tuple[str, ...]) -> None:
        self._annotations = annotations
        self._defaults = defaults
        self._shown = shown
        self._made: dict[str, Any] | None = None

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        if self._made is None:
            from dataclasses import field, make_dataclass

            fields: list[Any] = []
            for name, kind in self._annotations.items():
                counts = name in self._shown
                options = {"default": self._defaults[name]} if name in self._defaults else {}
                fields.append((name, kind, field(compare=counts, repr=counts, **options)))
            self._made = vars(make_dataclass(owner.__name__, fields))["__dataclass_fields__"]
        return self._made


def replace(record: T, **changes: Any) -> T:
    """The record with some fields changed. TypeError for a field that it does not have."""
    cls: Any = record.__class__
    names: tuple[str, ...] = cls.__match_args__
    values = [changes.pop(name) if name in changes else getattr(record, name) for name in names]
    if changes:
        raise TypeError(f"{cls.__name__} has no field {next(iter(changes))!r}")
    made: T = cls(*values)
    return made
