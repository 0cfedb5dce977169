"""From a path to the first row: of a file that was closed, and of one whose writer was killed."""

import os
import signal

from benchmarks.batch import Batch, whole
from benchmarks.data import row, rows
from benchmarks.job import Site, job

SECTION = "Opening"


@job("open, get, close", SECTION, "get", "reopens", grows=1.2, rounds=15)
def opening(site: Site) -> Batch:
    site.release()
    path, key = site.loaded(), site.rows // 2

    def first() -> None:
        store = site.peer(path)
        assert site.peer.same(store.get(key), row(key))
        store.close()

    return whole(first)


@job("open and get after kill -9 of a writer", SECTION, "get", "insert", "forks", rounds=5)
def after_kill(site: Site) -> Batch:
    """The writer inserts 100 rows durably, one by one, and is killed."""
    path = site.private()
    firsts = iter(range(site.rows + 1, 10**9, 100))

    def first(key: int) -> None:
        store = site.keep(site.peer(path))
        assert site.peer.same(store.get(key), row(key))

    def batch() -> float:
        start = next(firsts)
        child = os.fork()
        if child == 0:
            try:
                store = site.peer(path)
                for user in rows(100, start):
                    store.insert(user)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        cost = whole(lambda: first(start + 99))()
        site._open.pop().close()
        return cost

    return batch
