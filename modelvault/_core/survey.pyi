from typing import Any, final

from modelvault._core.pager import Pager

@final
class Survey:
    owners: bytearray
    damage: list[tuple[int, str, bytes | None, bytes | None]]
    entries: int
    pages: int
    def __init__(self, pager: Pager, root: tuple[int, int, int, int], owners: bytearray, newest: int) -> None: ...
    def next_leaf(self, values: bool = True) -> list[tuple[bytes, bytes | None]] | None: ...

def stray_leaf(pager: Pager, data: Any, number: int) -> tuple[int, list[tuple[bytes, bytes | None]]] | None: ...
