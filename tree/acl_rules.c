/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What ACL lists mean (semantics.md section 6): who is let in, what a client may store, what others
 * are shown.
 *
 * Providers here: world, ip, digest. Entries of other schemes (sasl, x509 of a Java server's data)
 * match nobody.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "client/wire/check.h"
#include "tree/acl.h"

/* --- ip --- */

struct ip_prefix {
    uint8_t address[16];
    int address_bits; /* 32 or 128 */
    int prefix_bits;  /* <= address_bits */
};

/* Java's Integer.parseInt for what an address holds: an optional sign, decimal digits. -1: not a
 * number up to `max`. */
static int decimal_read(const uint8_t *p, const uint8_t *end, int max)
{
    int value = 0;
    if (p < end && *p == '+')
        p++;
    if (p == end)
        return -1;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return -1;
        value = value * 10 + (*p - '0');
        if (value > max)
            return -1;
    }
    return value;
}

static bool ipv4_read(const uint8_t *p, const uint8_t *end, uint8_t out[4])
{
    for (int i = 0; i < 4; i++) {
        const uint8_t *dot = memchr(p, '.', (size_t)(end - p));
        if ((dot == NULL) != (i == 3))
            return false;
        int value = decimal_read(p, dot ? dot : end, 255);
        if (value < 0)
            return false;
        out[i] = (uint8_t)value;
        p = dot ? dot + 1 : end;
    }
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of 1 to 4 hex digits. Leaves *p behind it. */
static bool group_read(const uint8_t **p, const uint8_t *end, uint8_t out[2])
{
    unsigned value = 0, digits = 0;
    for (; *p < end && hex_digit(**p) >= 0 && digits <= 4; ++*p, digits++)
        value = value << 4 | (unsigned)hex_digit(**p);
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return digits >= 1 && digits <= 4;
}

/* Eight groups, one run of which may be left out as "::"; no embedded IPv4, no zone. */
static bool ipv6_read(const uint8_t *p, const uint8_t *end, uint8_t out[16])
{
    int groups = 0, gap = -1;
    memset(out, 0, 16);
    if (end - p >= 2 && p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (p < end) {
        if (groups == 8 || !group_read(&p, end, out + 2 * groups))
            return false;
        groups++;
        if (p == end)
            break;
        if (*p++ != ':' || p == end)
            return false;
        if (*p == ':') {
            if (gap >= 0)
                return false;
            gap = groups;
            p++;
        }
    }
    if (gap < 0)
        return groups == 8;
    if (groups == 8)
        return false;
    int tail = groups - gap;
    memmove(out + 16 - 2 * tail, out + 2 * gap, (size_t)(2 * tail));
    memset(out + 2 * gap, 0, (size_t)(16 - 2 * groups));
    return true;
}

/* "address" or "address/bits". */
static bool ip_read(struct bytes id, struct ip_prefix *out)
{
    const uint8_t *end = id.data + id.size;
    const uint8_t *slash = id.size ? memchr(id.data, '/', id.size) : NULL;
    const uint8_t *address_end = slash ? slash : end;
    size_t n = (size_t)(address_end - id.data);
    if (n == 0)
        return false;
    bool v6 = memchr(id.data, ':', n);
    out->address_bits = v6 ? 128 : 32;
    if (!(v6 ? ipv6_read(id.data, address_end, out->address)
             : ipv4_read(id.data, address_end, out->address)))
        return false;
    out->prefix_bits = slash ? decimal_read(slash + 1, end, out->address_bits) : out->address_bits;
    return out->prefix_bits >= 0;
}

static bool ip_matches(struct bytes peer, struct bytes entry)
{
    struct ip_prefix a, b;
    if (!ip_read(peer, &a) || !ip_read(entry, &b) || a.address_bits != b.address_bits)
        return false;
    int whole = b.prefix_bits / 8, rest = b.prefix_bits % 8;
    if (memcmp(a.address, b.address, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((a.address[whole] ^ b.address[whole]) >> (8 - rest)) == 0;
}

/* --- who is let in --- */

static bool entry_matches(const struct acl_entry *e, const struct auth_set *auth)
{
    if (bytes_equal(e->id.scheme, BYTES_OF("world")))
        return bytes_equal(e->id.id, BYTES_OF("anyone"));
    bool digest = bytes_equal(e->id.scheme, BYTES_OF("digest"));
    bool ip = !digest && bytes_equal(e->id.scheme, BYTES_OF("ip"));
    if (!e->id.id.data || !(digest || ip))
        return false;
    for (uint32_t i = 0; i < auth->count; i++) {
        const struct auth_id *mine = &auth->ids[i];
        if (!bytes_equal(mine->scheme, e->id.scheme))
            continue;
        if (digest ? bytes_equal(mine->id, e->id.id) : ip_matches(mine->id, e->id.id))
            return true;
    }
    return false;
}

bool acl_allows(const struct acl_table *table, uint32_t id, int32_t perms,
                const struct auth_set *auth)
{
    if (LIKELY(id == ACL_OPEN) || !auth || auth->super)
        return true;
    const struct acl_list *list = acl_get(table, id);
    if (list->count == 0)
        return true;
    struct jute_reader r = jute_reader_of(list->wire + 4, list->wire_bytes - 4);
    struct acl_entry e;
    while (acl_view_next(&r, &e))
        if ((e.perms & perms) && entry_matches(&e, auth))
            return true;
    return false;
}

/* --- what a client may store --- */

/* Entries of a request without duplicates, and a hash table over them. */
struct acl_unique {
    struct acl_entry *entries; /* ACL_ENTRIES_MAX */
    uint16_t *slots;           /* index + 1 into entries, 0 = free; UNIQUE_SLOTS of them */
    uint32_t count;
};

#define UNIQUE_SLOTS (4u * ACL_ENTRIES_MAX)
static_assert((UNIQUE_SLOTS & (UNIQUE_SLOTS - 1)) == 0 && ACL_ENTRIES_MAX < UINT16_MAX,
              "open addressing");

static uint64_t entry_hash(const struct acl_entry *e)
{
    /* writer thread only; drawn once, so that nobody can prepare colliding entries */
    static uint64_t seed;
    while (seed == 0)
        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            seed = 0;
    uint64_t h =
        XXH3_64bits_withSeed(e->id.scheme.data, e->id.scheme.size, seed ^ (uint32_t)e->perms);
    return XXH3_64bits_withSeed(e->id.id.data, e->id.id.size, h);
}

static bool entries_equal(const struct acl_entry *a, const struct acl_entry *b)
{
    return a->perms == b->perms && bytes_equal(a->id.scheme, b->id.scheme) &&
           bytes_equal(a->id.id, b->id.id);
}

/* Comparing an entry with a null field throws upstream as soon as everything before that field is
 * equal (semantics.md, Additions 2). */
static bool null_throws(const struct acl_unique *u, const struct acl_entry *e)
{
    for (uint32_t i = 0; i < u->count; i++) {
        if (u->entries[i].perms != e->perms)
            continue;
        if (!e->id.scheme.data || bytes_equal(u->entries[i].id.scheme, e->id.scheme))
            return true;
    }
    return false;
}

static int unique_add(struct acl_unique *u, const struct acl_entry *e)
{
    if ((!e->id.scheme.data || !e->id.id.data) && null_throws(u, e))
        return ZK_MARSHALLINGERROR;
    uint64_t slot = entry_hash(e);
    for (;; slot++) {
        uint16_t at = u->slots[slot & (UNIQUE_SLOTS - 1)];
        if (at == 0)
            break;
        if (entries_equal(&u->entries[at - 1], e))
            return 0;
    }
    if (u->count == ACL_ENTRIES_MAX)
        return ZK_INVALIDACL;
    u->entries[u->count++] = *e;
    u->slots[slot & (UNIQUE_SLOTS - 1)] = (uint16_t)u->count;
    return 0;
}

/* Digest ids are "a:b": split at colons into two parts, empty ones at the end not counted (Java's
 * String.split). */
static bool digest_id_valid(struct bytes id)
{
    uint32_t colons = 0, size = id.size;
    while (size > 0 && id.data[size - 1] == ':')
        size--;
    for (uint32_t i = 0; i < size; i++)
        colons += id.data[i] == ':';
    return colons == 1;
}

static void entry_write(struct buffer *out, int32_t perms, struct auth_id id)
{
    buffer_put_int(out, perms);
    buffer_put_bytes(out, id.scheme);
    buffer_put_bytes(out, id.id);
}

/* `auth`: one entry for each id of the connection that a provider counts as authenticated: not ip,
 * not super. */
static uint32_t auth_expand(int32_t perms, const struct auth_set *auth, struct buffer *out)
{
    uint32_t added = 0;
    for (uint32_t i = 0; auth && i < auth->count; i++) {
        if (!bytes_equal(auth->ids[i].scheme, BYTES_OF("digest")))
            continue;
        entry_write(out, perms, auth->ids[i]);
        added++;
    }
    return added;
}

/* Write what becomes of one entry. @return entries written, or an error. */
static int entry_fix(const struct acl_entry *e, const struct auth_set *auth, struct buffer *out)
{
    struct bytes scheme = e->id.scheme, id = e->id.id;
    if (!scheme.data)
        return ZK_INVALIDACL;
    if (bytes_equal(scheme, BYTES_OF("auth"))) {
        uint32_t added = auth_expand(e->perms, auth, out);
        return added ? (int)added : ZK_INVALIDACL;
    }
    bool world = bytes_equal(scheme, BYTES_OF("world")), ip = bytes_equal(scheme, BYTES_OF("ip"));
    if (!world && !ip && !bytes_equal(scheme, BYTES_OF("digest")))
        return ZK_INVALIDACL; /* no such provider */
    if (!id.data)
        return ZK_MARSHALLINGERROR;
    struct ip_prefix prefix;
    bool valid = world ? bytes_equal(id, BYTES_OF("anyone"))
                 : ip  ? ip_read(id, &prefix)
                       : digest_id_valid(id);
    if (!valid)
        return ZK_INVALIDACL;
    entry_write(out, e->perms, e->id);
    return 1;
}

/* The lists as they are nearly always: short. Checked without the table. */
#define ACL_FEW 8

static int fix_entries(const struct acl_entry *entries, uint32_t count, const struct auth_set *auth,
                       struct buffer *out)
{
    size_t start = out->size;
    uint32_t total = 0;
    if (count == 0)
        return ZK_INVALIDACL;
    buffer_put_int(out, 0);
    for (uint32_t i = 0; i < count; i++) {
        int added = entry_fix(&entries[i], auth, out);
        if (added < 0)
            return added;
        total += (uint32_t)added;
        if (total > ACL_ENTRIES_MAX || out->failed)
            return ZK_INVALIDACL;
    }
    if (out->failed)
        return ZK_INVALIDACL;
    be32_store(out->data + start, total);
    return 0;
}

static int fix_few(struct acl_view asked, const struct auth_set *auth, struct buffer *out)
{
    struct acl_entry entries[ACL_FEW], e;
    struct acl_unique u = {entries, NULL, 0};
    struct jute_reader r = jute_reader_of(asked.raw.data, asked.raw.size);
    while (acl_view_next(&r, &e)) {
        if ((!e.id.scheme.data || !e.id.id.data) && null_throws(&u, &e))
            return ZK_MARSHALLINGERROR;
        bool seen = false;
        for (uint32_t i = 0; i < u.count; i++)
            seen |= entries_equal(&entries[i], &e);
        if (!seen)
            entries[u.count++] = e;
    }
    return fix_entries(entries, u.count, auth, out);
}

static int fix_many(struct acl_view asked, const struct auth_set *auth, struct buffer *out)
{
    struct acl_unique u = {malloc(ACL_ENTRIES_MAX * sizeof *u.entries),
                           calloc(UNIQUE_SLOTS, sizeof *u.slots), 0};
    struct jute_reader r = jute_reader_of(asked.raw.data, asked.raw.size);
    struct acl_entry e;
    int rc = u.entries && u.slots ? 0 : ZK_INVALIDACL;
    while (rc == 0 && acl_view_next(&r, &e))
        rc = unique_add(&u, &e);
    if (rc == 0)
        rc = fix_entries(u.entries, u.count, auth, out);
    free(u.entries);
    free(u.slots);
    return rc;
}

int acl_fix(struct acl_view asked, const struct auth_set *auth, struct buffer *out)
{
    if (asked.count <= 0)
        return ZK_INVALIDACL;
    size_t size = out->size;
    int rc = asked.count <= ACL_FEW ? fix_few(asked, auth, out) : fix_many(asked, auth, out);
    if (rc)
        out->size = size;
    return rc;
}

/* --- what others are shown --- */

void acl_write_redacted(const struct acl_list *list, struct buffer *out)
{
    struct jute_reader r = jute_reader_of(list->wire + 4, list->wire_bytes - 4);
    struct acl_entry e;
    buffer_put_raw(out, list->wire, 4);
    while (acl_view_next(&r, &e)) {
        buffer_put_int(out, e.perms);
        buffer_put_bytes(out, e.id.scheme);
        if (!bytes_equal(e.id.scheme, BYTES_OF("digest")) || !e.id.id.data) {
            buffer_put_bytes(out, e.id.id);
            continue;
        }
        const uint8_t *colon = e.id.id.size ? memchr(e.id.id.data, ':', e.id.id.size) : NULL;
        uint32_t user_bytes = colon ? (uint32_t)(colon - e.id.id.data) : e.id.id.size;
        buffer_put_int(out, (int32_t)user_bytes + 2);
        buffer_put_raw(out, e.id.id.data, user_bytes);
        buffer_put_raw(out, ":x", 2);
    }
}
