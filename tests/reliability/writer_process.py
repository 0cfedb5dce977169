"""A process to be killed: it writes to a database and says on stdout what was acknowledged.

Usage: python writer_process.py PATH SEED MODE, where MODE is `inserts` (one commit a row) or `transactions` (five rows
a commit, one of them moved between two unique e-mails). A line is written only after the database acknowledged.
"""

from __future__ import annotations

import os
import random
import sys

from pydantic import BaseModel

from modelvault import Database, models


class Entry(BaseModel):
    """A row with a unique and a plain index, so that a torn commit would show."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "entries"
    __modelvault_indexes__ = [models.unique("email"), models.index("batch")]
    id: int
    email: str
    batch: int
    text: str


def entry(number: int, batch: int, seed: int) -> Entry:
    """The row that `number` must have: a reader can recompute it."""
    text = chr(97 + number % 26) * (number * 7919 % (40 if number % 50 else 9000))
    return Entry(id=number, email=f"{seed}-{number}@example.com", batch=batch, text=text)


def main(path: str, seed: int, mode: str) -> None:
    """Write until killed."""
    draw = random.Random(seed)
    with Database.open(path) as db:
        entries = models.collection(db, Entry)
        batch = 1 + max((row.batch for row in entries.all()), default=0)
        while True:
            numbers = [batch * 5 + k for k in range(5 if mode == "transactions" else 1)]
            doomed = draw.randrange(5, batch * 5 + 1) if batch > 3 and draw.random() < 0.2 else None
            with db.transaction():
                for number in numbers:
                    entries.insert(entry(number, batch, seed))
                if doomed is not None and mode == "transactions":
                    entries.delete(doomed)
            os.write(1, f"{batch} {doomed if mode == 'transactions' else None}\n".encode())
            batch += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
