"""Lookups in warm data."""

from benchmarks.batch import Batch, each
from benchmarks.data import city, email, row, shuffled
from benchmarks.job import Site, job

SECTION = "Lookups"
GET = {"sqlite3": 5.0, "LMDB + JSON": 3.0, "modelvault 0.16": 25.0}


@job("get by primary key", SECTION, "get", most=1.6, times=GET, grows=1.5)
def get(site: Site) -> Batch:
    store = site.shared()
    keys = shuffled(site.rows, 500)
    for key in keys[:20]:
        assert site.peer.same(store.get(key), row(key))
    return each(store.get, keys)


@job("get by unique index", SECTION, "by_email", most=2.2)
def by_email(site: Site) -> Batch:
    store = site.shared()
    keys = shuffled(site.rows, 200)
    found = store.by_email(email(keys[0]))
    assert len(found) == 1 and site.peer.same(found[0], row(keys[0]))
    return each(store.by_email, [email(key) for key in keys])


@job("equality on a nested field's index, per row", SECTION, "by_city", most=1.3, times={"sqlite3": 3.0})
def by_city(site: Site) -> Batch:
    store = site.shared()
    some = [city(key) for key in shuffled(site.rows, 50)]
    count = len(store.by_city(some[0]))
    assert count == max(site.rows // 10_000, 1)
    batch = each(store.by_city, some)
    return lambda: batch() / count
