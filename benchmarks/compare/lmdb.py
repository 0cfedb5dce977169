"""LMDB: rows by number, two databases as indexes, values as Pydantic's JSON."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import ClassVar

import lmdb

from benchmarks.compare.common import Common
from benchmarks.data import User

FILE = "users.lmdb"
KEY = Struct(">Q")


class Lmdb(Common):
    """One environment."""

    durability = "sync = True: synced at every commit"
    durable = forks = True
    encode: ClassVar[Callable[[User], bytes]]
    decode: ClassVar[Callable[[bytes], User]]

    @classmethod
    def encoder(cls) -> Callable[[User], bytes]:
        return cls.encode

    @classmethod
    def decoder(cls) -> Callable[[bytes], User]:
        return cls.decode

    @staticmethod
    @abstractmethod
    def version() -> str: ...

    def __init__(self, path: Path | None) -> None:
        assert path is not None, "LMDB has no database in memory"
        self.env = lmdb.open(str(path / FILE), subdir=False, max_dbs=3, map_size=8 << 30, max_spare_txns=4)
        self.users = self.env.open_db(b"users")
        self.emails = self.env.open_db(b"emails")
        self.cities = self.env.open_db(b"cities", dupsort=True)

    def close(self) -> None:
        self.env.close()

    def put(self, txn: "lmdb.Transaction", user: User) -> None:
        key = KEY.pack(user.id)
        old = txn.get(key, db=self.users)
        if old is not None:
            before = self.decode(old)
            txn.delete(before.email.encode(), db=self.emails)
            txn.delete(before.address.city.encode(), key, db=self.cities)
        if not txn.put(user.email.encode(), key, db=self.emails, overwrite=False):
            raise ValueError(f"email {user.email} is taken")
        txn.put(user.address.city.encode(), key, db=self.cities)
        txn.put(key, self.encode(user), db=self.users)

    def load(self, users: Iterable[User]) -> None:
        with self.env.begin(write=True) as txn:
            for user in users:
                self.put(txn, user)

    def insert(self, user: User) -> None:
        with self.env.begin(write=True) as txn:
            self.put(txn, user)

    def get(self, key: int) -> User | None:
        with self.env.begin() as txn:
            value = txn.get(KEY.pack(key), db=self.users)
        return None if value is None else self.decode(value)

    def by_email(self, email: str) -> list[User]:
        with self.env.begin() as txn:
            key = txn.get(email.encode(), db=self.emails)
            return [] if key is None else [self.decode(txn.get(key, db=self.users))]

    def by_city(self, city: str) -> list[User]:
        with self.env.begin() as txn, txn.cursor(self.cities) as cursor:
            if not cursor.set_key(city.encode()):
                return []
            return [self.decode(txn.get(key, db=self.users)) for key in cursor.iternext_dup()]

    def in_cities(self, first: str, last: str) -> list[User]:
        end = last.encode()
        with self.env.begin() as txn, txn.cursor(self.cities) as cursor:
            if not cursor.set_range(first.encode()):
                return []
            found = [key for name, key in islice(cursor.iternext(), 20) if name < end]
            return [self.decode(txn.get(key, db=self.users)) for key in found]

    def all(self) -> list[User]:
        with self.env.begin() as txn, txn.cursor(self.users) as cursor:
            return [self.decode(value) for value in cursor.iternext(keys=False)]

    def scored(self, limit: float) -> list[User]:
        return [user for user in self.all() if user.score < limit]

    def count_scored(self, limit: float) -> int:
        return len(self.scored(limit))


class LmdbJson(Lmdb):
    """The fastest way to a model that needs no code of one's own."""

    how = "model_dump_json and model_validate_json as values"
    decode = staticmethod(User.model_validate_json)

    @staticmethod
    def encode(user: User) -> bytes:
        return user.model_dump_json().encode()

    @staticmethod
    def version() -> str:
        return version("lmdb")
