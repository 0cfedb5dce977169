"""What makes a schema sound: it is refused here, at registration, if no row could ever satisfy it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Final

from modelvault._frozen import replace
from modelvault.errors import ModelVaultSchemaError, ModelVaultValidationError
from modelvault.types import INTEGERS, SCALARS, Constraint, Field, Index, Type, class_of

__all__ = [
    "MAX_DEPTH",
    "MAX_FIELDS",
    "MAX_INDEXES",
    "MAX_NAME",
    "MAX_REGEX",
    "check_indexes",
    "check_name",
    "check_primary",
    "check_type",
    "constrain",
    "find",
]

MAX_NAME: Final = 4096  # characters of a collection, field or index name
MAX_DEPTH: Final = 50  # types inside types
MAX_FIELDS: Final = 4096  # of one object
MAX_INDEXES: Final = 255  # of one collection
MAX_VALUES: Final = 65535  # of an enum or literal
MAX_MEMBERS: Final = 255  # of a union
MAX_REGEX: Final = 512  # characters of 0.16's regex

COLLECTIONS: Final = frozenset(("list", "set", "frozenset", "vartuple"))
ITEMS: Final[dict[str, range]] = {  # how many items a type of each kind has; others have none
    "tuple": range(MAX_FIELDS + 1),
    "dict": range(2, 3),
    "union": range(2, MAX_MEMBERS + 1),
    "custom": range(2),
} | dict.fromkeys(COLLECTIONS | {"optional"}, range(1, 2))
SIZED: Final = COLLECTIONS | {"string", "bytes", "dict"}
NUMBERS: Final = INTEGERS | {"float64", "decimal"}

# Which kinds a constraint fits, and how 0.16 named it.
APPLIES: Final[dict[str, tuple[frozenset[str], str]]] = {
    "min_i64": (frozenset(("int64", "int")), "MinI64 constraint requires int64"),
    "max_i64": (frozenset(("int64", "int")), "MaxI64 constraint requires int64"),
    "min_u64": (frozenset(("uint64", "int")), "MinU64 constraint requires uint64"),
    "max_u64": (frozenset(("uint64", "int")), "MaxU64 constraint requires uint64"),
    "min_f64": (frozenset(("float64",)), "MinF64 constraint requires float64"),
    "max_f64": (frozenset(("float64",)), "MaxF64 constraint requires float64"),
    "min_length": (SIZED, "MinLength applies to string, bytes, or list"),
    "max_length": (SIZED, "MaxLength applies to string, bytes, or list"),
    "regex": (frozenset(("string",)), "Regex constraint requires string"),
    "email": (frozenset(("string",)), "Email constraint requires string"),
    "url": (frozenset(("string",)), "Url constraint requires string"),
    "nonempty": (SIZED, "NonEmpty applies to string, bytes, or list"),
    "min_len": (SIZED, "min_len applies to values that have a length"),
    "max_len": (SIZED, "max_len applies to values that have a length"),
    "pattern": (frozenset(("string",)), "pattern requires string"),
    "multiple_of": (NUMBERS | {"timedelta"}, "multiple_of requires a number"),
} | {kind: (SCALARS - {"uuid"}, f"{kind} requires an ordered type") for kind in ("ge", "gt", "le", "lt")}

# What the bound of ge, gt, le, lt and multiple_of may be, by the kind of the value it is compared with.
BOUNDS: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool, int),
    "string": (str,),
    "bytes": (bytes,),
    "timestamp": (datetime,),
    "date": (date,),
    "time": (time,),
    "timedelta": (timedelta,),
}

# Subclasses of these that do not compare with them, or should not.
ALIENS: Final[dict[str, type | tuple[()]]] = {"bool": (), "date": datetime}

# One atom repeated without end, repeated without end: exponential in any backtracking matcher.
NESTED: Final = r"\((?:\?:)?(?:\\.|\[[^\]]*\]|[^()\\\[\]])[+*]\)[+*{]"


def bounds_of(kind: str) -> tuple[type, ...]:
    """What a bound of values of this kind may be."""
    return (int, float, class_of("decimal")) if kind in NUMBERS else BOUNDS[kind]


def schema_error(text: str) -> ModelVaultSchemaError:
    """A ModelVaultSchemaError in 0.16's spelling."""
    return ModelVaultSchemaError(f"schema error: {text}")


def check_name(name: str, what: str = "collection") -> str:
    """The name without surrounding blanks; raises when it is empty or longer than MAX_NAME characters."""
    stripped = name.strip()
    if not stripped:
        raise schema_error(f"invalid {what} name: it is empty")
    if len(stripped) > MAX_NAME:
        raise schema_error(f"invalid {what} name: {len(stripped)} characters, at most {MAX_NAME} are allowed")
    try:
        stripped.encode()
    except UnicodeEncodeError:
        raise schema_error(f"invalid {what} name: it holds a lone surrogate") from None
    return stripped


def bare(type: Type) -> Type:
    """The type as it is stored: without optional and custom around it."""
    while type.kind == "optional" or (type.kind == "custom" and type.items):
        type = type.items[0]
    return type


def find(type: Type, path: Sequence[str]) -> Type | None:
    """The type at a path of field names inside an object type, None if there is no such field."""
    for segment in path:
        type = bare(type)
        if type.kind != "object":
            return None
        for field in type.fields:
            if field.name == segment:
                type = field.type
                break
        else:
            return None
    return type


def check_primary(type: Type, primary: str) -> None:
    """Refuse a primary key that is not a required scalar field of the row."""
    found = find(type, (primary,))
    if found is None or found.group:
        raise schema_error(f'primary field "{primary}" not found as a top-level field')
    while found.kind == "custom" and found.items:
        found = found.items[0]
    if found.kind not in SCALARS:
        raise schema_error(
            f'primary key field "{primary}" must use a primitive type (not optional/list/object/enum), not {found.kind}'
        )


def check_indexes(type: Type, indexes: Sequence[Index]) -> None:
    """Refuse indexes whose names clash, or whose paths name no field that can be compared."""
    if len(indexes) > MAX_INDEXES:
        raise schema_error(f"{len(indexes)} indexes, at most {MAX_INDEXES} are allowed")
    seen: set[str] = set()
    for index in indexes:
        check_name(index.name, "index")
        if index.name in seen:
            raise ModelVaultSchemaError(f'duplicate index name "{index.name}"')
        seen.add(index.name)
        check_paths(type, index)


def check_paths(type: Type, index: Index) -> None:
    """ModelVaultSchemaError unless an index may have its paths."""
    lists = 0
    if not index.paths or any(not path for path in index.paths):
        raise schema_error(f'invalid field path: index "{index.name}" has an empty path')
    if len(set(index.paths)) != len(index.paths):
        raise ModelVaultSchemaError(f'index "{index.name}" names a path twice')
    for path in index.paths:
        found = find(type, path)
        if found is None:
            raise ModelVaultSchemaError(f'index "{index.name}" path does not match any field: {".".join(path)}')
        found = bare(found)
        if found.kind in COLLECTIONS:
            lists += 1
            found = bare(found.items[0])
        if found.kind not in SCALARS | {"enum", "literal"}:
            raise ModelVaultSchemaError(
                f'index "{index.name}" path must resolve to a scalar field or a list of scalars: '
                f"{'.'.join(path)} is {found.kind}"
            )
    if lists > 1:
        raise ModelVaultSchemaError(f'index "{index.name}" names more than one list')


def check_type(type: Type, path: str = "", depth: int = 0, objects: int = 0, *, older: bool = False) -> None:
    """Refuse a type that no value can have, and one beyond the limits; `path` is for the message.

    older: it may have fields that a newer version of the schema dropped.
    """
    where = f' for field "{path}"' if path else ""
    if depth > MAX_DEPTH:
        raise schema_error(f"type nesting too deep{where}: at most {MAX_DEPTH} levels are allowed")
    if type.kind in ("enum", "literal"):
        check_values(type, where)
    elif type.kind == "union" and not 2 <= len(type.items) <= MAX_MEMBERS:
        raise schema_error(f"a union needs 2 to {MAX_MEMBERS} members{where}")
    elif len(type.items) not in ITEMS.get(type.kind, range(1)):
        raise schema_error(f"{type.kind} of {len(type.items)} types{where}")
    elif type.kind == "optional" and type.items[0].kind == "optional":
        raise schema_error(f"optional of optional{where}: say optional once")
    elif type.kind == "ref" and (len(type.values) != 1 or type.values[0] not in range(objects)):
        raise schema_error(f"a reference to an object that is not around it{where}")
    for constraint in type.constraints:
        check_constraint(type, constraint, path)
    for item in type.items:
        check_type(item, path, depth + 1, objects, older=older)
    if type.kind == "object":
        check_fields([field for field in type.fields if field.name or not older], path)
        for field in type.fields:
            inside = f"{path}.{field.name}" if path else field.name
            check_type(field.type, inside, depth + 1, objects + 1, older=older)


def check_values(type: Type, where: str) -> None:
    """ModelVaultSchemaError unless a type may have its values."""
    if not type.values:
        raise schema_error(f"{type.kind} without values{where}: no row could ever have one")
    if len(type.values) > MAX_VALUES:
        raise schema_error(f"{len(type.values)} {type.kind} values{where}, at most {MAX_VALUES} are allowed")
    if any(isinstance(value, list | dict | None) for value in type.values):
        raise schema_error(f"{type.kind} of something that is no scalar{where}")


def check_fields(fields: Sequence[Field], path: str) -> None:
    """ModelVaultSchemaError unless an object may have its fields."""
    if len(fields) > MAX_FIELDS:
        raise schema_error(f'{len(fields)} fields in "{path}", at most {MAX_FIELDS} are allowed')
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            raise schema_error(f'invalid field path: "{field.name}" is declared twice')
        if not field.name or len(field.name) > MAX_NAME:
            raise schema_error("invalid field path: a field name is empty or too long")
        seen.add(field.name)


def check_constraint(type: Type, constraint: Constraint, path: str) -> None:
    """Refuse a constraint that does not fit the type it stands on, a bound of the wrong kind, a regex that is none."""
    kinds, message = APPLIES[constraint.kind]
    if type.kind not in kinds:
        raise ModelVaultValidationError(f"validation error at {path}: {message}, not {type.kind}")
    if constraint.kind in ("regex", "pattern"):
        check_regex(str(constraint.value), path, strict=constraint.kind == "regex")
    elif constraint.kind in ("ge", "gt", "le", "lt", "multiple_of"):
        check_bound(type, constraint, path)


def check_bound(type: Type, constraint: Constraint, path: str) -> None:
    """ModelVaultValidationError unless the constraint's value is one for the type."""
    wanted = bounds_of(type.kind)
    value = constraint.value
    if not isinstance(value, wanted) or isinstance(value, ALIENS.get(type.kind, bool)):
        names = " or ".join(cls.__name__ for cls in wanted)
        raise ModelVaultValidationError(
            f"validation error at {path}: {constraint.kind} of {type.kind} takes {names}, not {value!r}"
        )
    if constraint.kind == "multiple_of" and not value:
        raise ModelVaultValidationError(f"validation error at {path}: multiple_of cannot be zero")


def check_regex(pattern: str, path: str, *, strict: bool) -> None:
    """Refuse what is no regular expression; `strict` adds 0.16's limits."""
    if strict and len(pattern) > MAX_REGEX:
        raise ModelVaultValidationError(
            f"validation error: regex pattern length {len(pattern)} exceeds maximum {MAX_REGEX}"
        )
    if strict and re.search(NESTED, pattern):
        raise ModelVaultValidationError("validation error: regex pattern contains nested quantifiers")
    try:
        re.compile(pattern)
    except re.error as error:
        if "parenthes" in error.msg or "subpattern" in error.msg:
            raise ModelVaultValidationError(
                f"validation error: regex pattern has unbalanced parentheses: {pattern}"
            ) from None
        raise ModelVaultValidationError(
            f"validation error at {path}: invalid regex in schema: {error}: {pattern}"
        ) from None


def constrain(type: Type, constraints: Sequence[Constraint]) -> Type:
    """The type with the constraints where they hold: inside optional and custom, on the fitting members of a union."""
    if not constraints:
        return type
    if type.kind == "optional" or (type.kind == "custom" and type.items):
        return replace(type, items=(constrain(type.items[0], constraints),))
    if type.kind == "union":
        return replace(type, items=tuple(constrain(item, fitting(item, constraints)) for item in type.items))
    return replace(type, constraints=type.constraints + tuple(c for c in constraints if c not in type.constraints))


def fitting(type: Type, constraints: Sequence[Constraint]) -> list[Constraint]:
    """Those of the constraints that can stand on this type."""
    inner = bare(type)
    if inner.kind == "union":
        return list(constraints)
    return [
        constraint
        for constraint in constraints
        if inner.kind in APPLIES[constraint.kind][0]
        and (constraint.kind not in ("ge", "gt", "le", "lt") or isinstance(constraint.value, bounds_of(inner.kind)))
    ]
