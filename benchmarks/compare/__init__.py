"""The peers, each in the best way that we know to write it. Who knows a better one is welcome to put it here.

A peer is a class with these attributes and those of these methods that it can do; a job leaves out who lacks a verb:

    version(), durability, how, most_rows         what it is; from how many rows on it is left out
    same(found, user), city(found)                whether an answer is that row; the city of an answer
    encoder(), decoder()                          functions: a model to its stored form and back
    Peer(folder or None)                          open or make a store in a folder, or in memory (in_memory = True)
    load(users) insert(user) update(key, age) delete(key) close()
    get(key) by_email(text) by_city(text)
    in_cities(first, last)                        the first 20 by city
    scored(limit) count_scored(limit) averages() all()
    session(folder)                               async context manager with coroutines get, insert, stored
    durable = True                                an insert has been synced when it returns
    reopens = True                                another Peer(folder) finds the rows

`asyncio`, `uvloop` and `trio` say where a session works; `forks` that a writer may be killed in a child process.
"""

from benchmarks.subject import Peer

OURS = "modelvault"
FLOOR = "floor"
PEERS = (
    Peer(OURS, "benchmarks.compare.ours.Ours"),
    Peer("sqlite3", "benchmarks.compare.sqlite.Sqlite"),
    Peer("aiosqlite", "benchmarks.compare.aiosqlite.Aiosqlite", ("aiosqlite",)),
    Peer("SQLModel", "benchmarks.compare.sqlmodel.Sqlmodel", ("sqlmodel",)),
    Peer("LMDB + JSON", "benchmarks.compare.lmdb.LmdbJson", ("lmdb",)),
    Peer("LMDB + msgpack", "benchmarks.compare.lmdb_msgpack.LmdbMsgpack", ("lmdb", "msgpack")),
    Peer("rocksdict", "benchmarks.compare.rocksdict.Rocks", ("rocksdict",)),
    Peer("TinyDB", "benchmarks.compare.tinydb.Tiny", ("tinydb",)),
    Peer("ZODB", "benchmarks.compare.zodb.Zodb", ("ZODB",)),
    Peer("DuckDB", "benchmarks.compare.duckdb.Duck", ("duckdb", "pyarrow")),
    Peer("modelvault 0.16", "benchmarks.compare.before.Before", ("modelvault==0.16.0",), apart=True),
    Peer(FLOOR, "benchmarks.compare.floor.Floor"),
)
