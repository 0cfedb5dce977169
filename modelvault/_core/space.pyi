"""Where a commit's pages go. The order in which a commit calls this is at the head of space.pyx:

    space = Space(draft, floor)                     when the write begins (before its first savepoint)
    ...                                             the trees change; perhaps space.supply(roots, n), tree_spill, draft.write_out()
    put a placeholder of the final size into the catalog for each changed tree
    space.prepare(roots)                            the free tree is final; the file has room; OSError(ENOSPC) changes nothing
    seal each user tree; put its final root into the catalog (same size, in place); seal the catalog tree
    space.finish(roots)                             seals the free tree
    draft.write_out(); file.sync()
    write_meta(file, Meta(..., page_count=space.end, free=the free tree's ref)); file.sync()
    pager.page_count = space.end; draft.complete()
    on any error before write_meta: draft.rollback(), drop the roots; the pages are free as before
"""

from collections.abc import Iterable

from modelvault._core.pager import Allocator, Draft, Pager
from modelvault._core.tree import Roots

class Space(Allocator):
    draft: Draft
    limit: int
    end: int
    available: int
    def __init__(self, draft: Draft, floor: int, spend_reserve: bool = False) -> None: ...
    def supply(self, roots: Roots, pages: int) -> None: ...
    def prepare(self, roots: Roots) -> None: ...
    def finish(self, roots: Roots) -> None: ...

def free_runs(pager: Pager, roots: Roots) -> list[tuple[int, int, int]]: ...
def check_space(page_count: int, reached: Iterable[tuple[int, int]], runs: Iterable[tuple[int, int, int]]) -> None: ...
