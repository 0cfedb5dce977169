from typing import final

from typing_extensions import Self

from modelvault._core.codec import Fixed

@final
class Timestamp(Fixed):
    def __new__(cls, typed: bool) -> Self: ...

@final
class Date(Fixed): ...

@final
class Time(Fixed): ...

@final
class TimeDelta(Fixed): ...
