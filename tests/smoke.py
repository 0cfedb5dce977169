"""What `make wheel` runs in an empty environment: the installed package, without Pydantic, on a file of its own."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import modelvault
from modelvault import Database, models


@dataclass
class Book:
    __modelvault_primary_key__ = "id"
    __modelvault_indexes__ = (models.index("author"),)

    id: int
    title: str
    author: str


def main() -> None:
    assert "site-packages" in modelvault.__file__, modelvault.__file__
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "smoke.modelvault")
        rows = [Book(1, "Solaris", "Lem"), Book(2, "Fiasco", "Lem"), Book(3, "Ubik", "Dick")]
        with Database.open(path) as db:
            models.collection(db, Book).insert_many(rows)
        with Database.open(path) as db:
            books = models.collection(db, Book)
            assert books.get(3) == rows[2]
            assert books.where("author", "Lem").all() == rows[:2]
    assert "pydantic" not in sys.modules
    print(f"modelvault {modelvault.__version__} works as installed")


if __name__ == "__main__":
    main()
