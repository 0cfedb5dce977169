"""The fixtures of modelvault.pytest_plugin in test suites of their own, under each plugin that runs coroutines."""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import modelvault.pytest_plugin

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
from dataclasses import dataclass
from modelvault import Database, models

@dataclass
class Book:
    __modelvault_primary_key__ = "id"

    id: int
    title: str

@pytest.fixture(scope="session")
def modelvault_prepared():
    with Database.open_in_memory() as db:
        db.collection(Book).insert_many(Book(number, f"book {number}") for number in range(1000))
        yield db
        assert db.collection(Book).count() == 1000, "no test has changed it"
"""

PLAIN = """
import pytest
from modelvault import AsyncDatabase, Database

@pytest.mark.parametrize("turn", range(3))
def test_each_test_has_a_database_of_its_own(modelvault_db, turn):
    assert isinstance(modelvault_db, Database)
    assert modelvault_db.collection_names() == []
    modelvault_db.register_collection("notes", '[{"path": ["id"], "type": "int64"}]', "id")

def test_it_is_the_same_in_one_test(modelvault_db, other):
    assert modelvault_db is other

@pytest.fixture
def other(modelvault_db):
    return modelvault_db

def test_factory(modelvault_factory, tmp_path):
    one, two, three = modelvault_factory(), modelvault_factory(), modelvault_factory.on_disk(durability="off")
    one.register_collection("notes", '[{"path": ["id"], "type": "int64"}]', "id")
    one.insert("notes", {"id": 1})
    assert two.collection_names() == three.collection_names() == []
    assert list(tmp_path.iterdir()) != [] and three.path().startswith(str(tmp_path))
    fork = modelvault_factory(of=one)
    fork.insert("notes", {"id": 2})
    assert (one.collection("notes").count(), fork.collection("notes").count()) == (1, 2)
    assert isinstance(modelvault_factory.asynchronous(of=fork), AsyncDatabase)
    one.close()

def test_a_transaction_that_is_left_open(modelvault_db):
    modelvault_db.transaction().__enter__()
"""

PREPARED = """
import pytest
from conftest import Book

@pytest.mark.parametrize("turn", range(3))
def test_prepared(modelvault_db, turn):
    books = modelvault_db.collection(Book)
    assert books.count() == 1000
    books.insert(Book(2000 + turn, "new"))
    assert books.where("title", "new").count() == 1

def test_factory(modelvault_factory):
    one, two = modelvault_factory(), modelvault_factory()
    assert one.collection(Book).delete(5)
    assert two.collection(Book).get(5) == Book(5, "book 5")
"""

COROUTINES = """
import pytest
from conftest import Book

pytestmark = {mark}

@pytest.fixture
async def books(modelvault_async_db):
    books = await modelvault_async_db.collection(Book)
    await books.delete(0)
    return books

@pytest.mark.parametrize("turn", range(2))
async def test_prepared(modelvault_async_db, books, turn):
    assert await books.count() == 999
    async with modelvault_async_db.transaction():
        await books.insert(Book(5000 + turn, "new"))
    assert await books.where("title", "new").count() == 1

async def test_closed_by_the_test(modelvault_async_db):
    await modelvault_async_db.close()

async def test_factory(modelvault_factory):
    one, two = modelvault_factory.asynchronous(), modelvault_factory.asynchronous()
    assert await one.collection(Book).delete(5)
    assert await two.collection(Book).get(5) == Book(5, "book 5")
"""

ANYIO = """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""

ROOT = Path(__file__).parents[2]
# Where the package is installed, or a wheel was built in its folder, pytest loads the plugin by itself.
LOADED = any(entry.name == "modelvault" for entry in entry_points(group="pytest11"))
PLUGIN = [] if LOADED else ["-p", "modelvault.pytest_plugin"]
OPTIONS = [*PLUGIN, "-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
NO_ASYNCIO = [*OPTIONS, "-p", "no:asyncio"]


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test suites find the package as it stands here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_blocking(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN)
    done = pytester.runpytest_subprocess(*NO_ASYNCIO, "-W", "ignore::ResourceWarning")
    done.assert_outcomes(passed=6)


def test_a_fork_of_what_was_prepared(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(PREPARED)
    pytester.runpytest_subprocess(*NO_ASYNCIO).assert_outcomes(passed=4)


def test_with_the_plugin_of_anyio(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(COROUTINES.format(mark="pytest.mark.anyio") + ANYIO)
    pytester.runpytest_subprocess(*NO_ASYNCIO).assert_outcomes(passed=8)


@pytest.mark.skipif(importlib.util.find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed")
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_with_pytest_asyncio(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest(CONFTEST)
    code = COROUTINES.format(mark="pytest.mark.asyncio" if mode == "strict" else "[]")
    if mode == "strict":
        code = code.replace("@pytest.fixture\nasync", "import pytest_asyncio\n@pytest_asyncio.fixture\nasync")
    pytester.makepyfile(code)
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=4)


@pytest.mark.skipif(importlib.util.find_spec("pytest_benchmark") is None, reason="pytest-benchmark is not installed")
def test_with_pytest_benchmark(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("""
        from conftest import Book

        def test_insert(benchmark, modelvault_factory):
            def insert(books):
                assert books.count() == 1000
                books.insert(Book(1000, "new"))

            benchmark.pedantic(insert, setup=lambda: ((modelvault_factory().collection(Book),), {}), rounds=20)
    """)
    pytester.runpytest_subprocess(*NO_ASYNCIO).assert_outcomes(passed=1)


def test_loading_the_plugin_loads_nothing_else() -> None:
    """It is loaded at the beginning of every pytest of an environment that has modelvault."""
    tree = ast.parse(Path(modelvault.pytest_plugin.__file__).read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name and name.startswith("modelvault")]
