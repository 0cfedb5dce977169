from typing import final

from typing_extensions import Self

from modelvault._core.codec import Raw

@final
class Object(Raw):
    names: tuple[str, ...]
    attributes: tuple[str | None, ...]
    def __new__(cls, names: tuple[str, ...], role: int, primary: str | None) -> Self: ...
