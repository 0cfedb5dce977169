from typing import Any, Final

LONG: Final[Any] = object()
"""What a short way answers where anything is not as usual: the long way finds out."""
