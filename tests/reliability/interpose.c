/* Between a process and the C library: the n-th call that changes a file kills the process, or fails. LD_PRELOAD it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long armed_at, seen;
static int armed_error;
static char names[1 << 16];
static size_t named;

/* The at-th call from now on fails with `error`, or with error 0 kills the process before it happens; at 0: none does. */
void interpose_arm(long at, int error) { armed_at = at; armed_error = error; seen = 0; if (at) names[named = 0] = 0; }

/* The names of the calls since it was armed last, each with a space behind it. */
const char *interpose_names(void) { return names; }

/* Calls since then. */
long interpose_seen(void) { return seen; }

static int strike(const char *name)
{
    if (armed_at && named + strlen(name) + 2 < sizeof names) named += sprintf(names + named, "%s ", name);
    if (!armed_at || ++seen != armed_at) return 0;
    if (!armed_error) { kill(getpid(), SIGKILL); for (;;) pause(); }
    return 1;
}

#define FAIL(value) do { if (strike(__func__)) { errno = armed_error; return value; } } while (0)
#define NEXT(type, name, ...) ((type (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, name))

#define PWRITEV(name) ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) \
    { FAIL(-1); return NEXT(ssize_t, #name, int, const struct iovec *, int, off_t)(fd, parts, count, offset); }
#define TRUNCATE(name) int name(int fd, off_t size) { FAIL(-1); return NEXT(int, #name, int, off_t)(fd, size); }
#define ALLOCATE(name) int name(int fd, off_t offset, off_t size) \
    { return strike(__func__) ? armed_error : NEXT(int, #name, int, off_t, off_t)(fd, offset, size); }
/* A disk that is full says so before a sync. */
#define SYNC(name) int name(int fd) \
    { if (armed_error != ENOSPC) FAIL(-1); return NEXT(int, #name, int)(fd); }
#define PATHS(name) int name(const char *a, const char *b) \
    { FAIL(-1); return NEXT(int, #name, const char *, const char *)(a, b); }
#define OPEN(name) int name(const char *path, int flags, ...) \
    { \
        va_list rest; int mode; \
        va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT)) FAIL(-1); \
        return NEXT(int, #name, const char *, int, ...)(path, flags, mode); \
    }

PWRITEV(pwritev) PWRITEV(pwritev64)
TRUNCATE(ftruncate) TRUNCATE(ftruncate64)
ALLOCATE(posix_fallocate) ALLOCATE(posix_fallocate64)
SYNC(fsync) SYNC(fdatasync)
PATHS(rename) PATHS(link)
OPEN(open) OPEN(open64)

int linkat(int from, const char *a, int to, const char *b, int flags)
{
    FAIL(-1);
    return NEXT(int, "linkat", int, const char *, int, const char *, int)(from, a, to, b, flags);
}

int renameat(int from, const char *a, int to, const char *b)
{
    FAIL(-1);
    return NEXT(int, "renameat", int, const char *, int, const char *)(from, a, to, b);
}

int unlink(const char *path) { FAIL(-1); return NEXT(int, "unlink", const char *)(path); }
int fchmod(int fd, mode_t mode) { FAIL(-1); return NEXT(int, "fchmod", int, mode_t)(fd, mode); }
