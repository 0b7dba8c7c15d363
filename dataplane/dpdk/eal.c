/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/eal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <mntent.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "client/wire/check.h"
#include "dataplane/log.h"

#define WORD_BYTES_MAX 1024
#define LINE_BYTES_MAX 512
#define RUNTIME_LINES_PER_SECOND 5

/*
 * What DPDK logs. The text is written inside eal_start() only; afterwards any DPDK thread may log.
 */
static struct {
    FILE *stream;
    _Atomic bool capturing;
    char text[EAL_CAPTURE_BYTES_MAX]; /* during start-up */
    size_t size;
    char first_error[LINE_BYTES_MAX];
    _Atomic(void (*)(void *, const char *)) hear;
    void *hear_ctx;
} output;

/* Files by which other processes find this one lie in a directory that no other primary uses. */
static bool shares_files;

struct words {
    int count;
    char *argv[EAL_WORDS_MAX + 8];
    char text[EAL_WORDS_MAX + 8][WORD_BYTES_MAX];
};

/* --- log lines --- */

/* Bytes of the first line of text, which is not terminated. */
static size_t line_size(const char *text, size_t size)
{
    const char *end = memchr(text, '\n', size);
    return end ? (size_t)(end - text) : size;
}

static void capture(const char *line, size_t size)
{
    size_t room = sizeof(output.text) - output.size;
    size_t n = size < room ? size : room;
    memcpy(output.text + output.size, line, n);
    output.size += n;
    if (rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR && !output.first_error[0])
        snprintf(output.first_error, sizeof(output.first_error), "%.*s", (int)line_size(line, size),
                 line);
}

static void emit(const char *line)
{
    void (*hear)(void *, const char *) = atomic_load_explicit(&output.hear, memory_order_acquire);
    if (hear)
        hear(output.hear_ctx, line);
    if (rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR)
        LOG_LIMITED(LOG_LEVEL_WARN, RUNTIME_LINES_PER_SECOND, "dpdk: %s", line);
    else if (log_enabled(LOG_LEVEL_DEBUG))
        LOG_LIMITED(LOG_LEVEL_DEBUG, RUNTIME_LINES_PER_SECOND, "dpdk: %s", line);
}

/* rte_log() flushes after each message, so a write is a message, with its newline. */
static ssize_t stream_write(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    if (atomic_load_explicit(&output.capturing, memory_order_acquire)) {
        capture(text, size);
        return (ssize_t)size;
    }
    for (size_t at = 0; at < size;) {
        char line[LINE_BYTES_MAX];
        size_t n = line_size(text + at, size - at);
        snprintf(line, sizeof(line), "%.*s", (int)n, text + at);
        if (n)
            emit(line);
        at += n + 1;
    }
    return (ssize_t)size;
}

static int stream_open(void)
{
    output.stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = stream_write});
    if (!output.stream)
        return -1;
    atomic_store_explicit(&output.capturing, true, memory_order_release);
    return rte_openlog_stream(output.stream);
}

void eal_listen(void (*hear)(void *ctx, const char *line), void *ctx)
{
    output.hear_ctx = ctx;
    /* The store is a release: a DPDK thread that sees the function also sees its ctx. */
    atomic_store_explicit(&output.hear, hear, memory_order_release);
}

/* --- libraries below the drivers --- */

#define LIBRARY_LEVEL_INFO 1 /* of libbpf and libxdp; 0 is a warning, 2 a trace */

static int library_print(int level, const char *format, va_list args)
{
    char line[LINE_BYTES_MAX];
    if (level > LIBRARY_LEVEL_INFO || !log_enabled(LOG_LEVEL_DEBUG))
        return 0;
    int size = vsnprintf(line, sizeof(line), format, args);
    LOG_DEBUG("dpdk: %.*s", (int)line_size(line, strlen(line)), line);
    return size;
}

/* A library that a driver brought along prints to standard error unless told otherwise. It is no
 * part of this program: found if it was loaded. */
static void library_quiet(const char *name, const char *set_print)
{
    void *(*set)(int (*print)(int level, const char *format, va_list args)) = NULL;
    void *library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        return;
    *(void **)&set = dlsym(library, set_print);
    if (set)
        (void)set(library_print); /* what printed before is of no interest */
    dlclose(library); /* the driver holds it */
}

/* --- words --- */

static int words_add(struct words *w, const char *text, size_t size)
{
    if (w->count == EAL_WORDS_MAX + 7 || size >= WORD_BYTES_MAX)
        return -1;
    memcpy(w->text[w->count], text, size);
    w->text[w->count][size] = 0;
    w->argv[w->count] = w->text[w->count];
    w->argv[++w->count] = NULL;
    return 0;
}

static int words_split(struct words *w, const char *text)
{
    if (words_add(w, "sengi-server", strlen("sengi-server")))
        return -1;
    while (*(text += strspn(text, " \t"))) {
        size_t size = strcspn(text, " \t");
        if (words_add(w, text, size) || w->count > EAL_WORDS_MAX)
            return -1;
        text += size;
    }
    return 0;
}

/*
 * Does a word equal one of the NULL-terminated names, or begin with it and "="; one-letter options
 * also without "=".
 */
static bool words_have(const struct words *w, const char *const *names)
{
    for (int i = 1; i < w->count; i++) {
        for (const char *const *name = names; *name; name++) {
            size_t size = strlen(*name);
            bool single = size == 2;
            if (strncmp(w->argv[i], *name, size) == 0 &&
                (single || w->argv[i][size] == 0 || w->argv[i][size] == '='))
                return true;
        }
    }
    return false;
}

static const char *const lcore_words[] = {"-c", "-l", "-s", "-S", "--lcores", NULL};
static const char *const no_huge_words[] = {"--no-huge", NULL};
static const char *const in_memory_words[] = {"--in-memory", NULL};
static const char *const private_words[] = {"--in-memory", "--no-shconf", NULL};
static const char *const unlink_words[] = {"--no-huge", "--huge-unlink", "--in-memory", NULL};
static const char *const memory_words[] = {"-m", "--socket-mem", NULL};

static int words_add_lcores(struct words *w)
{
    char text[WORD_BYTES_MAX];
    size_t size = (size_t)snprintf(text, sizeof(text), "--lcores=0@(");
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus))
        return -1;
    bool first = true;
    for (int cpu = 0; cpu < CPU_SETSIZE && size < sizeof(text) - 16; cpu++) {
        if (!CPU_ISSET(cpu, &cpus))
            continue;
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%d", first ? "" : ",", cpu);
        first = false;
    }
    size += (size_t)snprintf(text + size, sizeof(text) - size, ")");
    return words_add(w, text, size);
}

static int words_add_defaults(struct words *w, uint32_t memory_mb)
{
    char text[32];
    int error = 0;
    if (!words_have(w, lcore_words))
        error |= words_add_lcores(w);
    if (!words_have(w, unlink_words))
        error |= words_add(w, "--huge-unlink", strlen("--huge-unlink"));
    if (words_have(w, no_huge_words) && !words_have(w, memory_words)) {
        error |= words_add(w, "-m", 2);
        error |= words_add(w, text, (size_t)snprintf(text, sizeof(text), "%u", memory_mb));
    }
    return error;
}

static void words_log(const struct words *w)
{
    char line[LOG_LINE_BYTES];
    size_t size = 0;
    for (int i = 1; i < w->count && size < sizeof(line); i++)
        size += (size_t)snprintf(line + size, sizeof(line) - size, " %s", w->argv[i]);
    LOG_DEBUG("EAL line:%s", line);
}

/* --- huge pages --- */

static uint64_t huge_pages_free(void)
{
    glob_t found;
    uint64_t sum = 0;
    if (glob("/sys/kernel/mm/hugepages/hugepages-*/free_hugepages", 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        unsigned long long pages = 0;
        if (file && fscanf(file, "%llu", &pages) == 1)
            sum += pages;
        if (file)
            fclose(file);
    }
    globfree(&found);
    return sum;
}

static bool hugetlbfs_mounted(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    struct mntent *m;
    bool found = false;
    while (mounts && !found && (m = getmntent(mounts)))
        found = strcmp(m->mnt_type, "hugetlbfs") == 0;
    if (mounts)
        endmntent(mounts);
    return found;
}

/* What EAL says of missing huge pages does not tell what to do. @return false: said in error. */
static bool huge_pages_usable(const struct words *w, char *error, size_t error_size)
{
    const char *lacking = NULL;
    if (words_have(w, no_huge_words))
        return true;
    if (huge_pages_free() == 0)
        lacking = "no free huge pages; reserve some (echo 512 > /proc/sys/vm/nr_hugepages)";
    else if (!words_have(w, in_memory_words) && !hugetlbfs_mounted())
        lacking = "no hugetlbfs is mounted; mount one (mount -t hugetlbfs hugetlbfs "
                  "/dev/hugepages), add --in-memory,";
    if (lacking)
        snprintf(error, error_size, "dpdk: %s or add --no-huge to dpdk.eal, which is slower",
                 lacking);
    return !lacking;
}

/* --- start --- */

/* Standard output and error go to a file in memory until redirect_end(). */
struct redirect {
    int memory, out, err;
};

static int redirect_begin(struct redirect *r)
{
    fflush(stdout);
    r->memory = memfd_create("eal", MFD_CLOEXEC);
    r->out = dup(STDOUT_FILENO);
    r->err = dup(STDERR_FILENO);
    if (r->memory < 0 || r->out < 0 || r->err < 0)
        return -1;
    return dup2(r->memory, STDOUT_FILENO) < 0 || dup2(r->memory, STDERR_FILENO) < 0 ? -1 : 0;
}

static void redirect_end(struct redirect *r, char *text, size_t size)
{
    fflush(stdout);
    fflush(stderr);
    if (r->out >= 0 && r->err >= 0) {
        (void)dup2(r->out, STDOUT_FILENO); /* Both were open before: dup2 of an open descriptor does
                                            * not fail. */
        (void)dup2(r->err, STDERR_FILENO);
    }
    ssize_t n = r->memory >= 0 ? pread(r->memory, text, size - 1, 0) : 0;
    text[n > 0 ? n : 0] = 0;
    const int fds[] = {r->memory, r->out, r->err};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void log_lines(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t n = line_size(text + at, size - at);
        if (n)
            LOG_DEBUG("dpdk: %.*s", (int)n, text + at);
        at += n + 1;
    }
}

/*
 * The line that says most: getopt's complaint, else that huge pages are missing, else EAL's first
 * error, else what rte_errno stands for.
 */
static void explain(const struct words *w, const char *printed, char *error, size_t error_size)
{
    static const char prefix[] = "sengi-server: ";
    const char *complaint = strstr(printed, prefix);
    if (!complaint && !huge_pages_usable(w, error, error_size))
        return;
    if (complaint)
        complaint += strlen(prefix);
    else
        complaint = output.first_error;
    size_t n = strcspn(complaint, "\n");
    if (n)
        snprintf(error, error_size, "dpdk.eal: %.*s", (int)n, complaint);
    else
        snprintf(error, error_size, "dpdk.eal: %s", rte_strerror(rte_errno));
}

static int init(struct words *w, char *error, size_t error_size)
{
    static char printed[EAL_CAPTURE_BYTES_MAX];
    struct redirect redirect = {-1, -1, -1};
    cpu_set_t cpus;
    int affinity = pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus);
    int started = -1;
    printed[0] = 0;
    if (redirect_begin(&redirect) == 0)
        started = rte_eal_init(w->count, w->argv);
    redirect_end(&redirect, printed, sizeof(printed));
    /* EAL pins its main thread to the CPUs of lcore 0; this thread keeps its own. */
    if (affinity == 0)
        (void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
    atomic_store_explicit(&output.capturing, false, memory_order_release);
    library_quiet("libbpf.so.1", "libbpf_set_print");
    library_quiet("libxdp.so.1", "libxdp_set_print");
    if (log_enabled(LOG_LEVEL_DEBUG)) {
        log_lines(printed, strlen(printed));
        log_lines(output.text, output.size);
    }
    if (started < 0)
        explain(w, printed, error, error_size);
    return started < 0 ? -1 : 0;
}

int eal_start(const char *words, uint32_t memory_mb, char *error, size_t error_size)
{
    struct words *w = calloc(1, sizeof(*w));
    if (!w || words_split(w, words) || words_add_defaults(w, memory_mb)) {
        snprintf(error, error_size, "dpdk.eal: more than %d words, or one longer than %d bytes",
                 EAL_WORDS_MAX, WORD_BYTES_MAX - 1);
        free(w);
        return -1;
    }
    words_log(w);
    if (!output.stream && stream_open()) {
        snprintf(error, error_size, "dpdk: %s", strerror(errno));
        free(w);
        return -1;
    }
    int result = init(w, error, error_size);
    shares_files = !words_have(w, private_words);
    free(w);
    return result;
}

/* --- stop --- */

static void remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* not "." and "..", which are directories */
    if (dir)
        closedir(dir);
}

const char *eal_first_error(void)
{
    return output.first_error;
}

/* rte_eal_cleanup() is not for us: it frees what EAL's interrupt thread, which it leaves running,
 * may still look at, and now and then a stop under load died of it. The process ends here; memory
 * and devices go back to the kernel. What else it would do is remove the files. */
void eal_stop(void)
{
    const char *path = rte_eal_get_runtime_dir();
    eal_listen(NULL, NULL);
    if (shares_files && rte_eal_process_type() == RTE_PROC_PRIMARY)
        remove_files(path);
    (void)rmdir(path); /* unless another process has files there */
}
