from typing import Any

from typing_extensions import disjoint_base

from modelvault._core.index import IndexKeys
from modelvault._core.keys import KeyCodec
from modelvault._core.pager import Pager
from modelvault._core.record import Face
from modelvault._core.tree import Roots
from modelvault.errors import CorruptionError, DuplicateKeyError

@disjoint_base
class TableIndex:
    name: str
    tree: int
    unique: bool
    extractors: dict[int, IndexKeys]
    def __init__(self, name: str, tree: int, unique: bool, extractors: dict[int, IndexKeys]) -> None: ...

@disjoint_base
class Table:
    name: str
    pager: Pager
    tree: int
    indexes: tuple[TableIndex, ...]
    definition: Any
    journal: int
    def __init__(
        self,
        pager: Pager,
        name: str,
        tree: int,
        primary: KeyCodec,
        indexes: Any = (),
    ) -> None: ...
    def get(self, roots: Roots, key: Any, face: Face, wait: bool = True) -> Any: ...
    def record(self, roots: Roots, key: bytes, wait: bool = True) -> bytes | None: ...
    def count(self, roots: Roots) -> int: ...
    def keys(self, roots: Roots, index: str, prefix: bytes, wait: bool = True) -> list[bytes]: ...
    def put(self, write: Any, key: bytes, record: bytes, create: bool = False, wait: bool = True) -> bool: ...
    def exchange(self, write: Any, key: bytes, before: bytes, record: bytes) -> bool: ...
    def delete(self, write: Any, key: bytes, wait: bool = True) -> bool: ...
    def density(self, roots: Roots, index: str | None, wait: bool = True) -> float: ...
    def estimate(
        self, roots: Roots, index: str | None, low: bytes | None, high: bytes | None, wait: bool = True
    ) -> int: ...
    def taken(self, key: bytes) -> DuplicateKeyError: ...
    def stray(self, index: TableIndex) -> CorruptionError: ...
    def check(self, roots: Roots) -> None: ...
