"""LMDB with Pydantic's JSON as values: the fastest way to a model that needs no code of one's own."""

from collections.abc import Iterable
from pathlib import Path
from struct import Struct

import lmdb

from tests.models import User

KEY = Struct(">Q")


class Lmdb:
    """One environment: rows by number, and two indexes that hold numbers."""

    name = "lmdb + JSON"

    def __init__(self, path: Path | None) -> None:
        assert path is not None, "LMDB has no database in memory"
        self.path = path
        self.env = lmdb.open(str(path), subdir=False, max_dbs=3, map_size=4 << 30, max_spare_txns=4)
        self.users = self.env.open_db(b"users")
        self.emails = self.env.open_db(b"emails")
        self.cities = self.env.open_db(b"cities", dupsort=True)

    def put(self, txn: "lmdb.Transaction", user: User) -> None:
        key = KEY.pack(user.id)
        old = txn.get(key, db=self.users)
        if old is not None:
            before = User.model_validate_json(old)
            txn.delete(before.email.encode(), db=self.emails)
            txn.delete(before.address.city.encode(), key, db=self.cities)
        if not txn.put(user.email.encode(), key, db=self.emails, overwrite=False):
            raise ValueError(f"email {user.email} is taken")
        txn.put(user.address.city.encode(), key, db=self.cities)
        txn.put(key, user.model_dump_json().encode(), db=self.users)

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
        return None if value is None else User.model_validate_json(value)

    def by_email(self, email: str) -> list[User]:
        with self.env.begin() as txn:
            key = txn.get(email.encode(), db=self.emails)
            return [] if key is None else [User.model_validate_json(txn.get(key, db=self.users))]

    def by_city(self, city: str) -> list[User]:
        with self.env.begin() as txn, txn.cursor(self.cities) as cursor:
            if not cursor.set_key(city.encode()):
                return []
            return [User.model_validate_json(txn.get(key, db=self.users)) for key in cursor.iternext_dup()]

    def size(self) -> int:
        return self.path.stat().st_size

    def close(self) -> None:
        self.env.close()
