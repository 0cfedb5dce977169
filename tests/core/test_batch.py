"""Batches of rows: the same trees as row by row, whatever is replaced, and the same refusals."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from modelvault import Database, DuplicateKeyError, models
from tests.models import User, user


class Row(BaseModel):
    """Few keys and few values, so that rows meet one another."""

    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = [models.unique("code"), models.index("tags"), models.unique("part")]

    id: int
    code: str
    tags: list[str]
    part: int | None = None


CODES = st.text("ab\0", max_size=3)
ROWS = st.lists(
    st.builds(
        Row,
        id=st.integers(0, 30),
        code=CODES,
        tags=st.lists(st.sampled_from("xyz"), max_size=3),
        part=st.none() | st.integers(0, 40),
    ),
    max_size=40,
)


def one_by_one(rows: Any, batch: list[Row]) -> str:
    """Insert the rows singly; the message of the first that is refused."""
    try:
        for row in batch:
            rows.insert(row)
    except DuplicateKeyError as error:
        return str(error)
    return ""


@settings(deadline=None, max_examples=150)
@given(st.lists(ROWS, max_size=4))
def test_a_batch_is_its_rows_one_by_one(batches: list[list[Row]]) -> None:
    """What is stored is the same, and a batch is refused where one of its rows would be, with nothing of it stored."""
    with Database.open_in_memory() as db, Database.open_in_memory() as other:
        many, single = models.collection(db, Row), models.collection(other, Row)
        for batch in batches:
            before = single.all()
            refused = one_by_one(single, batch)
            if refused:
                with pytest.raises(DuplicateKeyError):
                    many.insert_many(batch)
                with other.transaction():
                    for row in single.all():
                        single.delete(row.id)
                    single.insert_many(before)
            else:
                assert many.insert_many(batch) == len(batch)
            db.verify()
            other.verify()
            assert many.all() == single.all()


def test_many_rows_fill_their_leaves_and_find_their_neighbours() -> None:
    """Entries go in order into trees that have entries already: between them, before and behind."""
    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        numbers = [number * 7919 % 10_007 for number in range(1, 10_007)]
        for start in range(0, len(numbers), 3000):
            users.insert_many(user(number) for number in numbers[start : start + 3000])
            db.verify()
        assert [row.id for row in users.all()] == sorted(numbers)
        assert users.where("email", "user77@example.com").one() == user(77)


@pytest.mark.parametrize("place", [0, 1500, 2999])
def test_a_taken_value_far_inside_undoes_all(place: int) -> None:
    """The error says what one row alone would have said."""
    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        users.insert(user(5000))
        batch = [user(number) for number in range(3000)]
        batch[place] = user(place, email="user5000@example.com")
        with pytest.raises(DuplicateKeyError, match="user5000@") as raised:
            users.insert_many(batch)
        assert raised.value.key == "user5000@example.com" and raised.value.index == "email_idx"
        assert users.all() == [user(5000)]
        db.verify()


def test_the_same_object_may_come_again_and_again() -> None:
    """Each row is encoded before the next one is asked for."""

    def same() -> Any:
        row = user(0)
        for number in range(2000):
            row.id, row.email = number, f"{number}"
            yield row

    with Database.open_in_memory() as db:
        users = models.collection(db, User)
        assert users.insert_many(same()) == 2000
        assert [row.email for row in users.all()] == [f"{number}" for number in range(2000)]


def test_what_a_source_reads_it_sees_whole() -> None:
    """A source that asks the collection meanwhile finds rows and entries in step."""
    with Database.open_in_memory() as db:
        users = models.collection(db, User)

        def asking() -> Any:
            for number in range(3000):
                if number % 500 == 499:
                    assert users.where("email", f"user{number - 499}@example.com").count() in (0, 1)
                    db.verify()
                yield user(number)

        with db.transaction():
            users.insert_many(asking())
        assert users.count() == 3000
