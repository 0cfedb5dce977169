"""Memory is bounded by the cache; open and new fields cost the same with more data; reads run on the right thread."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from modelvault import AsyncDatabase, Database, _engine, models
from tests.faults import FaultyDisk

CACHE = 4 * 1024 * 1024


class Point(BaseModel):
    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "points"
    __modelvault_indexes__ = [models.index("x")]
    id: int
    x: int


LOAD_AND_SCAN = textwrap.dedent(
    """
    import resource, sys
    from pydantic import BaseModel
    from modelvault import Database, models

    class Row(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_collection__ = "rows"
        __modelvault_indexes__ = [models.index("text")]
        id: int
        text: str

    def rows(count):
        for number in range(count):
            yield Row(id=number * 2654435761 % 2**32, text=f"{number:09d}" * 40)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def held(db):
        stats = db.stats()
        assert stats["cache_bytes"] + stats["draft_bytes"] <= cache, stats

    path, cache, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Database.open_in_memory() as db:       # everything is imported and warmed up before the first measurement
        models.collection(db, Row).insert_many(rows(100))
    before = peak()
    with Database.open(path, cache_size=cache) as db:
        collection = models.collection(db, Row)
        collection.insert_many(rows(count))
        held(db)
        assert collection.count() == count
    with Database.open(path, cache_size=cache) as db:
        seen = sum(len(row.text) for row in models.collection(db, Row))
        held(db)
        assert seen == 360 * count
    print(peak() - before)
    """
)


def test_memory_is_bounded_by_the_cache(tmp_path: Path) -> None:
    """One transaction ten times larger than the cache, then a scan: RSS grows by at most the cache and 64 MiB."""
    path = tmp_path / "large.modelvault"
    root = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", LOAD_AND_SCAN, str(path), str(CACHE), "60000"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert result.returncode == 0, result.stderr
    assert path.stat().st_size > 10 * CACHE
    assert int(result.stdout) < CACHE + 64 * 1024 * 1024


THIN_AND_COMPACT = textwrap.dedent(
    """
    import os, resource, sys
    from pydantic import BaseModel
    from modelvault import Database, fields, models

    class Row(BaseModel):
        __modelvault_primary_key__ = "id"
        __modelvault_collection__ = "rows"
        id: int
        text: str

    def fill(db, count):
        rows = models.collection(db, Row)
        rows.insert_many(Row(id=number, text="x" * 700) for number in range(count))
        for first in range(0, count, 2000):
            rows.where(fields(Row).id.between(first, first + 1799)).delete()

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    path, cache, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if not os.path.exists(path):
        with Database.open(path, cache_size=cache) as db:
            fill(db, count)
        raise SystemExit
    with Database.open(path + "-small", cache_size=cache) as db:    # everything is imported and warmed up
        fill(db, 2000)
        db.compact()
    large, before = os.stat(path).st_size, peak()
    with Database.open(path, cache_size=cache) as db:
        db.compact()
        assert models.collection(db, Row).count() == count // 10
    assert os.stat(path).st_size < large // 6
    print(peak() - before)
    """
)


def test_compaction_needs_no_more_memory_than_the_cache(tmp_path: Path) -> None:
    """A file twelve times as large as the cache, of which nine tenths are free."""
    path = tmp_path / "large.modelvault"
    command = [sys.executable, "-c", THIN_AND_COMPACT, str(path), str(CACHE), "80000"]
    for _ in range(2):  # the first one fills it, so that the other's memory is that of the compaction
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert result.returncode == 0, result.stderr
    assert int(result.stdout) < CACHE + 2 * 1024 * 1024


class Named(Point):
    """A point with two fields that it did not have."""

    name: str | None = None
    weight: int = 1


def test_a_new_field_costs_the_same_whatever_the_number_of_rows(tmp_path: Path) -> None:
    """Pages that are written, and read, for an optional field and one with a default."""
    used = {}
    for count in (300, 100_000):
        path = tmp_path / str(count)
        load(path, count)
        with Database.open(path) as db:
            before = db.stats()
            models.apply(db, Named)
            after = db.stats()
            used[count] = {name: after[name] - before[name] for name in ("reads", "writes", "misses")}
            found = models.collection(db, Named).get(count - 1)
            assert found == Named(id=count - 1, x=(count - 1) % 97) and (found.name, found.weight) == (None, 1)
    assert all(used[100_000][name] <= used[300][name] + 3 for name in used[300]), used


def load(path: Path, count: int) -> None:
    """A database with `count` small rows and an index."""
    with Database.open(path) as db:
        models.collection(db, Point).insert_many(Point(id=number, x=number % 97) for number in range(count))


def test_open_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """From open to the first get, 300,000 rows read no more pages than 300 and the difference of the trees' depths."""
    reads = {}
    for count in (300, 300_000):
        path = tmp_path / str(count)
        load(path, count)
        with Database.open(path) as db:
            points = models.collection(db, Point)
            assert points.get(count // 2) == Point(id=count // 2, x=count // 2 % 97)
            reads[count] = db.stats()["reads"]
    assert reads[300_000] <= reads[300] + 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_warm_reads_stay_on_the_loop_and_cold_ones_leave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    path = tmp_path / "db"
    load(path, 20_000)
    files: list[FaultyDisk] = []

    def open_disk(path: str, **options: Any) -> FaultyDisk:
        files.append(FaultyDisk(path, **options))
        return files[-1]

    async def main() -> None:
        async with await AsyncDatabase.open(path) as db:
            points = models.async_collection(db, Point)
            file = files[0]
            await points.get(0)
            file.cold = True
            file.read_threads.clear()
            assert await points.get(19_999) == Point(id=19_999, x=19_999 % 97)
            assert file.read_threads, "nothing was read: the page was not cold"
            assert threading.current_thread().name not in file.read_threads
            file.read_threads.clear()
            before = threading.active_count()
            for _ in range(500):
                await points.get(19_999)
            assert file.read_threads == []
            assert threading.active_count() == before

    monkeypatch.setattr(_engine, "DiskFile", open_disk)
    anyio.run(main, backend=backend)
