from collections.abc import Callable
from threading import Lock
from typing import Any, final

from typing_extensions import disjoint_base

from modelvault._core.draft import Draft
from modelvault._core.file import File
from modelvault._core.log import Log
from modelvault._core.meta import Meta
from modelvault._core.pager import Pager
from modelvault._core.space import Space
from modelvault._core.tree import Roots

_Root = tuple[int, int, int, int]
_Definition = dict[str, Any]

@final
class Version:
    roots: Roots
    definitions: dict[str, _Definition]
    meta: Meta
    sequence: int
    stamp: int
    pins: int
    def __init__(
        self,
        roots: Roots,
        meta: Meta,
        sequence: int,
        definitions: dict[str, _Definition],
        unnoted: list[tuple[int, int]],
    ) -> None: ...
    @property
    def generation(self) -> int: ...
    @property
    def page_count(self) -> int: ...
    @property
    def freed(self) -> list[tuple[int, int]]: ...
    def twin(self, roots: Roots) -> Version: ...

@final
class Write:
    roots: Roots
    space: Space | None
    start: tuple[_Root, _Root]
    definitions: dict[str, _Definition]
    next_tree: int
    next_collection: int
    waits: bool
    def __init__(
        self,
        base: Version,
        roots: Roots,
        draft: Draft,
        room: Callable[[Write], None] | None,
        next_ids: tuple[int, int],
    ) -> None: ...
    @property
    def base(self) -> Version: ...
    @property
    def draft(self) -> Draft: ...
    @property
    def room(self) -> Callable[[Write], None] | None: ...
    def new_tree(self) -> int: ...
    def put(self, tree: int, key: bytes, value: bytes) -> bool: ...
    def delete(self, tree: int, key: bytes) -> bool: ...
    def new_collection(self) -> int: ...
    def define(self, definition: _Definition) -> None: ...
    @property
    def is_large(self) -> bool: ...
    def take_room(self) -> None: ...
    def spill(self) -> None: ...
    def allot(self, space: Space, catalog: _Root, free: _Root) -> None: ...
    def savepoint(self) -> Savepoint: ...
    def rewind(self, savepoint: Savepoint) -> None: ...
    def release(self, savepoint: Savepoint) -> None: ...

@final
class Savepoint:
    def __init__(self, write: Write) -> None: ...

@disjoint_base
class History:
    latest: Version
    file: File
    pager: Pager
    log: Log
    meta: Meta
    next_ids: tuple[int, int]
    write: Write | None
    lock: Lock
    pinned: dict[int, int]
    lane: Write | None
    room: Callable[[Write], None] | None
    poisoned: BaseException | None
    volatile: bool
    read_only: bool
    closed: bool
    forked: bool
    def check_writable(self) -> None: ...
    def begin(self) -> Write: ...
    def rollback(self, write: Write) -> int: ...
    def fail(self, write: Write, error: BaseException, unsure: bool) -> int: ...
    def inline(self) -> Write | None: ...
    def publish(self, write: Write, sequence: int, meta: Meta) -> int: ...
    def reveal(self, version: Version) -> int: ...
    def least_stamp(self) -> int: ...
    def newest_stamp(self) -> int: ...
