"""Some fields of a record, as the row has them."""

import pytest

from modelvault._core.columns import Columns
from modelvault._core.record import RecordCodec
from modelvault.annotations import row_type
from modelvault.errors import ModelVaultQueryError
from tests.models import User, user

CODEC = RecordCodec(row_type(User), 1, "id")


def test_values_and_projections() -> None:
    row = user(7)
    columns = Columns([CODEC], [("id",), ("address", "city"), ("tags",)])
    record = CODEC.encode(row)
    assert columns.values(record) == (7, "City 7", row.tags)
    assert columns.project(record) == {"address": {"city": "City 7"}, "id": 7, "tags": row.tags}
    assert Columns([CODEC], [("address", "city"), ("address",)]).project(record) == {"address": row.address}


def test_unknown_paths() -> None:
    for path in [("nope",), ("address", "nope"), ("id", "x"), ()]:
        with pytest.raises(ModelVaultQueryError, match="query error"):
            Columns([CODEC], [path])
