"""Writes: in memory, in bulk, and durable one by one. Two indexes are kept in step everywhere."""

from collections.abc import Iterator

from benchmarks.batch import Batch, each, portions, whole
from benchmarks.data import rows, shuffled
from benchmarks.job import CHUNK, Site, job

SECTION = "Writes"
EVERY_PEER = ("sqlite3", "SQLModel", "LMDB + JSON", "LMDB + msgpack", "rocksdict", "TinyDB", "ZODB", "DuckDB")
BULK = dict.fromkeys((*EVERY_PEER, "modelvault 0.16"), 1.0)
DURABLE = dict.fromkeys((*EVERY_PEER, "aiosqlite", "modelvault 0.16"), 1.0)


@job("insert in memory", SECTION, "insert", "in_memory", most=3)
def insert_in_memory(site: Site) -> Batch:
    return portions(site.memory().insert, rows(10**9), 200)


@job("bulk load on disk, per row", SECTION, "load", most=3, times=BULK, rounds=3)
def load(site: Site) -> Batch:
    users = list(rows(min(site.rows, CHUNK)))

    def batch() -> float:
        store = site.fresh()
        cost = whole(lambda: store.load(users), len(users))()
        site.end()
        return cost

    return batch


@job(
    "file size per row after load",
    SECTION,
    "load",
    "durable",
    "reopens",
    unit="bytes",
    rounds=1,
    times={"sqlite3": 1.0},
)
def size(site: Site) -> Batch:
    path = site.loaded()
    site.release()
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return lambda: held / site.rows


@job("insert, durable, one at a time", SECTION, "insert", "durable", times=DURABLE, grows=1.3, floor=1.3)
def durable_insert(site: Site) -> Batch:
    return portions(site.copy().insert, rows(10**9, site.rows + 1), 50)


@job("transaction of 100 inserts, durable, per row", SECTION, "load", "durable")
def transaction(site: Site) -> Batch:
    load = site.copy().load
    fresh = ([*rows(100, first)] for first in range(site.rows + 1, site.rows + 10_000_000, 100))
    batch = portions(load, fresh, 1)
    return lambda: batch() / 100


@job("update of one field, in memory", SECTION, "update", "in_memory")
def update(site: Site) -> Batch:
    store = site.memory()
    store.load(list(rows(10_000)))
    store.update(7, 99)
    assert store.get(7).age == 99
    ages = iter(range(10**9))
    return each(lambda key: store.update(key, next(ages) % 100), shuffled(10_000, 200))


@job("delete, in memory", SECTION, "delete", "in_memory")
def delete(site: Site) -> Batch:
    store, count = site.memory(), 10_000

    def keys() -> Iterator[int]:
        while True:  # the last portion has been deleted when the next one is asked for
            store.load(list(rows(count)))
            yield from shuffled(count, count)

    return portions(store.delete, keys(), 100)
