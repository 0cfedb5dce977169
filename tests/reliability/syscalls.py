"""Copies, restores and compactions, struck at every system call that changes a file: by SIGKILL, or by an error.

Run under `interpose.c`, which counts the calls. For each call in turn a forked child prepares nothing, does the one
thing, and is struck; then this process looks at what is left. What was there is old or new, whole, and sound; the
database that was copied has all its rows. After an error the handle goes on.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelvault import Database
from tests.reliability.tally import Tally
from tests.reliability.workload import Row

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # what a killed process leaves does not depend on the medium
SOURCE, DEST = "source", "dest"
OLD, NEW, DELETED = range(30), range(100, 220), range(100, 200)


def row(number: int) -> Row:
    """A row, every tenth of them longer than a page."""
    text = "x" * (6000 if number % 10 == 0 else 50)
    return Row(id=number, email=f"{number}@example.com", batch=number % 7, tags=["t"], text=text)


def make(folder: Path) -> None:
    """A database with free pages in it, and a log at its end; and the one that is at the destination."""
    with Database.open(folder / DEST, page_size=4096) as db:
        db.collection(Row).insert_many([row(number) for number in OLD])
    with Database.open(folder / SOURCE, page_size=4096) as db:
        rows = db.collection(Row)
        rows.insert_many([row(number) for number in NEW])
        with db.transaction():
            for number in DELETED:
                rows.delete(number)
        rows.insert(row(1000))
        rows.delete(1000)


def restore(db: Database, folder: Path) -> None:
    """Without the handle's help."""
    Database.restore_snapshot(folder / SOURCE, folder / DEST)


def salvage(db: Database, folder: Path) -> None:
    """Of a sound file: everything is saved, or nothing."""
    assert Database.salvage(folder / SOURCE, folder / DEST).complete


OPERATIONS: dict[str, Callable[[Database, Path], None]] = {
    "export": lambda db, folder: db.export_snapshot(folder / DEST),
    "export anew": lambda db, folder: db.export_snapshot(folder / "new"),
    "restore": restore,
    "compact_to": lambda db, folder: db.compact_to(folder / DEST),
    "compact": lambda db, _: db.compact(),
    "salvage": salvage,
}
KEPT = set(NEW) - set(DELETED)


def child(operation: str, folder: Path, at: int, error: int) -> int:
    """What a struck process does; its exit code: 0 passed unstruck, 1 struck and went on, 2 something is wrong."""
    library = ctypes.CDLL(None)
    with Database.open(folder / SOURCE) as db:
        rows = db.collection(Row)
        library.interpose_arm(at, error)
        try:
            OPERATIONS[operation](db, folder)
        except OSError as caught:
            if caught.errno != error:
                raise
        struck = library.interpose_seen() >= at
        library.interpose_arm(0, 0)
        assert {found.id for found in rows.all()} == KEPT
        if error == errno.ENOSPC or operation != "compact":
            rows.insert(row(5000))
            rows.delete(5000)
        elif struck:
            try:
                rows.insert(row(5000))
                rows.delete(5000)
            except OSError as caught:
                if "reopen" not in str(caught):
                    raise
    return 1 if struck else 0


def look(path: Path) -> set[int]:
    """The rows of a file, which must be sound and take one more."""
    with Database.open(path, durability="off") as db:
        rows = db.collection(Row)
        found = {each.id for each in rows.all()}
        rows.insert(row(7000))
        rows.delete(7000)
        db.verify()
    return found


def order(operation: str) -> list[str]:
    """The calls of an operation that nothing strikes, in their order. The process runs under the library."""
    library = ctypes.CDLL(None)
    library.interpose_names.restype = ctypes.c_char_p
    with tempfile.TemporaryDirectory() as base:
        make(Path(base))
        with Database.open(Path(base) / SOURCE) as db:
            library.interpose_arm(10**9, 0)
            OPERATIONS[operation](db, Path(base))
            library.interpose_arm(0, 0)
    return str(library.interpose_names().decode()).split()


def judge(operation: str, folder: Path) -> str | None:
    """What is wrong with what is left, or None."""
    try:
        if look(folder / SOURCE) != KEPT:
            return "the source has other rows"
        if look(folder / DEST) not in (set(OLD), KEPT):
            return "the destination is neither old nor new"
        if (folder / "new").exists() and look(folder / "new") != KEPT:
            return "the new file is not whole"
    except Exception as error:
        return repr(error)
    extra = set(os.listdir(folder)) - {SOURCE, DEST, "new"}
    return f"{extra} are left" if any(not name.startswith(".") for name in extra) or len(extra) > 1 else None


def strike(operation: str, error: int) -> dict[str, Any]:
    """Strike an operation at each of its calls in turn; how many there were, and what went wrong."""
    wrong: list[str] = []
    at = 1
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as base:
        template = Path(base) / "template"
        template.mkdir()
        make(template)
        while len(wrong) < 3:
            folder = Path(base) / "now"
            shutil.copytree(template, folder)
            pid = os.fork()
            if pid == 0:
                code = 2
                try:
                    code = child(operation, folder, at, error)
                except BaseException as caught:
                    print(f"call {at}: {caught!r}", file=sys.stderr, flush=True)
                os._exit(code)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            trouble = "the handle is not usable" if status == 2 else judge(operation, folder)
            if trouble is not None:
                wrong.append(f"call {at}: {trouble}")
            shutil.rmtree(folder)
            if status == 0:
                break
            at += 1
    return {"calls": at - 1, "wrong": wrong}


def run(operation: str, error: int, folder: Path) -> dict[str, Any]:
    """`strike`, in a process under the library."""
    found, said = under(folder, operation, str(error))
    found["wrong"] += said.splitlines()[:3] if found["wrong"] else []
    return dict(found)


def under(folder: Path, *arguments: str) -> tuple[Any, str]:
    """What this module prints when it is called so under the library, which is made in the folder; its errors."""
    library = folder / "interpose.so"
    source = Path(__file__).with_name("interpose.c")
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    preloaded = f"{os.environ.get('LD_PRELOAD', '')} {library}"  # behind a sanitizer's, which have to be first
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.syscalls", *arguments],
        env={**os.environ, "PYTHONPATH": path, "LD_PRELOAD": preloaded},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def run_all(tally: Tally, seed: int) -> None:
    """Every operation and error, once, whatever the seed."""
    with tempfile.TemporaryDirectory() as folder:
        for operation in OPERATIONS:
            for error in (0, errno.EIO, errno.ENOSPC):
                tally.place = f"{operation}, {errno.errorcode.get(error, 'SIGKILL')}"
                found = run(operation, error, Path(folder))
                tally.tried += found["calls"]
                for wrong in found["wrong"]:
                    tally.lose("neither old nor new", f"{tally.place}: {wrong}")
    tally.detail = f"calls of {', '.join(OPERATIONS)}, each with SIGKILL, EIO and ENOSPC"


if __name__ == "__main__":
    print(json.dumps(strike(sys.argv[1], int(sys.argv[2])) if sys.argv[2:] else order(sys.argv[1])))
