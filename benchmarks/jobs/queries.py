"""Questions about many rows."""

from itertools import count

from benchmarks.batch import WARM, Batch, each, whole
from benchmarks.job import Site, job

SECTION = "Queries"
LIMITS = (10 - number / 10**7 for number in count())  # never the same question: TinyDB keeps answers


@job("range on an index, ordered, limit 20", SECTION, "in_cities", most=30, times={"sqlite3": 2.5})
def in_cities(site: Site) -> Batch:
    store = site.shared()
    some = [(f"City {number:04}", f"City {number + 400:04}") for number in range(0, 9_000, 300)]
    found = store.in_cities(*some[0])
    cities = [site.peer.city(user) for user in found]
    assert cities == sorted(cities) and len(cities) == 20
    return each(lambda ends: store.in_cities(*ends), some)


@job("filter at 1 %, per scanned row", SECTION, "scored", most=0.05, times={"sqlite3": 1.0, "DuckDB": 1.0}, rounds=11)
def scored(site: Site) -> Batch:
    store = site.shared()
    assert len(store.scored(10.0)) == site.rows // 100
    return whole(lambda: store.scored(next(LIMITS)), site.rows, WARM)


@job("count of a filter, per scanned row", SECTION, "count_scored", unit="ns", rounds=11)
def count_scored(site: Site) -> Batch:
    store = site.shared()
    assert store.count_scored(10.0) == site.rows // 100
    return whole(lambda: store.count_scored(next(LIMITS)), site.rows, WARM)


@job("average by group, per row", SECTION, "averages", unit="ns", rounds=11)
def averages(site: Site) -> Batch:
    store = site.shared()
    assert len(store.averages()) == 60
    return whole(store.averages, site.rows, WARM)


@job("all rows as models, per row", SECTION, "all", most=2.5, times={"sqlite3": 2.0}, rounds=5)
def every(site: Site) -> Batch:
    store = site.shared()
    assert len(store.all()) == site.rows
    return whole(store.all, site.rows, WARM)
