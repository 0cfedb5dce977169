from typing import Any, final

from typing_extensions import Self

from modelvault._core.codec import Fixed, Raw

@final
class Bool(Fixed): ...

@final
class Int64(Fixed): ...

@final
class UInt64(Fixed): ...

@final
class Int(Fixed): ...

@final
class Float64(Fixed): ...

@final
class Uuid(Fixed): ...

@final
class Decimals(Raw): ...

@final
class Choice(Fixed):
    def __new__(
        cls,
        values: tuple[Any, ...],
        members: tuple[Any, ...] | None,
        textual: bool,
        open_keys: tuple[bytes, ...],
        component_keys: tuple[bytes, ...],
    ) -> Self: ...
