from typing import Any, TypeAlias, final

from typing_extensions import disjoint_base

from modelvault._core.cover import Cover
from modelvault._core.program import Program
from modelvault._core.record import Shape
from modelvault._core.table import Table
from modelvault._core.tree import Roots

_Source: TypeAlias = tuple[Any, ...]

@final
class Scan:
    table: Table
    backward: bool
    done: bool
    returned: int
    seconds: float
    def __init__(
        self,
        table: Table,
        roots: Roots,
        source: _Source,
        program: Program | None = None,
        backward: bool = False,
        after: bytes | None = None,
        held: int = ...,
        cover: Cover | None = None,
    ) -> None: ...
    @property
    def examined(self) -> int: ...
    @property
    def pages(self) -> int: ...
    @property
    def position(self) -> bytes | None: ...
    def fetch(
        self,
        shape: Shape | None,
        count: int,
        budget: int = ...,
        wait: bool = True,
        release: bool = False,
        whole: bool = False,
    ) -> list[Any]: ...
    def keys(self, count: int, budget: int = ..., wait: bool = True, release: bool = False) -> list[bytes]: ...
    def count(self, budget: int = ..., wait: bool = True, release: bool = False) -> int: ...
    def skip(self, count: int, budget: int = ..., wait: bool = True, release: bool = False) -> int: ...
    def rebase(self, roots: Roots) -> None: ...

@disjoint_base
class Sink: ...

@final
class RowSink(Sink): ...

@final
class KeySink(Sink): ...

@final
class Gathering:
    def __init__(
        self, scan: Scan, entries: list[_Source], points: list[bytes], ranges: list[tuple[bytes | None, bytes | None]]
    ) -> None: ...

def first_of(pair: tuple[Any, ...]) -> Any: ...
