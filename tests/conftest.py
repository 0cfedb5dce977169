"""Asynchronous tests are written once and run in every world: `db` and `world` bring them there."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from modelvault import _engine
from modelvault._engine import Engine
from modelvault._store import Store
from tests.faults import FaultyDisk
from tests.worlds import World

# The same examples in every run; deadlines would measure the machine, not the code.
settings.register_profile("modelvault", deadline=None, derandomize=True)
settings.load_profile("modelvault")

LOOPS = ["asyncio", "uvloop", "trio"]


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where a world's database is: None is in memory."""
    return tmp_path if request.param == "disk" else None


@pytest.fixture(params=[*LOOPS, "blocking"])
def world(request: pytest.FixtureRequest, place: Path | None) -> World:
    """A world with a place; the test opens what it needs."""
    return World(request.param, place)


@pytest.fixture(params=[*LOOPS, "blocking"])
def disk_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world on disk."""
    return World(request.param, tmp_path)


@pytest.fixture(params=LOOPS)
def loop_world(request: pytest.FixtureRequest, place: Path | None) -> World:
    """A world with several tasks."""
    return World(request.param, place)


@pytest.fixture(params=LOOPS)
def loop_disk_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world with several tasks, on disk."""
    return World(request.param, tmp_path)


@pytest.fixture
def db(world: World) -> object:
    """An open database in each world; the hook below opens and closes it."""
    return OPEN


@pytest.fixture
def loop_db(loop_world: World) -> object:
    """An open database in each world with several tasks."""
    return OPEN


OPEN = object()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function in its world."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function) or pyfuncitem.get_closest_marker("anyio"):
        return None
    available: dict[str, Any] = pyfuncitem.funcargs
    arguments = {name: available[name] for name in inspect.signature(function).parameters}
    world = next(value for value in available.values() if isinstance(value, World))
    to_open = [name for name, value in arguments.items() if value is OPEN]

    async def main() -> None:
        if not to_open:
            await function(**arguments)
            return
        async with world.open() as database:
            await function(**(arguments | {to_open[0]: database}))

    world.run(main)
    return True


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> list[FaultyDisk]:
    """The files that engines open from now on: they can fail, and be cold."""
    opened: list[FaultyDisk] = []

    class Disk(FaultyDisk):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            opened.append(self)

    monkeypatch.setattr(_engine, "DiskFile", Disk)
    return opened


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background and it is ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def sound_engines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every engine that a test closes is checked before: its pages, and that rows and indexes agree.

    Not in tests that are marked `damaged`, because they damage files.
    """
    if request.node.get_closest_marker("damaged"):
        yield
        return
    close = Engine.close
    problems: list[BaseException] = []

    def checked_close(self: Engine, **options: Any) -> None:
        last = self.users == 1 or (options.get("writer") and not self.read_only)
        if last and not self.closed and self.poisoned is None and self.write is None:
            try:
                self.check()
                for definition in self.latest.definitions.values():
                    if "schemas" in definition:
                        Store(self.pager, definition).table.check(self.latest.roots)
            except BaseException as error:
                problems.append(error)
        close(self, **options)

    monkeypatch.setattr(Engine, "close", checked_close)
    yield
    if problems:
        raise problems[0]
