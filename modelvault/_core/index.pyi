from collections.abc import Sequence
from typing import final

from typing_extensions import Self

from modelvault._core.objects import Object
from modelvault._core.record import RecordCodec

@final
class Entries:
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> bytes: ...

@final
class Path:
    def __new__(cls, root: Object, path: tuple[str, ...], newest: Path | None = None) -> Self: ...

@final
class IndexKeys:
    paths: tuple[tuple[str, ...], ...]
    def __init__(self, codec: RecordCodec, paths: Sequence[Sequence[str]], newest: IndexKeys | None = None) -> None: ...
    def extract(self, record: bytes) -> list[bytes]: ...
    def exempt(self, record: bytes) -> bool: ...
