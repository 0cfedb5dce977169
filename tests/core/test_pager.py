"""Pages: drafts and their stamps, the cache, verified reads."""

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from modelvault._core.draft import Draft
from modelvault._core.file import MemoryFile
from modelvault._core.pager import Pager, checksum

LEAF = 1
PAGE = 4096


def memory_pager(page_size: int = PAGE, cache_size: int = 1 << 20) -> Pager:
    return Pager(MemoryFile(), page_size, cache_size, 7)


def ref_of(page: object) -> tuple[int, int, int]:
    return (page.number, page.serial, 0)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_the_checksum_is_xxh64(data: bytes, seed: int) -> None:
    assert checksum(data, seed) == xxhash.xxh64_intdigest(data, seed)


def test_a_draft_is_zeroed_and_can_be_changed_in_place() -> None:
    pager = memory_pager()
    draft = Draft(pager)
    page = draft.new(LEAF, 0, PAGE)
    body = bytes(page)
    assert body[24] == LEAF and body[32:36] == PAGE.to_bytes(4, "little") and not any(body[40:])
    page.write(100, b"hello")
    again, ref = draft.change(ref_of(page))
    assert again is page and ref == ref_of(page) and bytes(pager.read(ref))[100:105] == b"hello"


def test_what_a_version_sees_is_copied_and_later_released() -> None:
    pager = memory_pager()
    first = Draft(pager)
    page = first.new(LEAF, 0, PAGE)
    first.publish()
    stamp = pager.freeze()
    second = Draft(pager)
    copy, ref = second.change(ref_of(page))
    assert copy is not page and ref != ref_of(page)
    copy.write(50, b"new")
    second.publish()
    assert bytes(pager.read(ref_of(page)))[50:53] == bytes(3)
    pager.release(stamp)
    assert pager.read(ref_of(page)) is page, "a version made at `stamp` still sees it"
    pager.release(2**64 - 1)
    assert pager.draft_count == 1
    with pytest.raises(ValueError):
        pager.read(ref_of(page))


def test_rollback_leaves_only_what_was_there() -> None:
    pager = memory_pager()
    first = Draft(pager)
    page = first.new(LEAF, 0, PAGE)
    first.publish()
    second = Draft(pager)
    second.change(ref_of(page))[0].write(40, b"x")
    second.discard(ref_of(second.new(LEAF, 0, PAGE)), PAGE)
    second.new(LEAF, 0, 2 * PAGE)
    second.rollback()
    assert pager.draft_count == 1 and pager.draft_bytes == PAGE and not any(bytes(pager.read(ref_of(page)))[40:])


def test_a_savepoint_can_be_rewound_more_than_once() -> None:
    pager = memory_pager()
    draft = Draft(pager)
    page = draft.new(LEAF, 0, PAGE)
    page.write(40, b"before")
    depth = draft.mark()
    for _ in range(3):
        copy, ref = draft.change(ref_of(page))
        assert ref != ref_of(page)
        copy.write(40, b"after!")
        draft.new(LEAF, 0, PAGE)
        draft.rewind(depth)
        assert pager.draft_count == 1 and bytes(pager.read(ref_of(page)))[40:46] == b"before"
    draft.forget(depth)
    assert draft.change(ref_of(page))[0] is page, "without a savepoint nobody else sees the draft"
    with pytest.raises(ValueError):
        draft.rewind(depth)


def test_an_inline_write_changes_the_newest_version_itself() -> None:
    pager = memory_pager()
    first = Draft(pager)
    page = first.new(LEAF, 0, PAGE)
    first.publish()
    second = Draft(pager, inline=True)
    assert second.change(ref_of(page))[0] is page
    second.discard(ref_of(page), PAGE)
    assert pager.draft_count == 0
