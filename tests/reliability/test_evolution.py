"""Random chains of schema changes over random rows, with crashes and reopenings between and within the steps.

Whatever happens, every row is readable, every query says what Python says of a dict, and what a plan says is what
`apply` does. `make evolve` walks longer, each time somewhere else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path as File
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from modelvault import Database, DuplicateKeyError, ModelVaultSchemaError, models
from modelvault._rewrite import Rewrite
from tests.reliability.evolution import Path, Row, Step, Version, any_step, at, instance, new_part, rows_of

EXAMPLES = int(os.environ.get("CHAINS", 40))
KEYS = st.integers(0, 9)


class Stop(BaseException):
    """The process ends here."""


class Chain:
    """One collection on its way: the file, the version that it is at, and the rows that it must have."""

    def __init__(self, folder: File, draw: Any) -> None:
        self.draw = draw
        self.folder = folder
        self.files = 0
        names = draw(st.integers(1, 4))
        self.version = Version(tuple(new_part(draw, f"g{number}") for number in range(names)))
        self.version = self.indexed(self.version)
        self.number = 1
        self.cls = self.version.model()
        self.rows: dict[int, Row] = {}
        self.db = self.open(folder / "0")

    def open(self, path: File) -> Database:
        return Database.open(path, page_size=4096, cache_size=64 * 1024, durability="off")

    def indexed(self, version: Version) -> Version:
        """The version with perhaps another index or two, or without some of its own."""
        version = version.sound()
        kinds = {path: part.kind for path, part in version.paths()}
        indexes = dict(version.indexes)
        for _ in range(self.draw(st.integers(0, 2)) if kinds else 0):
            path = self.draw(st.sampled_from(sorted(kinds)))
            if path in indexes and self.draw(st.booleans()):
                del indexes[path]
            else:
                indexes[path] = kinds[path] != "tags" and self.draw(st.integers(0, 3)) == 0
        return Version(version.parts, tuple(indexes.items()))

    # What happens

    def write(self) -> None:
        """Rows come, change and go, under the version that is stored."""
        things = models.collection(self.db, self.cls)
        for _ in range(self.draw(st.integers(2, 7))):
            key = self.draw(KEYS)
            if self.draw(st.integers(0, 4)) == 0:
                assert things.delete(key) is (self.rows.pop(key, None) is not None)
                continue
            row = {"id": key} | self.draw(rows_of(self.version.parts))
            if self.version.clash(self.rows | {key: row}):
                with pytest.raises(DuplicateKeyError):
                    things.insert(instance(self.cls, row))
            else:
                things.insert(instance(self.cls, row))
                self.rows[key] = row

    def reopen(self, *, kill: bool) -> None:
        """Another process goes on: after a proper end, or with the file as it is at this moment."""
        self.files += 1
        path = self.folder / str(self.files)
        if kill:
            shutil.copy(self.folder / str(self.files - 1), path)
            self.db.close()
        else:
            self.db.close()
            (self.folder / str(self.files - 1)).rename(path)
        self.db = self.open(path)

    def change(self) -> None:
        """The model changes, in a few places at once."""
        steps: list[Step] = []
        version = self.version
        free = list(range(len(version.parts)))
        gone = {part.name for part in version.parts}
        for _ in range(self.draw(st.integers(1, 3))):
            before = len(version.parts)
            step = any_step(version.parts, self.draw, free, gone)
            touched = [place for place in range(before) if version.parts[place] not in step.parts]
            free = [] if len(step.parts) < before else [place for place in free if place not in touched]
            indexes = tuple((moved(path, step), unique) for path, unique in version.indexes)
            version = Version(step.parts, indexes)
            steps.append(step)
        version = self.indexed(version)
        note(f"{[step.words for step in steps]}, indexes {version.indexes}")
        Attempt(self, version, steps).run()

    # What must be so

    def compare(self) -> None:
        """Every way to ask gives what the dict has, through models and, by path, through indexes or without."""
        things: Any = models.collection(self.db, self.cls)
        expected = [instance(self.cls, self.rows[key]) for key in sorted(self.rows)]
        found = things.all()
        assert list(map(repr, found)) == list(map(repr, expected)) and found == expected
        assert things.count() == len(self.rows)
        for path, part in self.version.paths():
            value = self.draw(part.values_of())
            dotted = ".".join(path)
            if part.kind == "tags":
                word = value[0] if value else "a"
                assert keys(things.where(dotted, word)) == self.having(path, lambda have, word=word: word in have)
                continue
            given = value if part.kind != "enum" or value is None else choice(self.cls, path, value)
            assert keys(things.where(dotted, given)) == self.having(
                path, lambda have, value=value: have == value, value
            )
            if value is not None and part.kind != "enum":
                ranged = things.gte_where(dotted, value).order_by(dotted, "id")
                wanted = self.having(path, lambda have, value=value: have >= value)
                wanted.sort(key=lambda key, path=path: (at(self.rows[key], path), key))
                assert [row.id for row in ranged.all()] == wanted
        self.db.verify()

    def having(self, path: Path, test: Callable[[Any], bool], value: Any = 0) -> list[int]:
        """The keys of the rows whose value passes; for None, of those that have none."""
        found = [(key, at(self.rows[key], path)) for key in sorted(self.rows)]
        return [key for key, have in found if (have is None) == (value is None) and (have is None or test(have))]


def keys(query: Any) -> list[int]:
    return [row.id for row in query.all()]


def moved(path: Path, step: Step) -> Path:
    """A path by the names after a step."""
    dotted = ".".join(path)
    for old, new in step.moved.items():
        if dotted == old or dotted.startswith(old + "."):
            return tuple((new + dotted[len(old) :]).split("."))
    return path


def choice(cls: Any, path: Path, value: str) -> Any:
    """The member of an enum field with this value."""
    for name in path:
        annotation = cls.model_fields[name].annotation
        cls = next((arg for arg in getattr(annotation, "__args__", ()) if arg is not type(None)), annotation)
    return cls(value)


class Attempt:
    """One change of the model: what the plan says of it, and what comes of it."""

    def __init__(self, chain: Chain, version: Version, steps: list[Step]) -> None:
        self.chain, self.version, self.steps = chain, version, steps
        self.cls = version.model()

    def run(self) -> None:
        chain, draw = self.chain, self.chain.draw
        force = draw(st.booleans()) and not any(step.unfilled for step in self.steps)
        how = draw(st.sampled_from(["apply", "apply", "crash", "crash", "crash", "safe", "dry", "rollback", "upgrade"]))
        plan = models.plan(chain.db, self.cls)
        insist, rewrite = any(step.insist for step in self.steps), any(step.rewrite for step in self.steps)
        assert (plan.change == "breaking" or any(change.manual for change in plan.changes)) == insist, plan
        assert plan.rewrite == rewrite, plan
        assert not plan.automatic or not (insist or rewrite), plan
        upgrades = self.upgrades() if how == "upgrade" or (how == "crash" and draw(st.booleans())) else None
        if how == "safe":
            good = plan.automatic
            if all(step.words.startswith("-") for step in self.steps):
                return  # it may fit, as a model that knows some of the fields
            self.expect(good, lambda: models.collection(chain.db, self.cls, migrate="safe").count())
            if good:
                self.arrive(chain.number + bool(plan.changes))
            return
        force = force or upgrades is not None
        if how == "crash" and not self.crash(force, upgrades):
            return
        good = self.good(force)
        if how == "dry":
            self.expect(good, lambda: models.apply(chain.db, self.cls, force=force, dry_run=True))
            return
        if how == "rollback":
            self.expect(False, lambda: self.roll_back(force), Stop if good else ModelVaultSchemaError)
            return
        chunk = draw(st.sampled_from([1, 3, 10_000, None]))
        self.expect(good, lambda: models.apply(chain.db, self.cls, force=force, upgrade=upgrades, chunk=chunk))
        if good:
            self.arrive(chain.number + 1)

    def good(self, force: bool) -> bool:
        """Whether it can be done to the rows that there are."""
        rows = list(self.chain.rows.values())
        for step in self.steps:
            if step.insist and not force:
                return False
            if not step.fits(rows):
                return False
            rows = [step.convert(row) for row in rows]
        return not self.version.clash({row["id"]: row for row in rows})

    def expect(self, good: bool, do: Callable[[], Any], error: type[BaseException] = ModelVaultSchemaError) -> None:
        """Do it; if it is not to succeed, nothing has changed."""
        if good:
            do()
            return
        with pytest.raises(error):
            do()
        self.chain.compare()

    def arrive(self, number: int) -> None:
        """The change is made: the rows are others, and there is nothing left to do."""
        chain = self.chain
        for step in self.steps:
            chain.rows = {key: step.convert(row) for key, row in chain.rows.items()}
        chain.version, chain.cls, chain.number = self.version, self.cls, number
        plan = models.plan(chain.db, self.cls)
        assert dict(plan) == {"change": "safe", "steps": []} and plan.version == number
        chain.compare()

    def roll_back(self, force: bool) -> None:
        with self.chain.db.transaction():
            models.apply(self.chain.db, self.cls, force=force)
            raise Stop

    def crash(self, force: bool, upgrades: Any) -> bool:
        """Begin, and be killed after some chunks, if it has so many; then others write. False if it was done."""
        chain = self.chain
        if not self.good(force) or not any(step.rewrite for step in self.steps):
            return True
        left = [chain.draw(st.integers(0, 4))]
        chunk = chain.draw(st.integers(1, 2))
        mark = Rewrite.mark

        def counted(*args: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stop
            mark(*args)

        with patch.object(Rewrite, "mark", counted):
            try:
                models.apply(chain.db, self.cls, force=force, upgrade=upgrades, chunk=chunk)
            except Stop:
                chain.compare()
                chain.reopen(kill=chain.draw(st.booleans()))
                chain.compare()
                chain.write()
                chain.compare()
                return True
        self.arrive(chain.number + 1)
        return False

    def upgrades(self) -> dict[int, Callable[[Row], None]]:
        """A function that adds to a number."""
        name = next((part.name for part in self.chain.version.parts if part.kind == "int"), None)

        def add(row: Row) -> None:
            if name is not None and row[name] is not None:
                row[name] += 1

        plain = self.steps

        def convert(row: Row) -> Row:
            row = dict(row)
            add(row)
            return row

        self.steps = [Step(self.chain.version.parts, convert, "+1", rewrite=True), *plain]
        return {self.chain.number + 1: add}


@settings(
    max_examples=EXAMPLES,
    derandomize="CHAINS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(st.data())
def test_chains_of_schema_changes(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(File(folder), data.draw)
        try:
            for _ in range(data.draw(st.integers(2, 6))):
                chain.write()
                chain.change()
                if data.draw(st.integers(0, 2)) == 0:
                    chain.reopen(kill=data.draw(st.booleans()))
                    chain.compare()
        finally:
            chain.db.close()
