"""`make bench`: modelvault beside its peers and the physical floor, in one table and one JSON file."""

import argparse
import asyncio
import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import lmdb
import trio
import uvloop

from benchmarks.compare.floor import synced_write
from benchmarks.compare.lmdb_json import Lmdb
from benchmarks.compare.measure import Batch, Case, each, portions, table, whole
from benchmarks.compare.ours import Ours
from benchmarks.compare.sqlite import Sqlite, model, values
from benchmarks.data import city, rows, shuffled
from modelvault import AsyncDatabase, __version__, models
from modelvault._core.record import Face, RecordCodec
from modelvault.mapping import schema_of
from tests.models import User

Store = Ours | Sqlite | Lmdb
STORES: list[type[Ours] | type[Sqlite] | type[Lmdb]] = [Ours, Sqlite, Lmdb]
LOOPS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, float]]], float]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": lambda main: trio.run(main),
}
BASE = Ours.name
FLOOR = "floor"
SUBJECTS = [BASE, Sqlite.name, Lmdb.name, FLOOR]


class Bench:
    """The cases, and the stores they run on."""

    def __init__(self, folder: Path, count: int, rounds: int) -> None:
        self.folder, self.count, self.rounds = folder, count, rounds
        self.cases: list[Case] = []
        self.users = list(rows(count))
        gc.freeze()

    def case(self, name: str, unit: str, subjects: dict[str, Batch], rounds: int | None = None) -> Case:
        """Measure one row of the table."""
        print(f"  {name} ...", file=sys.stderr, flush=True)
        case = Case(name, unit, subjects)
        case.run(self.rounds if rounds is None else rounds)
        self.cases.append(case)
        return case

    def path(self, store: type[Store], label: str) -> Path:
        return self.folder / f"{store.__name__}-{label}"

    def loads(self) -> None:
        """Bulk load in one transaction, on disk; the files stay for the cases that read."""
        made = dict.fromkeys(SUBJECTS, 0)

        def load(store: type[Store]) -> Batch:
            def batch() -> float:
                made[store.name] += 1
                opened = store(self.path(store, f"load{made[store.name]}"))
                start = perf_counter()
                opened.load(self.users)
                taken = perf_counter() - start
                opened.close()
                return taken / self.count

            return batch

        self.case(
            "bulk load, one transaction, 2 indexes", "us", {store.name: load(store) for store in STORES}, rounds=3
        )
        sizes = Case("file size per row", "bytes")
        for store in STORES:
            opened = store(self.path(store, "load1"))
            sizes.seconds[store.name] = opened.size() / self.count
            opened.close()
        self.cases.append(sizes)

    def codec(self) -> None:
        """A model to stored bytes and back, without any database."""
        some = self.users[:200]
        face = Face([RecordCodec(schema_of(User).type, 1)], "id")
        ours = [face.encode(user)[1] for user in some]
        columns = [values(user) for user in some]
        texts = [user.model_dump_json() for user in some]
        self.case(
            "model -> stored form",
            "us",
            {
                BASE: each(face.encode, some),
                Sqlite.name: each(values, some),
                Lmdb.name: each(User.model_dump_json, some),
            },
        )
        self.case(
            "stored form -> model",
            "us",
            {
                BASE: each(face.decode, ours),
                Sqlite.name: each(model, columns),
                Lmdb.name: each(User.model_validate_json, texts),
            },
        )

    def reads(self) -> None:
        """Lookups on warm data."""
        stores = [store(self.path(store, "load1")) for store in STORES]
        keys = shuffled(self.count, 500)
        emails = [f"user{key}@example.com" for key in keys[:200]]
        cities = [city(key) for key in keys[:50]]
        plain = {user.id: user for user in self.users}
        for store in stores:
            assert [store.get(key) for key in keys[:100]] == [plain[key] for key in keys[:100]]
            assert store.by_email(emails[0]) == [plain[keys[0]]]
            assert len(store.by_city(cities[0])) == max(self.count // 10_000, 1)
        self.case(
            "get by primary key",
            "us",
            {store.name: each(store.get, keys) for store in stores} | {FLOOR: each(plain.__getitem__, keys)},
        )
        self.case("equality on a unique index", "us", {store.name: each(store.by_email, emails) for store in stores})
        per_city = max(self.count // 10_000, 1)
        self.case(
            f"equality on a nested field's index ({per_city} rows)",
            "us",
            {store.name: each(store.by_city, cities) for store in stores},
        )
        for store in stores:
            store.close()

    def awaited(self) -> None:
        """The same get, awaited, on each event loop. SQLite and LMDB would need a thread for it."""
        keys = shuffled(self.count, 500)

        async def gets() -> float:
            async with AsyncDatabase.open(str(self.path(Ours, "load1"))) as db:
                get = models.async_collection(db, User).get
                for key in keys:
                    await get(key)
                start = perf_counter()
                for key in keys:
                    await get(key)
                return (perf_counter() - start) / len(keys)

        for name, run in LOOPS.items():
            self.case(f"get, awaited on {name}", "us", {BASE: lambda run=run: run(gets)})  # type: ignore[misc]

    def inserts(self) -> None:
        """Single inserts: in memory, and durable one by one."""
        size, rounds = 200, self.rounds
        memory = [Ours(None), Sqlite(None)]
        self.case(
            "insert in memory, 2 indexes",
            "us",
            {store.name: portions(store.insert, rows(size * rounds), size) for store in memory},
        )
        durable = [store(self.path(store, "load1")) for store in STORES]
        write = synced_write(self.folder / "floor")
        fresh = self.count + 1
        subjects = {store.name: portions(store.insert, rows(20 * rounds, fresh), 20) for store in durable}
        floor = each(lambda _: write(), range(20))
        self.case("insert, durable, one at a time", "us", {**subjects, FLOOR: floor})
        for store in [*memory, *durable]:
            store.close()

    def opens(self) -> None:
        """From a path to the first row, on files of very different size."""
        for count in (300, 3 * self.count):
            for store in STORES:
                filled = store(self.path(store, f"open{count}"))
                filled.load(rows(count))
                filled.close()

            def first(store: type[Store], count: int = count) -> None:
                opened = store(self.path(store, f"open{count}"))
                assert opened.get(count // 2) is not None
                opened.close()

            subjects = {store.name: whole(lambda store=store: first(store)) for store in STORES}  # type: ignore[misc]
            self.case(f"open, get, close at {count:,} rows", "us", subjects)


def report(bench: Bench) -> dict[str, object]:
    """What goes into the JSON file: seconds (or bytes) per operation, and what they were measured with."""
    return {
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
        "versions": {"modelvault": __version__, "sqlite": sqlite3.sqlite_version, "lmdb": str(lmdb.version())},
        "rows": bench.count,
        "cases": {
            case.name: {"unit": "bytes" if case.unit == "bytes" else "seconds", **case.seconds} for case in bench.cases
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the system's temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(Path(folder), options.rows, options.rounds)
        for part in (bench.codec, bench.loads, bench.reads, bench.awaited, bench.inserts, bench.opens):
            part()
    print(f"\n{options.rows:,} rows, medians of {options.rounds} interleaved rounds; in parentheses: times {BASE}\n")
    print(table(bench.cases, SUBJECTS, BASE))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report(bench), indent=2) + "\n")
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
