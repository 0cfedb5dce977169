"""Trees against a sorted dict: random histories, loads, churn, savepoints, sealing."""

import random
import struct

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelvault._core.draft import Draft
from modelvault._core.file import MemoryFile
from modelvault._core.pager import Pager
from modelvault._core.tree import Roots
from modelvault._core.walk import Tree
from modelvault.errors import ColdPage, CorruptionError, ModelVaultSchemaError

PAGE = 4096
LONGEST = PAGE // 4 - 64
EMPTY = (0, 0, 0, 0)


def memory_pager(cache_size: int = 1 << 26) -> Pager:
    return Pager(MemoryFile(), PAGE, cache_size, 7)


def new_tree() -> Tree:
    return Tree(Draft(memory_pager()))


def fill_of(tree: Tree) -> float:
    """How much of all pages is used (not of extents)."""
    fills = []
    for number, pages in tree.check():
        if pages == 1:
            body = bytes(tree.draft.pager.read((number, 0, 0)))
            count, prefix, _, heap, garbage = struct.unpack_from("<HHHII", body, 26)
            assert prefix <= LONGEST
            fills.append((PAGE - heap - garbage + 8 * count) / (PAGE - 40))
    return sum(fills) / len(fills)


# Random histories

PREFIXES = [b"", b"a", b"ab", b"\x00", b"\xff", b"user:" * 20, b"user:" * 180, b"\x80\x01"]
SUFFIXES = st.one_of(
    st.binary(max_size=6),
    st.integers(0, 3000).map(lambda n: n.to_bytes(2, "big")),
    st.integers(0, 300).map(lambda n: b"%05d" % n),
    st.sampled_from([b"\x00" * n for n in range(9)]),
    st.binary(min_size=50, max_size=60),
)
KEYS = st.builds(lambda prefix, suffix: (prefix + suffix)[:LONGEST], st.sampled_from(PREFIXES), SUFFIXES)
SIZES = st.one_of(st.integers(0, 40), st.integers(900, 1100), st.sampled_from([2000, 4055, 4056, 4057, 20000]))


def value_of(size: int, salt: int) -> bytes:
    return random.Random(salt).randbytes(size)


class TreeMachine(RuleBasedStateMachine):
    """One write on a tree, with savepoints; every few steps it is sealed, published and goes on from the file."""

    @initialize(cache_pages=st.sampled_from([4, 30, 10000]))
    def begin(self, cache_pages: int) -> None:
        self.pager = memory_pager(cache_pages * PAGE)
        self.pager.page_count = 4
        self.generation = 1
        self.tree = Tree(Draft(self.pager, self.generation))
        self.model: dict[bytes, bytes] = {}
        self.marks: list[tuple[tuple[int, ...], dict[bytes, bytes]]] = []
        self.versions: list[tuple[tuple[int, ...], dict[bytes, bytes]]] = []

    @rule(key=KEYS, size=SIZES, salt=st.integers(0, 99))
    def put(self, key: bytes, size: int, salt: int) -> None:
        value = value_of(size, salt)
        assert self.tree.put(key, value) == (key in self.model)
        self.model[key] = value

    @rule(
        prefix=st.sampled_from(PREFIXES),
        start=st.integers(0, 60000),
        count=st.integers(1, 300),
        size=SIZES,
        order=st.sampled_from(["up", "down", "mixed"]),
    )
    def put_many(self, prefix: bytes, start: int, count: int, size: int, order: str) -> None:
        numbers = list(range(start, start + count))
        if order == "down":
            numbers.reverse()
        elif order == "mixed":
            random.Random(start).shuffle(numbers)
        for number in numbers:
            key = (prefix + number.to_bytes(4, "big"))[:LONGEST]
            value = value_of(min(size, 1100), number)
            assert self.tree.put(key, value) == (key in self.model)
            self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.tree.delete(key) == (key in self.model)
        self.model.pop(key, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), share=st.sampled_from([0.02, 0.5, 1.0]), together=st.booleans())
    def delete_some(self, data: st.DataObject, share: float, together: bool) -> None:
        keys = sorted(self.model)
        count = max(1, int(len(keys) * share))
        salt = data.draw(st.integers(0, 1000))
        start = salt % (len(keys) - count + 1)
        chosen = keys[start : start + count] if together else random.Random(salt).sample(keys, count)
        for key in chosen:
            assert self.tree.delete(key)
            del self.model[key]

    @rule(key=KEYS)
    def look(self, key: bytes) -> None:
        assert self.tree.get(key) == self.model.get(key)
        keys = sorted(self.model)
        cursor = self.tree.cursor()
        after = [k for k in keys if k >= key]
        assert cursor.to(key) == bool(after)
        if after:
            assert cursor.entry() == (after[0], self.model[after[0]])
        before = [k for k in keys if k < key]
        assert cursor.to_last_before(key) == bool(before)
        if before:
            assert cursor.entry() == (before[-1], self.model[before[-1]])

    @rule()
    def mark(self) -> None:
        if self.tree.draft.mark() != len(self.marks):
            raise AssertionError
        self.marks.append((self.tree.root, dict(self.model)))

    @precondition(lambda self: self.marks)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        depth = data.draw(st.integers(0, len(self.marks) - 1))
        self.tree.draft.rewind(depth)
        del self.marks[depth + 1 :]
        self.tree.root, self.model = self.marks[depth][0], dict(self.marks[depth][1])

    @precondition(lambda self: self.marks)
    @rule()
    def forget(self) -> None:
        self.tree.draft.forget(len(self.marks) - 1)
        self.marks.pop()

    @rule()
    def spill(self) -> None:
        self.tree.spill()
        self.tree.draft.write_out()

    @rule()
    def commit(self) -> None:
        if self.marks:
            self.tree.draft.forget(0)
            self.marks = []
        self.tree.seal()
        self.tree.draft.write_out()
        self.tree.draft.complete()
        assert self.pager.draft_count == 0
        self.versions.append((self.tree.root, dict(self.model)))
        self.generation += 1
        self.tree = Tree(Draft(self.pager, self.generation), self.tree.root)

    @rule()
    def roll_back(self) -> None:
        self.tree.draft.rollback()
        self.marks = []
        root, model = self.versions[-1] if self.versions else (EMPTY, {})
        self.model = dict(model)
        self.generation += 1
        self.tree = Tree(Draft(self.pager, self.generation), root)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "tree"):
            return
        expected = sorted(self.model.items())
        assert len(self.tree) == len(expected)
        assert list(self.tree.items()) == expected
        self.tree.check()

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        assert list(self.tree.items(backward=True)) == sorted(self.model.items(), reverse=True)
        for root, model in self.versions[-3:]:
            assert list(Tree(Draft(self.pager), root).items()) == sorted(model.items())


TestTree = TreeMachine.TestCase
TestTree.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


# Loads


def ordered(order: str, count: int) -> list[int]:
    numbers = list(range(count))
    if order == "down":
        numbers.reverse()
    elif order == "mixed":
        random.Random(5).shuffle(numbers)
    return numbers


@pytest.mark.parametrize(("order", "least", "most"), [("up", 0.96, 1), ("down", 0.96, 1), ("mixed", 0.78, 0.88)])
@pytest.mark.parametrize("style", [b"%08d", b"a rather long prefix that all keys share %08d"])
def test_fill_of_loads(order: str, least: float, most: float, style: bytes) -> None:
    tree = new_tree()
    numbers = ordered(order, 20000)
    for number in numbers:
        tree.put(style % number, b"%d" % number * 8)
    assert [key for key, _ in tree.items()] == sorted(style % n for n in numbers)
    assert least <= fill_of(tree) <= most


def test_rows_of_ascending_keys_side_by_side_fill_their_pages() -> None:
    tree = new_tree()
    for number in range(20000):
        tree.put(b"%d/%08d" % (number % 5, number), b"x" * 40)
    assert fill_of(tree) > 0.9


def test_descending_keys_in_a_gap_do_not_leave_tiny_pages() -> None:
    tree = new_tree()
    for number in range(2000):
        tree.put(b"a%08d" % number, b"x" * 40)
    for number in range(2000):
        tree.put(b"c%08d" % number, b"x" * 40)
    for number in range(4000, 0, -1):
        tree.put(b"b%08d" % number, b"x" * 40)
    assert fill_of(tree) > 0.55


def test_keys_that_lose_their_prefix_one_byte_at_a_time() -> None:
    tree = new_tree()
    keys = [b"a" * n + b"b" for n in range(LONGEST - 1, -1, -1)]
    for key in keys:
        tree.put(key, b"")
    assert [key for key, _ in tree.items()] == sorted(keys)
    tree.check()
    for key in keys:
        assert tree.delete(key)
    assert tree.root == EMPTY


# Deleting


@pytest.mark.parametrize("order", ["up", "down", "mixed"])
def test_deleting_everything_gives_every_page_back(order: str) -> None:
    tree = new_tree()
    numbers = list(range(5000))
    for number in numbers:
        tree.put(b"%08d" % number, b"x" * (number % 50 * 40))
    for number in ordered(order, 5000):
        assert tree.delete(b"%08d" % number)
        if number % 500 == 0:
            tree.check()
    assert tree.root == EMPTY and tree.draft.pager.draft_count == 0


def test_churn_does_not_grow_the_tree() -> None:
    tree = new_tree()
    chance = random.Random(11)
    live: list[bytes] = []
    sizes = []
    for step in range(30000):
        if len(live) < 3000 or chance.random() < 0.5:
            key = chance.randbytes(8)
            live.append(key)
            tree.put(key, b"v" * chance.randrange(100))
        else:
            index = chance.randrange(len(live))
            live[index], live[-1] = live[-1], live[index]
            assert tree.delete(live.pop())
        if step % 5000 == 4999:
            sizes.append(fill_of(tree))
    assert min(sizes) > 0.5, sizes


def test_a_queue_stays_small() -> None:
    tree = new_tree()
    for number in range(20000):
        tree.put(b"%08d" % number, b"x" * 50)
        if number >= 500:
            assert tree.delete(b"%08d" % (number - 500))
    assert len(tree.check()) < 20


# Limits


def test_limits_are_named() -> None:
    tree = new_tree()
    tree.put(b"k" * LONGEST, b"")
    with pytest.raises(ModelVaultSchemaError, match=f"the limit is {LONGEST}"):
        tree.put(b"k" * (LONGEST + 1), b"")
    with pytest.raises(ModelVaultSchemaError, match="64 MiB"):
        tree.put(b"k", bytes((64 << 20) + 1))
    tree.put(b"k", bytes(64 << 20))
    assert tree.get(b"k") == bytes(64 << 20)
    tree.put(b"k", b"short")
    assert len(tree) == 2 and tree.draft.pager.draft_bytes == PAGE


@pytest.mark.parametrize("page_size", [4096, 8192, 16384, 32768, 65536])
def test_every_page_size(page_size: int) -> None:
    tree = Tree(Draft(Pager(MemoryFile(), page_size, 1 << 28)))
    chance = random.Random(page_size)
    model = {}
    for _ in range(6000):
        key = b"%x" % chance.randrange(1 << 20) + b"long" * chance.randrange(20)
        model[key] = tree_value = b"v" * chance.choice([0, 5, 100, 100, page_size // 4, page_size * 2])
        tree.put(key, tree_value)
    assert list(tree.items()) == sorted(model.items())
    tree.check()
    for key in model:
        assert tree.delete(key)
    assert tree.root == EMPTY and tree.draft.pager.draft_count == 0


# Waiting


class ColdFile(MemoryFile):
    """Never answers at once, but for a number of reads."""

    credit = 0

    def read_at(self, offset: int, size: int, wait: bool = True) -> bytes | None:
        if not wait:
            if self.credit == 0:
                return None
            self.credit -= 1
        return super().read_at(offset, size, wait)


def stored_tree(file: MemoryFile, count: int) -> tuple[Pager, tuple[int, ...], dict[bytes, bytes]]:
    """A tree of `count` rows in the file, and a pager whose cache is empty."""
    pager = Pager(file, PAGE, 1 << 26, 7)
    pager.page_count = 4
    tree = Tree(Draft(pager, 1))
    model = {b"%06d" % n: value_of(3000 if n % 40 == 0 else 60, n) for n in range(count)}
    for key, value in model.items():
        tree.put(key, value)
    tree.seal()
    tree.draft.write_out()
    fresh = Pager(file, PAGE, 1 << 26, 7)
    fresh.page_count = pager.page_count
    return fresh, tree.root, model


def test_a_cold_page_changes_nothing_and_the_call_can_be_repeated() -> None:
    file = ColdFile()
    pager, root, model = stored_tree(file, 9000)
    tree = Tree(Draft(pager, 2), root, wait=False)
    chance = random.Random(3)
    for step in range(400):
        key = b"%06d" % chance.randrange(9000)
        value = value_of(chance.choice([10, 60, 3000]), step)
        delete = step % 2
        misses = 0
        while True:
            file.credit = 1 if misses else 0
            try:
                done = tree.delete(key) if delete else tree.put(key, value)
                break
            except ColdPage:
                misses += 1
                assert misses < 10
        assert done == (key in model)
        if delete:
            model.pop(key, None)
        else:
            model[key] = value
    tree.wait = True
    assert list(tree.items()) == sorted(model.items())
    tree.check()


def test_sealed_pages_are_freed_once_each() -> None:
    file = MemoryFile()
    pager, root, model = stored_tree(file, 3000)
    before = Tree(Draft(pager), root).check()
    tree = Tree(Draft(pager, 2), root)
    for key in list(model)[::2]:
        tree.delete(key)
    for key in list(model)[1::2]:
        tree.put(key, b"short")
    freed = tree.draft.freed_pages
    kept = {number for number, _ in tree.check() if number < 1 << 63}
    assert len(freed) == len(set(freed))
    assert {number for number, _ in freed} | kept == {number for number, _ in before}
    assert not {number for number, _ in freed} & kept


def test_a_commit_lies_in_one_piece_children_first() -> None:
    pager, root, _ = stored_tree(MemoryFile(), 3000)
    reached = Tree(Draft(pager), root).check()
    numbers = sorted(n for first, pages in reached for n in range(first, first + pages))
    assert numbers == list(range(4, pager.page_count))
    assert root[0] == numbers[-1]


# Damage


def test_a_page_on_the_wrong_level_is_reported() -> None:
    pager, root, _ = stored_tree(MemoryFile(), 3000)
    body = bytearray(bytes(pager.read(root[:3])))
    draft = Draft(pager, 2)
    page, ref = draft.change(root[:3])
    offset = int.from_bytes(body[44:46], "little")
    page.write(offset, root[0].to_bytes(8, "little") + root[1].to_bytes(8, "little") + root[2].to_bytes(8, "little"))
    with pytest.raises(CorruptionError, match="level"):
        Tree(draft, (*ref, root[3])).get(b"")


# Roots


def test_roots_grow_copy_and_know_their_bounds() -> None:
    roots = Roots()
    roots[20] = (7, 8, 9, 10)
    other = roots.copy()
    roots[20] = (1, 2, 3, 4)
    assert len(other) == 21 and other[20] == (7, 8, 9, 10) and other[5] == EMPTY and roots[20] == (1, 2, 3, 4)
    with pytest.raises(IndexError):
        roots[21]
