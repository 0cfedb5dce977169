"""SQLModel on SQLite: a session for each unit of work, the list and the nested model as JSON columns."""

from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Engine, event, insert
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, select

from benchmarks.compare.common import Common
from benchmarks.compare.sqlite import PRAGMAS, Sqlite
from benchmarks.data import User

FILE = "users.sqlite"


class Row(SQLModel, table=True):
    """The table. A nested model has no column of its own kind in SQLModel; its indexed field has."""

    __tablename__ = "users"

    id: int = Field(primary_key=True)
    email: str = Field(unique=True)
    name: str
    age: int
    active: bool
    score: float
    created: datetime
    tags: list[str] = Field(sa_column=Column(JSON, nullable=False))
    street: str
    city: str = Field(index=True)
    zip: str


def values(user: User) -> dict[str, Any]:
    """The columns of a row."""
    flat = dict(user.__dict__)
    return flat | flat.pop("address").__dict__


class Sqlmodel(Common):
    """Answers are instances of the table's class, which SQLModel does not validate."""

    durability = Sqlite.durability
    how = "Session for each unit of work, session.get, insert() of dicts in bulk; instances are not validated"
    in_memory = durable = forks = True

    @staticmethod
    def version() -> str:
        return f"{version('sqlmodel')}, sqlalchemy {version('sqlalchemy')}"

    @staticmethod
    def city(found: Row) -> str:
        return found.city

    @staticmethod
    def same(found: Any, user: User) -> bool:
        return bool(found.id == user.id and found.email == user.email and found.city == user.address.city)

    def __init__(self, path: Path | None) -> None:
        self.engine: Engine = create_engine("sqlite://" if path is None else f"sqlite:///{path / FILE}")

        @event.listens_for(self.engine, "connect")
        def prepare(connection: Any, record: object) -> None:
            for pragma in PRAGMAS:
                connection.execute(pragma)

        SQLModel.metadata.create_all(self.engine)

    def close(self) -> None:
        self.engine.dispose()

    def load(self, users: Iterable[User]) -> None:
        with Session(self.engine) as session:
            session.execute(insert(Row), [values(user) for user in users])
            session.commit()

    def insert(self, user: User) -> None:
        with Session(self.engine) as session:
            session.add(Row(**values(user)))
            session.commit()

    def update(self, key: int, age: int) -> None:
        with Session(self.engine) as session:
            session.get_one(Row, key).age = age
            session.commit()

    def delete(self, key: int) -> None:
        with Session(self.engine) as session:
            session.delete(session.get_one(Row, key))
            session.commit()

    def get(self, key: int) -> Row | None:
        with Session(self.engine) as session:
            return session.get(Row, key)

    def by_email(self, email: str) -> list[Any]:
        return self._found(select(Row).where(Row.email == email))

    def by_city(self, city: str) -> list[Any]:
        return self._found(select(Row).where(Row.city == city))

    def in_cities(self, first: str, last: str) -> list[Any]:
        chosen = select(Row).where(Row.city >= first, Row.city < last)
        return self._found(chosen.order_by(col(Row.city)).limit(20))

    def scored(self, limit: float) -> list[Any]:
        return self._found(select(Row).where(Row.score < limit))

    def count_scored(self, limit: float) -> int:
        with Session(self.engine) as session:
            return session.exec(select(func.count()).select_from(Row).where(Row.score < limit)).one()

    def averages(self) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.exec(select(Row.age, func.avg(Row.score)).group_by(col(Row.age))).all())

    def all(self) -> list[Any]:
        return self._found(select(Row))

    def _found(self, statement: Any) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.exec(statement).all())
