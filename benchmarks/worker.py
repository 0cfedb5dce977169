"""`python -m benchmarks.worker PEER FOLDER`: one peer in its own process, told line by line what to do.

Every peer has its own: nobody's threads, memory or garbage collector are in the way of another, one that fails stops
nobody, and modelvault 0.16 can be imported although its name is ours. Requests and answers are lines of JSON.
"""

import gc
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.batch import Batch
from benchmarks.job import Site


class Worker:
    def __init__(self, peer: str, folder: Path) -> None:
        module, _, name = peer.rpartition(".")
        self.peer: type[Any] = getattr(importlib.import_module(module), name)
        self.folder = folder
        self.site: Site | None = None
        self.batch: Batch | None = None

    def about(self) -> dict[str, Any]:
        """What the peer says about itself."""
        return {"version": self.peer.version(), "durability": self.peer.durability, "how": self.peer.how}

    def prepare(self, job: str, rows: int) -> dict[str, Any]:
        """Make a job ready; `able` is false where the peer has no such verb."""
        from benchmarks.jobs import JOBS  # not every peer can import what every job needs before it is told its name

        described = JOBS[job]
        if rows > self.peer.most_rows or not all(hasattr(self.peer, verb) for verb in described.needs):
            return {"able": False}
        if self.site is None or self.site.rows != rows:
            if self.site is not None:
                self.site.release()
            self.site = Site(self.peer, self.folder, rows)
        self.batch = described.prepare(self.site)
        gc.collect()
        gc.freeze()
        gc.disable()
        return {"able": True}

    def run(self) -> dict[str, Any]:
        """One batch."""
        assert self.batch is not None
        return {"cost": self.batch()}

    def end(self) -> dict[str, Any]:
        """The job is over."""
        self.batch = None
        gc.enable()
        gc.unfreeze()
        if self.site is not None:
            self.site.end()
        return {}


def main() -> None:
    requests = sys.stdin
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a library prints is not an answer
        worker: Worker | None = None
        for line in requests:
            request = json.loads(line)
            verb = request.pop("verb")
            try:
                if worker is None:
                    worker = Worker(sys.argv[1], Path(sys.argv[2]))
                answer = getattr(worker, verb)(**request)
            except Exception as error:
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
