"""The short form of the decoder fuzzing, and what it has found."""

from __future__ import annotations

from typing import Any

import pytest

from modelvault.errors import ModelVaultFormatError
from modelvault.schema import Schema
from tests.reliability import fuzz
from tests.reliability.sealing import Sealed
from tests.reliability.tally import Tally

pytestmark = pytest.mark.damaged


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_sealed_damage_is_an_error_or_data(target: str) -> None:
    tally = Tally.counted(f"fuzz, {target}")
    fuzz.run(tally, 20261130, most=40, targets=(target,))
    tally.check(at_least=40)


def test_what_is_sealed_again_is_accepted() -> None:
    """A page with another value in it, sealed up to the meta, is read without complaint: the fuzzing gets through."""
    with fuzz.Ready():
        file: Sealed = fuzz.sealed()
        page, place = next(
            (page, file.page(page).index(b"thing 041")) for page in file.extents if b"thing 041" in file.page(page)
        )
        changed = file.page(page).replace(b"thing 041", b"thing O41")
        content = file.with_page(page, changed)
        fuzz.installed().hold(fuzz.PATH, content)
        with fuzz.Database.open(fuzz.PATH, read_only=True) as db:
            names = {row.name for row in db.collection(fuzz.Thing).all()}
        assert "thing O41" in names and "thing 041" not in names and place
        damaged = bytearray(content)
        damaged[page * file.page_size + 100] ^= 1
        fuzz.installed().hold(fuzz.PATH, bytes(damaged))
        with fuzz.Database.open(fuzz.PATH, read_only=True) as db, pytest.raises(ModelVaultFormatError):
            db.verify()


@pytest.mark.parametrize(
    "type",
    [
        {"kind": "list"},
        {"kind": "list", "items": ["int", "int"]},
        {"kind": "dict", "items": ["string"]},
        {"kind": "optional"},
        {"kind": "union", "items": ["int"]},
        {"kind": "ref"},
        {"kind": "ref", "values": [7]},
        {"kind": "ref", "values": ["x"]},
        {"kind": "enum"},
        {"kind": "enum", "values": [[]]},
        {"kind": "int", "items": ["int"]},
        {"kind": "object", "fields": [["a"]]},
        {"kind": 7},
        7,
    ],
    ids=str,
)
@pytest.mark.parametrize("older", [False, True], ids=["newest", "older"])
def test_a_type_that_cannot_be_is_no_schema(type: Any, older: bool) -> None:
    """Codecs rely on the form of a type: one that lacks its parts made them read beyond the end of a tuple."""
    source = {
        "form": 1,
        "name": "rows",
        "primary": "id",
        "version": 1,
        "fields": [["id", "int"], ["x", type]],
        "indexes": [],
    }
    with pytest.raises(ModelVaultFormatError):
        Schema.from_json(source, older=older)
