"""Expressions: fields compared, joined, ordered, summed up and computed with, as a user writes them.

    u = fields(User)
    users.where((u.age >= 18) & u.address.city.in_(["London", "Paris"])).order_by(u.age.desc())

An expression says what is asked; it is checked when a collection gets it, by the collection's schema. It has no truth
value: `and`, `or`, `not` and `in` raise, because Python would evaluate them at once.

What a type checker sees: `fields(User)` has any attribute, and each is a `FieldRef[User, Any]`, because Python's
types cannot say "the fields of User, each as a reference"; so an expression of another model is an error, a field that
does not exist is not (it raises at once when it runs). `col(User.age)` is a `FieldRef[Any, int]`: names and values
are checked as far as they can be. `User.age >= 18` is a bool to a type checker, which is why `where` takes one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, overload

from modelvault.conditions import Condition, Every, Negation, Order, Some, Test

if TYPE_CHECKING:
    from typing import TypeGuard

    from typing_extensions import Never
    from typing_extensions import TypeVar as TypeVarWithDefault

    from modelvault.types import Type

    M_contra = TypeVarWithDefault("M_contra", contravariant=True, default=Any)
    V = TypeVarWithDefault("V", default=Any)
else:
    M_contra = TypeVar("M_contra", contravariant=True)
    V = TypeVar("V")

__all__ = [
    "Aggregate",
    "Expression",
    "FieldRef",
    "Fields",
    "Formula",
    "Ordering",
    "asc",
    "avg",
    "col",
    "count",
    "desc",
    "max_",
    "min_",
    "sum_",
]

X = TypeVar("X")
S = TypeVar("S", bound="str | bytes | None")
E = TypeVar("E")
_N = TypeVar("_N", contravariant=True)

WRAPPERS: Final = ("optional", "list", "set", "frozenset", "vartuple", "custom")


class Expression(Generic[M_contra]):
    """A condition on the rows of a model. Join with `&` and `|`, negate with `~`.

    `owners` are the model classes whose fields it names.
    """

    __slots__ = ("condition", "owners")

    def __init__(self, condition: Condition, owners: frozenset[type]) -> None:
        self.condition: Condition = condition
        self.owners: frozenset[type] = owners

    def __and__(self, other: Expression[M_contra] | bool) -> Expression[M_contra]:
        return self._join(other, Every, "&")

    def __rand__(self, other: bool) -> Expression[M_contra]:
        return self._join(other, Every, "&")

    def __or__(self, other: Expression[M_contra] | bool) -> Expression[M_contra]:
        return self._join(other, Some, "|")

    def __ror__(self, other: bool) -> Expression[M_contra]:
        return self._join(other, Some, "|")

    def __invert__(self) -> Expression[M_contra]:
        return Expression(Negation(self.condition), self.owners)

    def _join(self, other: object, kind: type[Every] | type[Some], sign: str) -> Expression[M_contra]:
        """This condition and another one; TypeError for what is none, as `u.age > 1 & ...` makes it."""
        if not isinstance(other, Expression):
            raise TypeError(
                f"{sign} joins two expressions, not an expression and {other!r}: "
                f"put each comparison in parentheses, (u.age > 1) {sign} (u.name == 'Ada')"
            )
        parts = (*parts_of(self.condition, kind), *parts_of(other.condition, kind))
        return Expression(kind(parts), self.owners | other.owners)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "an expression has no truth value: use & for and, | for or, ~ for not (each comparison in parentheses), "
            "in_() and contains() for in, between() for a < x < b"
        )

    def __repr__(self) -> str:
        return f"<Expression {spelled(self.condition)}>"


def parts_of(condition: Condition, kind: type[Every] | type[Some]) -> tuple[Condition, ...]:
    """The parts of a condition of that kind, else itself as the only part."""
    return condition.parts if isinstance(condition, kind) else (condition,)


# For these three `operator` has functions, to which nobody has given types.


def divided(one: Any, other: Any) -> Any:
    """one / other"""
    return one / other


def divided_down(one: Any, other: Any) -> Any:
    """one // other"""
    return one // other


def raised(one: Any, other: Any) -> Any:
    """one ** other"""
    return one**other


def is_ref(value: object) -> TypeGuard[FieldRef[Any, Any]]:
    """A reference to a field, of whatever model."""
    return isinstance(value, FieldRef)


class Computable:
    """What arithmetic makes a Formula of."""

    __slots__ = ()

    def __add__(self, other: object) -> Formula:
        return Formula(operator.add, (self, other), "+")

    def __radd__(self, other: object) -> Formula:
        return Formula(operator.add, (other, self), "+")

    def __sub__(self, other: object) -> Formula:
        return Formula(operator.sub, (self, other), "-")

    def __rsub__(self, other: object) -> Formula:
        return Formula(operator.sub, (other, self), "-")

    def __mul__(self, other: object) -> Formula:
        return Formula(operator.mul, (self, other), "*")

    def __rmul__(self, other: object) -> Formula:
        return Formula(operator.mul, (other, self), "*")

    def __truediv__(self, other: object) -> Formula:
        return Formula(divided, (self, other), "/")

    def __rtruediv__(self, other: object) -> Formula:
        return Formula(divided, (other, self), "/")

    def __floordiv__(self, other: object) -> Formula:
        return Formula(divided_down, (self, other), "//")

    def __rfloordiv__(self, other: object) -> Formula:
        return Formula(divided_down, (other, self), "//")

    def __mod__(self, other: object) -> Formula:
        return Formula(operator.mod, (self, other), "%")

    def __rmod__(self, other: object) -> Formula:
        return Formula(operator.mod, (other, self), "%")

    def __pow__(self, other: object) -> Formula:
        return Formula(raised, (self, other), "**")

    def __rpow__(self, other: object) -> Formula:
        return Formula(raised, (other, self), "**")

    def __neg__(self) -> Formula:
        return Formula(operator.neg, (self,), "-")


class Formula(Computable):
    """A value computed from the fields of a row, for `update`: `{u.age: u.age + 1}`. None if one of its fields is."""

    __slots__ = ("operands", "operation", "sign")

    def __init__(self, operation: Callable[..., Any], operands: tuple[object, ...], sign: str) -> None:
        self.operation: Callable[..., Any] = operation
        self.operands: tuple[object, ...] = operands
        self.sign: str = sign

    def evaluate(self, value_of: Callable[[tuple[str, ...]], Any]) -> Any:
        """The value for a row, of which `value_of` gives the fields."""
        values = [
            operand.evaluate(value_of)
            if isinstance(operand, Formula)
            else value_of(operand.__segments__)
            if is_ref(operand)
            else operand
            for operand in self.operands
        ]
        return None if any(value is None for value in values) else self.operation(*values)

    def fields(self) -> list[FieldRef[Any, Any]]:
        """The fields that it computes with."""
        found: list[FieldRef[Any, Any]] = []
        for operand in self.operands:
            if isinstance(operand, Formula):
                found += operand.fields()
            elif is_ref(operand):
                found.append(operand)
        return found

    def __bool__(self) -> NoReturn:
        raise TypeError("a computed value has no truth value: it is computed for each row, in update()")

    def __repr__(self) -> str:
        texts = [".".join(part.__segments__) if is_ref(part) else repr(part) for part in self.operands]
        return f"({f' {self.sign} '.join(texts)})" if len(texts) > 1 else f"({self.sign}{texts[0]})"


class FieldRef(Computable, Generic[M_contra, V]):
    """A field of a model, by its path from the row: `fields(User).address.city`, `User.age`, `FieldRef(["age"])`.

    Comparisons give an Expression, arithmetic a Formula. An attribute is a field of the nested model; where that has
    a name such as `desc`, the field wins, and `ref["desc"]` says so to a type checker. A path through a list of
    models, or to a list, stands for each of the elements.
    """

    __slots__ = ("__owner__", "__owners__", "__segments__", "_children", "_type", "path")

    __owner__: type | None

    def __init__(self, path: Sequence[str], owner: type | None = None, type: Type | None = None) -> None:
        self.path: list[str] = list(path)
        self.__segments__: tuple[str, ...] = tuple(path)  # a nested field called "path" hides `path`
        self.__owner__ = owner
        self.__owners__: frozenset[Any] = frozenset() if owner is None else frozenset((owner,))
        self._type = type
        self._children: dict[str, FieldRef[Any, Any]] = {}

    # Comparing

    def __eq__(self, other: object) -> Expression[M_contra]:  # type: ignore[override]
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "eq", (other,)), self.__owners__)

    def __ne__(self, other: object) -> Expression[M_contra]:  # type: ignore[override]
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "ne", (other,)), self.__owners__)

    def __lt__(self, other: V) -> Expression[M_contra]:
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "lt", (other,)), self.__owners__)

    def __le__(self, other: V) -> Expression[M_contra]:
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "le", (other,)), self.__owners__)

    def __gt__(self, other: V) -> Expression[M_contra]:
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "gt", (other,)), self.__owners__)

    def __ge__(self, other: V) -> Expression[M_contra]:
        if isinstance(other, UNCOMPARABLE):
            raise uncomparable(self, other)
        return Expression(Test(self.__segments__, "ge", (other,)), self.__owners__)

    def in_(self, values: Iterable[V]) -> Expression[M_contra]:
        """Equal to one of these values; None may be among them."""
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"in_() takes a list or another iterable of values, not {values!r}")
        return self._test("in", *values)

    def between(self, low: V, high: V) -> Expression[M_contra]:
        """From `low` to `high`, both included."""
        return self._test("between", low, high)

    def is_null(self) -> Expression[M_contra]:
        """Is None, or lies below an object that is None."""
        return self._test("null")

    def startswith(self: FieldRef[_N, S], prefix: S) -> Expression[_N]:
        """A string or bytes that begins so."""
        return self._test("startswith", prefix)

    def endswith(self: FieldRef[_N, S], suffix: S) -> Expression[_N]:
        """A string or bytes that ends so."""
        return self._test("endswith", suffix)

    @overload
    def contains(self: FieldRef[_N, S], part: S) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, list[E]], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, list[E] | None], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, set[E]], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, set[E] | None], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, frozenset[E]], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, frozenset[E] | None], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, tuple[E, ...]], part: E) -> Expression[_N]: ...
    @overload
    def contains(self: FieldRef[_N, tuple[E, ...] | None], part: E) -> Expression[_N]: ...
    def contains(self, part: Any) -> Expression[Any]:
        """A list or set with this element; a string or bytes with this part."""
        return self._test("contains", part)

    def like(self: FieldRef[_N, S], pattern: str) -> Expression[_N]:
        r"""A string that fits SQL's LIKE: % for any text, _ for one character, \ before one that means itself."""
        return self._test("like", pattern)

    def regex(self: FieldRef[_N, S], pattern: str | re.Pattern[str]) -> Expression[_N]:
        """A string in which `re.search` finds the pattern."""
        return self._test("regex", pattern)

    def _test(self, op: str, *values: object) -> Expression[M_contra]:
        """A test of this field; TypeError for a value that is computed from a row."""
        for value in values:
            if isinstance(value, UNCOMPARABLE):
                raise uncomparable(self, value)
        return Expression(Test(self.__segments__, op, values), self.__owners__)

    # Ordering

    def desc(self) -> Ordering[M_contra]:
        """The order by this field, the greatest first; None first."""
        return Ordering(self.__segments__, True, self.__owner__)

    def asc(self) -> Ordering[M_contra]:
        """The order by this field, the smallest first; None last."""
        return Ordering(self.__segments__, False, self.__owner__)

    # Nested fields

    def __getattr__(self, name: str) -> FieldRef[M_contra, Any]:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._child(name)

    def __getitem__(self, name: str) -> FieldRef[M_contra, Any]:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{spelled_ref(self)}[{name!r}]: the elements of a list have no paths of their own")
        found: FieldRef[M_contra, Any] = self
        for part in name.split("."):
            found = found._child(part)
        return found

    def _child(self, name: str) -> FieldRef[M_contra, Any]:
        """The reference to a nested field; AttributeError if the object is known and has no such field."""
        found = self._children.get(name)
        if found is None:
            parts = parts_of_type(self._type)
            if parts is not None and name not in parts:
                raise unknown_field(spelled_ref(self), name, parts)
            type = None if parts is None else parts[name]
            found = self._children[name] = reference((*self.__segments__, name), self.__owner__, type)
        return found

    # What has no meaning

    def __contains__(self, item: Never) -> bool:
        raise TypeError("`in` has no meaning for a field: use contains() for an element or a part, in_() for a choice")

    __iter__ = None

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{spelled_ref(self)} has no truth value: compare it, as in {spelled_ref(self)} == True")

    def __hash__(self) -> int:
        return hash(self.__segments__)

    def __copy__(self) -> FieldRef[M_contra, V]:
        return self

    def __deepcopy__(self, memo: object) -> FieldRef[M_contra, V]:
        return self

    def __repr__(self) -> str:
        return f"FieldRef({'.'.join(self.__segments__)!r})"


UNCOMPARABLE: Final[tuple[type[Any], ...]] = (FieldRef, Formula, Expression)


def uncomparable(ref: FieldRef[Any, Any], value: object) -> TypeError:
    """The error for a comparison with something that is computed from a row."""
    return TypeError(
        f"{spelled_ref(ref)} is compared with a value, not with {value!r}: "
        "load the rows and compare their fields in Python"
    )


class ObjectRef(FieldRef[M_contra, V]):
    """A field that holds an object. Its fields are looked for once, then Python finds them by itself."""

    def __getattr__(self, name: str) -> FieldRef[M_contra, Any]:
        found = super().__getattr__(name)
        self.__dict__[name] = found
        return found


class HidingRef(FieldRef[M_contra, V]):
    """A field that holds an object with fields that are called like methods of a reference: the fields win."""

    __slots__ = ("_parts",)

    def __init__(self, path: Sequence[str], owner: type | None, type: Type, parts: dict[str, Type]) -> None:
        super().__init__(path, owner, type)
        self._parts = parts

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name in object.__getattribute__(self, "_parts"):
            return self._child(name)
        return object.__getattribute__(self, name)


def spelled_ref(ref: FieldRef[Any, Any]) -> str:
    """A reference in messages: User.address.city."""
    owner = ref.__owner__
    return ".".join(((owner.__name__,) if owner is not None else ()) + ref.__segments__)


def parts_of_type(type: Type | None) -> dict[str, Type] | None:
    """The fields of the objects that a type holds, through optionals and lists; None if it is not known."""
    while type is not None and type.kind in WRAPPERS:
        if not type.items:
            return {}
        type = type.items[0]
    if type is None or type.kind == "ref":
        return None
    return {field.name: field.type for field in type.fields}


def reference(path: tuple[str, ...], owner: type | None, type: Type | None) -> FieldRef[Any, Any]:
    """The reference to a field of a type that may be known."""
    parts = parts_of_type(type)
    if type is None or not parts:
        return FieldRef(path, owner, type)
    if any(hasattr(FieldRef, name) for name in parts):
        return HidingRef(path, owner, type, parts)
    return ObjectRef(path, owner, type)


def unknown_field(place: str, name: str, known: dict[str, Any]) -> AttributeError:
    """The error for a field that does not exist, with the nearest one that does."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    hint = f": did you mean {near[0]!r}?" if near else f": it has {', '.join(known)}" if known else ": it is no object"
    return AttributeError(f"{place} has no field {name!r}{hint}")


class Fields(Generic[M_contra]):
    """The fields of a model, as attributes: `u = fields(User)`, `u.age >= 18`, `u.address.city == "Paris"`.

    `u["_odd.name"]` takes a dotted path, for names that are no attributes.
    """

    def __init__(self, owner: type, load: Callable[[type], dict[str, Type]]) -> None:
        self.__owner = owner
        self.__load: Callable[[type], dict[str, Type]] | None = load
        self.__children: dict[str, FieldRef[Any, Any]] = {}

    def __getattr__(self, name: str) -> FieldRef[M_contra, Any]:
        if name.startswith("_"):
            raise AttributeError(f"fields({self.__owner.__name__}) has no attribute {name!r}")
        return self.__field(name)

    def __getitem__(self, name: str) -> FieldRef[M_contra, Any]:
        first, _, rest = name.partition(".")
        ref = self.__field(first)
        return ref[rest] if rest else ref

    def __field(self, name: str) -> FieldRef[M_contra, Any]:
        """The reference to a field; AttributeError, with the nearest one that there is."""
        if self.__load is not None:  # not before the first use: the classes that annotations name may come later
            types = self.__load(self.__owner)
            self.__children = {field: reference((field,), self.__owner, type) for field, type in types.items()}
            self.__load = None
            public = {field: ref for field, ref in self.__children.items() if not field.startswith("_")}
            self.__dict__.update(public)  # from now on Python finds them by itself
        found = self.__children.get(name)
        if found is None:
            raise unknown_field(self.__owner.__name__, name, self.__children)
        return found

    def __repr__(self) -> str:
        return f"fields({self.__owner.__name__})"


@overload
def col(field: FieldRef[_N, X]) -> FieldRef[_N, X]: ...
@overload
def col(field: X) -> FieldRef[Any, X]: ...
def col(field: Any) -> FieldRef[Any, Any]:
    """The same reference, with the type that a type checker knows: `col(User.age).desc()`.

    The model needs a collection, or `fields(User)`, before: only then is `User.age` a reference.
    """
    if not is_ref(field):
        raise TypeError(f"col() takes a field, as in col(User.age), not {field!r}: say fields(User) once before")
    return field


class Ordering(Generic[M_contra]):
    """One term of an order: `u.age.desc()`."""

    __slots__ = ("owner", "term")

    def __init__(self, path: tuple[str, ...], desc: bool, owner: type | None) -> None:
        self.term: Order = Order(path, desc)
        self.owner: type | None = owner

    def __repr__(self) -> str:
        return f"<Ordering by {'.'.join(self.term.path)}{' descending' if self.term.desc else ''}>"


def desc(field: str | Sequence[str] | FieldRef[_N, Any]) -> Ordering[_N]:
    """The order by a field, the greatest first; None first."""
    return ordering(field, True)


def asc(field: str | Sequence[str] | FieldRef[_N, Any]) -> Ordering[_N]:
    """The order by a field, the smallest first; None last."""
    return ordering(field, False)


def ordering(field: Any, desc: bool) -> Ordering[Any]:
    """A term of an order, of a field in any of its forms."""
    if is_ref(field):
        return Ordering(field.__segments__, desc, field.__owner__)
    if isinstance(field, str):
        return Ordering(tuple(field.strip().split(".")), desc, None)
    return Ordering(tuple(field), desc, None)


class Aggregate(Generic[M_contra, V]):
    """What is made of a field of many rows: `count()`, `sum_(u.age)`, `min_`, `max_`, `avg`."""

    __slots__ = ("function", "owner", "path")

    def __init__(self, function: str, path: tuple[str, ...] | None = None, owner: type | None = None) -> None:
        self.function: str = function
        self.path: tuple[str, ...] | None = path
        self.owner: type | None = owner

    def __repr__(self) -> str:
        return f"<Aggregate {self.function}({'.'.join(self.path or ())})>"


def count(
    field: str | Sequence[str] | FieldRef[_N, Any] | None = None, *, distinct: bool = False
) -> Aggregate[_N, int]:
    """How many rows there are; with a field, how many have a value that is not None; distinct: how many values."""
    if field is None:
        if distinct:
            raise TypeError("count(distinct=True) needs a field")
        return Aggregate("count")
    return aggregate("distinct" if distinct else "count", field)


@overload
def sum_(field: FieldRef[_N, X]) -> Aggregate[_N, X]: ...
@overload
def sum_(field: str | Sequence[str]) -> Aggregate[Any, Any]: ...
def sum_(field: Any) -> Aggregate[Any, Any]:
    """The sum of a number; 0 if there is none."""
    return aggregate("sum", field)


@overload
def min_(field: FieldRef[_N, X]) -> Aggregate[_N, X | None]: ...
@overload
def min_(field: str | Sequence[str]) -> Aggregate[Any, Any]: ...
def min_(field: Any) -> Aggregate[Any, Any]:
    """The smallest value; None if there is none."""
    return aggregate("min", field)


@overload
def max_(field: FieldRef[_N, X]) -> Aggregate[_N, X | None]: ...
@overload
def max_(field: str | Sequence[str]) -> Aggregate[Any, Any]: ...
def max_(field: Any) -> Aggregate[Any, Any]:
    """The greatest value; None if there is none."""
    return aggregate("max", field)


def avg(field: str | Sequence[str] | FieldRef[_N, Any]) -> Aggregate[_N, Any]:
    """The mean of a number; None if there is none."""
    return aggregate("avg", field)


def aggregate(function: str, field: Any) -> Aggregate[Any, Any]:
    """An aggregate of a field in any of its forms."""
    term = ordering(field, False)
    return Aggregate(function, term.term.path, term.owner)


SIGNS: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def spelled(condition: Condition) -> str:
    """A condition as one would write it, without its values: they may be confidential."""
    if isinstance(condition, Test):
        path = ".".join(condition.path)
        sign = SIGNS.get(condition.op)
        return f"{path} {sign} ..." if sign else f"{path}.{condition.op}(...)"
    if isinstance(condition, Negation):
        return f"~({spelled(condition.part)})"
    if not condition.parts:
        return "everything" if isinstance(condition, Every) else "nothing"
    sign = " & " if isinstance(condition, Every) else " | "
    return sign.join(
        spelled(part) if isinstance(part, Test | Negation) else f"({spelled(part)})" for part in condition.parts
    )
