from collections.abc import Sequence
from typing import Any, final

from modelvault._core.record import RecordCodec
from modelvault._core.route import Route

@final
class Term:
    desc: bool
    def __init__(self, route: Route, desc: bool) -> None: ...

@final
class SortKeys:
    desc: bool
    def __init__(self, codecs: Sequence[RecordCodec], orders: Sequence[Any], desc: bool | None = None) -> None: ...
    def key(self, record: bytes, key: bytes) -> bytes: ...
    def parts(self, key: bytes) -> tuple[list[bytes], bytes]: ...
