"""Random chains of forced schema changes of the dict interface, whose fields lie in one another by paths.

Rows are older than some fields, or than all that a field lies in; backfills give them values, field by field or whole
objects. Every row reads as Python says, and every query, with an index or without.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from modelvault import Database, ModelVaultSchemaError

EXAMPLES = int(os.environ.get("CHAINS", 60))
PLACES = [("n",), ("p", "a"), ("p", "b"), ("p", "g", "x"), ("p", "g", "y"), ("q", "a"), ("q", "g", "h", "z")]
VALUES = st.integers(0, 3)
ABSENT = object()

Path = tuple[str, ...]


class Leaf:
    """A field with a value. Each that comes is another one, also where one of its name has gone."""

    def __init__(self, number: int, optional: bool) -> None:
        self.number = number
        self.optional = optional
        self.wide = False
        self.fill: Any = ABSENT

    @property
    def type(self) -> Any:
        kind = "float64" if self.wide else "int64"
        return {"optional": kind} if self.optional else kind

    @property
    def lacking(self) -> Any:
        """What a row has that is older."""
        return self.fill if self.fill is not ABSENT else None if self.optional else ABSENT


class Stored:
    """A row as it was written: the leaves that it knew, and the objects, each by its number."""

    def __init__(self, values: dict[int, Any], objects: set[int]) -> None:
        self.values = values
        self.objects = objects


class Paths:
    """A collection, and what has to be in it."""

    def __init__(self, path: File, draw: Any) -> None:
        self.path, self.draw = path, draw
        self.numbers = count(1)
        self.leaves: dict[Path, Leaf] = {}
        self.objects: dict[Path, int] = {}
        self.indexed: list[Path] = []
        self.rows: dict[int, Stored] = {}
        self.db = Database.open(path, durability="off")
        self.db.register_collection("things", self.fields(), "id")

    def fields(self) -> str:
        declared = [{"path": list(path), "type": leaf.type} for path, leaf in self.leaves.items()]
        return json.dumps([{"path": ["id"], "type": "int64"}, *declared])

    def indexes(self) -> str:
        return json.dumps([{"name": ".".join(path), "path": path, "kind": "index"} for path in self.indexed])

    # What happens

    def write(self) -> None:
        """A row comes, or another one in its place."""
        key = self.draw(st.integers(0, 4))
        row: dict[str, Any] = {"id": key}
        values: dict[int, Any] = {}
        for path, leaf in self.leaves.items():
            values[leaf.number] = None if leaf.optional and self.draw(st.booleans()) else self.draw(VALUES)
            put(row, path, values[leaf.number])
        self.db.insert("things", row)
        self.rows[key] = Stored(values, set(self.objects.values()))

    def change(self) -> None:
        """Fields come and go, and indexes."""
        kept = {path: leaf for path, leaf in self.leaves.items() if self.draw(st.integers(0, 4))}
        for path in PLACES:
            if path not in self.leaves and self.draw(st.integers(0, 3)) == 0:
                kept[path] = Leaf(next(self.numbers), self.draw(st.booleans()))
        self.leaves = kept
        places = {path[:length] for path in self.leaves for length in range(1, len(path))}
        self.objects = {place: self.objects.get(place) or next(self.numbers) for place in sorted(places)}
        self.indexed = [path for path in self.leaves if self.draw(st.booleans())]
        note(f"change to {self.fields()}, indexes {self.indexed}")
        self.db.register_schema_version("things", self.fields(), self.indexes(), True)

    def widen(self) -> None:
        """Every row is written anew, if every row is whole."""
        if not self.leaves:
            return
        leaf = self.leaves[self.draw(st.sampled_from(list(self.leaves)))]
        if leaf.wide:
            return
        leaf.wide = True
        note(f"widen to {self.fields()}")
        seen = {key: self.row(key) for key in self.rows}
        if any(at(row, path) is ABSENT for row in seen.values() for path in self.leaves):
            with pytest.raises(ModelVaultSchemaError, match="cannot be read under it"):
                self.db.register_schema_version("things", self.fields(), self.indexes(), True)
            leaf.wide = False
            return
        self.db.register_schema_version("things", self.fields(), self.indexes(), True)
        for key, row in seen.items():
            values = {leaf.number: at(row, path) for path, leaf in self.leaves.items()}
            self.rows[key] = Stored(values, set(self.objects.values()))
        for one in self.leaves.values():
            one.fill = ABSENT

    def backfill(self) -> None:
        """Older rows get a value for a field, or a whole object."""
        places = [*self.leaves, *self.objects]
        if not places:
            return
        place = self.draw(st.sampled_from(places))
        below = {path: leaf for path, leaf in self.leaves.items() if path[: len(place)] == place}
        given: dict[str, Any] = {}
        for path, leaf in below.items():
            value = self.draw(VALUES)
            put(given, path, value)
            if leaf.fill is ABSENT:
                leaf.fill = value
        value = at(given, place)
        note(f"backfill {place} with {value}")
        if len(place) == 1:
            self.db.backfill_top_level_field("things", place[0], value)
        else:
            self.db.backfill_field_at_path("things", list(place), value)

    def reopen(self) -> None:
        self.db.close()
        self.db = Database.open(self.path, durability="off")

    # What must be so

    def row(self, key: int) -> dict[str, Any]:
        """What a row has to be."""
        found: dict[str, Any] = {"id": key}
        row = self.rows[key]
        missing = [place for place, number in self.objects.items() if number not in row.objects]
        part = {place for place in missing if any(leaf.lacking is ABSENT for leaf in self.below(place))}
        for path, leaf in self.leaves.items():
            value = row.values.get(leaf.number, leaf.lacking)
            if value is not ABSENT and not any(path[: len(place)] == place for place in part):
                put(found, path, value)
        return found

    def below(self, place: Path) -> Iterator[Leaf]:
        return (leaf for path, leaf in self.leaves.items() if path[: len(place)] == place)

    def compare(self) -> None:
        rows = {key: self.row(key) for key in sorted(self.rows)}
        things = self.db.collection("things")
        for key, row in rows.items():
            assert stripped(self.db.get("things", key)) == stripped(row)
        assert [stripped(row) for row in things.all()] == [stripped(row) for row in rows.values()]
        for path in self.leaves:
            value = self.draw(VALUES)
            wanted = [key for key, row in rows.items() if at(row, path) == value]
            assert [row["id"] for row in things.where(path, value).all()] == wanted, path
            assert [row["id"] for row in things.where(path, value).all(fields=["id"])] == wanted, path
        self.db.verify()


def put(row: dict[str, Any], path: Path, value: Any) -> None:
    """Set what a row has at a path."""
    for name in path[:-1]:
        row = row.setdefault(name, {})
    row[path[-1]] = value


def at(row: Any, path: Path) -> Any:
    """What a row has at a path."""
    for name in path:
        if row is None or name not in row:
            return ABSENT
        row = row[name]
    return row


def stripped(row: Any) -> Any:
    """Without what is None, and objects with nothing else: whether these are there depends on when a row came."""
    if not isinstance(row, dict):
        return row
    found = {name: stripped(value) for name, value in row.items()}
    return {name: value for name, value in found.items() if value is not None and value != {}}


@settings(
    max_examples=EXAMPLES,
    derandomize="CHAINS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    print_blob=True,
)
@given(st.data())
def test_chains_of_paths(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(File(folder) / "db", data.draw)
        steps = [paths.write, paths.change, paths.backfill, paths.backfill, paths.widen, paths.reopen]
        try:
            paths.write()
            for step in data.draw(st.lists(st.sampled_from(steps), min_size=3, max_size=14)):
                step()
                paths.compare()
        finally:
            paths.db.close()
