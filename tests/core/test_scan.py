"""Scans: every kind of source against plain Python, in slices, on cold disks, amid changes, on damaged pages."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelvault._core.scan
from modelvault._core.columns import Columns
from modelvault._core.cover import Cover
from modelvault._core.order import SortKeys
from modelvault._core.pager import Pager
from modelvault._core.program import Program
from modelvault._core.record import Face, RecordCodec
from modelvault._core.scan import Scan
from modelvault._core.sorting import Sort
from modelvault._core.table import Table
from modelvault._core.walk import Tree
from modelvault._covered import part_of
from modelvault.conditions import ALL, Condition, Every, Negation, Test
from modelvault.errors import ColdPage, CorruptionError, ModelVaultFormatError
from modelvault.schema import Field, Type
from tests.core.tables import (
    CODEC,
    FACE,
    KEY,
    KEYS,
    PATHS,
    ROW,
    STRING,
    ColdFile,
    Row,
    Span,
    Store,
    entries_of,
    expected,
    in_span,
    random_rows,
)

Source = tuple[Any, ...]

CONDITIONS: dict[str, tuple[Any, Callable[[Row], bool]] | None] = {
    "none": None,
    "n": (Test(("n",), "ge", (2,)), lambda row: row["n"] is not None and row["n"] >= 2),
    "tag": (Test(("tags",), "eq", ("p",)), lambda row: "p" in row["tags"]),
    "rare": (Test(("level",), "eq", (7,)), lambda row: row["level"] == 7),
    "regex": (Test(("s",), "regex", ("b.c|a",)), lambda row: row["s"] in ("a", "b\0c")),
    "both": (
        Every((Negation(Test(("s",), "eq", ("a",))), Test(("s",), "regex", ("[ag]",)))),
        lambda row: row["s"] == "long " * 5,
    ),
}


def program(name: str) -> Program | None:
    condition = CONDITIONS[name]
    return None if condition is None else Program([CODEC], condition[0])


def holds(name: str, row: Row) -> bool:
    condition = CONDITIONS[name]
    return condition is None or condition[1](row)


def spans(chance: random.Random, points: list[bytes], most: int) -> tuple[Span, ...]:
    """Ascending and disjoint ranges with bounds at, before and behind the points."""
    bounds: list[bytes | None] = []
    for _ in range(2 * chance.randint(1, most)):
        point = chance.choice(points) if points else b""
        bounds.append(point[: chance.randint(0, len(point))] + chance.choice([b"", b"\0", b"\xff"]))
    bounds.sort(key=lambda bound: bound or b"")
    if chance.random() < 0.3:
        bounds[0] = None
    if chance.random() < 0.3:
        bounds[-1] = None
    return tuple(zip(bounds[::2], bounds[1::2], strict=True))


def random_source(chance: random.Random, rows: dict[bytes, Row], depth: int = 0) -> Source:
    """A source of any kind."""
    kind = chance.choice(["keys", "rows", "entries", "entries", "union"] if depth < 2 else ["keys", "rows", "entries"])
    keys = sorted(rows)
    if kind == "keys":
        some = [chance.choice(keys) for _ in range(chance.randint(0, 20))] if keys else []
        return kind, (*some, *(key + b"x" for key in some[:5]))
    if kind == "rows":
        ((low, high),) = spans(chance, keys, 1)
        return kind, low, high
    if kind == "union":
        return kind, tuple(random_source(chance, rows, depth + 1) for _ in range(chance.randint(0, 4)))
    index = chance.choice(list(PATHS))
    points = [entry for key in keys for entry in entries_of(key, rows[key], index)]
    ranges = spans(chance, points, 3)
    return kind, index, ranges, "tags" in index and chance.random() < 0.8


def patient(call: Callable[[bool], Any]) -> Any:
    """The result of a call that may meet a cold page: then once more, with leave to wait."""
    try:
        return call(False)
    except ColdPage:
        return call(True)


def drain(scan: Scan, chance: random.Random, slices: tuple[int, int], how: str, release: bool) -> list[Any]:
    """Everything that a scan gives, in slices; rows as their keys."""
    found: list[Any] = []
    count, budget = slices
    while not scan.done:
        size = chance.randint(1, count)
        limit = chance.randint(1, budget)
        if how == "keys":
            found += patient(lambda wait, s=size, b=limit: scan.keys(s, b, wait, release))
        elif how == "rows":
            found += [
                FACE.encode(row)[0]
                for row in patient(lambda wait, s=size, b=limit: scan.fetch(FACE, s, b, wait, release))
            ]
        else:
            part = patient(lambda wait, s=size, b=limit: scan.fetch(None, s, b, wait, release))
            assert len(part) <= size
            for key, record in part:
                assert FACE.encode(FACE.decode(record))[0] == key
                found.append(key)
    return found


def check_source(store: Store, seed: int, slices: tuple[int, int], release: bool) -> None:
    """A random source in random slices, with and without a program, in both directions, and counted."""
    chance = random.Random(seed)
    table, roots = store.table, store.version.roots
    source = random_source(chance, store.rows)
    name = chance.choice(list(CONDITIONS))
    backward = chance.random() < 0.4
    right = [key for key in expected(store.rows, source, backward) if holds(name, store.rows[key])]
    how = chance.choice(["keys", "rows", "pairs"])
    held = chance.choice([1, 5, 1 << 18])
    scan = Scan(table, roots, source, program(name), backward, None, held)
    assert drain(scan, chance, slices, how, release) == right, (source, name, backward)
    assert scan.returned == len(right)
    assert scan.fetch(FACE, 10) == []
    # Counted in slices; passed over, then read; resumed behind any position.
    scan = Scan(table, roots, source, program(name), backward)
    total = 0
    while not scan.done:
        total += patient(lambda wait: scan.count(slices[1], wait, release))
    assert total == len(right)
    scan = Scan(table, roots, source, program(name), backward)
    offset, passed = chance.randint(0, len(right) + 2), 0
    while passed < offset and not scan.done:
        passed += patient(lambda wait, left=offset - passed: scan.skip(left, slices[1], wait, release))
    assert passed == min(offset, len(right))
    if scan.position is not None:
        again = Scan(table, roots, source, program(name), backward, scan.position, held)
        assert drain(again, chance, slices, "keys", release) == right[passed:]
    assert drain(scan, chance, slices, how, release) == right[passed:]


SLICES = st.sampled_from([(1, 3), (7, 7), (3, 1000), (1000, 40), (5000, 5000), (100000, 100000)])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 5, 60, 400]), SLICES, st.booleans())
def test_any_source_against_plain_python(seed: int, count: int, slices: tuple[int, int], release: bool) -> None:
    store = Store(random_rows(random.Random(seed), count))
    for i in range(8):
        check_source(store, seed + i, slices, release)
    store.close()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), SLICES, st.booleans(), st.sampled_from([4, 12, 1000]))
def test_any_source_on_a_cold_disk(seed: int, slices: tuple[int, int], release: bool, pages: int) -> None:
    file = ColdFile()
    store = Store(random_rows(random.Random(seed), 300), file=file, cache_pages=pages)
    file.chance = random.Random(seed)
    file.cold = True
    for i in range(6):
        check_source(store, seed + i, slices, release)
    file.cold = False
    store.close()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), SLICES, st.booleans(), st.sampled_from([4, 12, 1000]))
def test_entries_instead_of_rows(seed: int, slices: tuple[int, int], release: bool, pages: int) -> None:
    """What a cover makes of entries, on a cold disk: values and order are those of the rows."""
    file, chance = ColdFile(), random.Random(seed)
    store = Store(random_rows(chance, 300), file=file, cache_pages=pages)
    file.chance, file.cold = chance, True
    for index in ("by_n", "by_s_n", "by_x_s"):
        points = sorted(entry for key, row in store.rows.items() for entry in entries_of(key, row, index))
        source, backward = ("entries", index, spans(chance, points, 3), False), chance.random() < 0.4
        paths = [*PATHS[index], ("id",)]
        small = RecordCodec(part_of(ROW, paths), 0, "id")
        asked: Condition = chance.choice([ALL, Test(PATHS[index][0], "ne", (0,)), Test(("id",), "regex", ("[1-5]",))])
        if index == "by_s_n" and asked != ALL:
            asked = Test(("s",), "startswith", ("b",))
        condition = None if asked == ALL else Program([small], asked)
        whole = None if asked == ALL else Program([CODEC], asked)
        right = Scan(store.table, store.version.roots, source, whole, backward).fetch(Columns([CODEC], paths), 1000)
        cover = Cover(small, KEYS[index])
        scan = Scan(store.table, store.version.roots, source, condition, backward, cover=cover)
        found: list[Any] = []
        shape = Columns([small], paths)
        while not scan.done:
            size, budget = chance.randint(1, slices[0]), chance.randint(1, slices[1])
            found += patient(lambda wait, s=size, b=budget, o=scan, sh=shape: o.fetch(sh, s, b, wait, release))
            if chance.random() < 0.1:
                scan = Scan(store.table, store.version.roots, source, condition, backward, scan.position, cover=cover)
        assert repr(found) == repr(right)
        scan = Scan(store.table, store.version.roots, source, condition, backward, cover=cover)
        total = 0
        while not scan.done:
            total += patient(lambda wait, one=scan: one.count(slices[1], wait, release))
        assert total == len(right)
    file.cold = False
    store.close()


def test_entries_instead_of_rows_read_no_rows() -> None:
    store = Store(random_rows(random.Random(5), 400))
    small = RecordCodec(part_of(ROW, [("id",), ("n",)]), 0, "id")
    source = ("entries", "by_n", ((None, None),), False)
    scan = Scan(store.table, store.version.roots, source, cover=Cover(small, KEYS["by_n"]))
    assert len(scan.fetch(None, 1000)) == len(store.rows) == scan.examined
    assert scan.pages == leaves(store, source)
    store.close()


def leaves(store: Store, source: Source) -> int:
    """The leaves of the entries alone."""
    scan = Scan(store.table, store.version.roots, source)
    scan.keys(1000)
    return scan.pages


def test_a_scan_goes_on_in_changed_roots() -> None:
    """A transaction changes rows between slices: what is behind the position is as it is then."""
    for seed in range(12):
        chance = random.Random(seed)
        store = Store(random_rows(chance, 200))
        source = random_source(chance, store.rows)
        if source[0] == "entries":
            source = (*source[:3], False)
        backward = chance.random() < 0.5
        write = store.engine.begin()
        scan = Scan(store.table, write.roots, source, None, backward)
        while not scan.done:
            before = scan.position
            found = scan.keys(chance.randint(1, 30), chance.randint(1, 60))
            right = positions(store.rows, source, backward, before)
            assert found == [key for _, key in right[: len(found)]]
            if not scan.done:
                assert scan.position is not None or not found
            for key in chance.sample(sorted(store.rows), min(10, len(store.rows))):
                store.delete(write, key)
            for row in random_rows(chance, 10):
                store.put(write, row)
            scan.rebase(write.roots)
        store.engine.commit(write)
        store.close()


def positions(rows: dict[bytes, Row], source: Source, backward: bool, after: bytes | None) -> list[tuple[bytes, bytes]]:
    """(position, key) of what a source gives behind a position."""
    if source[0] == "entries":
        found = [
            (entry, key)
            for key, row in rows.items()
            for entry in entries_of(key, row, source[1])
            if any(in_span(entry, span) for span in source[2])
        ]
        found.sort(reverse=backward)
    else:
        found = [(key, key) for key in expected(rows, source, backward)]
    return [pair for pair in found if after is None or (pair[0] < after if backward else pair[0] > after)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0, 3, 100, 800]))
def test_estimates(seed: int, count: int) -> None:
    """Never far from the truth, and exact in a leaf."""
    chance = random.Random(seed)
    store = Store(random_rows(chance, count))
    table, roots = store.table, store.version.roots
    for index in (None, *PATHS):
        keys = (
            sorted(store.rows)
            if index is None
            else sorted(entry for key, row in store.rows.items() for entry in entries_of(key, row, index))
        )
        assert table.estimate(roots, index, None, None) == len(keys)
        for low, high in spans(chance, keys, 5):
            right = sum(in_span(key, (low, high)) for key in keys)
            guess = table.estimate(roots, index, low, high)
            assert abs(guess - right) <= 3 + 0.6 * len(keys), (index, low, high)
            if right == 0:
                assert guess <= 0.1 * len(keys) + 1
    with pytest.raises(KeyError):
        table.estimate(roots, "no such index", None, None)
    store.close()


def test_unknown_sources_are_refused() -> None:
    store = Store()
    with pytest.raises(ValueError, match="unknown source"):
        Scan(store.table, store.version.roots, ("everything",))
    with pytest.raises(KeyError):
        Scan(store.table, store.version.roots, ("entries", "no such index", (), False))
    store.close()


# Damage


def reader(store: Store, content: bytes) -> Table:
    """The same table on another copy of its file."""
    pager = Pager(ColdFile(content), 4096, 1 << 20, store.engine.meta.seed)
    indexes = [(index.name, index.tree, False, index.extractors) for index in store.table.indexes]
    return Table(pager, "things", store.table.tree, KEY, indexes)


def damage(call: Callable[[], object]) -> CorruptionError | None:
    """The damage that a call finds."""
    try:
        call()
    except CorruptionError as error:
        return error
    return None


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("kind", ["rows", "entries", "keys", "union"])
def test_a_damaged_page_is_named(kind: str, release: bool) -> None:
    """Whichever page of the table is damaged: its number and the tree are in the error, or it was not needed."""
    file = ColdFile()
    store = Store(random_rows(random.Random(3), 400), file=file)
    content = bytes(file)
    source: Source = {
        "rows": ("rows", None, None),
        "entries": ("entries", "by_n", ((None, None),), False),
        "keys": ("keys", tuple(store.rows)),
        "union": ("union", (("rows", None, b"5"), ("entries", "by_n", ((None, None),), False))),
    }[kind]
    right = [key for key in expected(store.rows, source) if holds("regex", store.rows[key])]
    found = set()
    for page in range(4, len(content) // 4096):
        damaged = bytearray(content)
        damaged[page * 4096 + 2000] ^= 0x40
        table = reader(store, damaged)
        scan = Scan(table, store.version.roots, source, program("regex"))
        error = damage(lambda scan=scan: scan.fetch(None, 10_000, release=release))
        if error is None:
            scan = Scan(table, store.version.roots, source, program("regex"))
            assert [key for key, _ in scan.fetch(None, 10_000, release=release)] == right
        else:
            assert error.page is not None and error.path == ":memory:"
            assert error.page <= page < error.page + 8  # an extent has one header
            found.add(error.tree)
            assert damage(lambda scan=scan: scan.fetch(None, 10_000, release=release))
    index = store.table.indexes[0].tree
    assert found == ({store.table.tree, index} if kind in ("entries", "union") else {store.table.tree})
    store.close()


@pytest.mark.parametrize("size", [30, 3000])
@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("name", ["none", "rare", "regex"])
def test_a_damaged_record_is_named_with_its_page(name: str, release: bool, size: int) -> None:
    store = Store(row | {"blob": bytes(100)} for row in random_rows(random.Random(4), 200))
    write = store.engine.begin()
    tree = Tree(write.draft, write.roots[store.table.tree])
    victim = sorted(store.rows)[100]
    tree.put(victim, CODEC.encode(store.rows[victim])[:2].ljust(size, b"\xff"))
    write.roots[store.table.tree] = tree.root
    for source in (("rows", None, None), ("keys", tuple(store.rows)), ("entries", "by_id", ((None, None),), False)):
        scan = Scan(store.table, write.roots, source, program(name))
        found = scan.fetch(FACE, 50, 50)
        assert [row["id"] for row in found] == [
            row["id"] for key, row in sorted(store.rows.items())[:50] if holds(name, row)
        ]
        for _ in range(2):
            with pytest.raises(CorruptionError) as caught:
                scan.fetch(FACE, 1000, release=release)
            assert caught.value.tree == store.table.tree
            assert caught.value.page is not None
    store.engine.rollback(write)
    store.close()


def test_an_entry_without_a_row_and_a_key_that_is_no_entry() -> None:
    store = Store(random_rows(random.Random(4), 50))
    index = next(index for index in store.table.indexes if index.name == "by_s_n")
    for key, words in [(b"\x01x\0\0\x02nobody", "without a row"), (b"\x07", "no entry"), (b"\x01x\0", "no entry")]:
        write = store.engine.begin()
        tree = Tree(write.draft, write.roots[index.tree])
        tree.put(key, b"")
        write.roots[index.tree] = tree.root
        with pytest.raises(CorruptionError, match=words) as caught:
            Scan(store.table, write.roots, ("entries", "by_s_n", ((None, None),), False)).fetch(FACE, 1000)
        assert caught.value.tree == index.tree
        store.engine.rollback(write)
    store.close()


@pytest.mark.parametrize("backward", [False, True])
def test_entries_of_a_tree_without_rows(backward: bool) -> None:
    store = Store(random_rows(random.Random(4), 50))
    write = store.engine.begin()
    write.roots[store.table.tree] = (0, 0, 0, 0)
    for name in (None, "n"):
        source = ("entries", "by_s_n", ((None, None),), False)
        with pytest.raises(CorruptionError, match="without a row"):
            Scan(store.table, write.roots, source, None if name is None else program(name), backward).fetch(FACE, 1000)
    store.engine.rollback(write)
    store.close()


# Code of users in the middle


def meddling(act: Callable[[str], None]) -> Face:
    """A face whose conversion of one field does something else besides."""

    def load(value: str) -> str:
        act(value)
        return value

    fields = tuple(
        Field(field.name, Type("custom", (STRING,), python=(str, load))) if field.name == "s" else field
        for field in ROW.fields
    )
    return Face([RecordCodec(Type("object", fields=fields), 1, "id")], "id")


def test_rows_are_those_of_the_slice_whatever_decoding_does() -> None:
    """A conversion that changes the pages being read, in a transaction in memory: the slice was copied before."""
    store = Store(row | {"blob": b"before"} for row in random_rows(random.Random(8), 300))
    before = dict(store.rows)
    write = store.engine.begin()
    keys = sorted(before)

    def act(_: str) -> None:
        if len(keys) > 5:
            store.delete(write, keys.pop(len(keys) // 2))
            store.put(write, store.rows[keys[-1]] | {"blob": b"after" * 20})

    face = meddling(act)
    scan = Scan(store.table, write.roots, ("rows", None, None))
    first = scan.fetch(face, 200)
    assert first == [before[key] for key in sorted(before)[:200]]
    rest = scan.fetch(FACE, 1000)
    assert rest == [row for key, row in sorted(store.rows.items()) if key > sorted(before)[199]]
    store.engine.rollback(write)
    store.close()


@pytest.mark.parametrize("name", ["none", "n"])
@pytest.mark.parametrize("release", [False, True])
def test_a_slice_ends_when_its_time_is_over(name: str, release: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(random_rows(random.Random(3), 2000))
    ticks = iter(range(10**6))
    monkeypatch.setattr(modelvault._core.scan, "monotonic", lambda: float(next(ticks)))
    for source in (("rows", None, None), ("entries", "by_n", ((None, None),), False)):
        whole = Scan(store.table, store.version.roots, source, program(name)).fetch(FACE, 10_000)
        scan = Scan(store.table, store.version.roots, source, program(name))
        scan.seconds = 1.5
        parts = []
        while not scan.done:
            parts.append(scan.fetch(FACE, 10_000, wait=False, release=release))
        assert [row for part in parts for row in part] == whole
        assert 100 < max(map(len, parts)) <= 128
    store.close()


def test_a_scan_goes_on_once_at_a_time() -> None:
    store = Store(random_rows(random.Random(8), 10))
    scan = Scan(store.table, store.version.roots, ("rows", None, None))
    with pytest.raises(ValueError, match="going on already"):
        scan.fetch(meddling(lambda _: scan.keys(1) and None), 5)
    assert len(scan.fetch(FACE, 100)) == len(store.rows)
    store.close()


# The garbage collector


class Node:
    """Something that can refer to itself."""

    me: Node


def cycle() -> weakref.ref[Node]:
    node = Node()
    node.me = node
    return weakref.ref(node)


def test_the_garbage_collector_is_as_it_was() -> None:
    store = Store(row | {"tags": ["x"], "id": str(n)} for n, row in enumerate(random_rows(random.Random(8), 1500)))
    whole = ("rows", None, None)
    garbage = cycle()
    rows = Scan(store.table, store.version.roots, whole).fetch(FACE, 5000)
    assert len(rows) == 1500 and gc.isenabled() and gc.get_freeze_count() == 0
    gc.collect()
    assert garbage() is None
    with pytest.raises(ModelVaultFormatError):
        Scan(store.table, store.version.roots, whole).fetch(meddling(lambda _: 1 // 0 and None), 5000)
    assert gc.isenabled()
    gc.disable()
    try:
        Scan(store.table, store.version.roots, whole).fetch(FACE, 5000)
        assert not gc.isenabled()
    finally:
        gc.enable()
    mark: list[list[int]] = [[]]
    assert any(other is mark for other in gc.get_objects())
    gc.freeze()
    try:
        Scan(store.table, store.version.roots, whole).fetch(FACE, 5000)
        assert not any(other is mark for other in gc.get_objects()), "what the user froze stays frozen"
    finally:
        gc.unfreeze()
    store.close()


def test_a_bounded_number_of_rows_is_made_old() -> None:
    """Garbage beside rows that are read waits for a full collection, but not all of it, however many rows there are."""
    store = Store(row | {"tags": [], "id": str(n)} for n, row in enumerate(random_rows(random.Random(8), 1000)))
    garbage = []
    for _ in range(1000):
        garbage.append(cycle())
        Scan(store.table, store.version.roots, ("rows", None, None)).fetch(FACE, 1000)
    assert sum(found() is not None for found in garbage) < 700
    store.close()


def test_rows_without_code_of_users_are_made_old_however_many() -> None:
    """Else the collector would search those that somebody keeps, all at once: a second for a million models."""
    store = Store(row | {"tags": [], "id": str(n)} for n, row in enumerate(random_rows(random.Random(8), 1000)))

    def young(face: Face) -> int:
        gc.collect()
        for _ in range(290):
            Scan(store.table, store.version.roots, ("rows", None, None)).fetch(face, 1000)
        rows = Scan(store.table, store.version.roots, ("rows", None, None)).fetch(face, 1000)
        found = {id(one) for generation in (0, 1) for one in gc.get_objects(generation=generation)}
        return sum(id(row) in found for row in rows)

    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], 1 << 30)  # no full collection beside ours
    try:
        assert young(FACE) == 0
        assert young(meddling(lambda _: None)) > 0, "what those leave behind is looked at"
    finally:
        gc.set_threshold(*thresholds)
    store.close()


def test_rows_of_a_long_answer_are_made_old_in_small_parts_too() -> None:
    """An event loop reads so few at a time that none of the parts would count by itself."""
    store = Store(row | {"tags": [], "id": str(n)} for n, row in enumerate(random_rows(random.Random(8), 1000)))
    scan = Scan(store.table, store.version.roots, ("rows", None, None))
    sorts = Sort(Scan(store.table, store.version.roots, ("rows", None, None)), SortKeys([CODEC], []))
    sorts.step()
    for part in (partial(scan.fetch, FACE, 20), partial(sorts.fetch, FACE, 20)):
        gc.collect()
        rows = [row for _ in range(40) for row in part()]
        found = {id(one) for generation in (0, 1) for one in gc.get_objects(generation=generation)}
        assert len(rows) == 800
        assert sum(id(row) in found for row in rows) <= 128
    store.close()
