"""A small database, and what it is compared with when an operation was refused."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.alike import assert_same
from tests.api.content import content
from tests.models import User, user

BOOKS = [
    {"path": ["id"], "type": "int64"},
    {"path": ["title"], "type": "string", "constraints": [{"min_length": 1}]},
    {"path": ["isbn"], "type": {"optional": "string"}},
    {"path": ["year"], "type": {"optional": "int64"}, "constraints": [{"min_i64": 1900}]},
    {"path": ["tags"], "type": {"list": "string"}},
    {
        "path": ["shelf"],
        "type": {"object": [{"path": ["room"], "type": "string"}, {"path": ["row"], "type": {"optional": "int64"}}]},
    },
    {"path": ["form"], "type": {"enum": ["paper", "audio"]}},
]
INDEXES = [
    {"name": "by_isbn", "path": ["isbn"], "kind": "unique"},
    {"name": "by_room", "path": ["shelf", "room"], "kind": "index"},
]


def book(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "id": number,
        "title": f"Book {number}",
        "isbn": f"isbn-{number}",
        "year": 2000,
        "tags": ["x"],
        "shelf": {"room": "A", "row": None},
        "form": "paper",
    }
    return row | changes


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


async def library(db: Any) -> Any:
    """A database with two books and a model collection."""
    await db.register_collection("books", json.dumps(BOOKS), "id", json.dumps(INDEXES))
    await db.insert("books", book(1))
    await db.insert("books", book(2, isbn=None, year=None))
    users = await db.collection(User)
    await users.insert(user(1))
    return db.collection("books")


async def refused(db: Any, action: Callable[[], Awaitable[Any]], error: Any, phrase: str | None) -> Any:
    """The error that an action raises; after it everything is as it was before."""
    before = await content(db)
    with pytest.raises(error, match=phrase) as info:
        await action()
    assert_same(await content(db), before)
    return info.value
