/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include <time.h>

#include "client/wire/check.h"
#include "dataplane/words.h"

static void sets_line(struct text_buffer *b, const char *what, int64_t buckets, int64_t elements)
{
    text_append(b, "%s Sets (%lld)/(%lld):\n", what, (long long)buckets, (long long)elements);
}

void words_format_dump_sessions(struct text_buffer *b, int64_t buckets, int64_t sessions)
{
    text_append(b, "SessionTracker dump:\n");
    sets_line(b, "Session", buckets, sessions);
}

void words_format_dump_bucket(struct text_buffer *b, int64_t count, int64_t expire_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(expire_ms / 1000);
    struct tm t;
    CHECK(gmtime_r(&seconds, &t));
    /* Date.toString(), without strftime: its names depend on the locale. */
    text_append(b, "%lld expire at %.3s %.3s %02d %02d:%02d:%02d UTC %d:\n", (long long)count,
                days + 3 * t.tm_wday, months + 3 * t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min,
                t.tm_sec, t.tm_year + 1900);
}

void words_format_dump_session(struct text_buffer *b, int64_t session_id)
{
    text_append(b, "\t0x%llx\n", (unsigned long long)session_id);
}

void words_format_dump_ephemerals(struct text_buffer *b, int64_t sessions)
{
    text_append(b, "ephemeral nodes dump:\nSessions with Ephemerals (%lld):\n",
                (long long)sessions);
}

void words_format_dump_owner(struct text_buffer *b, int64_t session_id)
{
    text_append(b, "0x%llx:\n", (unsigned long long)session_id);
}

void words_format_dump_path(struct text_buffer *b, const char *path, size_t size)
{
    text_append(b, "\t%.*s\n", (int)size, path);
}

void words_format_dump_connections(struct text_buffer *b, int64_t buckets, int64_t connections)
{
    text_append(b, "Connections dump:\n");
    sets_line(b, "Connections", buckets, connections);
}

void words_format_dump_connection(struct text_buffer *b, const struct connection_stats *c)
{
    text_append(b, "\tip: ");
    words_append_peer(b, c);
    text_append(b, " sessionId: 0x%llx\n", (unsigned long long)c->session_id);
}
