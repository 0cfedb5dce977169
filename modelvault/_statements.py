"""Steps of statements: several rows of a collection found, put or deleted, by their packed keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelvault._core.batch import Batch
    from modelvault._engine import Write
    from modelvault._queue import Statement
    from modelvault._store import Binding

__all__ = ["atomically", "find_part", "put_part", "put_whole", "records_of", "remove_part"]


def find_part(binding: Binding, keys: list[Any], roots: Any, wait: bool) -> list[Any]:
    """The rows with these keys, None where there is no row."""
    find, face = binding.find, binding.face
    return [find(roots, key, face, wait) for key in keys]


def records_of(binding: Binding, keys: list[bytes], roots: Any, wait: bool) -> list[bytes]:
    """The records of rows that are there, by their packed keys."""
    records = [binding.record(roots, key, wait) for key in keys]
    assert all(record is not None for record in records)
    return records  # type: ignore[return-value]


def remove_part(binding: Binding, keys: list[bytes], write: Write, wait: bool) -> None:
    """Delete rows by their packed keys. After a ColdPage it may be called again: some are gone already."""
    for key in keys:
        binding.remove(write, key, wait)


def put_part(binding: Binding, rows: list[Any], write: Write, wait: bool) -> None:
    """Put encoded rows. After a ColdPage it may be called again: what is there already is replaced by itself."""
    put = binding.put
    for key, record in rows:
        put(write, key, record, False, wait)


def put_whole(binding: Binding, batch: Batch, write: Write, wait: bool) -> None:
    """Put all of a batch into a write that has nothing of it."""
    batch.restart()
    while not binding.put_batch(batch, write, wait):
        pass


def atomically(statement: Statement, write: Write, wait: bool) -> Any:
    """Apply a statement of several steps, all or nothing."""
    savepoint = write.savepoint()
    try:
        result = statement(write, wait)
    except BaseException:
        write.rewind(savepoint)
        raise
    write.release(savepoint)
    return result
