/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/path.h"

#include <string.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

/* Bytes of the multi-byte character at p (left > 0, *p >= 0x80), or 0 when it is malformed or
 * forbidden: U+0080-U+009F, U+D800-U+F8FF, U+FFF0-U+FFFF, everything beyond the BMP. */
static size_t character_bytes(const uint8_t *p, size_t left)
{
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        bool fits = left >= 2 && (p[1] & 0xC0) == 0x80;
        return fits && !(p[0] == 0xC2 && p[1] < 0xA0) ? 2 : 0;
    }
    if ((p[0] & 0xF0) != 0xE0 || left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80)
        return 0;
    uint32_t c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    return c < 0x800 || (c >= 0xD800 && c <= 0xF8FF) || c >= 0xFFF0 ? 0 : 3;
}

/* A component that ends before `end`: not empty, not "." or "..". */
static bool component_valid(const uint8_t *start, const uint8_t *end)
{
    size_t n = (size_t)(end - start);
    return n > 2 || (n == 1 && start[0] != '.') ||
           (n == 2 && !(start[0] == '.' && start[1] == '.'));
}

bool path_valid(struct bytes path)
{
    if (!path.data || path.size == 0 || path.data[0] != '/')
        return false;
    if (path.size == 1)
        return true;
    const uint8_t *p = path.data + 1, *end = path.data + path.size, *component = p;
    while (p < end) {
        if (LIKELY(*p > '/' && *p < 0x7F)) {
            p++;
        } else if (*p == '/') {
            if (!component_valid(component, p))
                return false;
            component = ++p;
        } else if (*p >= 0x80) {
            size_t n = character_bytes(p, (size_t)(end - p));
            if (n == 0)
                return false;
            p += n;
        } else {
            if (*p < 0x20 || *p == 0x7F)
                return false;
            p++;
        }
    }
    return component_valid(component, end);
}

bool path_splittable(struct bytes path)
{
    return path.data && memchr(path.data, '/', path.size) && !memchr(path.data, 0, path.size);
}

/* Index of the last "/". */
static uint32_t last_slash(struct bytes path)
{
    const uint8_t *slash = memrchr(path.data, '/', path.size);
    CHECK(slash);
    return (uint32_t)(slash - path.data);
}

struct bytes path_parent(struct bytes path)
{
    uint32_t slash = last_slash(path);
    return (struct bytes){path.data, slash ? slash : 1};
}

struct bytes path_name(struct bytes path)
{
    uint32_t at = last_slash(path) + 1;
    return (struct bytes){path.data + at, path.size - at};
}

bool path_special(struct bytes path)
{
    return bytes_equal(path, PATH_ROOT) || bytes_equal(path, PATH_ZOOKEEPER) ||
           bytes_equal(path, PATH_QUOTA) || bytes_equal(path, PATH_CONFIG);
}

bool path_starts(struct bytes path, struct bytes prefix)
{
    return path.size >= prefix.size &&
           (prefix.size == 0 || memcmp(path.data, prefix.data, prefix.size) == 0);
}

bool path_under(struct bytes path, struct bytes root)
{
    if (root.size == 1)
        return true;
    return path_starts(path, root) && (path.size == root.size || path.data[root.size] == '/');
}
