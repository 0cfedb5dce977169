"""Random histories, compared with a dict: rows, unique values, indexes, transactions, savepoints, reopened files."""

from __future__ import annotations

import copy
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from modelvault import DuplicateKeyError, models
from tests.worlds import World

SEEDS = range(6)
STEPS = 150


class Place(BaseModel):
    city: str


class Item(BaseModel):
    __modelvault_primary_key__ = "key"
    __modelvault_indexes__ = (
        models.unique("code"),
        models.index("place.city"),
        models.unique("labels"),
        models.index(("size", "place.city")),
    )

    key: str
    code: int | None = None
    place: Place | None = None
    labels: list[str] = []
    size: float = 0.0
    text: str = ""


class Undo(Exception):
    """What a test leaves a transaction or savepoint with."""


@dataclass
class Twin:
    """A database and the dict that it must agree with."""

    world: World
    random: random.Random
    path: Path | None
    rows: dict[str, Item] = field(default_factory=dict)

    def item(self, key: str | None = None) -> Item:
        """A row with a fair chance to clash with another one."""
        pick = self.random
        return Item(
            key=key or f"{pick.randrange(60)}" + "k" * pick.choice([0, 0, 1, 300]),
            code=pick.choice([None, pick.randrange(80)]),
            place=pick.choice([None, Place(city=f"city {pick.randrange(5)}")]),
            labels=[f"label {pick.randrange(200)}" for _ in range(pick.randrange(3))],
            size=pick.choice([0.0, -0.0, 1.5]),
            text="x" * pick.choice([0, 10, 10, 700, 9000]),
        )

    def clashes(self, item: Item) -> bool:
        """Would another row have one of its unique values?"""
        others = [row for row in self.rows.values() if row.key != item.key]
        codes = {row.code for row in others} - {None}
        return item.code in codes or any(label in row.labels for label in item.labels for row in others)

    async def expect(self, call: Callable[[], Awaitable[Any]], good: bool) -> Any:
        """The call's result; a DuplicateKeyError if it is not good."""
        if good:
            return await call()
        with pytest.raises(DuplicateKeyError):
            await call()
        return None

    async def step(self, db: Any) -> None:
        """One operation on both."""
        items, item = db.collection(Item), self.item()
        name = self.random.choice(["insert", "insert", "create", "update", "delete", "many", "upsert"])
        good = not self.clashes(item)
        if name == "insert":
            await self.expect(lambda: items.insert(item), good)
        elif name == "create":
            good = good and item.key not in self.rows
            await self.expect(lambda: items.create(item), good)
        elif name == "many":
            good = await self.insert_many(items)
            return
        elif name == "upsert" and item.code is not None:
            await self.upsert(items, item)
            return
        elif name == "update" and self.rows:
            item.key = self.random.choice(sorted(self.rows))
            good = not self.clashes(item)
            patch = {
                "code": item.code,
                "labels": item.labels,
                "place": item.place,
                "text": item.text,
                "size": item.size,
            }
            await self.expect(lambda: items.update(item.key, patch), good)
        elif name == "delete":
            assert await items.delete(item.key) is (self.rows.pop(item.key, None) is not None)
            return
        else:
            return
        if good:
            self.rows[item.key] = item

    async def insert_many(self, items: Any) -> bool:
        """Several rows, or none if one of them clashes."""
        before = dict(self.rows)
        rows, good = [self.item() for _ in range(self.random.randrange(1, 12))], True
        for row in rows:
            good = good and not self.clashes(row)
            self.rows[row.key] = row
        await self.expect(lambda: items.insert_many(rows), good)
        if not good:
            self.rows = before
        return good

    async def upsert(self, items: Any, item: Item) -> None:
        """In place of the row with the same code."""
        before = dict(self.rows)
        self.rows = {key: row for key, row in self.rows.items() if row.code != item.code}
        good = not self.clashes(item)
        await self.expect(lambda: items.upsert(item, on="code"), good)
        if good:
            self.rows[item.key] = item
        else:
            self.rows = before

    async def steps(self, db: Any, depth: int = 0) -> None:
        """A few operations, perhaps inside a transaction and its savepoints, perhaps undone."""
        before = dict(self.rows)
        undo = self.random.random() < 0.4
        context = None if depth == 0 else db.transaction() if depth == 1 else self.tx.savepoint()
        if context is None:
            await self.step(db)
            return
        try:
            async with context as tx:
                if depth == 1:
                    self.tx = tx
                for _ in range(self.random.randrange(1, 6)):
                    await self.step(db)
                    if depth < 4 and self.random.random() < 0.3:
                        await self.steps(db, depth + 1)
                await self.compare(db)
                if undo:
                    raise Undo
        except Undo:
            self.rows = before

    async def compare(self, db: Any) -> None:
        """Every way to ask gives what the dict has."""
        items = db.collection(Item)
        rows = [self.rows[key] for key in sorted(self.rows)]
        assert await items.all() == rows
        assert await items.count() == len(rows)
        key, code = f"{self.random.randrange(60)}", self.random.randrange(80)
        city, size = f"city {self.random.randrange(5)}", self.random.choice([0.0, 1.5])
        label = f"label {self.random.randrange(200)}"
        assert await items.get(key) == self.rows.get(key)
        for path, value, wanted in [
            ("key", key, [row for row in rows if row.key == key]),
            ("code", code, [row for row in rows if row.code == code]),
            ("code", None, [row for row in rows if row.code is None]),
            ("place.city", city, [row for row in rows if row.place and row.place.city == city]),
            ("labels", label, [row for row in rows if label in row.labels]),
            ("size", size, [row for row in rows if row.size == size]),
        ]:
            assert await items.where(path, value).all() == wanted, path
            assert await items.where(path, value).limit(2).all() == wanted[:2], path
        both = await items.where("size", size).and_where("place.city", city).all()
        assert both == [row for row in rows if row.size == size and row.place and row.place.city == city]


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_history(seed: int, world: World) -> None:
    print(f"seed {seed}")
    twin = Twin(world, random.Random(seed), None if world.path is None else Path(world.path))
    options: dict[str, Any] = {"page_size": 4096}
    if world.place is not None:
        options["cache_size"] = 64 * 1024
    for _ in range(1 if world.place is None else 3):
        async with world.open(**options) as db:
            await db.collection(Item)
            await twin.compare(db)
            for number in range(STEPS // 3):
                await twin.steps(db, twin.random.choice([0, 0, 0, 1]))
                if number % 7 == 0:
                    await twin.compare(db)
            await twin.compare(db)
            kept = copy.deepcopy(twin.rows)
        assert kept == twin.rows
