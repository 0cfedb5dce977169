from typing import final

from typing_extensions import Self

from modelvault._core.record import RecordCodec

@final
class Route:
    path: tuple[str, ...]
    def __new__(cls, record: RecordCodec, path: tuple[str, ...], newest: Route | None = None) -> Self: ...
