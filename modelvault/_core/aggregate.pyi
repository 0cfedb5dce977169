from collections.abc import Sequence
from typing import Any, final

from modelvault._core.record import RecordCodec
from modelvault._core.scan import Scan, Sink

@final
class Function:
    name: str
    def __init__(self, codecs: Sequence[RecordCodec], name: str, path: tuple[str, ...] | None) -> None: ...

@final
class Group: ...

@final
class Aggregate(Sink):
    scan: Scan
    def __init__(
        self,
        scan: Scan,
        codecs: Sequence[RecordCodec],
        functions: Sequence[tuple[str, tuple[str, ...] | None]],
        groups: Sequence[tuple[str, ...]] = (),
    ) -> None: ...
    def step(self, budget: int = ..., wait: bool = True, release: bool = False, count: int = ...) -> bool: ...
    def add_rows(self, rows: list[tuple[bytes, bytes]]) -> None: ...
    def result(self) -> list[tuple[Any, ...]]: ...

class Ascending:
    desc: bool
    path: tuple[str, ...]
    def __init__(self, path: tuple[str, ...]) -> None: ...
