from typing import Any, final

from typing_extensions import Buffer

@final
class Memory(Buffer):
    def __len__(self) -> int: ...

@final
class Piece:
    kind: str
    path: str
    names: tuple[str, ...] | None
    values: Any
    length: int
    count: int
    nulls: int
    aware: bool | None
    doubtful: bool
    buffers: tuple[Memory | None, ...]
    inner: tuple[Piece, ...]

@final
class Vector: ...
