"""Processes to be killed while they write every row anew, again and again, and a thread of theirs writes rows.

`python -m tests.reliability.rewriting_process` reads a line `PATH SEED COUNT DONE` for each, which is a fork of it. It
says `pid N`, `change N` for each change of a row that returned and `version N` for each migration.
"""

from __future__ import annotations

import os
import sys
import threading

from modelvault import Database
from tests.reliability.rewriting import change, next_migration, write
from tests.reliability.writer_process import careful

CHUNK = 40


def rewrite(path: str, seed: int, count: int, done: int) -> None:
    """Migrate for ever, from wherever the file is."""
    db = Database.open(path)
    threading.Thread(target=careful, args=(change_rows, db, seed, count, done), daemon=True).start()
    while True:
        version = next_migration(db).apply(db, chunk=CHUNK)
        os.write(1, f"version {version}\n".encode())


def change_rows(db: Database, seed: int, count: int, done: int) -> None:
    """Change row after row, under whichever model the collection has by then."""
    while True:
        cls = next_migration(db).old
        try:
            things = db.collection(cls)
            while True:
                write(things, cls, change(seed, done + 1, count))
                done += 1
                os.write(1, f"change {done}\n".encode())
        except ValueError:  # the model no longer fits
            continue


def main() -> None:
    """The server."""
    for line in sys.stdin:
        path, seed, count, done = line.split()
        child = os.fork()
        if child == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            careful(rewrite, path, int(seed), int(count), int(done))
        os.waitpid(child, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    main()
