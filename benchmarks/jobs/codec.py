"""A model to its stored form and back, without any database."""

from benchmarks.batch import Batch, each
from benchmarks.data import rows
from benchmarks.job import Site, job

SECTION = "Codec"


@job("model -> stored form", SECTION, "encoder", "reopens")
def encode(site: Site) -> Batch:
    return each(site.peer.encoder(), list(rows(200)))


@job("stored form -> model", SECTION, "encoder", "decoder")
def decode(site: Site) -> Batch:
    some = list(rows(200))
    stored = [site.peer.encoder()(user) for user in some]
    decoder = site.peer.decoder()
    assert [decoder(form) for form in stored] == some
    return each(decoder, stored)
