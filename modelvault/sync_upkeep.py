"""What is done with a database as a whole, blocking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelvault._core.drive import drive
from modelvault._runner import BlockingRunner
from modelvault.upkeep import AsyncUpkeep

if TYPE_CHECKING:
    from modelvault._backup import Tell
    from modelvault._salvage import Salvage
    from modelvault._store import Catalog
    from modelvault._verify import Verification

__all__ = ["Upkeep"]


class Upkeep:
    """The part of Database that looks after its file."""

    def __init__(self, twin: AsyncUpkeep) -> None:
        self._twin = twin
        self.__catalog__: Catalog = twin.__catalog__

    def checkpoint(self) -> None:
        """Bring everything that is committed from the log into the trees of the file.

        It happens by itself when the log is three quarters full, after a second without a commit, and at `close`. In
        memory there is nothing to do. ModelVaultTransactionError in a transaction.
        """
        drive(self._twin.checkpoint())

    def stats(self) -> dict[str, Any]:
        """Counters and sizes, by name, at no cost worth mentioning.

        * `rows`, and `collections`: of each its `rows`, its `bytes` and its `indexes` with `entries` and `bytes`. Bytes
          are those of pages, an estimate from the edges of the tree; None if these would have to be read.
        * `file_bytes`, of which `live_bytes` are in use and `free_bytes` can be used again, or given back by `compact`.
          `page_size`, `page_count` and `free_pages` say it in pages.
        * `snapshots` that are open, `pins` of all readers here; `oldest_reader`, a generation: what was given up since
          cannot be used again. `generation` is the newest.
        * `sequence`: commits so far; `checkpoints`, and `log_used` of `log_size` bytes, since the file was opened.
        * `cache_bytes` of `cache_size`, `hits`, `misses`, `reads`, `writes`, `evictions`; `draft_bytes` of changes that
          only the log has.
        * `writers`: how many are `waiting`, and the `groups` in which how many `statements` were committed;
          `in_transaction`: whether one is open.
        """
        return self._twin.stats()

    def verify(self, *, raises: bool = True, progress: Tell = False) -> Verification:
        """Read the whole database from the file and check it; it may be read and written meanwhile.

        Every page is sound, and used once, or free; every row can be read and meets its constraints; every index entry
        has its row, and every row its entries; what is unique is there once. The report counts what was
        checked. CorruptionError if something is wrong: its `report` lists all that is. raises=False: the report is
        returned in any case. progress: True shows a line on standard error, a function gets the count of bytes now and
        then. ClosedError if the database is closed meanwhile.
        """
        return drive(self._twin.verify(raises=raises, progress=progress))

    # Copies

    def export_snapshot(self, dest_path: str | os.PathLike[str], *, progress: Tell = False) -> None:
        """Write the last commit to a file, while others read and write; the file is complete, or it is not there.

        Every page is checked on the way. A file that is there is replaced, and hands down its mode and owner; a
        symbolic link stays. LockedError if it is an open database. ModelVaultTransactionError in a transaction.
        progress: True shows a line on standard error, a function gets the count of bytes now and then.
        """
        drive(self._twin.export_snapshot(dest_path, progress=progress))

    def snapshot_bytes(self) -> bytes:
        """The content of a file with the last commit. ValueError on disk: `export_snapshot` writes a file."""
        return drive(self._twin.snapshot_bytes())

    def compact(self, *, progress: Tell = False) -> None:
        """Make the file as short as its content allows, in its place, while others read and write.

        It is a row of small commits; a crash loses nothing. Memory stays within the cache, and a full disk does not
        matter as long as the file has some free pages. What a reader or snapshot still uses stays: the file can get
        shorter when they are gone. ValueError in memory; OSError (EROFS) on a read-only handle, (ENOSPC) on a disk that
        is too full; ModelVaultTransactionError in a transaction. progress: True shows a line on standard error, a
        function gets the count of bytes written anew now and then.
        """
        drive(self._twin.compact(progress=progress))

    def compact_to(self, dest_path: str | os.PathLike[str], *, progress: Tell = False) -> None:
        """Write the last commit to a file without unused space: like `export_snapshot`, slower, every tree in order."""
        drive(self._twin.compact_to(dest_path, progress=progress))

    @staticmethod
    def restore_snapshot(
        snapshot_path: str | os.PathLike[str], dest_path: str | os.PathLike[str], *, progress: Tell = False
    ) -> None:
        """Put a copy of the database file `snapshot_path` in the place of `dest_path`, or leave everything as it is.

        Every page is checked before. The file that is replaced hands down its mode and owner; a symbolic link stays.
        LockedError if the destination is open, here or in another process; OSError, ModelVaultFormatError,
        CorruptionError. progress: True shows a line on standard error, a function gets the count of bytes now and then.
        """
        from modelvault._backup import restore  # few programs do: see `models`

        drive(restore(BlockingRunner(), snapshot_path, dest_path, progress))

    @staticmethod
    def salvage(
        source_path: str | os.PathLike[str], dest_path: str | os.PathLike[str], *, progress: Tell = False
    ) -> Salvage:
        """Save what is left of a damaged file, which stays as it is, into a new one, row by row.

        Only what verifies is taken. The report says, by collection, how many rows were saved and how many are missing,
        between which primary keys; indexes are built anew. OSError; LockedError if the destination is an open database;
        ModelVaultFormatError or CorruptionError if nothing says that it is a database.
        """
        from modelvault._salvage import salvage

        return drive(salvage(BlockingRunner(), source_path, dest_path, progress))
