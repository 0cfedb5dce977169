from typing import Any, final

from modelvault._core.order import SortKeys
from modelvault._core.record import Face
from modelvault._core.scan import Scan, Sink

@final
class Run: ...

@final
class Sort(Sink):
    scan: Scan
    spilled: int
    done: bool
    def __init__(
        self, scan: Scan, order: SortKeys, limit: int | None = None, after: bytes | None = None, memory: int = ...
    ) -> None: ...
    def step(self, budget: int = ..., wait: bool = True, release: bool = False) -> bool: ...
    def fetch(self, face: Face | None, count: int, wait: bool = True) -> list[Any]: ...
    def close(self) -> None: ...
