from typing import Any, final

from modelvault._core.route import Route

@final
class Asked:
    path: tuple[str, ...]
    def __init__(self, route: Route, op: str, values: tuple[Any, ...]) -> None: ...

@final
class Group:
    def __init__(self, kind: str, negated: bool, parts: list[Any]) -> None: ...

def cost_of(part: Asked | Group) -> int: ...
