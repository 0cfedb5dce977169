import struct

from modelvault._core.file import File
from modelvault._frozen import frozen

MAGIC: bytes
PAGE_SIZES: tuple[int, ...]
FIELDS: struct.Struct
NO_PAGE: tuple[int, int, int]
MOST_TREES: int

@frozen
class Meta:
    page_size: int
    uuid: bytes
    generation: int = 0
    sequence: int = 0
    page_count: int = 4
    catalog: tuple[int, int, int] = (0, 0, 0)
    free: tuple[int, int, int] = (0, 0, 0)
    catalog_entries: int = 0
    free_entries: int = 0
    log_page: int = 0
    log_pages: int = 0
    log_start: int = 0
    log_chain: int = 0
    next_tree: int = 2
    next_collection: int = 1
    incompatible: int = 0
    compatible: int = 0
    free_pages: int = 0
    @property
    def seed(self) -> int: ...
    def pack(self, page: int) -> bytes: ...

def unpack(copy: bytes) -> tuple[Meta, int] | None: ...
def first_pages(meta: Meta) -> bytes: ...
def write_meta(file: File, meta: Meta, slot: int | None = None) -> None: ...
def is_named(file: File, meta: Meta) -> bool: ...
def read_copies(file: File) -> list[Meta | None]: ...
def read_meta(file: File, repair: bool = False, limit: int | None = None) -> Meta: ...
def newest(copies: list[Meta | None], limit: int | None = None) -> Meta: ...
def generation_of(meta: Meta) -> int: ...
