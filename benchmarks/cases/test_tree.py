"""Trees and pages alone, in memory: keys of eight bytes, values of a record's size."""

from itertools import count, cycle

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.data import shuffled
from modelvault._core.draft import Draft
from modelvault._core.file import MemoryFile
from modelvault._core.pager import Pager, checksum
from modelvault._core.walk import Tree

ROWS = 100_000
VALUE = b"v" * 150


def new_pager() -> Pager:
    return Pager(MemoryFile(), 8192, 64 << 20, 7)


def new_tree() -> Tree:
    return Tree(Draft(new_pager()))


@pytest.fixture(scope="module")
def tree() -> Tree:
    filled = new_tree()
    for number in range(1, ROWS + 1):
        filled.put(number.to_bytes(8, "big"), VALUE)
    return filled


def test_find(benchmark: BenchmarkFixture, tree: Tree) -> None:
    keys = cycle([key.to_bytes(8, "big") for key in shuffled(ROWS, 5000)])
    assert benchmark(lambda: tree.get(next(keys))) == VALUE


def test_put_at_the_end(benchmark: BenchmarkFixture) -> None:
    tree, numbers = new_tree(), count()
    benchmark(lambda: tree.put(next(numbers).to_bytes(8, "big"), VALUE))
    tree.check()


def test_put_anywhere(benchmark: BenchmarkFixture) -> None:
    tree, keys = new_tree(), cycle([key.to_bytes(8, "big") for key in shuffled(ROWS, ROWS)])
    benchmark(lambda: tree.put(next(keys), VALUE))
    tree.check()


def test_step_through(benchmark: BenchmarkFixture, tree: Tree) -> None:
    """All entries, one after the other, as Python objects."""
    assert benchmark.pedantic(lambda: sum(1 for _ in tree.items()), rounds=5) == ROWS


def test_new_page(benchmark: BenchmarkFixture) -> None:
    draft = Draft(new_pager())
    benchmark.pedantic(draft.new, (1, 0, 8192), rounds=2000)


def test_page_in_memory(benchmark: BenchmarkFixture) -> None:
    pager = new_pager()
    page = Draft(pager).new(1, 0, 8192)
    ref = (page.number, page.serial, 0)
    assert benchmark(pager.read, ref) is page


def test_checksum_of_a_page(benchmark: BenchmarkFixture) -> None:
    benchmark(checksum, bytes(8192), 7)
