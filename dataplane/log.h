/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Log lines: "2026-11-20T12:00:00.123Z INFO message" on stderr.
 *
 * Is: one write(2) per line, so that lines of different threads never mix; a level; a rate limit
 * per call site for what a hostile peer can provoke. Is not: a place for secrets (nobody passes one
 * here), nor for the read path. Control bytes in a message become '?': a peer cannot forge lines.
 * Level and descriptor are the only process-wide state.
 *
 * Any thread, but never a data core's read path.
 */
#ifndef SENGI_DATAPLANE_LOG_H
#define SENGI_DATAPLANE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES \
    2048 /* with time, level and newline; longer messages are cut and end in "..." */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** Write to this descriptor (stderr at first) from this level on (info at first). Start-up, or any
 * time. */
void log_open(int fd, enum log_level level);
/** Would a line of this level be written? For callers that must compute what they log. */
bool log_enabled(enum log_level level);

/** Write one line, printf-like, if the level is enabled. Errors of write(2) are ignored: nobody is
 * left to tell. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#define LOG_ERROR(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_WARN(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_INFO(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_DEBUG(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/** A call site's budget: so many lines per second, the others only counted. Zero-initialised. */
struct log_limit {
    _Atomic uint64_t state; /* second << 32 | lines asked for in it */
};

/**
 * May this call site write now?
 *
 * @param seconds     Monotonic clock.
 * @param lines_max   Lines per second, at least 1.
 * @param suppressed  Set, when a new second begins, to the lines left out in the last active one;
 * else 0.
 */
bool log_limit_pass(struct log_limit *limit, uint32_t seconds, uint32_t lines_max,
                    uint32_t *suppressed);

/** Seconds of the monotonic clock, for log_limit_pass(). */
uint32_t log_seconds(void);

/* Log at most lines_max lines per second from this place. */
#define LOG_LIMITED(level, lines_max, format, ...)                                          \
    do {                                                                                    \
        static struct log_limit log_limit_here;                                             \
        uint32_t log_suppressed;                                                            \
        if (log_limit_pass(&log_limit_here, log_seconds(), lines_max, &log_suppressed)) {   \
            if (log_suppressed > 0)                                                         \
                log_line(level, "%u more like the next one were left out", log_suppressed); \
            log_line(level, format, ##__VA_ARGS__);                                         \
        }                                                                                   \
    } while (0)

/**
 * Format a line as log_line() writes it, newline included. For tests.
 *
 * @param time_ms  Wall clock, ms since 1970.
 * @return Bytes in out, without the terminator; at most size - 1.
 */
size_t log_format(char *out, size_t size, int64_t time_ms, enum log_level level,
                  const char *message);

#endif
