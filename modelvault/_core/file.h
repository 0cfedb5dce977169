/* The calls of the system as _core/file needs them: whole, repeated after an interruption where that is safe.

   All return a count or 0, or -errno. */

#ifndef MODELVAULT_FILE_H
#define MODELVAULT_FILE_H

#include "system.h"

static ssize_t file_read(int fd, unsigned char *data, size_t size, uint64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)(offset + done));
        if (n == 0) break;
        if (n > 0) done += (size_t)n;
        else if (errno != EINTR) return -errno;
    }
    return (ssize_t)done;
}

/* -EAGAIN: not all of it is in the system's cache. */
static ssize_t file_read_cached(int fd, unsigned char *data, size_t size, uint64_t offset) {
#ifdef RWF_NOWAIT
    size_t done = 0;
    while (done < size) {
        struct iovec part = { data + done, size - done };
        ssize_t n = preadv2(fd, &part, 1, (off_t)(offset + done), RWF_NOWAIT);
        if (n == 0) break;
        if (n > 0) done += (size_t)n;
        else if (errno != EINTR) return -errno;
    }
    return (ssize_t)done;
#else
    (void)fd; (void)data; (void)size; (void)offset;
    return -EOPNOTSUPP;
#endif
}

/* Consumes the parts. */
static int file_write(int fd, struct iovec *parts, size_t count, uint64_t offset) {
    while (count > 0) {
        ssize_t n;
        if (parts->iov_len == 0) { parts++; count--; continue; }
        n = pwritev(fd, parts, count < IOV_MAX ? (int)count : IOV_MAX, (off_t)offset);
        if (n < 0) { if (errno == EINTR) continue; return -errno; }
        if (n == 0) return -EIO;
        offset += (uint64_t)n;
        while (n > 0) {
            size_t step = (size_t)n < parts->iov_len ? (size_t)n : parts->iov_len;
            parts->iov_base = (char *)parts->iov_base + step;
            parts->iov_len -= step;
            n -= (ssize_t)step;
            if (parts->iov_len == 0) { parts++; count--; }
        }
    }
    return 0;
}

/* Write past the system's cache, and return when it is on the medium. -EINVAL, -EOPNOTSUPP: not here, nothing was
   written. No retry after any other error, as for a sync. */
static int file_write_direct(int fd, const unsigned char *data, size_t size, uint64_t offset) {
#if defined(RWF_DSYNC) && defined(O_DIRECT)
    size_t done = 0;
    while (done < size) {
        struct iovec part = { (void *)(data + done), size - done };
        ssize_t n = pwritev2(fd, &part, 1, (off_t)(offset + done), RWF_DSYNC);
        if (n < 0) return errno == EINVAL && done ? -EIO : -errno;
        if (n == 0) return -EIO;
        done += (size_t)n;
    }
    return 0;
#else
    (void)fd; (void)data; (void)size; (void)offset;
    return -EOPNOTSUPP;
#endif
}

static int file_open_direct(const char *path) {
#ifdef O_DIRECT
    int fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
    return fd < 0 ? -errno : fd;
#else
    (void)path;
    return -EOPNOTSUPP;
#endif
}

/* No retry, also not after EINTR: what a failed sync did is unknown. */
static int file_sync(int fd) {
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC) < 0 ? -errno : 0;
#else
    return fdatasync(fd) < 0 ? -errno : 0;
#endif
}

static int file_reserve(int fd, uint64_t offset, uint64_t size) {
#if defined(__APPLE__)
    struct stat now;
    if (fstat(fd, &now) < 0) return -errno;
    if (offset + size <= (uint64_t)now.st_size) return 0;
    {
        fstore_t store = { F_ALLOCATEALL, F_PEOFPOSMODE, 0, (off_t)(offset + size - (uint64_t)now.st_size), 0 };
        if (fcntl(fd, F_PREALLOCATE, &store) < 0 && errno == ENOSPC) return -ENOSPC;
    }
    return ftruncate(fd, (off_t)(offset + size)) < 0 ? -errno : 0;
#else
    int code;
    do code = posix_fallocate(fd, (off_t)offset, (off_t)size); while (code == EINTR);
    return -code;
#endif
}

/* The name for a file without one. */
static int file_link(const char *descriptor, const char *path) {
    return linkat(AT_FDCWD, descriptor, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int file_resize(int fd, uint64_t size) {
    while (ftruncate(fd, (off_t)size) < 0) if (errno != EINTR) return -errno;
    return 0;
}

/* Long enough for a thread that was told that it may run to do so. */
static void file_pause(void) {
    struct timespec moment = { 0, 10000 };
    nanosleep(&moment, NULL);
}

static void file_rest(long nanoseconds) {
    struct timespec moment = { 0, nanoseconds };
    nanosleep(&moment, NULL);
}

/* Seconds, to compare moments that are near each other. */
static double file_clock(void) {
    struct timespec now = { 0, 0 };
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Locks. Ranges of bytes where the system has locks that belong to an open file; else one lock for the whole file, so that
   readers and a writer exclude each other. */

enum { HOLD_NOTHING, HOLD_SHARED, HOLD_ALONE };

#ifdef F_OFD_SETLK

static struct flock file_range(int kind, uint64_t start, uint64_t length) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = kind == HOLD_ALONE ? F_WRLCK : kind == HOLD_SHARED ? F_RDLCK : F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)start;
    lock.l_len = (off_t)length;  /* 0: all that follows */
    return lock;
}

static int file_lock(int fd, uint64_t offset, int kind) {
    struct flock lock = file_range(kind, offset, 1);
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Hold so many bytes from `base` on alone; what was held before stays. */
static int file_hold(int fd, uint64_t base, uint64_t count) {
    struct flock lock = file_range(HOLD_ALONE, base, count);
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Give up what is held from `base` on. */
static int file_unhold(int fd, uint64_t base) {
    struct flock lock = file_range(HOLD_NOTHING, base, 0);
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* How many bytes from `base` on another handle holds alone; 0 for none. */
static int64_t file_held(int fd, uint64_t base, uint64_t most) {
    struct flock lock = file_range(HOLD_SHARED, base, most);
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -errno;
    return lock.l_type == F_UNLCK ? 0 : (int64_t)lock.l_len;
}

/* Some locked byte of the range, or 0. */
static int64_t file_locked(int fd, uint64_t low, uint64_t high) {
    struct flock lock = file_range(HOLD_ALONE, low, high - low + 1);
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -errno;
    return lock.l_type == F_UNLCK ? 0 : (int64_t)lock.l_start;
}

#else

static int file_lock(int fd, uint64_t offset, int kind) {
    (void)offset;
    if (kind == HOLD_NOTHING) return 0;
    return flock(fd, (kind == HOLD_ALONE ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0 ? -errno : 0;
}

static int file_hold(int fd, uint64_t base, uint64_t count) {
    (void)fd; (void)base; (void)count;
    return 0;
}

static int file_unhold(int fd, uint64_t base) {
    (void)fd; (void)base;
    return 0;
}

static int64_t file_held(int fd, uint64_t base, uint64_t most) {
    (void)fd; (void)base; (void)most;
    return 0;
}

static int64_t file_locked(int fd, uint64_t low, uint64_t high) {
    (void)fd; (void)low; (void)high;
    return 0;
}

#endif

#endif
