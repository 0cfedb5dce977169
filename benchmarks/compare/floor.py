"""What no database can beat: a dict, a model made from ready values, a copy in memory, a bare fdatasync."""

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.batch import Batch, each
from benchmarks.data import Address, User

PAGE, SPACE = 4096, 4 << 20
SIZE, COPIES = 230, 1000


class Floor:
    """Each verb does no more than nobody can do without."""

    durability = "pwrite and fdatasync of pages of a file that was written before"
    how = "no database: a dict lookup and a model from ready values, pwrite and fdatasync of the bytes"
    most_rows = 10**9
    lookup = durable = True
    models: ClassVar[dict[int, User]] = {}

    @staticmethod
    def version() -> str:
        return sys.version.split()[0]

    def __init__(self, path: Path | None) -> None:
        assert path is not None
        path.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path / "page", os.O_RDWR | os.O_CREAT)
        if os.fstat(self.descriptor).st_size < SPACE:
            os.pwrite(self.descriptor, b"\0" * SPACE, 0)
            os.fsync(self.descriptor)
        self.place = 0

    def synced_write(self, size: int = PAGE) -> None:
        """Write some bytes at the next place and wait for the disk."""
        if self.place + size > SPACE:
            self.place = 0
        os.pwrite(self.descriptor, b"x" * size, self.place)
        os.fdatasync(self.descriptor)
        self.place += size

    def load(self, users: Sequence[User]) -> None:
        self.models.update((user.id, user) for user in users)
        for _ in range(0, len(users) * SIZE - SPACE, SPACE):
            self.synced_write(SPACE)
        self.synced_write(len(users) * SIZE % SPACE)

    def insert(self, user: User) -> None:
        self.synced_write(PAGE)

    def get(self, key: int) -> User:
        return self.build(self.models[key])

    def close(self) -> None:
        os.close(self.descriptor)

    @staticmethod
    def same(found: User, user: User) -> bool:
        return found == user

    @staticmethod
    def encoder() -> Callable[[User], User]:
        return lambda user: user

    @classmethod
    def decoder(cls) -> Callable[[User], User]:
        return cls.build

    @staticmethod
    def build(user: User) -> User:
        """A new instance with the values of a ready one; its list and its nested model are new too."""
        address = _new(Address)
        _set(address, "__dict__", user.address.__dict__.copy())
        _set(address, "__pydantic_fields_set__", user.address.__pydantic_fields_set__.copy())
        _set(address, "__pydantic_extra__", None)
        _set(address, "__pydantic_private__", None)
        made = _new(User)
        values = user.__dict__.copy()
        values["tags"] = values["tags"].copy()
        values["address"] = address
        _set(made, "__dict__", values)
        _set(made, "__pydantic_fields_set__", user.__pydantic_fields_set__.copy())
        _set(made, "__pydantic_extra__", None)
        _set(made, "__pydantic_private__", None)
        return made

    validate = staticmethod(User.model_validate)

    @staticmethod
    def copy() -> Batch:
        """A record's bytes copied, in blocks that fit the processor's caches: the call costs nothing then."""
        source, target = (ctypes.create_string_buffer(SIZE * COPIES) for _ in range(2))
        copy = each(lambda _: ctypes.memmove(target, source, SIZE * COPIES), range(100))
        return lambda: copy() / COPIES


_new: Callable[[type[Any]], Any] = object.__new__
_set = object.__setattr__
