"""modelvault, blocking and awaited."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.compare.common import Common
from benchmarks.data import User
from modelvault import AsyncDatabase, Database, __version__, avg, fields, models

FILE = "users.modelvault"
u = fields(User)


class Session:
    """The awaited verbs."""

    def __init__(self, users: Any) -> None:
        self.users = users
        self.get = users.get
        self.insert = users.insert

    async def stored(self) -> int:
        """A filter, a count and every row."""
        found = await self.users.where(u.score < 10.0).all()
        count = await self.users.where(u.score < 10.0).count()
        return len(found) + count + len(await self.users.all())


class Ours(Common):
    """One handle through the blocking API."""

    how = "the blocking API; sessions through the awaited one"
    in_memory = durable = forks = asyncio = uvloop = trio = True
    get = insert = delete = all = None  # the collection's own methods: see __init__

    @staticmethod
    def version() -> str:
        return __version__

    @staticmethod
    def _face() -> Any:
        from modelvault._core.record import Face, RecordCodec
        from modelvault.mapping import schema_of

        return Face([RecordCodec(schema_of(User).type, 1)], "id")

    @classmethod
    def encoder(cls) -> Callable[[User], bytes]:
        encode = cls._face().encode
        return lambda user: encode(user)[1]  # type: ignore[no-any-return]

    @classmethod
    def decoder(cls) -> Callable[[bytes], User]:
        return cls._face().decode  # type: ignore[no-any-return]

    def __init__(self, path: Path | None) -> None:
        self.db = Database.open_in_memory() if path is None else Database.open(str(path / FILE))
        self.users = models.collection(self.db, User)
        self.get = self.users.get
        self.insert = self.users.insert
        self.delete = self.users.delete
        self.all = self.users.all

    def close(self) -> None:
        self.db.close()

    def load(self, users: Iterable[User]) -> None:
        with self.db.transaction():
            self.users.insert_many(users)

    def update(self, key: int, age: int) -> None:
        self.users.update(key, {"age": age})

    def by_email(self, email: str) -> list[User]:
        user = self.users.get_by(u.email, email)
        return [] if user is None else [user]

    def by_city(self, city: str) -> list[User]:
        return self.users.where(u.address.city == city).all()

    def in_cities(self, first: str, last: str) -> list[User]:
        return self.users.where(u.address.city >= first, u.address.city < last).order_by(u.address.city).limit(20).all()

    def scored(self, limit: float) -> list[User]:
        return self.users.where(u.score < limit).all()

    def count_scored(self, limit: float) -> int:
        return self.users.where(u.score < limit).count()

    def averages(self) -> list[dict[str, Any]]:
        return self.users.group_by(u.age).agg(score=avg(u.score))

    @staticmethod
    @asynccontextmanager
    async def session(path: Path) -> AsyncIterator[Session]:
        async with AsyncDatabase.open(str(path / FILE)) as db:
            yield Session(models.async_collection(db, User))
