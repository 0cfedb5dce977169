"""What changed between two schemas, and what has to happen to the rows.

Rows keep the layout of the schema version under which they were written, so most changes touch no row: the older
layouts are *relabelled* with the newest names, and a reader puts None, or a field's fill, where a row is older than the
field. A change is a *rewrite* when old values are no values of the new type as they stand.

There are two readings. The dict interface has 0.16's: whatever changes a type is breaking. Models know more: what was
renamed, which defaults there are, which types take the values of others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from modelvault._frozen import frozen, replace
from modelvault.lineage import (
    CHOICES,
    CONTAINERS,
    default_of,
    has_outer_ref,
    is_constant,
    is_optional,
    partners,
    rename_path,
    sources,
    typed_values,
    without_constraints,
)
from modelvault.mapping import describe
from modelvault.rules import bare
from modelvault.schema import Field, Index, Schema, Type
from modelvault.types import INTEGERS

__all__ = ["Change", "Plan", "compare"]

Level = Literal["safe", "needs_migration", "breaking"]
Path = tuple[str, ...]

LEVELS: Final[tuple[Level, ...]] = ("safe", "needs_migration", "breaking")


@frozen
class Change:
    """One difference. `line` shows it; `reason` and `step` are 0.16's words for what it needs.

    * rewrite: every row is written anew.
    * manual: rows need a value that no default gives: only an upgrade function or `force` gets past it.
    * reads: every row is read, for an index.
    """

    line: str
    level: Level = "safe"
    reason: str = ""
    step: str = ""
    rewrite: bool = False
    manual: bool = False
    reads: bool = False

    @property
    def stops(self) -> bool:
        """Whether it is made only when somebody insists."""
        return self.level == "breaking" or self.manual

    @property
    def automatic(self) -> bool:
        """Whether it loses nothing, cannot fail and touches no row."""
        return self.level == "safe" or (self.step.startswith("backfill_") and not self.rewrite and not self.manual)


class Plan(dict[str, Any]):
    """What a change of schema would do: 0.16's dict, with all steps; `print(plan)` shows the differences.

    Keys: `change` ("safe", "needs_migration" or "breaking"), `reason` (absent when safe), `steps`.
    """

    def __init__(
        self, name: str, version: int, changes: Iterable[Change], upgrades: Sequence[int] = (), *, strict: bool = False
    ) -> None:
        self.name = name
        self.version = version
        """The schema version that is stored."""
        self.target: int = max(version + 1, *upgrades) if upgrades else version + 1
        """The schema version afterwards."""
        self.changes: tuple[Change, ...] = tuple(changes)
        self.strict = strict
        """Whether it is a plan for dicts: what is not safe needs force."""
        self.upgrades: tuple[int, ...] = tuple(upgrades)
        """The versions whose upgrade functions the rows have not been through."""
        level = max((change.level for change in self.changes), key=LEVELS.index, default=LEVELS[0])
        if self.upgrades and level == "safe":
            level = "needs_migration"
        super().__init__(change=level)
        reasons = [change.reason for change in self.changes if change.reason]
        reasons += [f"upgrade function for version {number}" for number in self.upgrades]
        if level != "safe":
            self["reason"] = "; ".join(dict.fromkeys(reasons))
        steps = [change.step for change in self.changes if change.step] + [f"upgrade:{n}" for n in self.upgrades]
        self["steps"] = list(dict.fromkeys(steps))

    @property
    def change(self) -> Level:
        """How far-reaching it is."""
        level: Level = self["change"]
        return level

    @property
    def reason(self) -> str:
        """Why it is not safe; empty when it is."""
        return str(self.get("reason", ""))

    @property
    def steps(self) -> list[str]:
        """What has to be done besides storing the definition."""
        steps: list[str] = self["steps"]
        return steps

    @property
    def rewrite(self) -> bool:
        """Whether every row is written anew."""
        return bool(self.upgrades) or any(change.rewrite for change in self.changes)

    @property
    def automatic(self) -> bool:
        """Whether it loses nothing, cannot fail and touches no row."""
        return not self.upgrades and all(change.automatic for change in self.changes)

    def __str__(self) -> str:
        lines = [change.line for change in self.changes]
        lines += [f"* upgrade function for version {number}: every row" for number in self.upgrades]
        if not lines:
            return f"{self.name}: nothing changed"
        head = f"{self.name}, version {self.version} -> {self.target}: {self.change}, {self.effort}"
        if self.strict:
            head += "; needs force" if self.change != "safe" else ""
        elif not self.upgrades and any(change.stops for change in self.changes):
            head += "; needs an upgrade function, or force"
        return "\n  ".join([head, *lines])

    @property
    def effort(self) -> str:
        """What happens to the rows, in words."""
        if self.rewrite:
            return "every row is written anew"
        return "every row is read" if any(change.reads for change in self.changes) else "no row is touched"


def compare(old: Schema, new: Schema, *, strict: bool) -> list[Change]:
    """The differences, all of them. strict: as the dict interface of 0.16 sees them."""
    differences = Differences(strict)
    differences.objects(old.type, new.type, ())
    differences.indexes(old, new)
    return differences.found


class Differences:
    """One walk over two types."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.found: list[Change] = []

    def add(self, line: str, level: Level = "safe", reason: str = "", step: str = "", **flags: bool) -> None:
        """Note a difference."""
        self.found.append(Change(line, level, reason, step, **flags))

    def objects(self, old: Type, new: Type, path: Path) -> None:
        """The fields of two versions of an object."""
        origin = sources(old, new)
        for field in new.fields:
            here = (*path, field.name)
            source = origin.get(field.name)
            if source is None:
                self.added(here, field)
                continue
            if source.name != field.name:
                was = ".".join((*path, source.name))
                self.add(f"~ {was} is called {field.name}", step=f"rename_field:{was}->{field.name}")
            self.types(here, source.type, field.type, field)
        kept = {field.name for field in origin.values()}
        for field in old.fields:
            if field.name and field.name not in kept:
                self.removed((*path, field.name), field)
        order = [field.name for field in old.fields if field.name in kept]
        if self.strict and order != [origin[field.name].name for field in new.fields if field.name in origin]:
            self.add("~ the order of the fields", "breaking", "field reorder breaks positional record encoding")
        if new.extras and not old.extras:
            self.add(f"+ keys that are no fields are kept, in {'.'.join(path) or 'the row'}")
        elif old.extras and not new.extras:
            reason = f"extra keys are no longer kept in {quoted(path)}"
            self.add(f"- keys that are no fields, in {'.'.join(path) or 'the row'}", "breaking", reason, rewrite=True)

    def added(self, path: Path, field: Field) -> None:
        """A field that is new."""
        if field.type.kind == "object" and field.type.group:
            for leaf in field.type.fields:
                self.added((*path, leaf.name), leaf)
            return
        line = f"+ {'.'.join(path)}: {describe(field.type)}"
        default = None if self.strict else default_of(field)
        if is_optional(field.type) and (default is None or default() is None):
            self.add(line)
            return
        reason = f"new required field {quoted(path)} needs backfill"
        if default is None:
            self.add(f"{line}, without a default", "needs_migration", reason, backfill(path), manual=True)
            return
        moving = not is_constant(field) or has_outer_ref(field.type)
        line = f"{line}, from its default in every row" if moving else f"{line} = {default()!r} in older rows"
        self.add(line, "needs_migration", reason, backfill(path), rewrite=moving)

    def removed(self, path: Path, field: Field) -> None:
        """A field that is gone."""
        if self.strict and field.type.kind == "object" and field.type.group:
            for leaf in field.type.fields:
                self.removed((*path, leaf.name), leaf)
            return
        line = f"- {'.'.join(path)}: {describe(field.type)}, and what it holds"
        self.add(line, "breaking", f"field removed: {quoted(path)}")

    def types(self, path: Path, old: Type, new: Type, field: Field | None = None) -> None:
        """The types of a field, or of the values inside one."""
        if old == new:
            return
        if self.strict:
            self.strictly(path, old, new)
            return
        name, words = ".".join(path), f"{describe(old)} -> {describe(new)}"
        if is_optional(old) and not is_optional(new):
            reason = f"type changed for field {quoted(path)}"
            default = None if field is None else default_of(field)
            if default is None or default() is None:
                self.add(
                    f"~ {name}: {words}, without a default for None", "breaking", reason, rewrite=True, manual=True
                )
            else:
                line = f"~ {name}: {words}, None becomes {default()!r}"
                self.add(line, "needs_migration", reason, backfill(path), rewrite=True)
        elif is_optional(new) and not is_optional(old):
            self.add(f"~ {name}: {words}")
        self.values(path, bare(old), bare(new))

    def values(self, path: Path, old: Type, new: Type) -> None:
        """Two types without optional and custom around them."""
        name, words = ".".join(path), f"{describe(old)} -> {describe(new)}"
        self.constraints(path, old, new)
        if old.kind == new.kind == "object" and old.group == new.group:
            self.objects(old, new, path)
        elif old.kind == new.kind and old.kind in CONTAINERS and len(old.items) == len(new.items):
            for before, after in zip(old.items, new.items, strict=True):
                self.types((*path[:-1], f"{path[-1]}[]"), before, after)
        elif old.kind == new.kind == "union":
            self.unions(path, old, new)
        elif old.kind in CHOICES and old.kind == new.kind:
            self.choices(path, old, new)
        elif replace(old, constraints=()) == replace(new, constraints=()):
            return
        elif old.kind in INTEGERS and new.kind == "int":
            self.add(f"~ {name}: {words}")
        elif new.kind == "union" and (place := partners(Type("union", (old,)), new)[0]) is not None:
            reason = f"type changed for field {quoted(path)}"
            self.add(f"~ {name}: {words}", "needs_migration", reason, f"convert_field:{name}", rewrite=True)
            self.types(path, old, new.items[place])
        elif is_convertible(old, new):
            reason = f"type changed for field {quoted(path)}"
            self.add(f"~ {name}: {words}", "needs_migration", reason, f"convert_field:{name}", rewrite=True)
        else:
            self.add(f"~ {name}: {words}", "breaking", f"type changed for field {quoted(path)}", rewrite=True)

    def unions(self, path: Path, old: Type, new: Type) -> None:
        """Two unions: members find their partners; new ones behind the others change nothing for the rows."""
        places = partners(old, new)
        gone = [item for item, place in zip(old.items, places, strict=True) if place is None]
        fresh = [item for number, item in enumerate(new.items) if number not in places]
        name, reason = ".".join(path), f"type changed for field {quoted(path)}"
        for item in gone:
            self.add(f"~ {name}: no longer {describe(item)}", "breaking", reason, rewrite=True)
        if not gone and places != list(range(len(places))):
            line = f"~ {name}: {describe(old)} -> {describe(new)}"
            self.add(line, "needs_migration", reason, f"convert_field:{name}", rewrite=True)
        elif fresh:
            self.add(f"~ {name}: also {', '.join(map(describe, fresh))}")
        for item, place in zip(old.items, places, strict=True):
            if place is not None:
                self.types(path, item, new.items[place])

    def choices(self, path: Path, old: Type, new: Type) -> None:
        """Two enums or literals."""
        before, after = typed_values(old), typed_values(new)
        more = [value for _, value in after if (type(value), value) not in before]
        gone = [value for _, value in before if (type(value), value) not in after]
        name = ".".join(path)
        if gone:
            reason = f"type changed for field {quoted(path)}"
            self.add(f"~ {name}: no longer {shown(gone)}", "breaking", reason, rewrite=True)
        elif more and is_mixed(old) != is_mixed(new):
            reason = f"type changed for field {quoted(path)}"
            line = f"~ {name}: also {shown(more)}"
            self.add(line, "needs_migration", reason, f"convert_field:{name}", rewrite=True)
        elif more:
            self.add(f"~ {name}: also {shown(more)}")

    def constraints(self, path: Path, old: Type, new: Type) -> None:
        """What two types hold their values to."""
        before, after = set(old.constraints), set(new.constraints)
        if before == after or (old.kind != new.kind and not after):
            return
        changed = sorted(f"{constraint.kind}={constraint.value}" for constraint in before ^ after)
        line = f"~ {'.'.join(path)}: constraints {', '.join(changed)}"
        if after <= before:
            self.add(line)
            return
        reason = f"constraints changed for field {quoted(path)}"
        self.add(line, "needs_migration", reason, f"check_rows:{'.'.join(path)}", rewrite=True)

    def strictly(self, path: Path, old: Type, new: Type) -> None:
        """As 0.16 saw a type that changed."""
        if old.kind == new.kind == "object" and old.group and new.group:
            self.objects(old, new, path)
            return
        looser = Differences(strict=False)
        looser.types(path, old, new)
        rewrite = any(change.rewrite for change in looser.found)
        line = f"~ {'.'.join(path)}: {describe(old)} -> {describe(new)}"
        kinds = (old.kind, new.kind, bare(old).kind, bare(new).kind)
        if is_optional(old) == is_optional(new) and kinds[2:] == ("enum", "enum") and not rewrite:
            self.found += looser.found
        elif without_constraints(old) == without_constraints(new):
            self.add(line, "breaking", f"constraints changed for field {quoted(path)}", rewrite=rewrite)
        else:
            self.add(line, "breaking", f"type changed for field {quoted(path)}", rewrite=rewrite)

    def indexes(self, old: Schema, new: Schema) -> None:
        """The indexes of two schemas."""
        before = {index.name: moved(index, old, new) for index in old.indexes}
        freed = [index for name, index in before.items() if new.index(name) is None]
        for index in new.indexes:
            words = f"{'unique ' if index.unique else ''}index {index.name} on {', '.join(map('.'.join, index.paths))}"
            known = before.get(index.name)
            if known == index:
                continue
            same = [other for other in freed if other.paths == index.paths and other.unique == index.unique]
            if known is None and same:
                freed.remove(same[0])
                self.add(f"~ index {same[0].name} is called {index.name}")
                continue
            line = f"{'+' if known is None else '~'} {words}"
            twins = [other for other in (*freed, *([known] if known else [])) if other.paths == index.paths]
            if known is not None and self.strict:
                self.add(line, "breaking", f'index changed: "{index.name}"', reads=True)
            elif index.unique and not any(other.unique for other in twins):
                reason = f'new unique index "{index.name}" needs rebuild/validation'
                self.add(line, "needs_migration", reason, "rebuild_indexes", reads=True)
            else:
                self.add(line, reads=not twins)
        for index in freed:
            self.add(f"- index {index.name}")


def moved(index: Index, old: Schema, new: Schema) -> Index:
    """An index of the old schema by the new names; one on a field that is gone has a path of no segments."""
    return replace(index, paths=tuple(rename_path(old.type, new.type, path) or () for path in index.paths))


def quoted(path: Sequence[str]) -> str:
    """A path as 0.16 writes it."""
    return json.dumps(list(path), ensure_ascii=False)


def shown(values: Iterable[Any]) -> str:
    """Values in a row, for a text."""
    return ", ".join(map(repr, values))


def backfill(path: Path) -> str:
    """The step that gives older rows a value at a path."""
    return f"backfill_top_level_field:{path[0]}" if len(path) == 1 else f"backfill_field_at_path:{'.'.join(path)}"


def is_mixed(choices: Type) -> bool:
    """Whether the values are of several kinds: their keys have a tag then."""
    return len({value.__class__ for value in choices.values}) > 1


def is_convertible(old: Type, new: Type) -> bool:
    """Whether values of one type become values of the other by themselves."""
    if new.kind == "any":
        return True
    if old.kind in INTEGERS:
        return new.kind in ("float64", "decimal")
    if old.kind in CHOICES:
        classes = {value.__class__ for value in old.values}
        if new.kind in CHOICES:
            return set(typed_values(old)) <= set(typed_values(new))
        return (classes == {str} and new.kind == "string") or (classes == {int} and new.kind in INTEGERS)
    return False
