"""Memory is bounded by the cache; open does not grow with the data; reads run on the thread that they should."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

CACHE = 4 * 1024 * 1024

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

    path, cache, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Database.open_in_memory() as db:       # everything is imported and warmed up before the first measurement
        models.collection(db, Row).insert_many(rows(100))
    before = peak()
    with Database.open(path, cache_size=cache) as db:
        collection = models.collection(db, Row)
        collection.insert_many(rows(count))
        assert collection.count() == count
    with Database.open(path, cache_size=cache) as db:
        seen = sum(len(row.text) for row in models.collection(db, Row))
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
        capture_output=True, text=True, check=False, cwd=root,
    )
    assert result.returncode == 0, result.stderr
    assert path.stat().st_size > 10 * CACHE
    assert int(result.stdout) < CACHE + 64 * 1024 * 1024
