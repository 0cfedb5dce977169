from collections.abc import Callable
from typing import Any, final

from modelvault._core.batch import Batch
from modelvault._core.cursor import Cursor
from modelvault._core.record import Face

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
    @property
    def last(self) -> bytes: ...
    def fill(self, batch: Batch, source: Cursor, most: int) -> int: ...
    def record(self, key: bytes, record: bytes) -> bytes: ...
