"""Power cuts: every state that one may leave, rebuilt from what was written and when it was synced.

A workload runs on a simulated disk that notes every write, resize and sync. Between two syncs the disk may have any
part of what is on its way: any subset of the sectors and sizes, in any order, one sector caught in the middle. Each
such state must open, hold every acknowledged commit and whole commits only, in their order, be sound, take the next
commit, and stand another power cut while it is being opened.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio

from modelvault.errors import ModelVaultFormatError
from tests.faults import Log, Medium, SimulatedDisk, SimulatedFile, Window
from tests.reliability.tally import Tally
from tests.reliability.workload import (
    PATH,
    History,
    Installed,
    Lazy,
    Prompt,
    State,
    Step,
    churn,
    look,
    look_twice,
    plan,
)

SMALL = 6  # units of a window of which all subsets are tried


@dataclass
class Explorer:
    """Runs workloads and tries the states that they may leave; window by window until each has had its turn."""

    tally: Tally
    disk: SimulatedDisk
    seed: int
    per_window: int
    acknowledged_survives: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    tried: int = 0
    nested: int = 0

    def explore(self, steps: list[Step]) -> None:
        """One workload and its power cuts."""
        draw = random.Random(self.seed)
        self.tally.place = f"seed {self.seed}"
        try:
            history, log = self.record(steps)
        except Exception as error:
            self.tally.lose("the workload fails", f"seed {self.seed}: {error!r}")
            self.tried += 1
            return
        marks = (0, 0)
        for window in log.windows():
            marks = self.marks(log, window.position)
            seen = set()
            for state in states(window, draw, self.per_window):
                if hash(state) not in seen and not self.tally.over:
                    seen.add(hash(state))
                    self.tried += 1
                    self.judge(history, state, marks, window, draw)

    def record(self, steps: list[Step]) -> tuple[History, Log]:
        """Run the workload and close the database."""
        self.disk.media.pop(PATH, None)
        if self.seed % 4 > 1:
            self.disk.hold(PATH, b"")  # an empty file becomes a database
        history = History(lambda: self.disk.media.get(PATH), **self.options)

        async def main() -> None:
            await history.run(steps)
            assert history.db is not None
            await history.db.close()

        anyio.run(main)
        return history, self.disk.media[PATH].log

    def marks(self, log: Log, position: int) -> tuple[int, int]:
        """The newest commits acknowledged and begun before this event."""
        found = {"acknowledged": 0, "begun": 0}
        for event in log.events[:position]:
            if event.kind == "mark":
                what, number = event.note
                found[what] = max(found[what], number)
        return (found["acknowledged"] if self.acknowledged_survives else 0), found["begun"]

    def judge(
        self, history: History, content: bytes, marks: tuple[int, int], window: Window, draw: random.Random
    ) -> None:
        """Open one state in every way."""
        place = f"seed {self.seed}, event {window.position}"
        medium = self.disk.hold(PATH, content)
        try:
            found = (look_twice if draw.random() < 0.3 else look)(**self.options)
        except Exception as error:
            self.tally.lose("does not open", f"{place}: {error!r}")
            return
        expected = history.states[marks[0] : marks[1] + 1]
        if found not in expected:
            self.tally.lose(verdict(found, history.states, marks), place)
            return
        if draw.random() < 0.1:
            self.read_carefully(content, found, place)
        if draw.random() < 0.2:
            self.cut_again(medium.log, found, expected, place, draw)

    def read_carefully(self, content: bytes, found: State, place: str) -> None:
        """A reader finds the same; a strict open finds the same or refuses."""
        for options in ({"read_only": True}, {"recovery": "strict"}):
            self.disk.hold(PATH, content)
            try:
                if look(**{**self.options, **options}) != found:
                    self.tally.lose("another state", f"{place}: {options}")
            except ModelVaultFormatError as error:
                if "read_only" in options and found:  # a file in which nothing was ever stored may be unfinished
                    self.tally.lose("does not open", f"{place}: {options}: {error!r}")

    def cut_again(self, log: Log, found: State, expected: list[State], place: str, draw: random.Random) -> None:
        """Power cuts while the state was being opened (and closed): what was found stays found."""
        for window in log.windows():
            for content in states(window, draw, 2, ruin=0):
                self.disk.hold(PATH, content)
                self.nested += 1
                try:
                    again = look(**self.options)
                except Exception as error:
                    self.tally.lose("does not open", f"{place}, again at {window.position}: {error!r}")
                    continue
                again.pop(10**9, None)
                if again != found and (window.position > 0 or again not in expected):
                    self.tally.lose("an acknowledged commit", f"{place}, again at {window.position}")


def verdict(found: State, states: list[State], marks: tuple[int, int]) -> str:
    """What is wrong with a state that is not the expected one."""
    if found in states[: marks[0]]:
        return "an acknowledged commit"
    return "commits before they began" if found in states else "a commit in part"


def states(window: Window, draw: random.Random, most: int, ruin: float = 0.1) -> Iterator[bytes]:
    """What a power cut may leave at that moment: everything where little is on its way, else a selection.

    Always among it: nothing, everything. ruin: the share of states in which a sector was caught in the middle;
    the format stands that once, not in two power cuts in a row.
    """
    units, operations = range(len(window.units)), range(len(window.starts))
    yield window.state(())
    if not units:
        return
    yield window.state(units)
    subsets = list(whole_subsets(window, operations, draw, most))
    if len(units) <= SMALL:
        subsets += [[unit for unit in units if mask >> unit & 1] for mask in range(1 << len(units))]
    else:
        subsets += [[unit for unit in units if draw.random() < share] for share in shares(draw, most)]
        subsets += [[unit for unit in units if unit != missing] for missing in draw.sample(units, min(4, len(units)))]
    draw.shuffle(subsets)
    for subset in subsets[:most]:
        yield window.state(subset)
        if draw.random() < ruin:
            yield window.state(subset, ruined=ruined(window, draw))


def shares(draw: random.Random, most: int) -> list[float]:
    """Of the sectors that make it."""
    return [draw.choice([0.05, 0.3, 0.5, 0.7, 0.95]) for _ in range(most)]


def whole_subsets(window: Window, operations: range, draw: random.Random, most: int) -> Iterator[list[int]]:
    """Operations that happened as a whole or not at all."""
    for number in operations:
        yield list(window.operation(number))
        yield [unit for other in operations if other != number for unit in window.operation(other)]
        yield [unit for other in operations[:number] for unit in window.operation(other)]
    for _ in range(min(most, 1 << min(len(operations), 10))):
        yield [unit for number in operations if draw.random() < 0.5 for unit in window.operation(number)]


def ruined(window: Window, draw: random.Random) -> int | None:
    """A sector that is being overwritten as a whole, or lies where the disk had nothing."""
    found = [
        number
        for number, (offset, data) in enumerate(window.units)
        if data is not None and (len(data) == 512 or not any(window.base[offset - offset % 512 :][:512]))
    ]
    return draw.choice(found) if found else None


def run(
    tally: Tally,
    seed: int,
    most: int = 10**9,
    per_window: int = 40,
    length: int = 40,
    file_type: type[SimulatedFile] = SimulatedFile,
    **options: Any,
) -> None:
    """Explore workloads until the time is up or `most` states were tried."""
    tried = nested = 0
    while tried < most and not tally.over:
        with Installed(file_type, (None, Lazy, Prompt)[seed % 3]) as disk:
            acknowledged_survives = options.get("durability", "full") == "full"
            explorer = Explorer(tally, disk, seed, per_window, acknowledged_survives, options)
            explorer.explore(workload(seed, length))
            tried, nested, seed = tried + explorer.tried, nested + explorer.nested, seed + 1
            tally.tried = tried + nested
            tally.detail = f"{tried:,} states, and {nested:,} of another cut while they were opened"


def workload(seed: int, length: int) -> list[Step]:
    """One of three sorts, so that each meets each keeper: of everything, small and steady, and again and again."""
    sort = (seed + seed // 3) % 3
    return churn(seed, length) if sort == 2 else plan(seed, length, large=sort == 0, steady=sort == 1)


def crash(medium: Medium, draw: random.Random) -> bytes:
    """Some state that a power cut may leave now."""
    return draw.choice(list(states(medium.log.last_window(), draw, 6)))
