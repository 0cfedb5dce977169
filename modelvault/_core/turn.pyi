from collections import deque
from threading import Lock
from typing import Any

from typing_extensions import disjoint_base

WAITING: int
GRANTED: int
TAKEN: int
DONE: int

@disjoint_base
class Turn:
    mutex: Lock
    line: deque[Any]
    holder: object
    busy: bool
    by_thread: bool
    groups: int
    statements: int
    def try_enter(self, wait: bool = True) -> bool: ...
    def leave(self) -> int: ...
    def pass_on(self) -> None: ...
