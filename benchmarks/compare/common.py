"""What every peer has unless it says otherwise."""

from typing import Any, ClassVar

from benchmarks.data import User

CACHE = 64 << 20  # bytes of cache for whoever lets us choose: modelvault's default


class Common:
    """The defaults of a peer's attributes."""

    durability: ClassVar[str] = "synced at every commit"
    how: ClassVar[str] = ""
    most_rows: ClassVar[int] = 10**9
    reopens: ClassVar[bool] = True

    @staticmethod
    def same(found: Any, user: User) -> bool:
        return bool(found == user)

    @staticmethod
    def city(found: Any) -> str:
        return str(found.address.city)
