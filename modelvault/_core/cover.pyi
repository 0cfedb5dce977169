from typing import final

from modelvault._core.index import IndexKeys
from modelvault._core.record import RecordCodec

@final
class Cover:
    paths: tuple[tuple[str, ...], ...]
    def __init__(self, codec: RecordCodec, keys: IndexKeys) -> None: ...
    def record(self, entry: bytes, row: bytes | None = None, extractor: IndexKeys | None = None) -> bytes | None: ...
