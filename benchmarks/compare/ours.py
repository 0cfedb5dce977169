"""modelvault, blocking and awaited, with the same verbs as the peers."""

from collections.abc import Iterable
from pathlib import Path

from modelvault import Database, models
from tests.models import User


class Ours:
    """One handle through the blocking API."""

    name = "modelvault"

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.db = Database.open_in_memory() if path is None else Database.open(str(path))
        self.users = models.collection(self.db, User)
        self.get = self.users.get
        self.insert = self.users.insert

    def load(self, users: Iterable[User]) -> None:
        with self.db.transaction():
            self.users.insert_many(users)

    def by_email(self, email: str) -> list[User]:
        return self.users.where("email", email).all()

    def by_city(self, city: str) -> list[User]:
        return self.users.where("address.city", city).all()

    def size(self) -> int:
        assert self.path is not None
        return self.path.stat().st_size

    def close(self) -> None:
        self.db.close()
