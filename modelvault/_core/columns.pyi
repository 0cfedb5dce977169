from collections.abc import Sequence
from typing import Any, final

from modelvault._core.objects import Object
from modelvault._core.record import RecordCodec, Shape

@final
class Branch:
    def __init__(self, place: Object, newest: Object, tree: dict[str, Any]) -> None: ...

@final
class Columns(Shape):
    paths: tuple[tuple[str, ...], ...]
    def __init__(self, codecs: Sequence[RecordCodec], paths: Sequence[Sequence[str]], nested: bool = False) -> None: ...
    def values(self, record: bytes) -> tuple[Any, ...]: ...
    def project(self, record: bytes) -> dict[str, Any]: ...
