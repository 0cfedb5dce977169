from typing import final

@final
class Cache:
    count: int
    bytes: int
    evictions: int
