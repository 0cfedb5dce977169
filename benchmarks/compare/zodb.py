"""ZODB: persistent objects in BTrees, pickled. A get of a cached object gives that object itself, no copy."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import transaction
import ZODB
from BTrees.LOBTree import LOBTree, LOTreeSet
from BTrees.OLBTree import OLBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.FileStorage import FileStorage

from benchmarks.compare.common import Common
from benchmarks.data import User


class Row(Persistent):  # type: ignore[misc]
    """A stored model: the instance is pickled inside this object."""

    def __init__(self, user: User) -> None:
        self.user = user


class Zodb(Common):
    """One connection with room for 100,000 cached objects."""

    durability = "FileStorage: synced at every commit"
    how = "Persistent objects in an LOBTree, BTrees as indexes; answers are the cached objects, not copies"
    most_rows = 200_000
    in_memory = durable = forks = True

    @staticmethod
    def version() -> str:
        return version("ZODB")

    def __init__(self, path: Path | None) -> None:
        storage = None if path is None else FileStorage(str(path / "users.fs"))
        self.db = ZODB.DB(storage, cache_size=100_000)
        self.manager = transaction.TransactionManager(explicit=True)
        self.manager.begin()
        self.connection = self.db.open(self.manager)
        root = self.connection.root()
        if "users" not in root:
            root["users"], root["emails"], root["cities"] = LOBTree(), OLBTree(), OOBTree()
            self._commit()
        self.users, self.emails, self.cities = root["users"], root["emails"], root["cities"]

    def _commit(self) -> None:
        self.manager.commit()
        self.manager.begin()

    def close(self) -> None:
        self.manager.abort()
        self.connection.close()
        self.db.close()

    def put(self, user: User) -> None:
        old = self.users.get(user.id)
        if old is not None:
            self._forget(old.user)
        if user.email in self.emails:
            raise ValueError(f"email {user.email} is taken")
        self.users[user.id] = Row(user)
        self.emails[user.email] = user.id
        city = self.cities.get(user.address.city)
        if city is None:
            city = self.cities[user.address.city] = LOTreeSet()
        city.add(user.id)

    def _forget(self, user: User) -> None:
        del self.emails[user.email]
        self.cities[user.address.city].remove(user.id)

    def load(self, users: Iterable[User]) -> None:
        for user in users:
            self.put(user)
        self._commit()

    def insert(self, user: User) -> None:
        self.put(user)
        self._commit()

    def update(self, key: int, age: int) -> None:
        row = self.users[key]
        row.user = row.user.model_copy(update={"age": age})
        self._commit()

    def delete(self, key: int) -> None:
        self._forget(self.users[key].user)
        del self.users[key]
        self._commit()

    def get(self, key: int) -> Any:
        row = self.users.get(key)
        return None if row is None else row.user

    def by_email(self, email: str) -> list[User]:
        key = self.emails.get(email)
        return [] if key is None else [self.users[key].user]

    def by_city(self, city: str) -> list[User]:
        return [self.users[key].user for key in self.cities.get(city, ())]

    def in_cities(self, first: str, last: str) -> list[User]:
        found: list[User] = []
        for keys in self.cities.values(first, last, excludemax=True):
            found += [self.users[key].user for key in keys]
            if len(found) >= 20:
                break
        return found[:20]

    def all(self) -> list[User]:
        return [row.user for row in self.users.values()]

    def scored(self, limit: float) -> list[User]:
        return [row.user for row in self.users.values() if row.user.score < limit]

    def count_scored(self, limit: float) -> int:
        return sum(row.user.score < limit for row in self.users.values())
