"""A collection whose rows are written anew, again and again, and what must be in it whatever happens meanwhile.

Each migration renames the number of every row and changes its type, from an int to a float and back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel

from modelvault import Database, models

Change = tuple[int, int | None]  # a key, and its number, None for a row that goes
State = dict[int, int]


class Whole(BaseModel):
    """The model in which the number is an int."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "things"
    __modelvault_indexes__ = (models.unique("number", "by_number"), models.index("tags"))
    id: int
    number: Annotated[int, models.RenamedFrom("size")]
    tags: list[str]
    text: str


class Real(BaseModel):
    """The model in which it is a float."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "things"
    __modelvault_indexes__ = (models.unique("size", "by_number"), models.index("tags"))
    id: int
    size: Annotated[float, models.RenamedFrom("number")]
    tags: list[str]
    text: str


def row(cls: Any, key: int, number: int) -> Any:
    """A row of either model."""
    return cls(id=key, tags=[f"t{key % 3}", f"u{number % 5}"], text="x" * (key * 37 % 300), number=number, size=number)


@dataclass
class Migration:
    """What the database is at, and what it is to become."""

    old: Any
    new: Any
    upgrade: dict[int, Any] | None

    def apply(self, db: Database, **options: Any) -> int:
        """Make it so, or go on with it."""
        return models.apply(db, self.new, upgrade=self.upgrade, **options)


def next_migration(db: Database) -> Migration:
    """The one that is next, or under way."""
    plan = models.plan(db, Whole)
    if not plan.changes:
        return Migration(Whole, Real, None)

    def whole(row: dict[str, Any]) -> None:
        row["size"] = int(row["size"])

    return Migration(Real, Whole, {plan.version + 1: whole})


def start(db: Database, count: int) -> State:
    """Fill a new database."""
    db.collection(Whole).insert_many(row(Whole, key, key) for key in range(count))
    return {key: key for key in range(count)}


def change(seed: int, batch: int, count: int) -> Change:
    """What commit number `batch` does: another number for a key, or none."""
    draw = random.Random(f"{seed} {batch}")
    key = draw.randrange(count)
    return (key, None) if draw.random() < 0.2 else (key, batch * 1000 + key)


def follow(state: State, found: Change) -> State:
    """The state after a commit."""
    key, number = found
    rest = {other: value for other, value in state.items() if other != key}
    return rest if number is None else rest | {key: number}


def write(things: Any, cls: Any, found: Change) -> None:
    """Commit a change."""
    key, number = found
    if number is None:
        things.delete(key)
    else:
        things.insert(row(cls, key, number))


def look(db: Database) -> State:
    """What is there, under the model that fits; all of it is checked, and found through both indexes."""
    cls = next_migration(db).old
    things = db.collection(cls)
    rows = things.all()
    name = "number" if cls is Whole else "size"
    kind = int if cls is Whole else float
    assert all(type(getattr(found, name)) is kind for found in rows)
    assert rows == [row(cls, found.id, int(getattr(found, name))) for found in rows]
    for found in rows[:: max(1, len(rows) // 10)]:
        assert [other.id for other in things.where(name, getattr(found, name)).all()] == [found.id]
    assert things.where("tags", "t1").count() == sum("t1" in found.tags for found in rows)
    db.verify()
    return {found.id: int(getattr(found, name)) for found in rows}
