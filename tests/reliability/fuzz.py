"""Bytes that no checksum catches: each decoder gets what an adversary, or a bug, could have sealed.

A target takes any bytes, puts them into a database (a record, a key, a definition, a page, the log, the meta) with
checksums that fit, and asks the database everything. It must raise CorruptionError or ModelVaultFormatError, or give
data; never another error, a crash, a hang, or more memory than a sound file takes.

`run` mutates samples from a seed; `coverage.py` lets atheris do it.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache, partial
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from modelvault import Database, avg, count, fields, models
from modelvault.errors import ModelVaultError, ModelVaultFormatError
from tests.faults import SimulatedDisk
from tests.format.golden import PAGE_SIZE, Color, Place, Thing, thing
from tests.reliability.sealing import Sealed, SealedLog
from tests.reliability.tally import Tally
from tests.reliability.workload import PATH, Installed, Prompt

MOST_MEMORY = 256 * 1024 * 1024  # bytes that the process may grow by


class Rich(BaseModel):
    """What Thing lacks: containers in containers, unions, values of any type, every point in time."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "rich"
    __modelvault_indexes__ = (models.index("day"), models.index("names"), models.index("size"))
    id: str
    day: date
    hour: time | None
    span: timedelta
    size: Decimal | None
    names: set[str]
    pair: tuple[int, str]
    table: dict[str, list[float]]
    either: int | str | list[int]
    free: Any
    places: list[Place]
    color: Color | None


class Flagged(Thing):
    """Thing with a float in place of an int: every row is written anew, and the other fields are carried as bytes."""

    __modelvault_collection__ = "things"
    flag: float  # type: ignore[assignment]


def older(row: dict[str, Any]) -> None:
    """An upgrade function, for which a row becomes a dict."""
    row["pair"] = [row["pair"][0] + 1, row["pair"][1]]


def rich(number: int) -> Rich:
    """The row with this number."""
    return Rich(
        id=f"rich {number}",
        day=date(2000, 1, 1) + timedelta(days=number),
        hour=time(number % 24, tzinfo=timezone.utc) if number % 3 else None,
        span=timedelta(days=-number, microseconds=number),
        size=Decimal(number * 7).scaleb(number % 5 - 3) if number % 4 else None,
        names={f"n{number % 3}", f"n{number % 5}"},
        pair=(number, "x" * number),
        table={f"k{place}": [place / 2, -1.0] for place in range(number % 4)},
        either=[number, str(number), [number] * 3][number % 3],
        free=[None, {"a": [1, 2.5, UUID(int=number)], "b": (True, {3})}, datetime(2020, 1, 1), b"x"][number % 4],
        places=[Place(city=f"c{place}", zip=None) for place in range(number % 3)],
        color=Color.RED if number % 2 else None,
    )


# What is asked


def questions(db: Database) -> Iterator[Callable[[], Any]]:
    """Every way to read a database of Things and Rich rows, without a model."""
    yield db.verify
    for name in db.collection_names():
        yield lambda name=name: db.collection(name).count()
        yield lambda name=name: db.collection(name).all()
        yield lambda name=name: list(db.collection(name))
        yield lambda name=name: db.collection(name).order_by("id", desc=True).all()


def thing_questions(db: Database) -> Iterator[Callable[[], Any]]:
    """The same, with a model; it need not fit."""
    f = fields(Thing)
    things = db.collection(Thing)
    yield from short_questions(things, range(-50, 50, 9), {"name": "thing 042", "id": -8, "place.city": "city 3"})
    yield things.all
    yield lambda: things.get_many(range(-50, 50, 3))
    yield lambda: things.where(f.name == "thing 042").all()
    yield lambda: things.where(f.place.city >= "city 3", f.wide > 5).order_by(f.ratio.desc()).limit(5).all()
    yield lambda: things.where(f.tags.contains("tag 1") & (f.note != None)).count()  # noqa: E711
    yield lambda: things.where(f.name.like("%4%") | (f.price < Decimal("0.3"))).order_by("place.city", "made").all()
    yield lambda: things.where(f.numbers == [7, None, -7, 2**64 - 1]).select(f.id, f.raw, f.key).all()
    yield lambda: things.where(f.color == Color.GREEN).agg(n=count(), a=avg(f.ratio))
    yield lambda: things.group_by("place.city").agg(n=count())
    yield lambda: things.select(f.name, f.raw, f.tags, f.place, f.made, f.color, f.key).to_arrow()


def rich_questions(db: Database) -> Iterator[Callable[[], Any]]:
    """The same."""
    f = fields(Rich)
    rows = db.collection(Rich)
    yield from short_questions(
        rows, (f"rich {number}" for number in range(0, 40, 5)), {"day": date(2000, 1, 6), "size": None}
    )
    yield rows.all
    yield lambda: rows.get_many(f"rich {number}" for number in range(10))
    yield lambda: rows.where(f.day > date(2000, 1, 5)).order_by(f.span, f.hour).all()
    yield lambda: rows.where(f.names.contains("n1") | (f.size > 0)).select(f.table, f.free, f.either).all()
    yield lambda: rows.where(f.places.city == "c1", f.color != None).count()  # noqa: E711
    yield lambda: rows.group_by("size").agg(n=count())
    yield lambda: rows.order_by(f.size.desc(), f.day).limit(3).all()
    yield lambda: rows.select(f.day, f.span, f.size, f.names, f.pair, f.table, f.free, f.either, f.places).to_arrow()


def short_questions(rows: Any, keys: Iterable[Any], values: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    """What the core answers alone if it finds everything in memory, twice: the first time reads it."""
    for _ in range(2):
        for key in keys:
            yield partial(rows.get, key)
        for path, value in values.items():
            yield partial(rows.get_by, path, value)
            yield rows.where(path, value).first
            yield rows.where(path, value).limit(7).all


def changes(db: Database) -> Iterator[Callable[[], Any]]:
    """Ways to write."""
    if "things" in db.collection_names():
        things = db.collection(Thing)
        yield lambda: things.delete(-45)
        yield lambda: things.insert(thing(46).model_copy(update={"name": "other", "raw": bytes(9000)}))
        yield lambda: things.insert_many(
            [thing(number).model_copy(update={"flag": True}) for number in range(0, 90, 7)]
        )
    if "rich" in db.collection_names():
        yield lambda: db.collection(Rich).insert(rich(99))
        yield lambda: db.collection(Rich).where("day", date(2000, 1, 4)).delete()
    yield db.checkpoint
    yield db.verify
    if "things" in db.collection_names():
        yield lambda: models.apply(db, Flagged)
        yield lambda: db.collection(Flagged).all()
    if "rich" in db.collection_names():
        yield lambda: models.apply(db, Rich, upgrade={2: older})
        yield lambda: db.collection(Rich).all()
    yield db.verify


def ask(db: Database, write: bool) -> None:
    """Everything, or what needs no model and changes nothing; ends with what must not happen."""
    attempt(questions(db), ModelVaultFormatError)
    if not write:
        return
    if "things" in db.collection_names():
        attempt(thing_questions(db), ModelVaultError)
    if "rich" in db.collection_names():
        attempt(rich_questions(db), ModelVaultError)
    attempt(changes(db), ModelVaultError)


def attempt(calls: Iterator[Callable[[], Any]], allowed: type[Exception]) -> None:
    """Each of these; it may raise this. A model may find that the schema is another one."""
    with suppress(allowed):
        for call in calls:
            with suppress(allowed):
                call()


def read(content: bytes) -> None:
    """Open a file in both ways, and ask everything."""
    disk = installed()
    for options in ({"read_only": True}, {}):
        disk.hold(PATH, content)
        try:
            db = Database.open(PATH, **options)
        except ModelVaultFormatError:
            continue
        with closing(db):
            try:
                ask(db, not options)
            except OSError as error:
                if "an earlier write failed" not in str(error):  # it met damage while it wrote
                    raise


# What is damaged


_installed: list[Installed] = []


def installed() -> SimulatedDisk:
    """The disk that the databases of this module are opened on, while one is installed."""
    return _installed[-1].disk


class Ready:
    """`with Ready()`: the targets can be used."""

    def __enter__(self) -> None:
        _installed.append(Installed(keeper=Prompt))
        _installed[-1].__enter__()

    def __exit__(self, *error: object) -> None:
        _installed.pop().__exit__(*error)


def filled(closed: bool) -> bytes:
    """A sound file: closed, or with a log."""
    disk = installed()
    disk.media.pop(PATH, None)
    db = Database.open(PATH, page_size=PAGE_SIZE)
    db.collection(Thing).insert_many([thing(number) for number in range(100)])
    db.collection(Rich).insert_many([rich(number) for number in range(40)])
    db.close()
    db = Database.open(PATH)
    for number in range(3, 100, 10):
        db.collection(Thing).delete(number - 50)
    db.collection(Rich).insert(rich(41))
    db.collection(Rich).delete("rich 7")
    if closed:
        db.close()
    content = bytes(disk.media[PATH].content)
    if not closed:
        db.close()
    return content


@cache
def sealed() -> Sealed:
    return Sealed(filled(closed=True))


@cache
def sealed_log() -> SealedLog:
    return SealedLog(filled(closed=False))


def page_target(data: bytes) -> None:
    """Byte 0 selects a page; the others are its content."""
    file = sealed()
    pages = sorted(file.extents)
    read(file.with_page(pages[data[0] % len(pages)], data[1:]))


def page_samples() -> list[bytes]:
    file = sealed()
    return [bytes([number]) + file.page(page) for number, page in enumerate(sorted(file.extents))]


def meta_target(data: bytes) -> None:
    read(sealed().with_meta(data))


def meta_samples() -> list[bytes]:
    file = sealed()
    return [file.content[file.slot * PAGE_SIZE + 16 : file.slot * PAGE_SIZE + 512]]


def log_target(data: bytes) -> None:
    """Byte 0 selects a record; the others are its changes."""
    file = sealed_log()
    read(file.with_changes(data[0] % len(file.records), data[1:]))


def log_samples() -> list[bytes]:
    file = sealed_log()
    return [bytes([number]) + file.changes(number) for number in range(len(file.records))]


def definition_target(data: bytes) -> None:
    """The definition of a collection: byte 0 selects which; the others are its JSON."""
    file = sealed_log()
    key = b"c" + (data[0] % 3 + 1).to_bytes(4, "big")
    read(file.with_changes(0, change(0, key, data[1:]) + file.changes(0)))


def definition_samples() -> list[bytes]:
    installed().hold(PATH, sealed().content)
    with closing(Database.open(PATH, read_only=True)) as db:
        definitions = db._twin._access.engine.latest.definitions
    texts = [json.dumps(definition, separators=(",", ":")) for definition in definitions.values()]
    return [bytes([number]) + text.encode() for number, text in enumerate(texts)]


def change(tree: int, key: bytes, value: bytes) -> bytes:
    """A put as the log has it."""
    return varint(tree * 2) + varint(len(key)) + key + varint(len(value)) + value


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def record_target(data: bytes) -> None:
    """Byte 0 selects a collection; the others are a record, which is stored under the key of a sound one."""
    name = ("things", "rich")[data[0] % 2]
    with raw(name) as (db, write, definition):
        write.put(definition["tree"], KEYS[name], data[1:])
        end(db, write)


def record_samples() -> list[bytes]:
    found = []
    for number, (model, make) in enumerate(((Thing, thing), (Rich, rich))):
        with closing(Database.open_in_memory()) as db:
            rows = db.collection(model)
            rows.insert(make(1))
            binding = db.__catalog__.find(rows.name, None).binding(db.__catalog__.mapped(model))
            found += [bytes([number]) + binding.face.encode(make(row))[1] for row in range(1, 40, 3)]
    return found


KEYS = {"things": b"\x7e\xd0", "rich": b"rich 5"}


def key_target(data: bytes) -> None:
    """Byte 0 selects a tree; the others are a key in it (with the value of a sound entry, where there are values)."""
    name = ("things", "rich")[data[0] % 2]
    with raw(name) as (db, write, definition):
        trees = [definition["tree"], *(tree for _, tree in definition["indexes"])]
        tree = trees[data[0] // 2 % len(trees)]
        write.put(tree, data[1:900], record_samples_of(name) if tree == definition["tree"] else b"")
        end(db, write)


@cache
def record_samples_of(name: str) -> bytes:
    samples = record_samples()
    return samples[0 if name == "things" else -1][1:]


def key_samples() -> list[bytes]:
    return [bytes([number]) + key for number in range(10) for key in (*KEYS.values(), b"\x01tag 1\0\0\x7e\xd0")]


class raw:  # noqa: N801
    """`with raw(name) as (db, write, definition)`: a database in memory, open for what no table looks after."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> tuple[Database, Any, Any]:
        self.db = Database.open_in_memory(page_size=PAGE_SIZE)
        rows: Any = self.db.collection(Thing if self.name == "things" else Rich)
        rows.insert_many([(thing if self.name == "things" else rich)(number) for number in range(8)])
        engine = self.db._twin._access.engine
        return self.db, engine.begin(), engine.latest.definitions[self.name]

    def __exit__(self, *error: object) -> None:
        self.db.close()


def end(db: Database, write: Any) -> None:
    """Commit what was put there, and ask."""
    db._twin._access.engine.commit(write)
    ask(db, write=True)


@dataclass(frozen=True)
class Target:
    """Something that takes any bytes, and bytes that it usually takes."""

    use: Callable[[bytes], None]
    samples: Callable[[], list[bytes]]


TARGETS = {
    "page": Target(page_target, page_samples),
    "meta": Target(meta_target, meta_samples),
    "log": Target(log_target, log_samples),
    "definition": Target(definition_target, definition_samples),
    "record": Target(record_target, record_samples),
    "key": Target(key_target, key_samples),
}


# Mutation


def mutate(draw: random.Random, samples: list[bytes]) -> bytes:
    """A sample with a few changes; byte 0, which selects, stays what it is."""
    sample = draw.choice(samples)
    data = bytearray(sample)
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3, 8])):
        alter(draw, data, samples)
    return sample[:1] + bytes(data[1:])


def alter(draw: random.Random, data: bytearray, samples: list[bytes]) -> None:
    """One change."""
    size = len(data)
    if size < 2:
        data.extend(draw.randbytes(draw.choice([1, 8, 40])))
        return
    at = draw.randrange(1, size) if draw.random() < 0.6 else draw.randrange(1, min(size, 80))
    way = draw.randrange(9)
    if way == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif way == 1:
        data[at] = draw.choice([0, 1, 2, 0x7F, 0x80, 0xFF, ord("{"), ord('"'), ord("-"), draw.randrange(256)])
    elif way <= 4:
        width = draw.choice([2, 2, 4, 8])
        number = draw.choice(
            [0, 1, 2, size - 1, size, size + 1, at, 4096, 2**15, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]
        )
        data[at : at + width] = (number % 256**width).to_bytes(width, "little")
    elif way == 5:
        del data[at : at + draw.choice([1, 1, 2, 8, 100, size])]
    elif way == 6:
        data[at:at] = draw.choice([draw.randbytes(draw.choice([1, 2, 8, 50])), b"\xff" * 9, b"[" * 2000, b"9" * 5000])
    elif way == 7:
        start = draw.randrange(size)
        data[at:at] = data[start : start + draw.choice([1, 4, 16, 100])]
    else:
        other = draw.choice(samples)
        start = draw.randrange(len(other))
        part = other[start : start + draw.choice([2, 8, 24, 100])]
        data[at : at + len(part)] = part


def run(tally: Tally, seed: int, most: int = 10**9, targets: tuple[str, ...] = tuple(TARGETS)) -> None:
    """Mutate samples of each target in turn until the time is up or `most` were tried."""
    counts: Counter[str] = Counter()
    with Ready():
        samples = {name: TARGETS[name].samples() for name in targets}
        for name in targets:
            for sample in samples[name]:
                TARGETS[name].use(sample)
        before = peak()
        while tally.tried < most and not tally.over:
            name = targets[tally.tried % len(targets)]
            place = f"{name}, case {seed}:{tally.tried}"
            tally.place = place
            data = mutate(random.Random(f"{seed}:{tally.tried}"), samples[name])
            try:
                TARGETS[name].use(data)
            except Exception as error:
                tally.lose(f"{name}: {kind(error)}", f"{place}: {error!r:.200} at {spot(error)}: {data.hex():.400}")
            if tally.tried % 50 == 0:
                gc.collect()  # closed databases are circles, and hold whole files here
            if peak() > before + MOST_MEMORY:
                tally.lose("memory", f"{place}: {peak() - before} bytes more")
                before = peak()
            counts[name] += 1
            tally.tried += 1
            tally.detail = ", ".join(f"{count} {name}" for name, count in counts.items())


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def kind(error: Exception) -> str:
    return f"{type(error).__name__} in {spot(error).split(':')[0]}"


def spot(error: Exception) -> str:
    """Where it was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/modelvault/" in frame.filename] or [
        *traceback.extract_tb(error.__traceback__)
    ]
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
