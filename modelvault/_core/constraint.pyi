from re import Match
from typing import Any

from typing_extensions import Self, disjoint_base

@disjoint_base
class Check: ...

@disjoint_base
class IntegerCheck(Check):
    def __new__(cls, rules: tuple[Any, ...]) -> Self: ...

@disjoint_base
class FloatCheck(Check):
    def __new__(cls, rules: tuple[Any, ...]) -> Self: ...

@disjoint_base
class SizeCheck(Check):
    def __new__(cls, rules: tuple[Any, ...], noun: str) -> Self: ...

@disjoint_base
class TextCheck(Check):
    def __new__(cls, rules: tuple[Any, ...]) -> Self: ...

@disjoint_base
class BytesCheck(Check):
    def __new__(cls, rules: tuple[Any, ...]) -> Self: ...

class OrderCheck(Check):
    def __new__(cls, rules: tuple[Any, ...]) -> Self: ...

def strict_end(match: Match[str]) -> str: ...
