from typing import final

from modelvault._core.draft import Draft
from modelvault._core.pager import Pager
from modelvault._core.tree import Roots

def height(pager: Pager, roots: Roots, tree: int) -> int: ...
def pack(
    draft: Draft, roots: Roots, tree: int, level: int, start: bytes | None, most: int
) -> tuple[bytes | None, int]: ...
def lower(draft: Draft, roots: Roots, tree: int) -> int: ...
def move(
    draft: Draft, roots: Roots, tree: int, level: int, start: bytes | None, most: int, ceiling: int, extents: bool
) -> tuple[bytes | None, int]: ...

@final
class Span: ...

@final
class Packer:
    def __init__(self, page_size: int, level: int, total: int, pages: int, above: int) -> None: ...
