"""Damage to a file is an error, or harmless: never wrong data, a crash or a hang."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelvault import Database, models
from modelvault.errors import CorruptionError
from tests.format.golden import GOLDEN, PAGE_SIZE, Thing, content, make
from tests.reliability import damage
from tests.reliability.damage import outcome, read_all
from tests.reliability.sealing import pages_in_use
from tests.reliability.tally import PATIENCE, Tally

pytestmark = pytest.mark.damaged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound file: small pages, rows with a long value, indexes, free pages."""
    path = tmp_path_factory.mktemp("damage") / "whole.modelvault"
    make(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("method", "most"),
    [(damage.flips, 1500), (damage.cuts, 1500), (damage.swaps, 1000), (damage.log_flips, 2500)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_noticed_or_harmless(method: Callable[[Tally, int, int], None], most: int) -> None:
    """The short form of each; all exchanges of pages, and a part of the bits and lengths."""
    tally = Tally.counted(method.__name__)
    method(tally, 20261123, most * PATIENCE)
    tally.check(at_least=200)


def test_flipped_bits(whole: bytes) -> None:
    """Every byte of the meta pages' contents and of all page headers of a larger file, one bit each."""
    expected = read_all(whole)
    draw = random.Random(20261123)
    places = [page * PAGE_SIZE + offset for page in range(4) for offset in range(0, 190, 3)]
    used = pages_in_use(whole)
    places += [page * PAGE_SIZE + offset for page in used for offset in (0, 8, 16, 24, 25, 26, 28, 30, 32, 36, 40)]
    survived = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        survived += outcome(damaged, expected)
    # One copy of the meta may rot; nearly everything else is noticed.
    assert 0 < survived < len(places) * 3 // 4


def test_one_rotten_copy_of_the_meta_is_harmless(whole: bytes) -> None:
    expected = read_all(whole)
    for page in range(4):
        damaged = bytearray(whole)
        damaged[page * PAGE_SIZE : page * PAGE_SIZE + 512] = os.urandom(512)
        assert outcome(damaged, expected)


def test_a_rotten_slot_is_an_error_not_an_older_state(whole: bytes) -> None:
    expected = read_all(whole)
    for slot in (0, 1):
        damaged = bytearray(whole)
        for page in (2 * slot, 2 * slot + 1):
            damaged[page * PAGE_SIZE + 100] ^= 0xFF
        assert not outcome(damaged, expected)


def test_cut_files(whole: bytes) -> None:
    """Any shorter length is noticed, unless only unused pages behind the last one are gone."""
    expected = read_all(whole)
    for length in range(0, len(whole), 512):
        if outcome(whole[:length], expected):
            assert length > len(whole) // 2
    assert outcome(whole + bytes(5 * PAGE_SIZE), expected)
    assert outcome(whole + b"garbage", expected)


def test_swapped_and_stale_pages(whole: bytes) -> None:
    """A page in another's place is noticed, and so is an older state of a page."""
    expected = read_all(whole)
    pages = len(whole) // PAGE_SIZE
    draw = random.Random(7)
    swaps = {(draw.randrange(4, pages), draw.randrange(4, pages)) for _ in range(400)}
    for first, second in sorted(swaps):
        damaged = bytearray(whole)
        a, b = (slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE) for page in (first, second))
        damaged[a], damaged[b] = damaged[b], damaged[a]
        outcome(damaged, expected)


def test_lost_writes(tmp_path: Path) -> None:
    """The disk says that a commit is written, and one page of it is not: reading that page is an error."""
    path = tmp_path / "db"
    make(path)
    before = path.read_bytes()
    with Database.open(path) as db:
        things = models.collection(db, Thing)
        for row in things.all():
            things.insert(row.model_copy(update={"ratio": 1.0}))
            db.checkpoint()  # each time, so that pages of the first state are used again
    after = path.read_bytes()
    expected = read_all(after)
    lost = 0
    for page in range(4, min(len(before), len(after)) // PAGE_SIZE):
        part = slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE)
        if before[part] == after[part]:
            continue
        damaged = bytearray(after)
        damaged[part] = before[part]
        lost += not outcome(damaged, expected)
    assert lost


def attempt(function: Callable[[], Thing | None]) -> Thing | CorruptionError | None:
    """What a function returned, or the damage that it met."""
    try:
        return function()
    except CorruptionError as error:
        return error


def test_damage_names_the_page_and_spares_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "db"
    shutil.copy(GOLDEN, path)
    expected = content()
    data = path.read_bytes()
    errors = 0
    for page in range(4, len(data) // PAGE_SIZE):
        damaged = bytearray(data)
        damaged[page * PAGE_SIZE + 2000] ^= 0x10
        path.write_bytes(damaged)

        def read(key: int) -> Thing | None:
            with Database.open(path, read_only=True) as db:
                return models.collection(db, Thing).get(key)

        found = {key: attempt(lambda key=key: read(key)) for key in list(expected)[::6]}
        bad = [error for error in found.values() if isinstance(error, CorruptionError)]
        # A long value has one checksum for all its pages: the error names the first.
        assert all(error.page is not None and error.page <= page < error.page + 9 for error in bad)
        assert all(row == expected[key] for key, row in found.items() if not isinstance(row, CorruptionError))
        errors += len(bad)
    assert errors
