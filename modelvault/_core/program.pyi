from collections.abc import Sequence
from typing import Any, final

from modelvault._core.record import RecordCodec
from modelvault._core.route import Route

@final
class Asked:
    path: tuple[str, ...]
    def __init__(self, route: Route, op: str, values: tuple[Any, ...]) -> None: ...

@final
class Group:
    def __init__(self, kind: str, negated: bool, parts: list[Any]) -> None: ...

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

def cost_of(part: Asked | Group) -> int: ...
