"""Damage to a file: it is noticed, or harmless; never other data, a crash or a hang.

A small file in which every bit is flipped, which is cut at every length, whose pages change places and go back to what
they were; and one whose log still has the commits, of which only the last one may look as if a crash had torn it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from math import gcd

from modelvault import Database
from modelvault._core.file import MemoryFile
from modelvault._core.meta import read_meta
from modelvault._engine import Engine, entries
from modelvault.errors import CorruptionError, ModelVaultFormatError
from tests.reliability.sealing import SealedLog, aligned, pages_in_use
from tests.reliability.tally import Tally
from tests.reliability.workload import PAGE_SIZE, PATH, Installed, Prompt, Row, row

Content = list[list[tuple[bytes, bytes]]]


def read_all(data: bytes | bytearray) -> Content:
    """Every entry of every tree but the free tree."""
    engine = Engine.open_file(MemoryFile(bytes(data)), read_only=True)
    try:
        roots = engine.latest.roots
        return [list(entries(engine.pager, roots[tree])) for tree in range(len(roots)) if tree != 1]
    finally:
        engine.close()


def outcome(data: bytes | bytearray, expected: Content) -> bool:
    """Whether damaged bytes still give all the data; they must not give other data."""
    try:
        found = read_all(data)
    except ModelVaultFormatError:
        return False
    assert found == expected
    return True


@cache
def states() -> tuple[bytes, ...]:
    """A small file after each of a few checkpoints: rows, a long value, indexes, free pages, none in reserve."""
    draw = random.Random(4)
    found = []
    with Installed(keeper=Prompt) as disk:
        for batch in range(4):
            with Database.open(PATH, page_size=PAGE_SIZE) as db, db.transaction():
                rows = db.collection(Row)
                rows.insert_many([row(draw, batch * 6 + place, batch, large=False) for place in range(6)])
                if batch == 0:
                    rows.insert(Row(id=-1, email="long", batch=0, tags=[], text="long" * 1500))
                if batch:
                    rows.delete(batch)
            content = bytes(disk.media[PATH].content)
            found.append(content[: read_meta(MemoryFile(content)).page_count * PAGE_SIZE])
    return tuple(found)


@cache
def logged() -> SealedLog:
    """A small file with a few commits in its log."""
    draw = random.Random(5)
    with Installed(keeper=Prompt) as disk, Database.open(PATH, page_size=PAGE_SIZE) as db:
        db.collection(Row)
        for key in range(9):
            db.collection(Row).insert(row(draw, key, key, large=False))
        content = bytes(disk.media[PATH].content)
    return SealedLog(content)


class Judge:
    """Compares what damaged bytes give with what was there, and tells the tally."""

    def __init__(self, tally: Tally, sound: bytes) -> None:
        self.tally = tally
        self.sound = sound
        self.expected = read_all(sound)
        self.harmless = 0

    def judge(self, damaged: bytes | bytearray, place: str, *, must_be_harmless: bool = False) -> bool:
        """Whether the damage is harmless."""
        self.tally.tried += 1
        self.tally.place = place
        try:
            same = outcome(damaged, self.expected)
        except AssertionError:
            self.tally.lose("other data", place)
            return False
        except Exception as error:
            self.tally.lose(f"{type(error).__name__}", f"{place}: {error!r}")
            return False
        self.harmless += same
        if must_be_harmless and not same:
            self.tally.lose("data lost without need", place)
        return same


def flips(tally: Tally, seed: int, most: int = 10**9) -> None:
    """Each bit of a small file, in an order of the seed."""
    sound = states()[-1]
    judge = Judge(tally, sound)
    used = set(pages_in_use(sound))
    for bit in spread(len(sound) * 8, seed):
        if tally.over or tally.tried >= most:
            break
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        page = bit // 8 // PAGE_SIZE
        # One copy of a meta may rot, and free pages are nobody's data.
        judge.judge(damaged, f"bit {bit}", must_be_harmless=page < 4 or page not in used)
    tally.detail = f"of {len(sound) * 8:,} bits; {judge.harmless:,} harmless (copies of the meta, free pages)"


def cuts(tally: Tally, seed: int, most: int = 10**9) -> None:
    """Each shorter length of a small file."""
    sound = states()[-1]
    judge = Judge(tally, sound)
    for length in spread(len(sound), seed):
        if tally.over or tally.tried >= most:
            break
        judge.judge(sound[:length], f"length {length}")
    tally.detail = f"of {len(sound):,} lengths; {judge.harmless:,} harmless (behind the last page)"


def swaps(tally: Tally, seed: int, most: int = 10**9) -> None:
    """Each two pages in each other's place; each page as it was after an earlier checkpoint."""
    *older, sound = states()
    judge = Judge(tally, sound)
    pages = range(len(sound) // PAGE_SIZE)
    cases = [(first, second, sound) for first, second in combinations(pages, 2)]
    cases += [(page, page, old) for old in older for page in pages if page * PAGE_SIZE < len(old)]
    random.Random(seed).shuffle(cases)
    for first, second, source in cases:
        if tally.over or tally.tried >= most:
            break
        damaged = bytearray(sound)
        a, b = (slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE) for page in (first, second))
        damaged[a], damaged[b] = source[b], source[a]
        judge.judge(damaged, f"page {first} as {second}" if first != second else f"page {first} as it was")
    tally.detail = f"of {len(cases):,} exchanges; {judge.harmless:,} harmless"


def log_flips(tally: Tally, seed: int, most: int = 10**9) -> None:
    """Each bit of a log with commits: those before the last one are missed, and the page is named."""
    file = logged()
    complete, without_last = read_all(file.content), read_all(file.with_changes(len(file.records) - 1, b"")[:])
    lasts = sum(aligned(len(record)) for record in file.records[:-1]) + file.meta.log_start
    size = lasts + aligned(len(file.records[-1]))
    refused = torn = 0
    for bit in spread(8 * size, seed):
        if tally.over or tally.tried >= most:
            break
        tally.tried += 1
        place = f"bit {bit} of the log"
        damaged = bytearray(file.content)
        damaged[file.start + bit // 8] ^= 1 << bit % 8
        try:
            found = read_all(damaged)
        except CorruptionError as error:
            refused += 1
            page = file.meta.log_page + bit // 8 // PAGE_SIZE
            if error.page is None or not page - 1 <= error.page <= page:
                tally.lose("another page is named", f"{place}: {error!r}")
        else:
            torn += found == without_last
            if found not in ((complete, without_last) if bit // 8 >= lasts else (complete,)):
                tally.lose("a commit is lost" if found != complete else "other data", place)
    tally.detail = f"of {8 * size:,} bits; {refused:,} refused, {torn:,} as if the last commit had been torn"


def spread(count: int, seed: int) -> Iterator[int]:
    """The numbers below `count`, each once, far from one to the next; an order of the seed."""
    start = random.Random(seed).randrange(count)
    step = next(step for step in range(int(count * 0.618), 2 * count) if gcd(step, count) == 1)
    return ((start + number * step) % count for number in range(count))
