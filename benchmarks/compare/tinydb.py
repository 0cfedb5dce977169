"""TinyDB: one JSON document in memory, written as a whole at every change."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tinydb import TinyDB, where
from tinydb.middlewares import CachingMiddleware
from tinydb.storages import JSONStorage, MemoryStorage
from tinydb.table import Document

from benchmarks.compare.common import Common
from benchmarks.data import User


class Tiny(Common):
    """Document ids are our keys, so that `get` needs no search; reads are answered by the cached document."""

    durability = "the whole file written and synced at every change"
    how = "CachingMiddleware flushed at every change; doc_id lookups; it has no indexes"
    in_memory = durable = True

    @staticmethod
    def version() -> str:
        return version("tinydb")

    @staticmethod
    def _document(user: User) -> Document:
        return Document(user.model_dump(mode="json"), doc_id=user.id)

    def __init__(self, path: Path | None) -> None:
        if path is None:
            self.db = TinyDB(storage=MemoryStorage)
        else:
            self.db = TinyDB(path / "users.json", storage=CachingMiddleware(JSONStorage))
        self.on_disk = path is not None

    def _flush(self) -> None:
        if self.on_disk:
            self.db.storage.flush()

    def close(self) -> None:
        self.db.close()

    def load(self, users: Iterable[User]) -> None:
        self.db.insert_multiple(self._document(user) for user in users)
        self._flush()

    def insert(self, user: User) -> None:
        self.db.insert(self._document(user))
        self._flush()

    def update(self, key: int, age: int) -> None:
        self.db.update({"age": age}, doc_ids=[key])
        self._flush()

    def delete(self, key: int) -> None:
        self.db.remove(doc_ids=[key])
        self._flush()

    def get(self, key: int) -> User | None:
        found = self.db.get(doc_id=key)
        return None if found is None else User.model_validate(found)

    def by_email(self, email: str) -> list[User]:
        return [User.model_validate(found) for found in self.db.search(where("email") == email)]

    def by_city(self, city: str) -> list[User]:
        return [User.model_validate(found) for found in self.db.search(where("address")["city"] == city)]

    def in_cities(self, first: str, last: str) -> list[User]:
        city = where("address")["city"]
        found = self.db.search((city >= first) & (city < last))
        return [User.model_validate(one) for one in sorted(found, key=lambda one: one["address"]["city"])[:20]]

    def scored(self, limit: float) -> list[User]:
        return [User.model_validate(found) for found in self.db.search(where("score") < limit)]

    def count_scored(self, limit: float) -> int:
        return self.db.count(where("score") < limit)

    def all(self) -> list[User]:
        return [User.model_validate(found) for found in self.db.all()]
