"""The physical limits of the machine: what no database can beat."""

from benchmarks.batch import Batch, each
from benchmarks.data import rows, shuffled
from benchmarks.job import Site, job

SECTION = "The machine"


@job("dict lookup of a ready model", SECTION, "lookup")
def lookup(site: Site) -> Batch:
    plain = dict.fromkeys(range(1, site.rows + 1), next(rows(1)))
    return each(plain.__getitem__, shuffled(site.rows, 500))


@job("a new model from ready values", SECTION, "build")
def build(site: Site) -> Batch:
    return each(site.peer.build, list(rows(200)))


@job("model_validate of a ready dict", SECTION, "validate")
def validate(site: Site) -> Batch:
    return each(site.peer.validate, [user.model_dump() for user in rows(200)])


@job("memcpy of 230 bytes", SECTION, "copy", unit="ns")
def copy(site: Site) -> Batch:
    return site.peer.copy()


@job("pwrite + fdatasync of a pre-written page", SECTION, "synced_write")
def synced_write(site: Site) -> Batch:
    write = site.fresh().synced_write
    return each(lambda _: write(), range(10))
