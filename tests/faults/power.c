// Stands before the C library's functions of a process and notes, for each change of a file below POWER_FOLDER, what was there
// before, until the change is synced: `power.py` then leaves what a machine has whose power failed. POWER_LIES has the names, each
// between colons, of files whose syncing is said to be done and is not, from when there is a file POWER_LYING.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static uint64_t kept;

struct record { // as power.py reads it
    uint64_t kind, inode, offset, size, length, path_length, other_length;
};

static const char *folder(void) { return getenv("POWER_FOLDER"); }

static int is_watched(const char *path) {
    const char *start = folder();
    if (!start || strncmp(path, start, strlen(start)) != 0) return 0;
    size_t length = strlen(path);
    // Made anew at each start; and what it says is not what is tested.
    return length < 4 || (strcmp(path + length - 4, "-shm") != 0 && strcmp(path + length - 4, ".log") != 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_watched(path);
}

static void note(char kind, const struct stat *file, uint64_t offset, const void *bytes, uint64_t length, const char *path, const char *other) {
    if (journal < 0) journal = REAL(open)(getenv("POWER_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct record record = {kind, file ? file->st_ino : 0, offset, file ? file->st_size : 0, length, strlen(path), other ? strlen(other) : 0};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)path, record.path_length}, {(void *)other, record.other_length}, {(void *)bytes, length}};
    ssize_t whole = sizeof record + record.path_length + record.other_length + length;
    if (REAL(writev)(journal, parts, 4) != whole) abort();
}

// What stands from `offset` on, before it is changed.
static void note_change(int fd, uint64_t offset, uint64_t length, const char *path) {
    struct stat file;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return;
    char *before = NULL;
    uint64_t there = 0;
    if (offset < (uint64_t)file.st_size) {
        there = file.st_size - offset < length ? file.st_size - offset : length;
        before = malloc(there);
        int reading = REAL(open)(path, O_RDONLY | O_CLOEXEC);
        if (!before || reading < 0 || pread(reading, before, there, offset) != (ssize_t)there) abort();
        REAL(close)(reading);
    }
    // How much is written is told beside what was there: `other` holds the number.
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)length);
    note('W', &file, offset, before, there, path, number);
    free(before);
}

static uint64_t place(int fd) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    struct stat file;
    if (fcntl(fd, F_GETFL) & O_APPEND && fstat(fd, &file) == 0) return file.st_size;
    return at < 0 ? 0 : at;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    char path[PATH_MAX];
    if (!folder() || !path_of(fd, path)) return REAL(write)(fd, bytes, count);
    pthread_mutex_lock(&one);
    note_change(fd, place(fd), count, path);
    ssize_t written = REAL(write)(fd, bytes, count);
    pthread_mutex_unlock(&one);
    return written;
}

static ssize_t write_at(int fd, const void *bytes, size_t count, off64_t offset) {
    char path[PATH_MAX];
    if (!folder() || !path_of(fd, path)) return REAL(pwrite64)(fd, bytes, count, offset);
    pthread_mutex_lock(&one);
    note_change(fd, offset, count, path);
    ssize_t written = REAL(pwrite64)(fd, bytes, count, offset);
    pthread_mutex_unlock(&one);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return write_at(fd, bytes, count, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return write_at(fd, bytes, count, offset); }

static int cut(int fd, off64_t length) {
    char path[PATH_MAX];
    if (!folder() || !path_of(fd, path)) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&one);
    struct stat file;
    if (fstat(fd, &file) == 0 && file.st_size > length) note_change(fd, length, file.st_size - length, path);
    else note_change(fd, length, 0, path);
    int done = REAL(ftruncate64)(fd, length);
    pthread_mutex_unlock(&one);
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int opened(const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    const char *named = path;
    if (path[0] != '/' && getcwd(whole, sizeof whole) && strlen(whole) + strlen(path) + 2 < sizeof whole) {
        strcat(strcat(whole, "/"), path);
        named = whole;
    }
    if (!folder() || !is_watched(named) || !(flags & (O_CREAT | O_TRUNC))) return REAL(open64)(path, flags, mode);
    pthread_mutex_lock(&one);
    struct stat file;
    int is_there = stat(named, &file) == 0;
    if (!is_there && flags & O_CREAT) note('C', NULL, 0, NULL, 0, named, NULL);
    if (is_there && flags & O_TRUNC && file.st_size > 0) {
        int fd = REAL(open64)(named, O_RDONLY | O_CLOEXEC, 0);
        if (fd >= 0) {
            note_change(fd, 0, file.st_size, named);
            REAL(close)(fd);
        }
    }
    int fd = REAL(open64)(path, flags, mode);
    pthread_mutex_unlock(&one);
    return fd;
}

#define MODE(flags, last, mode) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, last); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { MODE(flags, flags, mode) return opened(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, flags, mode) return opened(path, flags, mode); }

static int is_lied_about(const char *path) {
    const char *lies = getenv("POWER_LIES"), *lying = getenv("POWER_LYING"), *name = strrchr(path, '/');
    if (!lies || !lying || !name || access(lying, F_OK) != 0) return 0;
    char between[NAME_MAX + 3];
    snprintf(between, sizeof between, ":%s:", name + 1);
    return strstr(lies, between) != NULL;
}

static int synced(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    if (!folder() || !path_of(fd, path)) return sync(fd);
    if (is_lied_about(path)) return 0;
    pthread_mutex_lock(&one);
    int done = sync(fd);
    struct stat file;
    if (done == 0 && fstat(fd, &file) == 0) note(S_ISDIR(file.st_mode) ? 'D' : 'S', &file, 0, NULL, 0, path, NULL);
    pthread_mutex_unlock(&one);
    return done;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

// A name under which what a name meant before is kept.
static int keep(const char *path, char *kept_as) {
    struct stat file;
    if (stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return 0;
    snprintf(kept_as, PATH_MAX, "%s.kept-%d-%llu", getenv("POWER_JOURNAL"), getpid(), (unsigned long long)kept++);
    return link(path, kept_as) == 0;
}

int rename(const char *from, const char *to) {
    if (!folder() || !is_watched(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&one);
    char kept_as[PATH_MAX] = "";
    if (!keep(to, kept_as)) kept_as[0] = 0;
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s\n%s", from, kept_as);
    note('R', NULL, 0, NULL, 0, to, both);
    int done = REAL(rename)(from, to);
    pthread_mutex_unlock(&one);
    return done;
}

int unlink(const char *path) {
    if (!folder() || !is_watched(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&one);
    char kept_as[PATH_MAX] = "";
    if (keep(path, kept_as)) note('U', NULL, 0, NULL, 0, path, kept_as);
    int done = REAL(unlink)(path);
    pthread_mutex_unlock(&one);
    return done;
}
