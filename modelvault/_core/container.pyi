from collections.abc import Callable
from typing import Any

from modelvault._core.codec import Codec, Container

class Optional(Container):
    def __init__(self, item: Codec) -> None: ...

class List(Container):
    def __init__(self, item: Codec) -> None: ...

class VarTuple(Container):
    def __init__(self, item: Codec) -> None: ...

class Set(Container):
    def __init__(self, item: Codec, frozen: bool) -> None: ...

class Tuple(Container):
    def __init__(self, items: tuple[Codec, ...]) -> None: ...

class Dict(Container):
    def __init__(self, key: Codec, value: Codec) -> None: ...

class Union(Container):
    def __init__(self, items: tuple[Codec, ...], choosers: tuple[Any, ...]) -> None: ...

class Custom(Codec):
    def __init__(self, inner: Codec, dump: Callable[[Any], Any], load: Callable[[Any], Any]) -> None: ...
