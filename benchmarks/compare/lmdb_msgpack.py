"""LMDB with msgpack values."""

from importlib.metadata import version

import msgpack

from benchmarks.compare.lmdb import Lmdb
from benchmarks.data import User


class LmdbMsgpack(Lmdb):
    """Binary values."""

    how = "msgpack of model_dump, model_validate of what it unpacks"

    @staticmethod
    def encode(user: User) -> bytes:
        return msgpack.packb(user.model_dump(), datetime=True)  # type: ignore[no-any-return]

    @staticmethod
    def decode(value: bytes) -> User:
        return User.model_validate(msgpack.unpackb(value, timestamp=3))

    @staticmethod
    def version() -> str:
        return f"{version('lmdb')}, msgpack {version('msgpack')}"
