"""A job: one line of the table, described in one place, done by every peer that has the verbs for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

from benchmarks.batch import Batch
from benchmarks.data import rows

UNITS = {"us": 1e-6, "ms": 1e-3, "ns": 1e-9, "bytes": 1.0}
CHUNK = 100_000  # rows loaded in one transaction: no list of a million models


@dataclass(frozen=True)
class Job:
    """`prepare` runs in the peer's process and gives the batch to be timed.

    `needs` are the verbs that a peer must have. `most` is our target in the job's unit, `times` how many times our
    cost each peer's has to be at least, and `floor` how many times the physical limit ours may be. A job that
    `grows` is measured at every size: its target is the cost at the largest size over that at the smallest.
    """

    name: str
    section: str
    unit: str
    prepare: Callable[["Site"], Batch]
    needs: tuple[str, ...]
    rounds: int
    most: float | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    grows: float | None = None
    floor: float | None = None


JOBS: dict[str, Job] = {}


def job(
    name: str,
    section: str,
    *needs: str,
    unit: str = "us",
    rounds: int = 21,
    most: float | None = None,
    times: Mapping[str, float] | None = None,
    grows: float | None = None,
    floor: float | None = None,
) -> Callable[[Callable[["Site"], Batch]], Callable[["Site"], Batch]]:
    """Register a function of a Site as a job. Targets: see Job."""

    def register(prepare: Callable[[Site], Batch]) -> Callable[[Site], Batch]:
        assert name not in JOBS, f"two jobs are called {name!r}"
        JOBS[name] = Job(name, section, unit, prepare, needs, rounds, most, times or {}, grows, floor)
        return prepare

    return register


class Site:
    """Where one peer works: its class, its folder, and a store with `rows` rows that jobs may share."""

    def __init__(self, peer: type[Any], folder: Path, count: int) -> None:
        self.peer, self.folder, self.rows = peer, folder, count
        self._made = 0
        self._open: list[Any] = []
        self._shared: Any = None

    def path(self) -> Path:
        """A new folder."""
        self._made += 1
        path = self.folder / f"{self.rows}-{self._made}"
        path.mkdir(parents=True)
        return path

    def keep(self, store: Any) -> Any:
        """Have the store closed when the job is over."""
        self._open.append(store)
        return store

    def memory(self) -> Any:
        """A new store in memory."""
        return self.keep(self.peer(None))

    def fresh(self) -> Any:
        """A new store on disk."""
        return self.keep(self.peer(self.path()))

    def loaded(self) -> Path:
        """The folder of a closed store with all rows. Whoever changes them takes a `copy`."""
        path = self.folder / f"{self.rows}-loaded"
        if not path.exists():
            path.mkdir(parents=True)
            store = self.peer(path)
            for first in range(1, self.rows + 1, CHUNK):
                store.load(list(rows(min(CHUNK, self.rows - first + 1), first)))
            store.close()
        return path

    def shared(self) -> Any:
        """An open store with all rows, the same for all jobs that only read."""
        if self._shared is None:
            self._shared = self.peer(self.loaded())
        return self._shared

    def private(self) -> Path:
        """The folder of a closed store with all rows, for this job alone."""
        path = self.path()
        self.release()
        copytree(self.loaded(), path, dirs_exist_ok=True)
        return path

    def copy(self) -> Any:
        """An open store with all rows, for this job alone."""
        return self.keep(self.peer(self.private()))

    def release(self) -> None:
        """Close the shared store: some peers lock their files."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def end(self) -> None:
        """Close and remove what the job made for itself."""
        for store in self._open:
            store.close()
        self._open.clear()
        for path in self.folder.glob(f"{self.rows}-*"):
            if path.name != f"{self.rows}-loaded":
                rmtree(path)
