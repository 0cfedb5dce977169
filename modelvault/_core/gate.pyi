from collections import deque
from typing import Any, final

from typing_extensions import disjoint_base

from modelvault._core import LONG as LONG
from modelvault._core.commit import Outlook
from modelvault._core.history import Version
from modelvault._core.keys import KeyCodec
from modelvault._core.record import Face
from modelvault._core.table import Table
from modelvault._core.turn import Turn

@disjoint_base
class Gate:
    alert: int
    credit: int
    volatile: bool
    read_only: bool
    mutex: Any
    turn: Turn
    outlook: Outlook | None
    strays: deque[Version]
    newest: Any
    def concerns(self) -> bool: ...

@final
class Point: ...

@final
class Shortcut:
    def __init__(
        self,
        gate: Gate,
        era: dict[str, Any],
        table: Table,
        face: Face,
        cls: type,
        primary: str,
        points: dict[tuple[str, ...], tuple[str | None, KeyCodec]],
    ) -> None: ...
    def get(self, key: Any) -> Any: ...
    def one(self, path: tuple[str, ...], value: Any) -> Any: ...
    def put(self, row: Any) -> Any: ...
    def take(self, key: Any) -> Any: ...
    def exchange(self, key: bytes, before: bytes, row: Any) -> bool: ...
    def remove(self, key: Any) -> Any: ...
    def some(self, path: tuple[str, ...], value: Any, most: int) -> Any: ...
