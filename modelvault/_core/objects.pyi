from typing import Any

from modelvault._core.codec import Raw

class Object(Raw):
    names: tuple[str, ...]
    attributes: tuple[str | None, ...]
    def __init__(self, names: tuple[str, ...], role: int, primary: str | None) -> None: ...
    def bind_class(self, shape: Any) -> None: ...
