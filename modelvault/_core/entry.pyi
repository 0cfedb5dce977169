from typing import final

from modelvault._core.index import IndexKeys

@final
class EntryShape:
    count: int
    def __init__(self, keys: IndexKeys) -> None: ...
    def split(self, entry: bytes) -> tuple[bytes, bytes] | None: ...
