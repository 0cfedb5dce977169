from typing import Any, final

from modelvault._core.history import Write

@final
class Put:
    def __call__(self, write: Any, wait: bool) -> None: ...

@final
class Ticket:
    statement: Any
    owner: object
    waiter: Any
    result: Any
    error: BaseException | None
    deadline: float
    state: int
    def __init__(self, statement: Any, owner: object = None) -> None: ...
    def outcome(self) -> Any: ...

def apply_puts(group: list[Ticket], start: int, until: float, write: Write) -> int: ...
