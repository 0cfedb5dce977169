"""RocksDB through rocksdict: raw bytes, Pydantic's JSON as values, two column families as indexes."""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from struct import Struct

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from benchmarks.compare.common import Common
from benchmarks.data import User

KEY = Struct(">Q")
FAMILIES = ("emails", "cities")


class Rocks(Common):
    """One database, opened by its only writer; an entry of the cities' index is the city, a zero byte and the key."""

    durability = "WriteOptions.sync: synced at every batch"
    how = "raw mode, model_dump_json and model_validate_json, a WriteBatch for each unit of work"
    durable = forks = True

    @staticmethod
    def version() -> str:
        return version("rocksdict")

    @staticmethod
    def encoder() -> Callable[[User], bytes]:
        return lambda user: user.model_dump_json().encode()

    @staticmethod
    def decoder() -> Callable[[bytes], User]:
        return User.model_validate_json

    def __init__(self, path: Path | None) -> None:
        assert path is not None, "rocksdict has no database in memory"
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        self.db = Rdict(
            str(path / "users.rocks"), options, column_families={name: Options(raw_mode=True) for name in FAMILIES}
        )
        self.emails, self.cities = (self.db.get_column_family(name) for name in FAMILIES)
        self.places = [self.db.get_column_family_handle(name) for name in FAMILIES]
        self.sync = WriteOptions()
        self.sync.sync = True

    def close(self) -> None:
        for family in (self.emails, self.cities, self.db):
            family.close()

    def put(self, batch: WriteBatch, user: User) -> None:
        key = KEY.pack(user.id)
        emails, cities = self.places
        old = self.db.get(key)
        if old is not None:
            before = User.model_validate_json(old)
            batch.delete(before.email.encode(), emails)
            batch.delete(before.address.city.encode() + b"\0" + key, cities)
        elif self.emails.get(user.email.encode()) is not None:
            raise ValueError(f"email {user.email} is taken")
        batch.put(key, user.model_dump_json().encode())
        batch.put(user.email.encode(), key, emails)
        batch.put(user.address.city.encode() + b"\0" + key, b"", cities)

    def load(self, users: Iterable[User]) -> None:
        batch = WriteBatch(raw_mode=True)
        for user in users:
            self.put(batch, user)
        self.db.write(batch, self.sync)

    def insert(self, user: User) -> None:
        batch = WriteBatch(raw_mode=True)
        self.put(batch, user)
        self.db.write(batch, self.sync)

    def get(self, key: int) -> User | None:
        value = self.db.get(KEY.pack(key))
        return None if value is None else User.model_validate_json(value)

    def by_email(self, email: str) -> list[User]:
        key = self.emails.get(email.encode())
        return [] if key is None else [User.model_validate_json(self.db[key])]

    def by_city(self, city: str) -> list[User]:
        return self._between(city.encode() + b"\0", city.encode() + b"\1", 10**9)

    def in_cities(self, first: str, last: str) -> list[User]:
        return self._between(first.encode(), last.encode(), 20)

    def _between(self, first: bytes, end: bytes, most: int) -> list[User]:
        found = []
        for entry in self.cities.keys(from_key=first):
            if entry >= end or len(found) == most:
                break
            found.append(entry[-8:])
        return [User.model_validate_json(value) for value in self.db.get(found)]

    def all(self) -> list[User]:
        return [User.model_validate_json(value) for value in self.db.values()]

    def scored(self, limit: float) -> list[User]:
        return [user for user in self.all() if user.score < limit]
