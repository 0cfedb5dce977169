from collections.abc import Callable
from typing import Any, final

from typing_extensions import Self

from modelvault._core.codec import Codec, Container

@final
class Optional(Container):
    def __new__(cls, item: Codec) -> Self: ...

@final
class List(Container):
    def __new__(cls, item: Codec) -> Self: ...

@final
class VarTuple(Container):
    def __new__(cls, item: Codec) -> Self: ...

@final
class Set(Container):
    def __new__(cls, item: Codec, frozen: bool) -> Self: ...

@final
class Tuple(Container):
    def __new__(cls, items: tuple[Codec, ...]) -> Self: ...

@final
class Dict(Container):
    def __new__(cls, key: Codec, value: Codec) -> Self: ...

@final
class Union(Container):
    def __new__(cls, items: tuple[Codec, ...], choosers: tuple[Any, ...]) -> Self: ...

@final
class Custom(Codec):
    def __new__(cls, inner: Codec, dump: Callable[[Any], Any], load: Callable[[Any], Any]) -> Self: ...
