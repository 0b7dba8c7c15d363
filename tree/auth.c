/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "tree/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/check.h"
#include "client/wire/jute.h"

/* base64 of the longest digest, its end, and a NUL that EVP_EncodeBlock adds. */
#define BASE64_BYTES_MAX ((EVP_MAX_MD_SIZE + 2) / 3 * 4 + 1)

static size_t set_text_bytes(const struct auth_set *set)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < set->count; i++)
        bytes += (size_t)set->ids[i].scheme.size + set->ids[i].id.size;
    return bytes;
}

/* Copy b to *text and move *text behind it. */
static struct bytes text_copy(uint8_t **text, struct bytes b)
{
    struct bytes copy = {*text, b.size};
    if (b.size)
        memcpy(*text, b.data, b.size);
    *text += b.size;
    return copy;
}

/* --- the order of ids, which `auth:` entries of ACLs and whoAmI show --- */

/* One character at *at, as Java's UTF-8 decoder sees it; what is malformed counts byte by byte. */
static uint32_t character_next(struct bytes text, uint32_t *at)
{
    uint8_t first = text.data[(*at)++];
    unsigned more = first < 0xc2 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 0;
    if (first < 0x80)
        return first;
    uint32_t c = first & (0x3fu >> more);
    if (more == 0 || more > text.size - *at)
        return 0xfffd;
    for (unsigned i = 0; i < more; i++) {
        if ((text.data[*at + i] & 0xc0) != 0x80)
            return 0xfffd;
        c = c << 6 | (text.data[*at + i] & 0x3f);
    }
    *at += more;
    return c;
}

/* java.lang.String.hashCode(): over UTF-16 units */
static uint32_t string_hash(struct bytes text)
{
    uint32_t h = 0;
    for (uint32_t at = 0; at < text.size;) {
        uint32_t c = character_next(text, &at);
        if (c >= 0x10000) {
            h = 31 * h + (0xd7c0 + (c >> 10));
            c = 0xdc00 + (c & 0x3ff);
        }
        h = 31 * h + c;
    }
    return h;
}

/* The bin of org.apache.zookeeper.data.Id in a ConcurrentHashMap of so many, which a connection of
 * ZooKeeper keeps them in (ServerCnxn.authInfo); it doubles when three quarters full. */
static uint32_t id_bin(const struct auth_id *id, uint32_t count)
{
    uint32_t h = 37 * (37 * 17 + string_hash(id->scheme)) + string_hash(id->id), bins = 16;
    while (count >= bins / 4 * 3)
        bins *= 2;
    return (h ^ h >> 16) & (bins - 1);
}

/* Ids of one bin stay as they came. */
static void ids_order(struct auth_set *set)
{
    for (uint32_t i = 1; i < set->count; i++) {
        struct auth_id id = set->ids[i];
        uint32_t bin = id_bin(&id, set->count), at = i;
        for (; at > 0 && id_bin(&set->ids[at - 1], set->count) > bin; at--)
            set->ids[at] = set->ids[at - 1];
        set->ids[at] = id;
    }
}

/* A new set: the ids of `base` (may be NULL) and one more, unless that is NULL. */
static struct auth_set *set_make(const struct auth_set *base, const struct auth_id *more)
{
    uint32_t base_count = base ? base->count : 0, count = base_count + (more ? 1 : 0);
    size_t text_bytes =
        (base ? set_text_bytes(base) : 0) + (more ? (size_t)more->scheme.size + more->id.size : 0);
    struct auth_set *set = malloc(sizeof *set + count * sizeof *set->ids + text_bytes);
    if (!set)
        return NULL;
    uint8_t *text = (uint8_t *)&set->ids[count];
    atomic_init(&set->references, 1);
    set->count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct auth_id *id = i < base_count ? &base->ids[i] : more;
        set->ids[i].scheme = text_copy(&text, id->scheme);
        set->ids[i].id = text_copy(&text, id->id);
    }
    ids_order(set);
    set->super = (base && base->super) || (more && bytes_equal(more->scheme, BYTES_OF("super")));
    return set;
}

struct auth_set *auth_set_of_ip(const char *address)
{
    struct auth_id id = {BYTES_OF("ip"), {(const uint8_t *)address, (uint32_t)strlen(address)}};
    return set_make(NULL, &id);
}

static bool set_has(const struct auth_set *set, struct bytes scheme, struct bytes id)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (bytes_equal(set->ids[i].scheme, scheme) && bytes_equal(set->ids[i].id, id))
            return true;
    return false;
}

struct auth_set *auth_set_with(const struct auth_set *set, struct bytes scheme, struct bytes id)
{
    if (!id.data)
        id = BYTES_OF("");
    if (set_has(set, scheme, id))
        return set_make(set, NULL);
    if (set->count >= AUTH_IDS_MAX || scheme.size > AUTH_ID_BYTES_MAX ||
        id.size > AUTH_ID_BYTES_MAX)
        return NULL;
    return set_make(set, &(struct auth_id){scheme, id});
}

struct auth_set *auth_set_hold(struct auth_set *set)
{
    uint32_t before = atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    CHECK(before > 0);
    return set;
}

void auth_set_drop(struct auth_set *set)
{
    if (!set)
        return;
    /* acq_rel: whoever frees has seen every other holder's last use. */
    uint32_t before = atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1)
        free(set);
}

/* Put `user:base64(digest("user:password"))` into out; user is what stands before the first colon,
 * all without one (DigestAuthenticationProvider.generateDigest). @return its size, 0 on failure. */
static size_t digest_id(const char *algorithm, struct bytes login, uint8_t *out)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_bytes = 0;
    EVP_MD *md = EVP_MD_fetch(NULL, algorithm ? algorithm : "SHA1", NULL);
    int ok = md && EVP_Digest(login.data, login.size, hash, &hash_bytes, md, NULL);
    EVP_MD_free(md);
    if (!ok)
        return 0;
    const uint8_t *colon = login.size ? memchr(login.data, ':', login.size) : NULL;
    size_t user_bytes = colon ? (size_t)(colon - login.data) : login.size;
    memcpy(out, login.data, user_bytes);
    out[user_bytes] = ':';
    int text_bytes = EVP_EncodeBlock(out + user_bytes + 1, hash, (int)hash_bytes);
    return user_bytes + 1 + (size_t)text_bytes;
}

/* Replace *set by itself plus {scheme, id}. */
static int set_extend(struct auth_set **set, struct bytes scheme, struct bytes id)
{
    struct auth_set *with = auth_set_with(*set, scheme, id);
    if (!with)
        return ZK_AUTHFAILED;
    auth_set_drop(*set);
    *set = with;
    return 0;
}

static int digest_serve(const struct auth_config *config, struct auth_set **set, struct bytes login)
{
    uint8_t text[AUTH_ID_BYTES_MAX + 1 + BASE64_BYTES_MAX];
    if (!config->digest_enabled || !login.data || login.size > AUTH_ID_BYTES_MAX)
        return ZK_AUTHFAILED;
    struct bytes id = {text, (uint32_t)digest_id(config->digest_algorithm, login, text)};
    if (id.size == 0)
        return ZK_AUTHFAILED;
    const char *super = config->super_digest;
    /* In constant time over the text, so that a client cannot feel its way towards the digest. */
    bool is_super = super && strlen(super) == id.size && CRYPTO_memcmp(super, text, id.size) == 0;
    struct auth_set *with = auth_set_hold(*set);
    int rc = is_super ? set_extend(&with, BYTES_OF("super"), BYTES_OF("")) : 0;
    if (rc == 0)
        rc = set_extend(&with, BYTES_OF("digest"), id);
    if (rc) {
        auth_set_drop(with);
        return rc;
    }
    auth_set_drop(*set);
    *set = with;
    return 0;
}

int auth_serve(const struct auth_config *config, struct auth_set **set, struct bytes scheme,
               struct bytes auth)
{
    CHECK(set && *set);
    if (bytes_equal(scheme, BYTES_OF("digest")))
        return digest_serve(config, set, auth);
    if (bytes_equal(scheme, BYTES_OF("ip")))
        return 0; /* the address is in the set from the start */
    return ZK_AUTHFAILED;
}
