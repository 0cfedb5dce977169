"""A process that reads beside a writer: it says on stdout what each snapshot held, and when it was asked for.

Usage: python reader_process.py PATH SEED. It reads until standard input ends, or until it is killed.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
from time import monotonic

from modelvault import Database

KEYS = 12


def main(path: str, seed: int) -> None:
    draw = random.Random(seed)
    with Database.open(path, read_only=True) as db:
        chains = db.collection("chains")
        os.write(1, b"\n")
        while not select.select([0], [], [], 0)[0]:
            begin = monotonic()
            way = draw.randrange(3)
            if way == 0:
                rows = chains.all()
            elif way == 1:
                rows = [row for row in chains.get_many(range(KEYS)) if row is not None]
            else:
                rows = list(chains)
            reads = {row["id"]: row["items"] for row in rows}
            assert all(row["tip"] == (row["items"] or [-1 - row["id"]])[-1] for row in rows)
            os.write(1, json.dumps([begin, monotonic(), reads]).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
