"""`bench`: how fast a file of the user's own is, on this machine. What writes does so in a copy."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import typer

from modelvault import Database
from modelvault.cli.output import Output
from modelvault.cli.parts import Collection, File, Json
from modelvault.cli.places import reading, schema_of
from modelvault.errors import ModelVaultQueryError

__all__ = ["bench"]

SAMPLE = 1000  # rows that are asked for


def bench(
    file: File,
    collection: Collection = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each measurement takes.")] = 0.5,
    json: Json = False,
) -> None:
    """Measure reading and writing with the rows of a file: get, scan, and insert in a copy."""
    results: list[tuple[Any, ...]] = []
    with reading(file) as db:
        name = collection or largest(db)
        primary = schema_of(db, name).primary
        rows = db.collection(name).where().limit(SAMPLE).all()
        if not rows:
            raise ModelVaultQueryError(f"{name} has no rows to measure with")
        keys = [row[primary] for row in rows]
        random.Random(0).shuffle(keys)
        plain = db.collection(name)
        results.append(("get by key, warm", measured(lambda: [plain.get(key) for key in keys], len(keys), seconds)))
        count = plain.count()
        results.append(("scan, every row as a dict", measured(lambda: drain(plain), count, seconds)))
        results.append(("count every row", measured(plain.where().count, count, seconds)))
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        results += writes(copy, name, rows, seconds)
    names = ["what", "rows per second", "microseconds per row"]
    output = Output(json)
    output.table(
        names, [(what, round(1 / each), round(each * 1e6, 2)) for what, each in results], [None, "int", "float64"]
    )


def largest(db: Database) -> str:
    """The collection with the most rows."""
    names = db.collection_names()
    if not names:
        raise ModelVaultQueryError(f"{db.path()} has no collections")
    return max(names, key=lambda name: db.collection(name).count())


def measured(call: Callable[[], Any], rows: int, seconds: float) -> float:
    """The median time for a row, over as many calls as the seconds allow; at least three."""
    times: list[float] = []
    start = perf_counter()
    while len(times) < 3 or perf_counter() - start < seconds:
        begin = perf_counter()
        call()
        times.append(perf_counter() - begin)
    return max(median(times), 1e-9) / max(rows, 1)


def drain(collection: Any) -> None:
    """Read all rows, one after the other."""
    for _ in collection.where():
        pass


def writes(copy: Path, name: str, rows: list[Any], seconds: float) -> list[tuple[Any, ...]]:
    """The measurements that write, in a copy next to the file, so on the same disk."""
    with Database.open(copy) as db:
        plain = db.collection(name)
        few = rows[:20]

        def one_by_one() -> None:
            for row in few:
                plain.insert(row)

        return [
            ("insert, a durable commit each", measured(one_by_one, len(few), seconds)),
            ("insert many, one commit", measured(lambda: plain.insert_many(rows), len(rows), seconds)),
        ]
