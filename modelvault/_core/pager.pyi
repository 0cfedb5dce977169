from typing import Any, TypeAlias, final

from typing_extensions import Self

from modelvault._core.cache import Cache
from modelvault._core.file import File
from modelvault.errors import CorruptionError

_Ref: TypeAlias = tuple[int, int, int]

def checksum(data: Any, seed: int = 0) -> int: ...

@final
class Page:
    size: int
    number: int
    birth: int
    stamp: int
    serial: int
    def __bytes__(self) -> bytes: ...
    def write(self, offset: int, data: bytes) -> None: ...

@final
class Pager:
    file: File | None
    page_size: int
    stamp: int
    page_count: int
    free_pages: int
    ceiling: int
    cache_size: int
    cache: Cache
    draft_bytes: int
    live_pages: int
    live_extents: dict[int, int]
    live_extent_pages: int
    unnoted: list[tuple[int, int]]
    pending: dict[int, Page]
    hits: int
    misses: int
    reads: int
    writes: int
    def __new__(cls, file: File | None, page_size: int, cache_size: int, seed: int = 0) -> Self: ...
    def freeze(self) -> int: ...
    def release(self, stamp: int) -> int: ...
    def fork(self, before: int) -> Pager: ...
    def start_over(self) -> None: ...
    def retire_all(self) -> None: ...
    @property
    def unsealed_pages(self) -> int: ...
    def read(self, ref: _Ref, wait: bool = True) -> Page: ...
    def read_extent(self, ref: _Ref, length: int, wait: bool = True) -> Page: ...
    def damaged(self, number: int, why: str) -> CorruptionError: ...
    @property
    def draft_count(self) -> int: ...
    def stats(self) -> dict[str, int]: ...
