"""modelvault 0.16, the Rust engine whose API we keep: runs where only that package can be imported."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import modelvault
from benchmarks.compare.common import Common
from benchmarks.data import User

FILE = "users.modelvault"


class Before(Common):
    """One handle; it holds every row in memory, and copies all of its state at every commit."""

    durability = "synced at every commit"
    how = "modelvault.models; an index on a nested field does nothing there; rows in the order of insertion"
    most_rows = 100_000
    in_memory = durable = True
    get = insert = delete = all = None  # the collection's own methods: see __init__

    @staticmethod
    def version() -> str:
        return version("modelvault")

    def __init__(self, path: Path | None) -> None:
        database: Any = modelvault.Database
        self.db = database.open_in_memory() if path is None else database.open(str(path / FILE))
        self.users = modelvault.models.collection(self.db, User)
        self.get = self.users.get
        self.insert = self.users.insert
        self.delete = self.users.delete
        self.all = self.users.all

    def close(self) -> None:
        del self.db, self.users, self.get, self.insert, self.delete, self.all

    def load(self, users: Iterable[User]) -> None:
        with self.db.transaction():
            for user in users:
                self.users.insert(user)

    def update(self, key: int, age: int) -> None:
        self.users.update(key, {"age": age})

    def by_email(self, email: str) -> list[User]:
        return self.users.where("email", email).all()

    def by_city(self, city: str) -> list[User]:
        return self.users.where("address.city", city).all()
