from typing import final

from modelvault._core.codec import Container

@final
class Anything(Container): ...
