"""Serializable in the order of real time, whoever asks: tasks, threads, loops in threads, and other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.reliability.histories import loops_in_threads, reader_processes, tasks, threads
from tests.reliability.isolation import Anomaly, Lists, Record, check
from tests.worlds import World

SEED = int(os.environ.get("MODELVAULT_SEED", "20261124"))
STEPS = int(os.environ.get("MODELVAULT_STEPS", "60"))  # transactions of each client


# The checker finds what it is there for

T = Record


@pytest.mark.parametrize(
    ("history", "final"),
    [
        pytest.param([T(0, 1, {}, [(1, 5)], "committed")], {1: []}, id="lost"),
        pytest.param([T(0, 1, {}, [(1, 5)], "aborted")], {1: [5]}, id="aborted but there"),
        pytest.param([T(0, 1, {}, [(1, 5), (2, 6)])], {1: [5]}, id="in part"),
        pytest.param([], {1: [5]}, id="from nowhere"),
        pytest.param([T(0, 1, {}, [(1, 5)], "committed")], {1: [5, 5]}, id="twice"),
        pytest.param(
            [T(0, 1, {}, [(1, 5)], "aborted"), T(0, 1, {1: [5]}, [], "committed")], {1: []}, id="aborted read"
        ),
        pytest.param(
            [T(0, 9, {}, [(1, 5), (1, 6)], "committed"), T(0, 9, {1: [5]}, [], "committed")],
            {1: [5, 6]},
            id="intermediate read",
        ),
        pytest.param(
            [T(0, 1, {}, [(1, 5)], "committed"), T(2, 3, {1: []}, [], "committed")], {1: [5]}, id="stale read"
        ),
        pytest.param(
            [T(0, 9, {}, [(1, 5), (2, 6)], "committed"), T(0, 9, {1: [5], 2: []}, [], "committed")],
            {1: [5], 2: [6]},
            id="no snapshot",
        ),
        pytest.param(
            [T(0, 9, {1: []}, [(1, 5)], "committed"), T(0, 9, {1: []}, [(1, 6)], "committed")],
            {1: [5, 6]},
            id="lost update",
        ),
        pytest.param(
            [T(0, 9, {1: []}, [(2, 5)], "committed"), T(0, 9, {2: []}, [(1, 6)], "committed")],
            {1: [6], 2: [5]},
            id="write skew",
        ),
        pytest.param(
            [
                T(0, 9, {}, [(1, 5)], "committed"),
                T(0, 9, {}, [(2, 6)], "committed"),
                T(0, 9, {1: [5], 2: []}, [], "committed"),
                T(0, 9, {1: [], 2: [6]}, [], "committed"),
            ],
            {1: [5], 2: [6]},
            id="two orders",
        ),
    ],
)
def test_the_checker_finds(history: list[Record], final: Lists) -> None:
    with pytest.raises(Anomaly):
        check(history, final)


def test_the_checker_accepts_what_is_right() -> None:
    history = [
        T(0, 1, {1: []}, [(1, 5), (1, 6)], "committed"),
        T(0, 4, {1: []}, [], "committed"),
        T(2, 9, {1: [5, 6]}, [(1, 7)]),
        T(3, 5, {1: [5, 6, 7]}, [], "committed"),
        T(3, 5, {1: [5]}, [(1, 8)], "aborted"),
        T(3, 5, {}, [(1, 9)]),
    ]
    assert check(history, {1: [5, 6, 7]}) == 2


# The database


def test_tasks(loop_world: World) -> None:
    assert tasks(loop_world, SEED, STEPS) >= STEPS / 4, "too little happened"


def test_threads(place: Path | None) -> None:
    assert threads(place, SEED, STEPS) >= STEPS / 4, "too little happened"


def test_loops_in_threads(place: Path | None) -> None:
    assert loops_in_threads(place, SEED, STEPS) >= STEPS / 4, "too little happened"


@pytest.mark.parametrize("name", ["asyncio", "blocking"])
def test_reader_processes_beside_a_writer(name: str, tmp_path: Path) -> None:
    effective, seen = reader_processes(World(name, tmp_path), SEED, STEPS)
    assert effective >= STEPS / 4, "too little happened"
    assert all(count > 10 for count in seen)
