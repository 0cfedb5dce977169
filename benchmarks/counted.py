"""The work that `make guard` counts: run by guard.py under callgrind, never by itself.

Each piece is warmed up, then called through PyRun_SimpleString, at whose entry and exit callgrind begins and ends to
count and writes a file: what Python and the imports take at the start is not counted.
"""

import ctypes
import gc
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.data import Address, User, city, email, rows, shuffled
from modelvault import Database, fields, models
from modelvault._core.drive import drive
from modelvault._core.keys import KeyCodec
from modelvault._core.record import Face, RecordCodec
from modelvault.mapping import schema_of
from modelvault.types import Type

ROWS, CALLS, TOWNS = 5_000, 500, 500
work: Callable[[], None]


def repeated(function: Callable[..., Any], arguments: Iterable[Any]) -> Callable[[], None]:
    """A function that calls another with each argument."""
    some = list(arguments)

    def run() -> None:
        for argument in some:
            function(argument)

    return run


def address(town: int) -> Address:
    """One of few, so that rows share it."""
    return Address(street="Main Street", city=city(town), zip="00000")


def pieces() -> dict[str, Callable[[], None]]:
    """CALLS calls of each thing that is guarded, by name."""
    face = Face([RecordCodec(schema_of(User).type, 1)], "id")
    some = list(rows(CALLS))
    records = [face.encode(user)[1] for user in some]
    texts, numbers = KeyCodec(Type("string")), KeyCodec(Type("int"))
    db = Database.open_in_memory()
    users = models.collection(db, User)
    users.insert_many(rows(ROWS))
    keys = shuffled(ROWS, CALLS)
    twin: Any = users._twin
    fresh = iter(list(rows(10 * CALLS, ROWS + 1)))
    binding = users.__handle__.binding
    packed = [binding.pack(key) for key in keys]
    roots = users.__handle__.access.engine.latest.roots

    async def gets() -> None:
        for key in keys:
            await twin.get(key)

    u = fields(User)
    crowd = models.collection(Database.open_in_memory(), User)
    crowd.insert_many(row.model_copy(update={"address": address(row.id % TOWNS)}) for row in rows(ROWS))

    def in_order(key: int) -> None:
        users.where(u.address.city >= city(key), u.address.city < "City 9999").order_by(u.address.city).limit(20).all()

    def inserts() -> None:
        for _ in range(CALLS):
            users.insert(next(fresh))

    return {
        "nothing": lambda: None,
        "codec: encode": repeated(face.encode, some),
        "codec: decode": repeated(face.decode, records),
        "keys: pack integers": repeated(numbers.pack, keys),
        "keys: pack strings": repeated(texts.pack, [user.email for user in some]),
        "tree: find": repeated(lambda key: binding.record(roots, key, True), packed),
        "get": repeated(users.get, keys),
        "get, awaited": lambda: drive(gets()),
        "get by unique index": repeated(lambda key: users.get_by(u.email, email(key)), keys),
        "range, ordered, limit 20": repeated(in_order, keys),
        "equality, 10 rows": repeated(lambda key: crowd.where(u.address.city == city(key % TOWNS)).all(), keys),
        "update, in memory": repeated(lambda key: users.update(key, {"age": 30}), keys),
        "insert, two indexes": inserts,
    }


def main() -> None:
    global work
    run = ctypes.pythonapi.PyRun_SimpleString
    gc.disable()
    for work in pieces().values():
        work()
        run(b"work()")


if __name__ == "__main__":
    main()
