"""Cursors: both directions, ranges and prefixes, versions that stay while writes go on, cold pages, damaged pages."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelvault._core.cursor import Cursor
from modelvault._core.draft import Draft
from modelvault._core.file import MemoryFile
from modelvault._core.pager import Pager, checksum
from modelvault._core.walk import Tree
from modelvault.errors import CorruptionError, ModelVaultSchemaError

PAGE = 4096
SEED = 7
EMPTY = (0, 0, 0, 0)


def filled(items: dict[bytes, bytes]) -> Tree:
    tree = Tree(Draft(Pager(MemoryFile(), PAGE, 1 << 26, SEED)))
    for key, value in items.items():
        tree.put(key, value)
    return tree


def test_a_cursor_of_an_empty_tree_is_nowhere() -> None:
    cursor = Cursor(Pager(MemoryFile(), PAGE, 1 << 20), EMPTY)
    assert not cursor.to_first() and not cursor.to_last() and not cursor.to(b"x") and not cursor.to_last_before(b"x")
    for call in (cursor.step, cursor.step_back, cursor.entry):
        with pytest.raises(ValueError, match="no entry"):
            call()


def test_a_cursor_made_without_a_pager_is_nowhere() -> None:
    cursor = Cursor.__new__(Cursor)
    assert not cursor.to_first() and not cursor.to(b"x")
    with pytest.raises(ValueError, match="no entry"):
        cursor.step()


def test_every_position_from_every_key() -> None:
    items = {b"%04d" % n: b"v%d" % n for n in range(0, 3000, 3)}
    cursor = filled(items).cursor()
    keys = sorted(items)
    for n in range(3005):
        key = b"%04d" % n
        at = min(-(-n // 3), len(keys))
        if at < len(keys):
            assert cursor.to(key) and cursor.entry() == (keys[at], items[keys[at]])
            assert cursor.step_back() == (at > 0)
        else:
            assert not cursor.to(key)
        if at > 0:
            assert cursor.to_last_before(key) and cursor.entry()[0] == keys[at - 1]
            assert cursor.step() == (at < len(keys))
        else:
            assert not cursor.to_last_before(key)


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=200), st.integers(0, 799))
def test_walking_back_and_forth(steps: list[bool], at: int) -> None:
    keys = [b"key %05d" % n for n in range(800)]
    cursor = WALKED.cursor()
    assert cursor.to(keys[at])
    for forward in steps * 3:
        at += 1 if forward else -1
        there = cursor.step() if forward else cursor.step_back()
        assert there == (0 <= at < len(keys))
        if not there:
            return
        assert cursor.entry()[0] == keys[at]


WALKED = filled({b"key %05d" % n: b"x" * 150 for n in range(800)})


def test_a_cursor_over_an_older_version_stays_while_a_write_goes_on() -> None:
    items = {b"%06d" % n: b"v" * (n % 60) for n in range(5000)}
    tree = filled(items)
    tree.draft.publish()
    root = tree.root
    cursor = tree.cursor()
    seen = []
    write = Tree(Draft(tree.draft.pager), root)
    there = cursor.to_first()
    while there:
        seen.append(cursor.entry())
        key = b"%06d" % random.Random(len(seen)).randrange(6000)
        if len(seen) % 3:
            write.put(key, b"changed")
        else:
            write.delete(key)
        there = cursor.step()
    assert seen == sorted(items.items())
    assert list(Tree(Draft(tree.draft.pager), root).items()) == sorted(items.items())


def test_a_cursor_outlives_the_eviction_of_its_pages() -> None:
    file = MemoryFile()
    pager = Pager(file, PAGE, 8 * PAGE, SEED)
    pager.page_count = 4
    tree = Tree(Draft(pager, 1))
    items = {b"%06d" % n: b"%d" % n * (2000 if n % 100 == 0 else 3) for n in range(3000)}
    for key, value in items.items():
        tree.put(key, value)
    tree.seal()
    tree.draft.write_out()
    tree.draft.complete()
    cursors = [tree.cursor() for _ in range(40)]
    for n, cursor in enumerate(cursors):
        assert cursor.to(b"%06d" % (n * 75))
    for n, cursor in enumerate(cursors):
        assert cursor.entry()[0] == b"%06d" % (n * 75)
    assert list(tree.items()) == sorted(items.items())
    assert pager.stats()["cache_bytes"] <= 8 * PAGE


# Damaged pages whose checksums were made good again


def stored() -> tuple[bytes, tuple[int, ...], int, dict[bytes, bytes]]:
    """A small file with a tree of three levels' worth of everything: its bytes, root, page count and rows."""
    file = MemoryFile()
    pager = Pager(file, PAGE, 1 << 26, SEED)
    pager.page_count = 4
    tree = Tree(Draft(pager, 1))
    chance = random.Random(1)
    items = {}
    for n in range(700):
        key = b"shared prefix %04d" % n + b"long" * (chance.randrange(150) if n % 5 == 0 else 0)
        items[key] = chance.randbytes(9000 if n % 90 == 0 else 1500 if n % 70 == 0 else n % 50)
    for key, value in items.items():
        tree.put(key, value)
    tree.seal()
    tree.draft.write_out()
    data = file.read_at(0, pager.page_count * PAGE)
    assert data is not None
    return data, tree.root, pager.page_count, items


STORED = stored()


def parents(data: bytes, root: tuple[int, ...]) -> dict[int, tuple[int, int, int]]:
    """Where the ref to each page and extent stands: number -> (page, offset of the ref, pages)."""
    found = {}
    todo = [root[0]]
    while todo:
        number = todo.pop()
        page = data[number * PAGE : (number + 1) * PAGE]
        for index in range(struct.unpack_from("<H", page, 26)[0]):
            _, offset, length = struct.unpack_from("<IHH", page, 40 + 8 * index)
            pages = 1
            if page[25] == 0:
                tag, shift = 0, 0
                while True:
                    tag |= (page[offset] & 0x7F) << shift
                    shift += 7
                    offset += 1
                    if page[offset - 1] < 0x80:
                        break
                if not tag & 1:
                    continue
                offset += length
                pages = ((tag >> 1) + 40 + PAGE - 1) // PAGE
            child = struct.unpack_from("<Q", page, offset)[0]
            found[child] = (number, offset, pages)
            if page[25]:
                todo.append(child)
    return found


PARENTS = parents(STORED[0], STORED[1])


def sealed_again(data: bytearray, root: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Make the checksums good from a page up to the root; the root then."""
    while True:
        parent, offset, pages = PARENTS.get(number, (0, 0, 1))
        start = number * PAGE
        struct.pack_into("<Q", data, start, checksum(bytes(data[start + 8 : start + pages * PAGE]), SEED))
        if number == root[0]:
            return (*root[:2], struct.unpack_from("<Q", data, start)[0], root[3])
        data[parent * PAGE + offset + 16 : parent * PAGE + offset + 24] = data[start : start + 8]
        number = parent


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[int, int, bytes]]:
    """Bytes to overwrite: mostly in headers, slots and refs."""
    numbers = st.sampled_from([STORED[1][0], *sorted(PARENTS)])
    offsets = st.one_of(st.integers(24, 39), st.integers(40, 200), st.integers(24, PAGE - 9))
    small = st.integers(0, 65535).map(lambda n: n.to_bytes(2, "little"))
    numbered = st.integers(0, STORED[2] + 2).map(lambda n: n.to_bytes(8, "little"))
    news = st.one_of(
        st.binary(min_size=1, max_size=8), small, numbered, st.sampled_from([b"\xff" * 8, bytes(8), b"\x80" * 5])
    )
    number = draw(numbers)
    return [(number, draw(offsets), draw(news)) for _ in range(draw(st.integers(1, 3)))]


def attempt(call: object, *arguments: object) -> object:
    """What a call returns; None if it finds damage."""
    try:
        return call(*arguments)
    except (CorruptionError, ModelVaultSchemaError):
        return None


def mistreat(tree: Tree, keys: list[bytes]) -> None:
    """Use every operation on a damaged tree."""
    attempt(tree.check)
    attempt(lambda: sum(1 for _ in zip(tree.items(), range(3000), strict=False)))
    attempt(lambda: sum(1 for _ in zip(tree.items(backward=True), range(3000), strict=False)))
    cursor = tree.cursor()
    for key in keys[::7]:
        found = attempt(tree.get, key)
        assert found is None or isinstance(found, bytes)
        attempt(cursor.to, key)
        attempt(cursor.to_last_before, key)
    chance = random.Random(2)
    for key in chance.sample(keys, 150):
        if attempt(tree.put, key[:100] + b"x", bytes(chance.choice([0, 30, 400, 1500]))) is None:
            return
        if attempt(tree.delete, key) is None:
            return
    attempt(tree.check)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(damages())
def test_damage_under_good_checksums_is_an_error_or_an_answer(damage: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(STORED[0])
    for number, offset, new in damage:
        data[number * PAGE + offset : number * PAGE + offset + len(new)] = new
    root = sealed_again(data, STORED[1], damage[0][0])
    file = MemoryFile()
    file.write_at(0, [bytes(data)])
    pager = Pager(file, PAGE, 20 * PAGE, SEED)
    pager.page_count = STORED[2]
    mistreat(Tree(Draft(pager, 2), root), list(STORED[3]))


def test_the_file_that_is_damaged_above_is_sound() -> None:
    file = MemoryFile()
    file.write_at(0, [STORED[0]])
    pager = Pager(file, PAGE, 20 * PAGE, SEED)
    tree = Tree(Draft(pager, 2), sealed_again(bytearray(STORED[0]), STORED[1], max(PARENTS)))
    assert list(tree.items()) == sorted(STORED[3].items())
    assert len(tree.check()) == len(PARENTS) + 1
