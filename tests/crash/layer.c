/* A layer between a process and the kernel (LD_PRELOAD), armed by its test: it counts, records, kills, fails or folds.
 *
 * Only what changes something below the folders given to `layer_arm` counts; such calls are made one at a time, so that
 * the record has an order. Nothing of s3pull knows of it. What is not seen: memory that is mapped and written, and
 * system calls made without the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, WRITE, TRUNCATE, FSYNC, FDATASYNC, SYNCFS, RANGE, RENAME, LINK, SYMLINK, UNLINK, RMDIR, MKDIR, UTIME };
enum { COUNT, KILL, TEAR, FAIL };

#define ROOTS 4
#define LONGEST 4400

static struct {
    int on, roots, log, what, error, sticky, fold, nolock, tripped;
    long at, count;
    unsigned kinds;
    char root[ROOTS][LONGEST];
    char boot[LONGEST];
} armed = {.log = -1};
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;


/* `what`: COUNT records to `log`; KILL before the call `at`; TEAR in the middle of it; FAIL it with `error`, and if
 * `sticky` all later ones whose bit is in `kinds`. `roots` are separated by ':'. */
void layer_arm(const char *roots, const char *log, int what, long at, unsigned kinds, int error, int sticky) {
    armed.roots = 0;
    while (*roots && armed.roots < ROOTS) {
        size_t length = strcspn(roots, ":");
        snprintf(armed.root[armed.roots++], LONGEST, "%.*s", (int)length, roots);
        roots += length + (roots[length] == ':');
    }
    armed.log = *log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    armed.what = what; armed.at = at; armed.kinds = kinds; armed.error = error; armed.sticky = sticky;
    armed.count = 0; armed.tripped = 0; armed.on = 1;
}

/* A file system that holds no upper case (1), or composes an e with an acute accent (2); one without locks; a boot. */
void layer_be(int fold, int nolock, const char *boot) {
    armed.fold = fold; armed.nolock = nolock;
    snprintf(armed.boot, LONGEST, "%s", boot);
}

long layer_count(void) { return armed.count; }

static int below(const char *path) {
    for (int i = 0; i < armed.roots; i++) {
        size_t length = strlen(armed.root[i]);
        if (!strncmp(path, armed.root[i], length) && (path[length] == '/' || !path[length])) return (int)length;
    }
    return 0;
}

static int path_of(int fd, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, into, LONGEST - 1);
    if (count < 0) count = 0;
    into[count] = 0;
    return below(into);
}

/* The whole path of `name` beside `dirfd`; whether it is below a root. */
static int whole(int dirfd, const char *name, char *into) {
    if (!name) { into[0] = 0; return 0; }
    if (name[0] == '/') { snprintf(into, LONGEST, "%s", name); return below(into); }
    char folder[LONGEST];
    if (dirfd == AT_FDCWD) { if (!getcwd(folder, sizeof folder)) folder[0] = 0; }
    else path_of(dirfd, folder);
    snprintf(into, 2 * LONGEST, "%s/%s", folder, name);
    return below(into);
}

/* `name` as the simulated file system has it. */
static const char *folded(int dirfd, const char *name, char *into) {
    char full[2 * LONGEST];
    if (!armed.on || !armed.fold || !name) return name;
    int root = whole(dirfd, name, full);
    if (!root) return name;
    snprintf(into, LONGEST, "%s", name);
    char *at = into + (name[0] == '/' ? root : 0), *to = at;
    for (; *at; at++) {
        if (armed.fold == 1) *to++ = *at >= 'A' && *at <= 'Z' ? *at + 32 : *at;
        else if (!strncmp(at, "e\xcc\x81", 3)) { *to++ = '\xc3'; *to++ = '\xa9'; at += 2; }
        else *to++ = *at;
    }
    *to = 0;
    return into;
}

static void record(int kind, uint64_t inode, int64_t offset, const char *one, const char *two, const void *data,
                   uint64_t count) {
    if (armed.log < 0) return;
    struct __attribute__((packed)) { uint32_t kind; uint64_t inode; int64_t offset; uint32_t one, two; uint64_t data; }
    head = {kind, inode, offset, strlen(one), strlen(two), count};
    struct iovec all[] = {{&head, sizeof head}, {(void *)one, head.one}, {(void *)two, head.two}, {(void *)data, count}};
    syscall(SYS_writev, armed.log, all, 4L);
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* Called with the lock: 0 go on, 1 tear this call, 2 fail it (errno is set). */
static int boundary(int kind, const char *path) {
    long now = ++armed.count;
    int hit = now == armed.at;
    if (armed.what == KILL && hit) {
        record(kind, 0, -1, path, "killed", "", 0);
        die();
    }
    if (armed.what == TEAR && hit) {
        record(kind, 0, -1, path, "torn", "", 0);
        return 1;
    }
    if (armed.what == FAIL && (now >= armed.at) && (armed.kinds >> kind & 1) && (!armed.tripped || armed.sticky)) {
        int first = !armed.tripped;
        armed.tripped = 1;
        record(kind, 0, -1, path, "failed", "", 0);
        if (first && kind == WRITE && armed.error == ENOSPC) return 1;
        errno = armed.error;
        return 2;
    }
    return 0;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return syscall(SYS_newfstatat, fd, "", &found, AT_EMPTY_PATH) ? 0 : found.st_ino;
}

#define LOCK() pthread_mutex_lock(&one_at_a_time)
#define UNLOCK() do { int kept = errno; pthread_mutex_unlock(&one_at_a_time); errno = kept; } while (0)

/* --- opening --------------------------------------------------------------------------------------------------- */

static int opening(int dirfd, const char *name, int flags, mode_t mode) {
    char full[2 * LONGEST], fold[LONGEST];
    if (armed.on && armed.boot[0] && name && !strcmp(name, "/proc/sys/kernel/random/boot_id")) name = armed.boot;
    if (!armed.on || !(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !whole(dirfd, name, full))
        return syscall(SYS_openat, dirfd, folded(dirfd, name, fold), flags, mode);
    name = folded(dirfd, name, fold);
    whole(dirfd, name, full);
    LOCK();
    struct stat found;
    int fresh = syscall(SYS_newfstatat, dirfd, name, &found, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = -1, kind = fresh ? CREATE : TRUNCATE;
    if (!fresh && !(flags & O_TRUNC)) fd = syscall(SYS_openat, dirfd, name, flags, mode);
    else {
        int verdict = boundary(kind, full);
        if (verdict != 2) {
            fd = syscall(SYS_openat, dirfd, name, flags, mode);
            if (verdict == 1) die();
            if (fd >= 0) record(kind, inode_of(fd), 0, full, "", "", 0);
        }
    }
    UNLOCK();
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); \
        return opening(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int dirfd, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); \
        return opening(dirfd, path, flags, mode); \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

/* --- data ------------------------------------------------------------------------------------------------------ */

static ssize_t writing(int fd, const void *data, size_t count, off_t offset) {
    char path[LONGEST];
    int at_its_place = offset < 0;
#define DO(n) (at_its_place ? syscall(SYS_write, fd, data, n) : syscall(SYS_pwrite64, fd, data, n, offset))
    if (!armed.on || fd == armed.log || !path_of(fd, path)) return DO(count);
    LOCK();
    ssize_t done = -1;
    int verdict = boundary(WRITE, path);
    if (verdict != 2) {
        size_t some = verdict ? count / 2 : count;
        off_t start = offset;
        if (at_its_place) {
            struct stat found;
            int append = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
            start = append && !syscall(SYS_newfstatat, fd, "", &found, AT_EMPTY_PATH) ? found.st_size
                                                                                       : lseek(fd, 0, SEEK_CUR);
        }
        if (verdict == 1 && armed.what == FAIL && !some) { errno = armed.error; }
        else done = DO(some);
        if (verdict == 1 && armed.what == TEAR) die();
        if (done > 0) record(WRITE, inode_of(fd), start, path, "", data, done);
    }
    UNLOCK();
    return done;
#undef DO
}

ssize_t write(int fd, const void *data, size_t count) { return writing(fd, data, count, -1); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) { return writing(fd, data, count, offset); }
ssize_t pwrite64(int fd, const void *data, size_t count, off_t offset) { return writing(fd, data, count, offset); }

/* the caller then copies by reading and writing, which is seen */
ssize_t copy_file_range(int from, off_t *in, int to, off_t *out, size_t count, unsigned flags) {
    if (armed.on) { errno = ENOSYS; return -1; }
    return syscall(SYS_copy_file_range, from, in, to, out, count, flags);
}

/* One call on an open file. */
#define ON_FILE(kind, offset, call) \
    char path[LONGEST]; \
    if (!armed.on || !path_of(fd, path)) return call; \
    LOCK(); \
    int done = -1, verdict = boundary(kind, path); \
    if (verdict != 2) { \
        done = call; \
        if (verdict == 1) die(); \
        if (!done) record(kind, inode_of(fd), offset, path, "", "", 0); \
    } \
    UNLOCK(); \
    return done

/* Nothing here outlives the power: below the roots it is enough to know that a sync was asked for. */
#define SYNC(...) (armed.on && below(path) ? 0 : (int)syscall(__VA_ARGS__))

int ftruncate(int fd, off_t length) { ON_FILE(TRUNCATE, length, (int)syscall(SYS_ftruncate, fd, length)); }
int ftruncate64(int fd, off_t length) { ON_FILE(TRUNCATE, length, (int)syscall(SYS_ftruncate, fd, length)); }
int fsync(int fd) { ON_FILE(FSYNC, 0, SYNC(SYS_fsync, fd)); }
int fdatasync(int fd) { ON_FILE(FDATASYNC, 0, SYNC(SYS_fdatasync, fd)); }
int syncfs(int fd) { ON_FILE(SYNCFS, 0, SYNC(SYS_syncfs, fd)); }
int sync_file_range(int fd, off_t from, off_t count, unsigned flags) {
    ON_FILE(RANGE, from, SYNC(SYS_sync_file_range, fd, from, count, flags));
}
static int64_t nanoseconds(const struct timespec *when) {
    return when ? (int64_t)when[1].tv_sec * 1000000000 + when[1].tv_nsec : 0;
}
int futimens(int fd, const struct timespec when[2]) {
    ON_FILE(UTIME, nanoseconds(when), (int)syscall(SYS_utimensat, fd, NULL, when, 0));
}

/* --- names ----------------------------------------------------------------------------------------------------- */

/* One call on one or two names; `shown` is what a link will say. */
#define ON_NAMES(kind, dir1, name1, dir2, name2, call) \
    char full1[2 * LONGEST], full2[2 * LONGEST], fold1[LONGEST], fold2[LONGEST]; \
    (void)fold1; (void)fold2; \
    name1 = folded(dir1, name1, fold1); \
    name2 = folded(dir2, name2, fold2); \
    if (!armed.on || (!whole(dir1, name1, full1) | !whole(dir2, name2, full2))) return call; \
    LOCK(); \
    int done = -1, verdict = boundary(kind, full2); \
    if (verdict != 2) { \
        done = call; \
        if (verdict == 1) die(); \
        if (!done) record(kind, 0, 0, full1, full2, "", 0); \
    } \
    UNLOCK(); \
    return done

static int renaming(int od, const char *old, int nd, const char *new, unsigned flags) {
    ON_NAMES(RENAME, od, old, nd, new, (int)syscall(SYS_renameat2, od, old, nd, new, flags));
}
int rename(const char *old, const char *new) { return renaming(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int od, const char *old, int nd, const char *new) { return renaming(od, old, nd, new, 0); }
int renameat2(int od, const char *old, int nd, const char *new, unsigned flags) {
    return renaming(od, old, nd, new, flags);
}
int linkat(int od, const char *old, int nd, const char *new, int flags) {
    ON_NAMES(LINK, od, old, nd, new, (int)syscall(SYS_linkat, od, old, nd, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }
int unlinkat(int dirfd, const char *name, int flags) {
    ON_NAMES(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dirfd, name, dirfd, name,
             (int)syscall(SYS_unlinkat, dirfd, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int mkdirat(int dirfd, const char *name, mode_t mode) {
    ON_NAMES(MKDIR, dirfd, name, dirfd, name, (int)syscall(SYS_mkdirat, dirfd, name, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int symlinkat(const char *text, int dirfd, const char *name) {
    char full[2 * LONGEST], fold[LONGEST];
    name = folded(dirfd, name, fold);
    if (!armed.on || !whole(dirfd, name, full)) return syscall(SYS_symlinkat, text, dirfd, name);
    LOCK();
    int done = -1, verdict = boundary(SYMLINK, full);
    if (verdict != 2) {
        done = syscall(SYS_symlinkat, text, dirfd, name);
        if (verdict == 1) die();
        if (!done) record(SYMLINK, 0, 0, text, full, "", 0);
    }
    UNLOCK();
    return done;
}
int symlink(const char *text, const char *name) { return symlinkat(text, AT_FDCWD, name); }

int utimensat(int dirfd, const char *name, const struct timespec when[2], int flags) {
    char full[2 * LONGEST], fold[LONGEST];
    name = folded(dirfd, name, fold);
    if (!armed.on || !whole(dirfd, name, full)) return syscall(SYS_utimensat, dirfd, name, when, flags);
    LOCK();
    int done = -1, verdict = boundary(UTIME, full);
    if (verdict != 2) {
        done = syscall(SYS_utimensat, dirfd, name, when, flags);
        if (verdict == 1) die();
        if (!done) {
            struct stat found = {0};
            syscall(SYS_newfstatat, dirfd, name, &found, flags);
            record(UTIME, found.st_ino, nanoseconds(when), full, "", "", 0);
        }
    }
    UNLOCK();
    return done;
}

/* --- looking, for file systems that fold ------------------------------------------------------------------------ */

#define LOOK(symbol) \
    int symbol(int dirfd, const char *name, struct stat *found, int flags) { \
        char fold[LONGEST]; \
        return syscall(SYS_newfstatat, dirfd, folded(dirfd, name, fold), found, flags); \
    }
#define STAT(symbol, flags) \
    int symbol(const char *name, struct stat *found) { \
        char fold[LONGEST]; \
        return syscall(SYS_newfstatat, AT_FDCWD, folded(AT_FDCWD, name, fold), found, flags); \
    }
LOOK(fstatat) STAT(stat, 0) STAT(lstat, AT_SYMLINK_NOFOLLOW)
int fstatat64(int dirfd, const char *name, struct stat64 *found, int flags) {
    return fstatat(dirfd, name, (struct stat *)found, flags);
}
int stat64(const char *name, struct stat64 *found) { return stat(name, (struct stat *)found); }
int lstat64(const char *name, struct stat64 *found) { return lstat(name, (struct stat *)found); }

/* --- locks ------------------------------------------------------------------------------------------------------ */

int flock(int fd, int what) {
    if (armed.on && armed.nolock) { errno = ENOLCK; return -1; }
    return syscall(SYS_flock, fd, what);
}
static int controlling(int fd, int what, void *rest) {
    if (armed.on && armed.nolock && (what == F_SETLK || what == F_SETLKW || what == F_GETLK)) {
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_fcntl, fd, what, rest);
}
#define FCNTL(symbol) \
    int symbol(int fd, int what, ...) { \
        va_list rest; va_start(rest, what); void *given = va_arg(rest, void *); va_end(rest); \
        return controlling(fd, what, given); \
    }
FCNTL(fcntl) FCNTL(fcntl64)
