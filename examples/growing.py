"""A model that grew up: three versions of a program that meet the same file.

    python examples/growing.py

Each `program` below is what the whole program was at that time. One file meets all three of them; another one was left
by the first and is opened by the third, as happens to those who skip an update.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel

from modelvault import Database, models

ROWS = 20_000


class FirstContact(BaseModel):
    """The beginning: a name, a birthday as text."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "contacts"
    id: int
    name: str
    birthday: str


class SecondContact(BaseModel):
    """A real date, which needs a function; tags, which need nothing."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "contacts"
    __modelvault_indexes__ = [models.index("tags")]
    id: int
    name: str
    birthday: date
    tags: list[str] = []


class Name(BaseModel):
    """Both parts of a name."""

    first: str
    last: str


class Contact(BaseModel):
    """The name in two parts, the birthday under another name, and how often somebody wrote."""

    __modelvault_primary_key__ = "id"
    __modelvault_collection__ = "contacts"
    __modelvault_indexes__ = [models.index("name.last"), models.index("tags"), models.index("born")]
    id: int
    name: Name
    born: Annotated[date, models.RenamedFrom("birthday")]
    tags: list[str] = []
    letters: Annotated[int, Ge(0)] = 0


def real_dates(row: dict[str, Any]) -> None:
    """To version 2."""
    row["birthday"] = date.fromisoformat(row["birthday"])


def two_names(row: dict[str, Any]) -> None:
    """To version 3."""
    first, _, last = row["name"].partition(" ")
    row["name"] = {"first": first, "last": last}


UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {2: real_dates, 3: two_names}


def first_program(path: Path) -> None:
    """Fill the file."""
    with Database.open(path) as db:
        contacts = models.collection(db, FirstContact)
        contacts.insert_many(
            FirstContact(id=n, name=f"Ada Lovelace{n % 50}", birthday=f"18{15 + n % 60}-12-10") for n in range(ROWS)
        )


def second_program(path: Path) -> None:
    """What an update was like then."""
    with Database.open(path) as db:
        models.apply(db, SecondContact, upgrade={2: real_dates})
        models.collection(db, SecondContact).update(7, {"tags": ["poet"]})


def third_program(path: Path) -> None:
    """Bring any older file to this version, and work with it."""
    with Database.open(path) as db:
        plan = models.plan(db, Contact, upgrade=UPGRADES)
        print(plan)
        if plan.changes or plan.upgrades:
            print(f"rows fit: version {models.apply(db, Contact, upgrade=UPGRADES, dry_run=True)}")
            models.apply(db, Contact, upgrade=UPGRADES, progress=sys.stderr.isatty())
        contacts = models.collection(db, Contact)
        found = contacts.where("name.last", "Lovelace7").and_where("born", date(1822, 12, 10))
        print(f"{found.count()} of {contacts.count():,} contacts, the first: {found.first()}")
        db.verify()


def main() -> None:
    """The programs, one after the other; the third once more, when there is nothing left to do."""
    with tempfile.TemporaryDirectory() as folder:
        whole, skipped = Path(folder) / "whole.modelvault", Path(folder) / "skipped.modelvault"
        for path in (whole, skipped):
            first_program(path)
        second_program(whole)
        for path in (whole, skipped, skipped):
            third_program(path)


if __name__ == "__main__":
    main()
