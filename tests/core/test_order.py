"""The order of rows as bytes is the order that Python's sort gives."""

from functools import cmp_to_key
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.order import SortKeys
from modelvault._core.record import RecordCodec
from modelvault.conditions import Order
from modelvault.errors import CorruptionError, ModelVaultQueryError
from modelvault.types import Field, Type
from tests.core.test_program import PATHS, bare, in_order, leaves, optional, row, small
from tests.core.test_program import ROW as EVERY_KIND

STRING = Type("string")
ROW = row(
    id=STRING,
    n=optional(Type("int")),
    address=optional(row(city=STRING)),
    tags=Type("list", (STRING,)),
)
CODEC = RecordCodec(ROW, 1, "id")
KEYS = KeyCodec(STRING)
ROWS: list[dict[str, Any]] = [
    {"id": id, "n": n, "address": None if city is None else {"city": city}, "tags": []}
    for id in ("", "a", "ab", "a\0", "b")
    for n in (None, -1, 300)
    for city in (None, "x", "x\0y")
]


def test_a_term_is_the_entry_of_an_index() -> None:
    keys = SortKeys([CODEC], [Order(("n",))])
    index = IndexKeys(CODEC, (("n",),))
    for value in ROWS:
        record, primary = CODEC.encode(value), KEYS.pack(value["id"])
        assert keys.key(record, primary) == index.extract(record)[0] + primary


@settings(max_examples=60)
@given(
    st.lists(st.builds(Order, st.sampled_from([("n",), ("address", "city"), ("id",)]), st.booleans()), max_size=3),
    st.none() | st.booleans(),
)
def test_several_terms_and_back(orders: list[Order], desc: bool | None) -> None:
    keys = SortKeys([CODEC], orders, desc)
    ascending = SortKeys([CODEC], [Order(order.path) for order in orders])
    down = desc if desc is not None else bool(orders) and orders[-1].desc
    assert keys.desc == down

    def before(a: dict[str, Any], b: dict[str, Any]) -> int:
        for order in (*orders, Order(("id",), down)):
            left, right = (next(leaves(ROW, value, order.path)) for value in (a, b))
            found = (
                (left is None, left or 0) > (right is None, right or 0) if (left is None) != (right is None) else None
            )
            if found is None:
                found = None if left == right else left > right
            if found is not None:
                return -1 if found == order.desc else 1
        return 0

    rows = [value for i, value in enumerate(ROWS) if i % 9 == 2 * (i // 9)]  # each id once
    packed = {keys.key(CODEC.encode(value), KEYS.pack(value["id"])): value for value in rows}
    in_python = sorted(packed.values(), key=cmp_to_key(before))
    assert [packed[key] for key in sorted(packed)] == in_python
    for key, value in packed.items():
        components, primary = keys.parts(key)
        assert primary == KEYS.pack(value["id"])
        assert b"".join(components) + primary == ascending.key(CODEC.encode(value), primary)


SCALAR_PATHS = sorted(
    path for path, kind in PATHS.items() if path[0] not in ("items", "union", "thing") and not path[-1].endswith("s")
)


@settings(max_examples=200)
@given(st.data(), st.booleans())
def test_every_kind(data: st.DataObject, desc: bool) -> None:
    path = data.draw(st.sampled_from([path for path in SCALAR_PATHS if path != ("inner", "c")]))
    top = next(part for part in EVERY_KIND.fields if part.name == path[0])
    kind = Type("object", fields=(Field("pk", Type("int")), Field(top.name, top.type)))
    codec = RecordCodec(kind, 1, "pk")
    keys = SortKeys([codec], [Order(path, desc)])
    found = []
    for number, value in enumerate(data.draw(st.lists(small(row(**{top.name: top.type})), max_size=8))):
        record = codec.encode({"pk": number} | value)
        leaf = next(leaves(kind, codec.decode(record), path))
        sign = -1 if desc else 1
        rank = (sign * (leaf is None), leaf)
        found.append((keys.key(record, KeyCodec(Type("int")).pack(number)), rank, number * sign))
    found.sort(key=lambda entry: entry[0])
    for (_, a, first), (_, b, second) in pairwise(found):
        assert a[0] <= b[0]
        if a[1] is not None and b[1] is not None:
            left, right = in_order(bare(PATHS[path]), a[1]), in_order(bare(PATHS[path]), b[1])
            assert left == right or (left > right) == desc
            assert left != right or first < second
        elif a[1] is b[1]:
            assert first < second


def test_values_without_a_key_of_their_own() -> None:
    codec = RecordCodec(row(pk=Type("int"), v=Type("any")), 1, "pk")
    keys = SortKeys([codec], [Order(("v",))])
    expected = [float("-inf"), False, 1, 1.5, 2, "a", "b", b"a", None]
    packed = [keys.key(codec.encode({"pk": 1, "v": value}), b"\x81\x01") for value in expected]
    assert packed == sorted(packed)
    with pytest.raises(ModelVaultQueryError, match="no order"):
        keys.key(codec.encode({"pk": 1, "v": [1]}), b"\x81\x01")


def test_old_records() -> None:
    old = RecordCodec(row(id=STRING), 1, "id")
    parts = (Field("id", STRING), Field("n", Type("int"), default=5), Field("m", optional(STRING)))
    new = RecordCodec(Type("object", fields=parts), 2, "id")
    for path, value in ((("n",), 5), (("m",), None)):
        keys = SortKeys([old, new], [Order(path)])
        fresh = new.encode({"id": "a", "n": 5, "m": None} | {path[0]: value})
        assert keys.key(old.encode({"id": "a"}), b"a") == keys.key(fresh, b"a")


@given(st.binary(max_size=30))
def test_what_is_no_sort_key(key: bytes) -> None:
    keys = SortKeys([CODEC], [Order(("n",), True), Order(("address", "city"))], True)
    try:
        keys.parts(key)
    except CorruptionError:
        return
    assert key[:1] in (b"\xfe", b"\xfd")


@pytest.mark.parametrize("path", [("tags",), ("address",), ("nope",), ("id", "x"), ()])
def test_what_has_no_order(path: tuple[str, ...]) -> None:
    with pytest.raises(ModelVaultQueryError, match="query error"):
        SortKeys([CODEC], [Order(path)])
