"""Pages and their cursors: complete, stable under changes and restarts, and refused where they do not belong."""

from __future__ import annotations

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from modelvault import Database, ModelVaultQueryError, Page, fields
from tests.models import Optionals, Person, User, person, user

u = fields(User)
p = fields(Person)
o = fields(Optionals)


async def filled(db: Any, number: int = 60) -> Any:
    users = await db.collection(User)
    await users.insert_many(user(n) for n in range(number))
    return users


async def walk(query: Any, size: int) -> list[Any]:
    page = await query.page(size=size)
    rows = list(page)
    while page.next is not None:
        assert len(page) == size
        page = await query.page(size, page.next)
        rows += page.items
    return rows


async def test_pages_give_every_row_once_in_order(db: Any) -> None:
    users = await filled(db)
    for query in (
        users.where(),
        users.order_by(u.age.desc(), u.email),
        users.order_by("active").where(u.age > 30),
        users.order_by(u.address.city, desc=True),
        users.where("age", 20),
    ):
        rows = await query.all()
        assert rows
        for size in (1, 7, 60, 100):
            assert await walk(query, size) == rows


async def test_none_has_its_place_on_pages(db: Any) -> None:
    rows = await db.collection(Optionals)
    await rows.insert_many(Optionals(id=f"{n:02}", number=None if n % 3 else n % 4) for n in range(30))
    for query in (rows.order_by(o.number), rows.order_by(o.number.desc())):
        assert await walk(query, 4) == await query.all()


async def test_a_cursor_survives_changes(db: Any) -> None:
    users = await filled(db, 30)
    query = users.order_by(u.score.desc())
    page = await query.page(10)
    last = page.items[-1]
    await users.delete(last.id)
    await users.insert(user(100, score=last.score + 0.1))  # before the cursor: not seen
    await users.insert(user(101, score=last.score - 0.1))  # behind it
    rest = await query.page(100, page.next)
    assert [row.id for row in rest] == [101, *range(last.id - 1, -1, -1)]
    assert rest.next is None


def test_a_cursor_survives_a_restart(tmp_path: Path) -> None:
    with Database.open(tmp_path / "db") as db:
        people = db.collection(Person)
        people.insert_many(person(n) for n in range(20))
        first = people.where(p.age > 0, p.tags.contains("common")).order_by(p.name).page(5)
        rows = people.order_by(p.name).all()
    with Database.open(tmp_path / "db") as db:
        people = db.collection(Person)
        second = people.where(p.age > 0, p.tags.contains("common")).order_by(p.name).page(5, first.next)
        assert first.items + second.items == rows[:10]


async def test_pages_with_limit_and_offset(db: Any) -> None:
    users = await filled(db)
    query = users.order_by(u.age).offset(5).limit(17)
    assert await walk(query, 4) == await query.all()
    assert await walk(query, 17) == await query.all()
    assert await walk(users.where().limit(0), 4) == []


async def test_pages_of_parts(db: Any) -> None:
    users = await filled(db)
    for query in (users.select(u.email), users.select(u.email, u.age).order_by(u.age)):
        assert await walk(query, 13) == await query.all()
    with pytest.raises(ModelVaultQueryError, match="distinct values have no cursors"):
        await users.select(u.age).distinct().page(3)


async def test_a_cursor_belongs_to_its_query(db: Any) -> None:
    users = await filled(db)
    people = await db.collection(Person)
    cursor = (await users.where(u.age > 20).order_by(u.age).page(3)).next
    for other in (
        users.where(u.age > 21).order_by(u.age),
        users.where(u.age >= 20).order_by(u.age),
        users.order_by(u.age),
        users.where(u.age > 20),
        users.where(u.age > 20).order_by(u.age.desc()),
        users.where(u.age > 20).order_by(u.age, u.name),
        people.where(p.age > 20).order_by(p.age),
    ):
        with pytest.raises(ModelVaultQueryError, match="belongs to another query"):
            await other.page(3, cursor)
    same = users.where("id", 1).or_where(users.where("id", 2))
    assert (await same.page(1)).next is not None
    assert await users.gt_where("age", 20).order_by("age").page(3, cursor)


async def test_a_changed_cursor_is_refused(db: Any) -> None:
    users = await filled(db)
    cursor = (await users.order_by(u.name).page(3)).next
    generator = random.Random(1)
    bad = ["", "x", cursor[:-1], cursor + "A", cursor + "=", "é" * 8, cursor.swapcase(), cursor[4:]]
    for _ in range(50):
        at = generator.randrange(len(cursor))
        letter = generator.choice("abcdefghijkABCDEFGHIJK0123456789-_")
        bad.append(cursor[:at] + letter + cursor[at + 1 :])
    for text in bad:
        if text != cursor:
            with pytest.raises(ModelVaultQueryError, match="no cursor, or it was changed"):
                await users.order_by(u.name).page(3, text)
    with pytest.raises(TypeError, match="argument 'after'"):
        await users.page(3, 5)


def test_a_cursor_of_a_later_version_says_so() -> None:
    from modelvault.pages import CHECK, digest, read_cursor, write_cursor

    cursor = write_cursor("q", 3, b"position")
    assert read_cursor("q", cursor) == (3, b"position")
    body = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-CHECK])
    body[0] = 2
    later = urlsafe_b64encode(bytes(body) + digest(bytes(body), CHECK)).decode().rstrip("=")
    with pytest.raises(ModelVaultQueryError, match="has version 2, not 1"):
        read_cursor("q", later)


async def test_sizes(db: Any) -> None:
    users = await filled(db)
    assert len(await users.page()) == 20
    with pytest.raises(ModelVaultQueryError, match="at least 1"):
        await users.page(0)
    with pytest.raises(OverflowError, match="page size -1"):
        await users.page(-1)
    with pytest.raises(TypeError):
        await users.page("3")
    with pytest.raises(ModelVaultQueryError, match="exceeds maximum 1048576"):
        await users.page(1_048_577)


def test_a_page_is_plain_data() -> None:
    page = Page([1, 2], "x")
    assert (list(page), len(page), page.next) == ([1, 2], 2, "x")
    assert page == Page([1, 2], "x")
