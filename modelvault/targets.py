"""The fields that a query names: found by their paths, and what each can be asked.

A test is checked when the query is built: that its field exists, that the operator makes sense for the field's type,
and that the value could be stored there, with the error that storing it would raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import is_
from typing import Any, Final

from modelvault._core.keys import KeyCodec
from modelvault._frozen import frozen
from modelvault._kinds import is_series, is_set
from modelvault.conditions import Condition, Negation, Test
from modelvault.errors import ModelVaultQueryError, ModelVaultValidationError
from modelvault.schema import SCALARS, Schema, Type
from modelvault.types import INTEGERS

__all__ = ["Target", "Targets"]

LISTS: Final = frozenset(("list", "set", "frozenset", "vartuple"))
NUMBERS: Final = INTEGERS | {"float64", "decimal"}
LOOSE: Final = frozenset(("union", "any"))  # compared as Python values
CONTAINERS: Final = frozenset(("dict", "tuple"))  # equal or not, as Python values
COMPARES: Final = frozenset(("eq", "lt", "le", "gt", "ge"))
TEXT: Final[dict[str, type]] = {"string": str, "bytes": bytes}


@frozen
class Target:
    """A field of a collection.

    * `type`: what is compared: without optional and custom; of a list, its elements'
    * `keys`: packs its values; None where they have no key form: objects, dicts, tuples, unions, any, lists of lists
    * `listed`: the field is a list or set; `many`: it is one, or lies inside one
    * `takes`: packs its values, where they are no lists; None where they have no key form
    """

    path: tuple[str, ...]
    type: Type
    keys: KeyCodec | None
    listed: bool
    many: bool
    place: str
    takes: Callable[[Any], bytes] | None = None

    @property
    def kind(self) -> str:
        """The kind of its values; "list" for a list."""
        return "list" if self.listed else self.type.kind

    def __str__(self) -> str:
        return f'field "{".".join(self.path)}" of {self.place}'

    def check_value(self, value: Any) -> None:
        """Raise what storing the value raises: TypeError, ValueError or OverflowError."""
        if self.keys is None:
            return
        try:
            self.keys.tagged(value)
        except (TypeError, ValueError, OverflowError) as error:
            if type(error) not in (TypeError, ValueError, OverflowError, ModelVaultValidationError):
                raise  # it has other arguments
            raise type(error)(f"{error}: {self}") from None

    def canonical(self, value: Any) -> str:
        """The value as text: the same for equal values, in every process."""
        compiled: re.Pattern[Any] = value
        if isinstance(value, re.Pattern):
            return f"{compiled.pattern!r}{compiled.flags}"
        if is_set(value):
            return f"{{{','.join(sorted(map(self.canonical, value)))}}}"
        if is_series(value):
            return f"[{','.join(self.canonical(item) for item in value)}]"
        if self.keys is not None:
            try:
                return self.keys.tagged(value).hex()
            except (TypeError, ValueError, OverflowError):
                pass  # the pattern of a test that takes no value of the field
        return f"{type(value).__name__} {value!r}"

    def check_order(self, what: str) -> None:
        """Raise ModelVaultQueryError unless the values have an order; `what` needs it."""
        if self.many or (self.keys is None and self.type.kind not in LOOSE):
            raise ModelVaultQueryError(f"query error: {what} needs values that have an order: {self} is {self.kind}")

    def check_number(self, what: str) -> None:
        """Raise ModelVaultQueryError unless the values are numbers."""
        if self.many or self.type.kind not in NUMBERS:
            raise ModelVaultQueryError(f"query error: {what} needs numbers: {self} is {self.kind}")


class Targets:
    """The fields of one schema, each looked for once."""

    __slots__ = ("_found", "schema")

    def __init__(self, schema: Schema) -> None:
        self.schema: Schema = schema
        self._found: dict[tuple[str, ...], Target] = {}

    def find(self, path: tuple[str, ...]) -> Target:
        """The field at a path; ModelVaultQueryError if there is none."""
        found = self._found.get(path)
        if found is None:
            found = self._found[path] = locate(self.schema, path)
        return found

    def check(self, condition: Condition) -> Condition:
        """The condition with every test checked, and None compared by `null`."""
        if isinstance(condition, Test):
            target = self._found.get(condition.path)
            if target is not None and target.takes is not None and condition.op in COMPARES:
                value = condition.values[0]
                if value is not None:
                    try:
                        target.takes(value)
                        return condition
                    except (TypeError, ValueError, OverflowError):
                        pass  # the long way says what is wrong
            return check_test(self.find(condition.path), condition)
        if isinstance(condition, Negation):
            return Negation(self.check(condition.part))
        parts = [self.check(part) for part in condition.parts]
        return condition if all(map(is_, condition.parts, parts)) else type(condition)(tuple(parts))

    def describe(self, condition: Condition) -> str:
        """The condition as text: the same for the same condition, in every process."""
        if isinstance(condition, Test):
            target = self.find(condition.path)
            values = ",".join(target.canonical(value) for value in condition.values)
            return f"{condition.op} {condition.path!r} {target.kind} {values}"
        if isinstance(condition, Negation):
            return f"not({self.describe(condition.part)})"
        return f"{type(condition).__name__}({';'.join(self.describe(part) for part in condition.parts)})"


def steps(type: Type) -> Iterator[Type]:
    """A type and what it holds, through optionals, customs and lists, to what they are made of."""
    yield type
    while type.kind == "optional" or type.kind in LISTS or type.kind == "custom":
        if not type.items:
            return
        type = type.items[0]
        yield type


def locate(schema: Schema, path: tuple[str, ...]) -> Target:
    """The field at a path, through optionals, lists and recursion."""
    around = [schema.type]  # the objects from the row inward: a `ref` names one of them
    type = schema.type
    many = False
    for segment in path:
        way = list(steps(type))
        many = many or any(step.kind in LISTS for step in way)
        if way[-1].kind == "ref":
            around = around[: len(around) - way[-1].values[0]]
        elif way[-1] is not around[-1]:
            around.append(way[-1])
        inner = next((field.type for field in around[-1].fields if field.name == segment), None)
        if inner is None or way[-1].kind not in ("object", "ref"):
            raise unknown(schema, path, segment, way[-1])
        type = inner
    way = list(steps(type))
    lists = sum(step.kind in LISTS for step in way)
    leaf = way[-1]
    comparable = lists <= 1 and (leaf.kind in SCALARS or leaf.kind in ("enum", "literal"))
    inner = next((step.items[0] for step in way if step.kind in LISTS), type)
    keys = KeyCodec(inner) if comparable else None
    takes = None if keys is None or lists else keys.tagged
    return Target(path, leaf, keys, lists > 0, many or lists > 0, schema.name, takes)


def unknown(schema: Schema, path: tuple[str, ...], segment: str, inside: Type) -> ModelVaultQueryError:
    """The error for a path that leads nowhere."""
    names = [field.name for field in inside.fields] if inside.kind == "object" else []
    from difflib import get_close_matches

    near = get_close_matches(segment, names, 1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return ModelVaultQueryError(f'query error: unknown field path "{".".join(path)}" in {schema.name}{hint}')


def check_test(target: Target, test: Test) -> Condition:
    """The test, if its field can be asked so; ModelVaultQueryError, or what the value raises."""
    op, values = test.op, test.values
    if op == "null":
        return test
    if op in ("eq", "ne"):
        return check_equal(target, test)
    if op in ("like", "regex", "startswith", "endswith") or (op == "contains" and not target.listed):
        check_text(target, op, values[0])
        return test
    check_comparable(target, ordered=op not in ("in", "contains"))
    for value in values:
        if value is None and op != "in":
            raise TypeError(f"{target} cannot be compared with None: only == None, is_null() and in_() take it")
        if value is not None:
            target.check_value(value)
    return test


def check_equal(target: Target, test: Test) -> Condition:
    """An equality; None is asked for by `null`, a whole list by its elements."""
    value = test.values[0]
    if value is None:
        null = Test(test.path, "null")
        return null if test.op == "eq" else Negation(null)
    check_comparable(target, ordered=False)
    if target.listed and (is_series(value) or is_set(value)):
        for item in value:
            if item is not None:
                target.check_value(item)
    else:
        target.check_value(value)
    return test


def check_comparable(target: Target, *, ordered: bool) -> None:
    """ModelVaultQueryError for a field that cannot be compared. ordered: by < and >."""
    kind = target.type.kind
    if target.keys is None and kind not in LOOSE and (ordered or kind not in CONTAINERS) and not target.listed:
        raise ModelVaultQueryError(f"query error: {target} is {kind}: compare one of its parts")


def check_text(target: Target, op: str, value: Any) -> None:
    """The operators of strings; `startswith`, `endswith` and `contains` take bytes too."""
    kind = target.type.kind
    only_text = op in ("like", "regex")
    if kind not in LOOSE and (kind != "string" if only_text else kind not in TEXT):
        allowed = "a string" if only_text else "a string, bytes or list" if op == "contains" else "a string or bytes"
        raise ModelVaultQueryError(f"query error: {op}() needs {allowed}: {target} is {kind}")
    if op == "regex":
        check_pattern(value)
        return
    expected: Any = str if only_text else TEXT.get(kind, str | bytes)
    if not isinstance(value, expected):
        name = getattr(expected, "__name__", "str")
        raise TypeError(f"{op}() of {target}: {type(value).__name__!r} object is not an instance of {name!r}")


def check_pattern(pattern: Any) -> None:
    """TypeError or ModelVaultQueryError for what is no regular expression."""
    compiled: re.Pattern[Any] = pattern
    if isinstance(pattern, re.Pattern):
        pattern = compiled.pattern
    if not isinstance(pattern, str):
        raise TypeError(f"a regular expression is a str or an re.Pattern of one, not {pattern!r}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ModelVaultQueryError(f"query error: invalid regular expression {pattern!r}: {error}") from error
