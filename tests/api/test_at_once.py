"""Changes of a database in memory happen on the spot where nothing stands in the way: none goes through the queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from modelvault import Database, DuplicateKeyError, ModelVaultSchemaError, NotFoundError, models
from tests.worlds import gather


class Item(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.unique("code"), models.index("shelf"))

    id: int
    code: str
    shelf: str = "a"
    count: int = 0


class Labelled(Item):
    def label(self) -> str:
        return self.code


def item(number: int, **changes: Any) -> Item:
    return Item(**({"id": number, "code": f"c{number}"} | changes))


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.open_in_memory() as db:
        yield db


@pytest.fixture
def items(db: Database) -> Any:
    items = models.collection(db, Item)
    items.insert_many(item(number) for number in range(100))
    return items


def queued(db: Database) -> int:
    """How many statements the queue has seen."""
    count: int = db.stats()["writers"]["statements"]
    return count


def change_all(items: Any) -> None:
    for number in range(50):
        items.insert(item(1000 + number))
        assert items.update(number, {"count": number, "shelf": "b"}).count == number
        assert items.delete(50 + number)
    assert items.count() == 100
    assert items.where("shelf", "b").count() == 50
    assert items.get_by("code", "c60") is None


def test_no_statement_is_queued(db: Database, items: Any) -> None:
    before = queued(db)
    change_all(items)
    assert queued(db) == before
    assert not db.verify().problems


def test_nor_while_a_snapshot_is_open(db: Database, items: Any) -> None:
    before = queued(db)
    with db.snapshot() as snapshot:
        still = snapshot.collection(Item)
        change_all(items)
        assert [row.id for row in still.all()] == [*range(100)]
        assert still.where("shelf", "b").count() == 0
    assert queued(db) == before
    assert not db.verify().problems


def test_in_a_transaction_it_is_part_of_it(db: Database, items: Any) -> None:
    transaction = db.transaction()
    transaction.__enter__()
    change_all(items)
    transaction.__exit__(ZeroDivisionError, None, None)
    assert [row.id for row in items.all()] == [*range(100)]
    change_all(items)


def test_what_fails_changes_nothing(db: Database, items: Any) -> None:
    for number in range(2):  # with a lane, and without
        with pytest.raises(DuplicateKeyError, match="c7"):
            items.insert(item(200, code="c7"))
        with pytest.raises(DuplicateKeyError, match="c7"):
            items.update(8, {"code": "c7"})
        with pytest.raises(ModelVaultSchemaError, match="primary key"):
            items.update(8, {"id": 9})
        with pytest.raises(ValueError, match="count"):
            items.update(8, {"count": "many"})
        with pytest.raises(NotFoundError):
            items.update(300, {"count": 1})
        assert not items.delete(300)
        assert items.all() == [item(other) for other in range(100)]
        if not number:
            with db.transaction():
                items.get(1)
    assert not db.verify().problems


def test_keys_are_instances_too_also_of_subclasses(items: Any) -> None:
    assert items.get(Labelled(id=3, code="x")) == item(3)
    assert items.update(Labelled(id=3, code="x"), {"count": 5}).count == 5
    assert items.delete(Labelled(id=3, code="x"))
    items.insert(Labelled(id=3, code="x"))
    assert type(items.get(3)) is Item
    for wrong in ({"id": 3}, "3", None, 3.5):
        with pytest.raises((TypeError, ValueError, ModelVaultSchemaError)):
            items.delete(wrong)
        with pytest.raises((TypeError, ValueError, ModelVaultSchemaError)):
            items.update(wrong, {"count": 1})


def test_a_validator_may_change_rows(db: Database) -> None:
    """What an update runs of the user's comes before it takes what it needs, and it sees what that did."""

    class Counted(BaseModel):
        __modelvault_primary_key__ = "id"

        id: int
        count: int = 0

        @field_validator("count")
        @classmethod
        def deletes(cls, value: int) -> int:
            rows.delete(value)
            return value

    rows = models.collection(db, Counted)
    rows.insert_many(Counted.model_construct(id=number, count=0) for number in range(10))
    rows.update(3, {"count": 4})
    with pytest.raises(NotFoundError):
        rows.update(5, {"count": 5})
    assert [row.id for row in rows.all()] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert not db.verify().problems


async def test_of_gathered_inserts_each_fails_alone(loop_db: Any) -> None:
    """Of rows that are put in a group, the first with a unique value has it; the others fail, and leave nothing."""
    items = await loop_db.collection(Item)
    await items.insert(item(0))
    rows = [item(number, code=f"c{min(number, 40)}") for number in range(60)]
    outcomes = await gather(*[lambda row=row: items.insert(row) for row in rows])  # type: ignore[misc]
    failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, DuplicateKeyError)]
    assert len(failed) == 19 and min(failed) >= 40
    assert [outcome for number, outcome in enumerate(outcomes) if number not in failed] == [None] * 41
    assert [row.id for row in await items.all()] == [number for number in range(60) if number not in failed]
    assert not (await loop_db.verify()).problems


async def test_gathered_inserts_among_other_statements(loop_db: Any) -> None:
    items = await loop_db.collection(Item)

    async def one(number: int) -> None:
        await items.insert(item(number))
        assert (await items.update(number, {"count": number})).count == number
        if number % 4 == 0:
            assert await items.delete(number)

    await gather(*[lambda number=number: one(number) for number in range(40)])  # type: ignore[misc]
    assert [(row.id, row.count) for row in await items.all()] == [(n, n) for n in range(40) if n % 4]
    assert not (await loop_db.verify()).problems


class Note(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.index("shelf"),)

    id: int
    shelf: str
    text: str


def test_rows_of_an_index_short_and_long(db: Database) -> None:
    notes = models.collection(db, Note)
    sizes = [10, 20_000, 30, 300_000]
    notes.insert_many(Note(id=number, shelf="some", text="x" * size) for number, size in enumerate(sizes))
    notes.insert_many(Note(id=10 + number, shelf="long", text=f"{number}" * 300_000) for number in range(5))
    for _ in range(2):
        assert [len(note.text) for note in notes.where("shelf", "some").all()] == sizes
        assert [note.text for note in notes.where("shelf", "long").all()] == [
            f"{number}" * 300_000 for number in range(5)
        ]
        assert notes.where("shelf", "none").all() == []
