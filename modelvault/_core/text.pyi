from typing import final

from modelvault._core.codec import Raw

@final
class String(Raw): ...

@final
class Bytes(Raw): ...
