"""Fixtures for tests of code that uses modelvault: a database in memory for each test, opened in microseconds.

    def test_it(modelvault_db): ...                  # Database
    async def test_it(modelvault_async_db): ...      # AsyncDatabase: anyio's plugin, pytest-asyncio, pytest-trio

Override `modelvault_prepared` to begin each test with the same rows: they are made once, and each test gets a fork of
them, which shares their pages until it changes them.

Nothing here is asynchronous. A database in memory is opened and closed without waiting, and belongs to no event loop,
so the fixtures do not care which plugin runs the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelvault.database import AsyncDatabase
    from modelvault.sync import Database

__all__ = ["Factory", "modelvault_async_db", "modelvault_db", "modelvault_factory", "modelvault_prepared"]


class Factory:
    """Makes databases, and closes them when the test has ended. See the fixture `modelvault_factory`."""

    def __init__(self, folder: Path, prepared: Database | AsyncDatabase | None) -> None:
        self._folder = folder
        self._prepared = prepared
        self._open = ExitStack()
        self._files = 0

    def __call__(self, *, of: Database | AsyncDatabase | None = None) -> Database:
        """A new database in memory, a fork of `of`, else of the prepared one if there is one."""
        from modelvault import Database
        from modelvault._runner import BlockingRunner
        from modelvault.database import AsyncDatabase

        source = of or self._prepared
        if source is None:
            db = Database.open_in_memory()
        else:
            db = Database(AsyncDatabase(source.__catalog__.access.fork(BlockingRunner())))
        self._open.callback(db.close)
        return db

    def asynchronous(self, *, of: Database | AsyncDatabase | None = None) -> AsyncDatabase:
        """The same for a test with an event loop; there is nothing to wait for."""
        from modelvault import Database
        from modelvault._runner import LoopRunner
        from modelvault.database import AsyncDatabase

        source = of or self._prepared
        with ExitStack() as blank:
            if source is None:
                source = blank.enter_context(Database.open_in_memory())
            db = AsyncDatabase(source.__catalog__.access.fork(LoopRunner()))
        self._open.callback(db.__catalog__.access.drop)
        return db

    def on_disk(self, **options: Any) -> Database:
        """A new, empty file in the test's temporary folder; options: those of `Database.open`."""
        from modelvault import Database

        self._files += 1
        return self._open.enter_context(Database.open(self._folder / f"test{self._files}.modelvault", **options))

    def close(self) -> None:
        """Close them all, the newest first."""
        self._open.close()


@pytest.fixture(scope="session")
def modelvault_prepared() -> Database | AsyncDatabase | None:
    """What each test begins with: override it with a session's fixture that gives a database in memory."""
    return None


@pytest.fixture
def modelvault_factory(tmp_path: Path, modelvault_prepared: Database | AsyncDatabase | None) -> Iterator[Factory]:
    """Makes databases: `factory()`, `factory.asynchronous()`, `factory.on_disk()`; they are closed after the test.

    For pytest-benchmark: `benchmark.pedantic(target, setup=lambda: ((factory(),), {}), rounds=100)`.
    """
    factory = Factory(tmp_path, modelvault_prepared)
    yield factory
    factory.close()


@pytest.fixture
def modelvault_db(modelvault_factory: Factory) -> Database:
    """A Database in memory for this test alone: empty, or a fork of `modelvault_prepared`."""
    return modelvault_factory()


@pytest.fixture
def modelvault_async_db(modelvault_factory: Factory) -> AsyncDatabase:
    """An AsyncDatabase in memory for this test alone: empty, or a fork of `modelvault_prepared`."""
    return modelvault_factory.asynchronous()
