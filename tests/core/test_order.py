"""The order of rows as bytes is the order that Python's sort gives."""

from typing import Any

import pytest

from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.order import SortKeys
from modelvault._core.record import RecordCodec
from modelvault.conditions import Order
from modelvault.errors import ModelVaultQueryError
from modelvault.types import Field, Type

STRING = Type("string")
ADDRESS = Type("object", fields=(Field("city", STRING),))
ROW = Type(
    "object",
    fields=(
        Field("id", STRING),
        Field("n", Type("optional", (Type("int"),))),
        Field("address", Type("optional", (ADDRESS,))),
        Field("tags", Type("list", (STRING,))),
    ),
)
CODEC = RecordCodec(ROW, 1, "id")
KEYS = KeyCodec(STRING)


def row(id: str, n: int | None = None, city: str | None = None) -> dict[str, Any]:
    return {"id": id, "n": n, "address": None if city is None else {"city": city}, "tags": []}


ROWS = [row(id, n, city) for id in ("", "a", "ab", "a\0", "b") for n in (None, -1, 300) for city in (None, "x", "x\0y")]


def ordered(*orders: Order, desc: bool | None = None) -> list[dict[str, Any]]:
    keys = SortKeys([CODEC], orders, desc)
    pairs = {keys.key(CODEC.encode(row), KEYS.pack(row["id"])): row for row in ROWS}
    return [pairs[key] for key in sorted(pairs)]


def test_a_term_is_the_entry_of_an_index() -> None:
    keys = SortKeys([CODEC], [Order(("n",))])
    index = IndexKeys(CODEC, (("n",),))
    for row in ROWS:
        record, primary = CODEC.encode(row), KEYS.pack(row["id"])
        assert keys.key(record, primary) == index.extract(record)[0] + primary
        for desc in (False, True):
            turned = SortKeys([CODEC], [Order(("n",), desc)])
            assert turned.entry(turned.key(record, primary)) == (index.extract(record)[0], primary)


@pytest.mark.parametrize("path", [("tags",), ("address",), ("nope",), ("id", "x"), ()])
def test_what_has_no_order(path: tuple[str, ...]) -> None:
    with pytest.raises(ModelVaultQueryError, match="query error"):
        SortKeys([CODEC], [Order(path)])
