/* The system calls that _core/file is written in. On Windows, which has others, they are made of those: enough for one
   process at a time. That part has been compiled, with MinGW, and never run. */

#ifndef MODELVAULT_SYSTEM_H
#define MODELVAULT_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifndef _WIN32

#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#else

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#include <io.h>

#ifdef _MSC_VER
typedef ptrdiff_t ssize_t;
#define MV_UNUSED
#else
#define MV_UNUSED __attribute__((unused))
#endif

struct iovec {
    void *iov_base;
    size_t iov_len;
};

enum { LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4 };
#define AT_FDCWD 0
#define AT_SYMLINK_FOLLOW 0

#define MV_LOCKED_BYTE (UINT64_C(1) << 62)  /* behind any data: locks of ranges are mandatory here */

static MV_UNUSED int mv_failed(void) {
    switch (GetLastError()) {
    case ERROR_LOCK_VIOLATION: case ERROR_IO_PENDING: errno = EAGAIN; break;
    case ERROR_DISK_FULL: case ERROR_HANDLE_DISK_FULL: errno = ENOSPC; break;
    case ERROR_ACCESS_DENIED: case ERROR_WRITE_PROTECT: errno = EACCES; break;
    case ERROR_INVALID_HANDLE: errno = EBADF; break;
    case ERROR_NOT_ENOUGH_MEMORY: case ERROR_OUTOFMEMORY: errno = ENOMEM; break;
    default: errno = EIO;
    }
    return -1;
}

static MV_UNUSED OVERLAPPED mv_place(uint64_t offset) {
    OVERLAPPED place;
    memset(&place, 0, sizeof place);
    place.Offset = (DWORD)offset;
    place.OffsetHigh = (DWORD)(offset >> 32);
    return place;
}

static MV_UNUSED DWORD mv_at_most(size_t size) {
    return size > (1u << 30) ? (1u << 30) : (DWORD)size;
}

static MV_UNUSED ssize_t mv_pread(int fd, void *data, size_t size, uint64_t offset) {
    OVERLAPPED place = mv_place(offset);
    DWORD done = 0;
    if (ReadFile((HANDLE)_get_osfhandle(fd), data, mv_at_most(size), &done, &place)) return (ssize_t)done;
    return GetLastError() == ERROR_HANDLE_EOF ? 0 : mv_failed();
}

/* The first part only: the caller goes on. */
static MV_UNUSED ssize_t mv_pwritev(int fd, const struct iovec *parts, int count, uint64_t offset) {
    OVERLAPPED place = mv_place(offset);
    DWORD done = 0;
    (void)count;
    if (WriteFile((HANDLE)_get_osfhandle(fd), parts->iov_base, mv_at_most(parts->iov_len), &done, &place)) return (ssize_t)done;
    return mv_failed();
}

static MV_UNUSED int mv_fdatasync(int fd) {
    return FlushFileBuffers((HANDLE)_get_osfhandle(fd)) ? 0 : mv_failed();
}

static MV_UNUSED int mv_resize(int fd, uint64_t size) {
    LARGE_INTEGER end;
    HANDLE file = (HANDLE)_get_osfhandle(fd);
    end.QuadPart = (LONGLONG)size;
    return SetFilePointerEx(file, end, NULL, FILE_BEGIN) && SetEndOfFile(file) ? 0 : mv_failed();
}

/* NTFS gives a file its space when it grows. */
static MV_UNUSED int mv_reserve(int fd, uint64_t offset, uint64_t size) {
    LARGE_INTEGER now;
    if (!GetFileSizeEx((HANDLE)_get_osfhandle(fd), &now)) { mv_failed(); return errno; }
    if ((uint64_t)now.QuadPart >= offset + size) return 0;
    return mv_resize(fd, offset + size) < 0 ? errno : 0;
}

static MV_UNUSED int flock(int fd, int kind) {
    HANDLE file = (HANDLE)_get_osfhandle(fd);
    OVERLAPPED place = mv_place(MV_LOCKED_BYTE);
    DWORD flags = LOCKFILE_FAIL_IMMEDIATELY | (kind & LOCK_EX ? LOCKFILE_EXCLUSIVE_LOCK : 0);
    UnlockFileEx(file, 0, 1, 0, &place);  /* a lock that this handle has is exchanged, as flock does it */
    place = mv_place(MV_LOCKED_BYTE);
    return LockFileEx(file, flags, 0, 1, 0, &place) ? 0 : mv_failed();
}

/* Files get their name when they are made: see DiskFile.create. */
static MV_UNUSED int linkat(int from, const char *old, int to, const char *name, int flags) {
    (void)from; (void)old; (void)to; (void)name; (void)flags;
    errno = ENOSYS;
    return -1;
}

static MV_UNUSED int mv_memalign(void **memory, size_t alignment, size_t size) {
    (void)memory; (void)alignment; (void)size;
    return ENOMEM;  /* only for writes past the system's cache, which there are none of */
}

#define pread(fd, data, size, offset) mv_pread((fd), (data), (size), (uint64_t)(offset))
#define pwritev(fd, parts, count, offset) mv_pwritev((fd), (parts), (count), (uint64_t)(offset))
#define fdatasync mv_fdatasync
#define ftruncate(fd, size) mv_resize((fd), (uint64_t)(size))
#define posix_fallocate(fd, offset, size) mv_reserve((fd), (uint64_t)(offset), (uint64_t)(size))
#define posix_memalign mv_memalign
#define nanosleep(moment, rest) ((void)(moment), Sleep(0))
#ifndef off_t
#define off_t int64_t
#endif
#ifndef close
#define close _close
#endif

#endif

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

#endif
