/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/wire/check.h"

/* Relaxed everywhere: each line stands alone, and a change of level may take effect a line late. */
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int log_level_now = LOG_LEVEL_INFO;

void log_open(int fd, enum log_level level)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

static void control_bytes_mask(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

size_t log_format(char *out, size_t size, int64_t time_ms, enum log_level level,
                  const char *message)
{
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    CHECK(size > 64 && level <= LOG_LEVEL_DEBUG);
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm t;
    if (!gmtime_r(&seconds, &t))
        memset(&t, 0, sizeof t);
    /* One byte is kept for the newline. */
    size_t room = size - 1;
    int used = snprintf(out, room, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s", t.tm_year + 1900,
                        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                        (int)(time_ms % 1000), names[level], message);
    CHECK(used > 0);
    if ((size_t)used >= room) {
        used = (int)room - 1;
        memcpy(out + used - 3, "...", 3);
    }
    control_bytes_mask(out);
    out[used++] = '\n';
    out[used] = '\0';
    return (size_t)used;
}

void log_line(enum log_level level, const char *format, ...)
{
    char message[LOG_LINE_BYTES], line[LOG_LINE_BYTES];
    struct timespec now;
    if (!log_enabled(level))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    clock_gettime(CLOCK_REALTIME, &now);
    size_t size = log_format(line, sizeof line, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
                             level, message);
    ssize_t written = write(atomic_load_explicit(&log_fd, memory_order_relaxed), line, size);
    (void)written; /* a full or closed stderr must not stop the server */
}

uint32_t log_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec;
}

bool log_limit_pass(struct log_limit *limit, uint32_t seconds, uint32_t lines_max,
                    uint32_t *suppressed)
{
    uint64_t was = atomic_load_explicit(&limit->state, memory_order_relaxed), now;
    CHECK(lines_max > 0);
    do {
        bool same = was >> 32 == seconds;
        uint32_t lines = same ? (uint32_t)was : 0;
        now = (uint64_t)seconds << 32 | (lines == UINT32_MAX ? lines : lines + 1);
    } while (!atomic_compare_exchange_weak_explicit(&limit->state, &was, now, memory_order_relaxed,
                                                    memory_order_relaxed));
    bool new_second = was >> 32 != seconds;
    *suppressed = new_second && (uint32_t)was > lines_max ? (uint32_t)was - lines_max : 0;
    return (uint32_t)now <= lines_max;
}
