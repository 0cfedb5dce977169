from collections.abc import Sequence
from typing import Any, final

from modelvault._core.asked import Asked
from modelvault._core.record import RecordCodec
from modelvault._core.route import Route

@final
class Question:
    def __init__(self, route: Route, asked: Asked) -> None: ...

@final
class Program:
    complete: bool
    codecs: tuple[RecordCodec, ...]
    def __init__(self, codecs: Sequence[RecordCodec], condition: Any) -> None: ...
    def test(self, record: bytes) -> bool: ...
    def verdict(self, record: bytes) -> int: ...
