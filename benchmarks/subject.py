"""A peer seen from outside: its process, and what it answers."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """Where a peer's class is, what has to be installed for it, and whether that must stand before our own package."""

    name: str
    where: str
    packages: tuple[str, ...] = ()
    apart: bool = False

    @property
    def folder(self) -> Path:
        """Where a package that may not stand beside ours is installed."""
        return ROOT / "build" / "peers" / self.name.replace(" ", "-")


class Absent(Exception):
    """The peer cannot be used here; says why."""


class Subject:
    """The process of one peer."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self.name = peer.name
        if peer.apart and not peer.folder.exists():
            raise Absent(f"{peer.packages[0]} is not installed")
        # The benchmarks are found beside the package that stands apart; ours is not.
        path = f"{peer.folder}{os.pathsep}{linked()}" if peer.apart else str(ROOT)
        self.log = (folder / f"{peer.name}.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer.where, str(folder / peer.name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"},
        )
        answer = self.ask("about")
        if "error" in answer:
            self.close()
            raise Absent(answer["error"])
        self.about = answer

    def ask(self, verb: str, **request: object) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        try:
            print(json.dumps({"verb": verb, **request}), file=self._pipe(self.process.stdin), flush=True)
            line = self._pipe(self.process.stdout).readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": f"the process ended with status {self.process.wait()}"}

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def close(self) -> None:
        """End the process."""
        self._pipe(self.process.stdin).close()
        self.process.wait()
        self._pipe(self.process.stdout).close()
        self.log.close()


def linked() -> Path:
    """A folder from which `benchmarks` can be imported and modelvault cannot."""
    folder = ROOT / "build" / "peers" / "benchmarks-alone"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "benchmarks"
    if not link.is_symlink():
        link.symlink_to(ROOT / "benchmarks", target_is_directory=True)
    return folder


def subjects(peers: Sequence[Peer], folder: Path) -> tuple[list[Subject], dict[str, str]]:
    """Start the peers; those that are absent with the reason."""
    there: list[Subject] = []
    absent: dict[str, str] = {}
    for peer in peers:
        try:
            there.append(Subject(peer, folder))
        except Absent as reason:
            absent[peer.name] = str(reason)
    return there, absent
