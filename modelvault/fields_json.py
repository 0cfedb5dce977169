"""0.16's JSON: the fields and indexes that the dict interface declares. Every refusal says what 0.16 said, and more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelvault._frozen import replace
from modelvault._kinds import is_dict, is_list
from modelvault.errors import ModelVaultSchemaError
from modelvault.rules import MAX_DEPTH, bare, constrain, find, schema_error
from modelvault.types import SCALARS, Constraint, Field, Index, Type

__all__ = ["parse_constraint", "parse_fields", "parse_indexes"]

PRIMITIVES: Final = SCALARS - {"int"}
I64: Final = range(-(1 << 63), 1 << 63)
U64: Final = range(1 << 64)
RANGES: Final = {"min_i64": I64, "max_i64": I64, "min_u64": U64, "max_u64": U64, "min_length": U64, "max_length": U64}


class Branch:
    """The parts of an object while its paths are collected: a leaf is a Type, an inner name a Branch."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: dict[str, Type | Branch] = {}

    def add(self, path: Sequence[str], type: Type) -> None:
        """Put a type at a path; raises if the path, or a part of it, is taken."""
        name, *rest = path
        here = self.parts.get(name)
        if not rest:
            if here is not None:
                raise schema_error(f'invalid field path: "{name}" is declared twice, or is also a prefix')
            self.parts[name] = type
            return
        if here is None:
            here = self.parts[name] = Branch()
        if not isinstance(here, Branch):
            raise schema_error(f'invalid field path: "{name}" is declared twice, or is also a prefix')
        here.add(rest, type)

    def fields(self) -> tuple[Field, ...]:
        """The fields, in the order of their first mention."""
        return tuple(
            Field(name, Type("object", fields=part.fields(), group=True) if isinstance(part, Branch) else part)
            for name, part in self.parts.items()
        )


def text(value: object, argument: str) -> str:
    """The value, if it is a str; 0.16's TypeError if not."""
    if not isinstance(value, str):
        raise TypeError(f"argument '{argument}': '{type(value).__name__}' object is not an instance of 'str'")
    return value


def load(source: str) -> Any:
    """Parsed JSON; a ModelVaultSchemaError (a ValueError) that says where it ends being JSON."""
    import json  # with the first collection: it takes a millisecond

    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        if not source.strip():
            raise ModelVaultSchemaError("EOF while parsing a value at line 1 column 0") from None
        what = error.msg[:1].lower() + error.msg[1:]
        what = what.replace("expecting", "expected")
        raise ModelVaultSchemaError(f"{what} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise ModelVaultSchemaError("recursion limit exceeded") from None


def parse_fields(fields_json: str) -> Type:
    """The object type that a `fields_json` declares.

    Multi-segment paths become `group` objects. Raises ModelVaultSchemaError for what cannot be read; whether rows can
    satisfy it is for `Schema.check`.
    """
    source = load(text(fields_json, "fields_json"))
    if not is_list(source):
        raise ModelVaultSchemaError("fields_json must be a JSON array")
    return replace(parse_object(source, 0), group=False)


def parse_object(source: list[Any], depth: int) -> Type:
    """The object type of a list of fields; dotted paths become objects inside."""
    branch = Branch()
    for element in source:
        if not is_dict(element):
            raise ModelVaultSchemaError("each field must be a JSON object")
        path = parse_path(element)
        if "type" not in element:
            raise ModelVaultSchemaError('missing "type"')
        found = parse_type(element["type"], depth + 1)
        rules = parse_constraints(element.get("constraints"))
        branch.add(path, constrain(found, rules))
    return Type("object", fields=branch.fields())


def parse_path(element: dict[str, Any]) -> tuple[str, ...]:
    """The path of a field."""
    if "path" not in element:
        raise ModelVaultSchemaError('missing "path"')
    path = element["path"]
    if not is_list(path):
        raise ModelVaultSchemaError('"path" must be an array of strings')
    if not all(isinstance(segment, str) for segment in path):
        raise ModelVaultSchemaError("path segment must be a string")
    if not path or not all(path):
        raise schema_error("invalid field path: a path has at least one segment, and none is empty")
    return tuple(path)


def parse_type(source: object, depth: int) -> Type:
    """A type, written as a name or as an object with one key."""
    if depth > MAX_DEPTH:
        raise ModelVaultSchemaError(f"recursion limit exceeded: at most {MAX_DEPTH} types inside each other")
    if isinstance(source, str):
        if source not in PRIMITIVES:
            raise ModelVaultSchemaError(f'unknown primitive type "{source}"')
        return Type(source)
    if not is_dict(source):
        raise ModelVaultSchemaError('"type" must be a string or object')
    if len(source) != 1:
        raise ModelVaultSchemaError('unsupported "type" shape')
    ((kind, inner),) = source.items()
    if kind in ("optional", "list"):
        return Type(kind, (parse_type(inner, depth + 1),))
    if kind == "object" and is_list(inner):
        if not inner:
            raise schema_error("object without fields: no row could ever have anything in it")
        return parse_object(inner, depth + 1)
    if kind == "enum" and is_list(inner):
        if not all(isinstance(variant, str) for variant in inner):
            raise ModelVaultSchemaError("enum variant must be a string")
        return Type("enum", values=tuple(dict.fromkeys(inner)))
    raise ModelVaultSchemaError('unsupported "type" shape')


def parse_constraints(source: object) -> list[Constraint]:
    """The constraints of a field, in their order; none if there is no list of them."""
    if source is None:
        return []
    if not is_list(source):
        raise ModelVaultSchemaError('"constraints" must be an array')
    found: list[Constraint] = []
    for element in source:
        if not is_dict(element):
            raise ModelVaultSchemaError("each constraint must be a JSON object")
        if not element:
            raise ModelVaultSchemaError("unknown constraint shape: {}")
        for kind, value in element.items():
            constraint = parse_constraint(kind, value)
            if constraint is None:
                from json import dumps

                raise ModelVaultSchemaError(f"unknown constraint shape: {dumps({kind: value})}")
            found.append(constraint)
    return found


def parse_constraint(kind: str, value: object) -> Constraint | None:
    """One of 0.16's constraints, None if it has no such kind or the value does not suit it."""
    if kind in RANGES:
        fits = type(value) is int and value in RANGES[kind]
    elif kind in ("min_f64", "max_f64"):
        fits = type(value) in (int, float)
        value = as_float(value) if fits else value
    elif kind == "regex":
        fits = isinstance(value, str)
    else:
        fits = kind in ("email", "url", "nonempty") and value is True
    return Constraint(kind, value) if fits and value is not None else None


def as_float(value: Any) -> float | None:
    """The number as a float, None if it is too great for one."""
    try:
        return float(value)
    except OverflowError:
        return None


def parse_indexes(indexes_json: str | None, row: Type) -> tuple[Index, ...]:
    """The indexes that an `indexes_json` declares over a row's type; None, blanks and "[]" declare none.

    `"paths": [[...], [...]]` in place of `"path"` makes a composite index.
    """
    if indexes_json is None or not text(indexes_json, "indexes_json").strip():
        return ()
    source = load(indexes_json)
    if not is_list(source):
        raise ModelVaultSchemaError("indexes_json must be a JSON array")
    found: list[Index] = []
    for element in source:
        index = parse_index(element, row)
        if any(other.name == index.name for other in found):
            raise ModelVaultSchemaError(f'duplicate index name "{index.name}"')
        found.append(index)
    return tuple(found)


def parse_index(element: object, row: Type) -> Index:
    """An index over fields of the row."""
    if not is_dict(element):
        raise ModelVaultSchemaError("each index must be a JSON object")
    name = element.get("name")
    if not isinstance(name, str):
        raise ModelVaultSchemaError('index missing "name" or name is not a string')
    name = name.strip()
    if not name:
        raise ModelVaultSchemaError('index "name" must be non-empty')
    paths = element.get("paths", [element["path"]] if "path" in element else None)
    if not is_list(paths) or not paths:
        raise ModelVaultSchemaError('index missing "path"')
    checked = tuple(parse_index_path(name, path, row) for path in paths)
    kind = element.get("kind")
    if not isinstance(kind, str):
        raise ModelVaultSchemaError('index missing "kind" or kind is not a string')
    if kind not in ("unique", "index", "non_unique"):
        raise ModelVaultSchemaError(f'index "{name}": kind must be "unique", "index", or "non_unique" (got "{kind}")')
    return Index(name, checked, kind == "unique")


def parse_index_path(name: str, path: object, row: Type) -> tuple[str, ...]:
    """A path of an index, which must lead to a scalar of the row."""
    if not is_list(path) or not all(isinstance(segment, str) for segment in path):
        raise ModelVaultSchemaError('index "path" must be an array of strings')
    if not path or not all(path):
        raise schema_error("invalid field path: an index path has at least one segment, and none is empty")
    found = find(row, path)
    if found is None:
        raise ModelVaultSchemaError(f'index "{name}" path does not match any field in fields_json')
    if bare(found).kind not in SCALARS | {"enum"}:
        raise ModelVaultSchemaError(f'index "{name}" path must resolve to a scalar field (not list or object root)')
    return tuple(path)
