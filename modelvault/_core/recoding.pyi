from collections.abc import Callable, Iterable
from typing import Any, final

from modelvault._core.batch import Batch
from modelvault._core.cursor import Cursor
from modelvault._core.index import IndexKeys
from modelvault._core.record import Face
from modelvault._core.table import TableIndex

@final
class Recoding:
    def __init__(
        self,
        reading: Face,
        writing: Face,
        change: Callable[[Any], Any],
        settle: Callable[[Any], Any] | None = None,
        spare: Face | None = None,
    ) -> None: ...
    moved: bool
    def watch(self, indexes: Iterable[tuple[TableIndex, IndexKeys]]) -> None: ...
    @property
    def last(self) -> bytes: ...
    def fill(self, batch: Batch, source: Cursor, most: int) -> int: ...
    def record(self, key: bytes, record: bytes) -> bytes: ...
