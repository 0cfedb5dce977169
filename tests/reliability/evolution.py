"""Models that change: the versions of one, the changes between them, and what each does to plain rows."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated, Any, Final

from annotated_types import Ge
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from modelvault import models

Row = dict[str, Any]
Path = tuple[str, ...]

NONE: Final = object()  # no default
KINDS: Final = ("int", "float", "str", "enum", "tags", "mixed", "part", "parts", "either")
SCALARS: Final = ("int", "float", "str", "enum")
PLAIN: Final = {"int": int, "float": float, "str": str, "tags": list[str], "mixed": int | str}
WORDS: Final = st.sampled_from(["a", "b", "c", "d"])
NUMBERS: Final = st.integers(0, 6)


@dataclass(frozen=True)
class Part:
    """A field of a model: `parts` and `other` for those that hold models, `values` for enums, `low` a bound."""

    name: str
    kind: str
    optional: bool = False
    default: Any = NONE
    low: int | None = None
    values: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    former: tuple[str, ...] = ()

    def annotation(self) -> Any:
        found: Any = PLAIN.get(self.kind)
        if self.kind == "enum":
            found = Enum("Choice", {value: value for value in self.values})
        elif self.kind in ("part", "parts", "either"):
            found = model("Inner", self.parts)
            found = list[found] if self.kind == "parts" else found | Other if self.kind == "either" else found
        if self.low is not None:
            found = Annotated[found, Ge(self.low)]
        if self.optional:
            found = found | None
        for name in self.former:
            found = Annotated[found, models.RenamedFrom(name)]
        return found

    def values_of(self) -> st.SearchStrategy[Any]:
        """Plain values that the field takes."""
        found: st.SearchStrategy[Any]
        if self.kind in ("int", "float"):
            found = st.integers(self.low or 0, (self.low or 0) + 6).map(float if self.kind == "float" else int)
        elif self.kind == "enum":
            found = st.sampled_from(self.values)
        elif self.kind == "tags":
            found = st.lists(WORDS, max_size=3, unique=True)
        elif self.kind == "mixed":
            found = NUMBERS | WORDS
        elif self.kind == "str":
            found = WORDS
        else:
            inner = rows_of(self.parts)
            found = st.lists(inner, max_size=2) if self.kind == "parts" else inner
            if self.kind == "either":
                found = found.map(lambda row: ("Inner", row)) | found.map(lambda row: ("Other", {"n": len(row)}))
        return found | st.none() if self.optional else found


class Other(BaseModel):
    """The other member of a union; every field of it may be one of the first member's, too."""

    n: int


def rows_of(parts: tuple[Part, ...]) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries({part.name: part.values_of() for part in parts})


def model(name: str, parts: tuple[Part, ...]) -> Any:
    fields: dict[str, Any] = {
        part.name: (part.annotation(), ... if part.default is NONE else part.default) for part in parts
    }
    return create_model(name, **fields)


@dataclass(frozen=True)
class Version:
    """One version of the model: its fields beside `id`, and its indexes as {path: unique}."""

    parts: tuple[Part, ...]
    indexes: tuple[tuple[Path, bool], ...] = ()

    def model(self) -> Any:
        cls = model("Thing", (Part("id", "int"), *self.parts))
        cls.__modelvault_primary_key__ = "id"
        cls.__modelvault_collection__ = "things"
        cls.__modelvault_indexes__ = [
            (models.unique if unique else models.index)(".".join(path), ".".join(path)) for path, unique in self.indexes
        ]
        return cls

    def paths(self) -> Iterator[tuple[Path, Part]]:
        """What can be indexed and asked for, with its field."""
        for part in self.parts:
            if part.kind in (*SCALARS, "tags"):
                yield (part.name,), part
            elif part.kind == "part":
                yield from (((part.name, inner.name), inner) for inner in part.parts if inner.kind in SCALARS)

    def clash(self, rows: dict[int, Row]) -> bool:
        """Whether two rows have the same value at the path of a unique index."""
        for path in (path for path, unique in self.indexes if unique):
            counts = Counter(value for row in rows.values() if (value := at(row, path)) is not None)
            if counts and max(counts.values()) > 1:
                return True
        return False

    def sound(self) -> Version:
        """With the indexes whose paths are there."""
        known = {path for path, _ in self.paths()}
        return replace(self, indexes=tuple(index for index in self.indexes if index[0] in known))


def at(row: Row, path: Path) -> Any:
    """The value at a path, None where something on the way is."""
    found: Any = row
    for name in path:
        found = None if found is None else found[name]
    return found


def instance(cls: Any, row: Row) -> Any:
    """The model's instance of a plain row."""
    return cls.model_validate({name: built(value, cls.model_fields[name].annotation) for name, value in row.items()})


def built(value: Any, annotation: Any) -> Any:
    """A plain value as validation takes it; one of a union is the instance that it says."""
    if not isinstance(value, tuple):
        return value
    if value[0] == "Other":
        return Other(**value[1])
    inner = next(arg for arg in annotation.__args__ if arg.__name__ == "Inner")
    return inner.model_validate(value[1])


# Changes


@dataclass
class Step:
    """One change: the new fields, what becomes of a row, and when it can be made.

    fits(rows): whether every stored row can be read afterwards. insist: only with force or an upgrade function.
    rewrite: the rows are written anew, so `migrate="safe"` will not do it. unfilled: force would leave rows without it.
    """

    parts: tuple[Part, ...]
    convert: Callable[[Row], Row]
    words: str
    fits: Callable[[list[Row]], bool] = lambda rows: True
    insist: bool = False
    rewrite: bool = False
    unfilled: bool = False
    moved: dict[str, str] = field(default_factory=dict)


def fresh_name(parts: tuple[Part, ...], draw: Any, gone: Set[str]) -> str:
    taken = gone | {part.name for part in parts} | {name for part in parts for name in part.former} | {"id", "n"}
    return str(draw(st.sampled_from([name for name in NAMES if name not in taken])))


NAMES: Final = [f"f{number}" for number in range(200)]


def new_part(draw: Any, name: str, depth: int = 0) -> Part:
    kind = draw(st.sampled_from(KINDS if depth == 0 else KINDS[:6]))
    part = Part(name, kind, optional=draw(st.booleans()))
    if kind == "enum":
        part = replace(part, values=tuple(sorted(draw(st.sets(WORDS, min_size=1, max_size=3)))))
    elif kind in ("int", "float") and draw(st.booleans()):
        part = replace(part, low=draw(st.integers(0, 2)))
    elif kind in ("part", "parts", "either"):
        names = draw(st.integers(1, 3))
        part = replace(part, parts=tuple(new_part(draw, NAMES[100 + number], 1) for number in range(names)))
    return part


def added(parts: tuple[Part, ...], draw: Any, gone: Set[str], depth: int) -> Step:
    """A new field: optional, or with a default; one that has neither is refused."""
    part = new_part(draw, fresh_name(parts, draw, gone), depth)
    how = draw(st.sampled_from(["optional", "default", "default", "required"]))
    value: Any = None
    if how == "optional":
        part = replace(part, optional=True, default=None)
    elif how == "default" and part.kind not in ("part", "parts", "either"):
        value = draw(replace(part, optional=False).values_of())
        part = replace(part, default=value)
    else:
        part = replace(part, optional=False)
        words = f"+{part.name} without a value"
        return Step((*parts, part), dict, words, lambda rows: not rows, insist=True, unfilled=True)
    rewrite = part.kind == "tags" and bool(value)
    return Step(
        (*parts, part), lambda row: row | {part.name: copy.copy(value)}, f"+{part.name}={value!r}", rewrite=rewrite
    )


def dropped(parts: tuple[Part, ...], place: int) -> Step:
    name = parts[place].name
    return Step(
        parts[:place] + parts[place + 1 :],
        lambda row: {key: value for key, value in row.items() if key != name},
        f"-{name}",
        insist=True,
    )


def renamed(parts: tuple[Part, ...], place: int, draw: Any, gone: Set[str]) -> Step:
    part, name = parts[place], fresh_name(parts, draw, gone)
    after = replace(part, name=name, former=(part.name,))
    return Step(
        (*parts[:place], after, *parts[place + 1 :]),
        lambda row: {name if key == part.name else key: value for key, value in row.items()},
        f"{part.name} is {name}",
        moved={part.name: name},
    )


def changed(parts: tuple[Part, ...], place: int, after: Part, words: str, **options: Any) -> Step:
    """A change of one field's type. convert: of a value; fits: of all, None too; none: what None becomes."""
    name = parts[place].name
    convert = options.pop("convert", lambda value: value)
    none = options.pop("none", None)
    fits = options.pop("fits", lambda values: True)

    def convert_row(row: Row) -> Row:
        value = row[name]
        return row | {name: none if value is None else convert(value)}

    return Step(
        (*parts[:place], after, *parts[place + 1 :]),
        convert_row,
        f"{name}: {words}",
        lambda rows: bool(fits([row[name] for row in rows])),
        **options,
    )


def retyped(parts: tuple[Part, ...], place: int, draw: Any) -> Step:
    """Another type for a field: wider, narrower, or one that its values may not fit."""
    part = parts[place]
    if part.optional and draw(st.booleans()):
        after = replace(part, optional=False, default=NONE)
        if part.kind in ("int", "str") and draw(st.booleans()):
            default = 3 if part.kind == "int" else "a"
            return changed(
                parts, place, replace(after, default=default), f"None is {default}", none=default, rewrite=True
            )
        return changed(parts, place, after, "no None", fits=all_there, insist=True, rewrite=True)
    if not part.optional and draw(st.booleans()):
        return changed(parts, place, replace(part, optional=True), "perhaps None")
    if part.kind == "int" and draw(st.booleans()):
        return changed(parts, place, replace(part, kind="float"), "float", convert=float, rewrite=True)
    if part.kind in ("int", "float") and draw(st.booleans()):
        low = draw(st.none() | st.integers(0, 3))
        rewrite = low is not None and low != part.low
        return changed(
            parts,
            place,
            replace(part, low=low, default=NONE if part.default is not None else None),
            f">= {low}",
            fits=lambda values: low is None or all(value is None or value >= low for value in values),
            rewrite=rewrite,
        )
    if part.kind == "enum":
        values = tuple(sorted(draw(st.sets(WORDS, min_size=1, max_size=4))))
        gone = bool(set(part.values) - set(values))
        return changed(
            parts,
            place,
            replace(part, values=values, default=NONE if part.default is not None else None),
            f"one of {values}",
            fits=lambda found: all(value is None or value in values for value in found),
            insist=gone,
            rewrite=gone,
        )
    if part.kind in ("int", "str"):
        after = replace(part, kind="mixed", low=None)
        return changed(parts, place, after, "mixed", rewrite=True)
    if part.kind == "mixed":
        after = replace(part, kind="tags", default=NONE if part.default is not None else None)
        return changed(
            parts,
            place,
            after,
            "tags",
            insist=True,
            rewrite=True,
            fits=lambda found: not any(v is not None for v in found),
        )
    return changed(parts, place, replace(part, optional=True), "perhaps None")


def all_there(values: list[Any]) -> bool:
    return None not in values


def inside(parts: tuple[Part, ...], place: int, draw: Any) -> Step:
    """A change within a field that holds models."""
    part = parts[place]
    step = any_step(part.parts, draw, depth=1)

    def lift(value: Any) -> Any:
        if part.kind == "parts":
            return [step.convert(item) for item in value]
        if part.kind == "either":
            return value if value[0] == "Other" else ("Inner", step.convert(value[1]))
        return step.convert(value)

    def inner(values: list[Any]) -> list[Row]:
        there = [value for value in values if value is not None]
        if part.kind == "parts":
            return [item for value in there for item in value]
        return [value[1] for value in there if value[0] == "Inner"] if part.kind == "either" else there

    after = replace(part, parts=step.parts, default=NONE if part.default is not None else None)
    found = changed(
        parts,
        place,
        after,
        f"({step.words})",
        convert=lift,
        fits=lambda values: step.fits(inner(values)),
        insist=step.insist,
        rewrite=step.rewrite,
        unfilled=step.unfilled,
    )
    return replace(found, moved={f"{part.name}.{old}": f"{part.name}.{new}" for old, new in step.moved.items()})


def any_step(
    parts: tuple[Part, ...], draw: Any, places: list[int] | None = None, gone: Set[str] = frozenset(), depth: int = 0
) -> Step:
    """Some change: of one of the fields at `places`, or a new one, which has none of the names that are gone."""
    free = list(range(len(parts))) if places is None else places
    what = draw(st.sampled_from(["add", "drop", "rename", "retype", "retype", "inside", "inside"]))
    if what == "add" or not free or (what == "drop" and len(parts) == 1):
        return added(parts, draw, gone, depth)
    place = draw(st.sampled_from(free))
    if what == "drop":
        return dropped(parts, place)
    if what == "rename":
        return renamed(parts, place, draw, gone)
    if what == "inside" and parts[place].parts:
        return inside(parts, place, draw)
    return retyped(parts, place, draw)
