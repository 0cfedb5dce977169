from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

def drive(coroutine: Coroutine[Any, Any, _T]) -> _T: ...
