"""A file put in another's place: the old one or the new one is there at every moment, and never a part."""

import errno
import os
import stat

from modelvault._core.file cimport DiskFile, File

from modelvault._core.file import check_new_name, name_file, open_unnamed, temporary_name
from modelvault.errors import LockedError

NEWEST = (1 << 60) - 1      # generation that a reader may have


cdef class Replacement:
    """A new file on its way to a name that another file may have: `publish` puts it there whole, or `abandon` nothing.

    file: where the content goes, before it has that name. It gets mode and owner of the file that it replaces; of a new
    one nobody may do more than with the file `like`. A symbolic link stays, and leads to the new file. Nobody can open the
    old file for writing meanwhile. OSError; LockedError if a handle of some process uses it.
    """

    cdef readonly DiskFile file
    cdef object path
    cdef object target
    cdef DiskFile old
    cdef object temporary

    def __init__(self, path, File like=None):
        check_new_name(path)
        self.path = path
        self.target = os.path.realpath(path)
        self.old = claim(path)
        try:
            descriptor, self.temporary = open_unnamed(os.path.dirname(self.target), path)
            self.file = DiskFile(path, descriptor=descriptor)
            take_mode(descriptor, self.old, like)
        except BaseException:
            self.abandon()
            raise

    def publish(self):
        """Return when the file is on the medium under its name. FileExistsError if somebody has just made that one."""
        cdef int descriptor = self.file.descriptor
        self.file.sync()
        if self.old is None:
            name_file(descriptor if self.temporary is None else self.temporary, self.target, self.path)
        else:
            if self.temporary is None:
                self.temporary = temporary_name(os.path.dirname(self.target))
                try:
                    name_file(descriptor, self.temporary, self.path)
                except BaseException:
                    self.temporary = None
                    raise
            rename(self.temporary, self.target, self.path)
            self.temporary = None
        self.file.sync_directory()
        self.abandon()

    def abandon(self):
        """Let go of what is left; without `publish` before, everything is as it was."""
        for file in (self.file, self.old):
            if file is not None:
                file.close()
        temporary, self.temporary = self.temporary, None
        if temporary is not None:
            os.unlink(temporary)


def claim(path):
    """The file at `path`, which nobody uses nor can open for writing until it is closed; None without one.

    OSError for what is no regular file; LockedError.
    """
    try:
        file = DiskFile(path)
    except FileNotFoundError:
        return None
    try:
        file.lock_writer()
        if file.oldest_snapshot(0, NEWEST) is not None:
            raise LockedError(errno.EAGAIN, "the database is open for reading: it cannot be replaced", path)
    except BaseException:
        file.close()
        raise
    return file


def take_mode(int descriptor, DiskFile old, File like):
    """Give a new file the mode and, as far as that is allowed, the owner of an old one; else no more rights than `like`."""
    mine = os.fstat(descriptor)
    if old is None:
        if isinstance(like, DiskFile):
            os.fchmod(descriptor, stat.S_IMODE(mine.st_mode) & os.fstat((<DiskFile> like).descriptor).st_mode)
        return
    status = os.fstat(old.descriptor)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError:
            pass
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def rename(source, target, path):
    """Put a file in another's place."""
    try:
        os.replace(source, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
