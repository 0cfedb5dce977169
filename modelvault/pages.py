"""Pages of a query, and the cursors between them.

A cursor says where a page ended: the order key and primary key of its last row. So the next page begins there,
whatever was inserted or deleted meanwhile, in another process, after a restart. It is text for URLs, opaque but no
secret: base64 of

    u8 version, 8 bytes: hash of the query, varint: rows given so far, position, 4 bytes: checksum of all before

The hash binds it to the collection, the condition with its values, and the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from modelvault._frozen import frozen
from modelvault.errors import CursorError

__all__ = ["Page", "read_cursor", "write_cursor"]

M = TypeVar("M")

VERSION: Final = 1
HASH: Final = 8
CHECK: Final = 4


@frozen
class Page(Generic[M]):
    """Some rows of a query in its order, and where they end.

    `next` is the cursor for `page(after=...)`, None on the last page.
    """

    items: list[M]
    next: str | None = None

    def __iter__(self) -> Iterator[M]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def digest(data: bytes, size: int) -> bytes:
    """A short hash of bytes."""
    from hashlib import blake2b  # only here: it loads OpenSSL

    return blake2b(data, digest_size=size, person=b"modelvault").digest()


def write_cursor(query: str, given: int, position: bytes) -> str:
    """The cursor behind a position in a query, described by a text, after `given` rows."""
    body = bytes((VERSION,)) + digest(query.encode(), HASH) + varint(given) + position
    return write_text(body + digest(body, CHECK))


def read_cursor(query: str, cursor: str) -> tuple[int, bytes]:
    """How many rows were given, and the position, from a cursor of this query; CursorError if it is none."""
    from base64 import urlsafe_b64decode

    if not isinstance(cursor, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"argument 'after': {type(cursor).__name__!r} object is not an instance of 'str'")
    try:
        data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError:
        data = b""
    body, check = data[:-CHECK], data[-CHECK:]
    if len(body) < 1 + HASH + 1 or digest(body, CHECK) != check or write_text(data) != cursor:
        raise CursorError("query error: this is no cursor, or it was changed: begin with the first page again")
    if body[0] != VERSION:
        raise CursorError(
            f"query error: the cursor has version {body[0]}, not {VERSION}: begin with the first page again"
        )
    if body[1 : 1 + HASH] != digest(query.encode(), HASH):
        raise CursorError(
            "query error: the cursor belongs to another query: "
            "collection, conditions and order must be those of the page that it came with"
        )
    return unvarint(body[1 + HASH :])


def write_text(data: bytes) -> str:
    """Bytes as letters that a URL may have."""
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(data).rstrip(b"=").decode()


def varint(number: int) -> bytes:
    """A number in as few bytes as it needs."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def unvarint(data: bytes) -> tuple[int, bytes]:
    """A varint and the bytes behind it."""
    number = shift = 0
    for at, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, data[at + 1 :]
    raise CursorError("query error: this is no cursor, or it was changed: begin with the first page again")
