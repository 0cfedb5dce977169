from typing import Any

from typing_extensions import disjoint_base

from modelvault._core.pager import Draft
from modelvault._core.tree import Roots

@disjoint_base
class State:
    roots: Roots
    definitions: dict[str, dict[str, Any]]
    sequence: int

@disjoint_base
class Change(State):
    draft: Draft

@disjoint_base
class Newest:
    latest: Any
    lane: Any
    def inline(self) -> Any: ...
