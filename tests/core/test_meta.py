"""Meta pages: four copies, of which any one finds the file."""

import dataclasses
import itertools

import pytest

from modelvault._core.file import MemoryFile
from modelvault._core.meta import PAGE_SIZES, Meta, first_pages, read_copies, read_meta, unpack, write_meta
from modelvault.errors import CorruptionError, ModelVaultFormatError

# fmt: off
FULL = Meta(
    8192, bytes(range(16)), 7, 70, 99, (4, 5, 6), (7, 8, 9), 10, 11, 12, 13, 14, 15, 16, 17, 0, 18, 19
)
# fmt: on


def new_file(page_size: int = 4096) -> MemoryFile:
    return MemoryFile(first_pages(Meta(page_size, bytes(range(16)))))


def spoil(file: MemoryFile, page: int, page_size: int = 4096) -> None:
    file.write_at(page * page_size + 100, [b"\xa5"])


def test_every_field_comes_back() -> None:
    assert unpack(FULL.pack(2)) == (FULL, 2)
    assert FULL.seed == int.from_bytes(bytes(range(8)), "little")


def test_the_layout_is_the_documented_one() -> None:
    copy = FULL.pack(3)
    assert len(copy) == 512 and copy[:8] == b"\x89MVLT\r\n\x1a"
    for offset, size, value in [
        (16, 4, 1), (20, 4, 8192), (24, 8, 0), (32, 8, 18), (56, 8, 7), (64, 8, 70), (72, 8, 99), (80, 8, 4),
        (96, 8, 6), (104, 8, 7), (128, 8, 10), (136, 8, 11), (144, 8, 12), (152, 8, 13), (160, 8, 14), (168, 8, 15),
        (176, 4, 3), (180, 4, 16), (184, 4, 17),
    ]:  # fmt: skip
        assert int.from_bytes(copy[offset : offset + size], "little") == value, offset
    assert copy[40:56] == bytes(range(16)) and not any(copy[188:192]) and copy[192] == 19 and not any(copy[193:])


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_any_single_copy_finds_the_file(page_size: int) -> None:
    for survivor in range(4):
        file = new_file(page_size)
        for page in {0, 1, 2, 3} - {survivor}:
            spoil(file, page, page_size)
        assert read_meta(file, repair=True).page_size == page_size
        with pytest.raises(CorruptionError, match="slot"):
            read_meta(file)
        with_magic_gone = MemoryFile(bytes(8) + bytes(file)[8:])
        if survivor:
            assert read_meta(with_magic_gone, repair=True).page_size == page_size


def test_one_rotten_copy_of_a_slot_does_not_hide_its_commit() -> None:
    for page in range(4):
        file = new_file()
        write_meta(file, Meta(4096, bytes(range(16)), generation=1))
        spoil(file, page)
        assert read_meta(file).generation == 1
        assert [copy is None for copy in read_copies(file)].index(True) == page


def test_every_subset_of_a_meta_write_opens_the_old_or_the_new() -> None:
    before = new_file()
    after = MemoryFile(bytes(before))
    write_meta(after, Meta(4096, bytes(range(16)), generation=1))
    for present in itertools.product([False, True], repeat=2):
        file = MemoryFile(bytes(before))
        for page, there in zip((2, 3), present, strict=True):
            if there:
                file.write_at(page * 4096, [bytes(after)[page * 4096 :][:512]])
        assert read_meta(file).generation == int(any(present))


def test_the_previous_meta_can_be_put_back() -> None:
    file = new_file()
    old = read_meta(file)
    write_meta(file, dataclasses.replace(old, generation=1))
    write_meta(file, old, slot=1)
    assert read_meta(file) == old


def test_what_is_not_a_database_is_told_from_what_is_damaged() -> None:
    for content, message in [
        (b"", "truncated header: got 0 bytes, expected 512"),
        (b"hello", "truncated header: got 5 bytes"),
        (b"hello" * 1000, r"bad magic bytes: expected .*, got \[68, 65, 6c, 6c, 6f, 68, 65, 6c\]"),
        (bytes(100_000), "bad magic bytes"),
    ]:
        with pytest.raises(ModelVaultFormatError, match="^format error: " + message) as info:
            read_meta(MemoryFile(content))
        assert not isinstance(info.value, CorruptionError)
    file = new_file()
    for page in range(4):
        spoil(file, page)
    with pytest.raises(CorruptionError, match="all four copies"):
        read_meta(file)
    for length in (8, 100, 511):
        with pytest.raises(CorruptionError):
            read_meta(MemoryFile(bytes(new_file())[:length]))


def test_a_file_that_was_cut_is_damaged() -> None:
    content = bytes(new_file())
    for length in (512, 4096, 4 * 4096 - 1):
        with pytest.raises(CorruptionError):
            read_meta(MemoryFile(content[:length]))


def test_newer_formats_are_refused() -> None:
    body = bytearray(FULL.pack(0))
    from modelvault._core.pager import checksum

    body[16] = 9
    body[8:16] = checksum(bytes(body[16:512])).to_bytes(8, "little")
    with pytest.raises(ModelVaultFormatError, match="unsupported format version 9"):
        unpack(bytes(body))
    with pytest.raises(ModelVaultFormatError, match="features"):
        unpack(dataclasses.replace(FULL, incompatible=4).pack(0))


def test_a_flip_of_any_bit_of_a_copy_is_noticed() -> None:
    copy = FULL.pack(1)
    for bit in range(len(copy) * 8):
        flipped = bytearray(copy)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unpack(bytes(flipped)) is None, bit
