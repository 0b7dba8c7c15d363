/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Row index-lookups: the tree's index in prefetched bursts of 32, against cds_lfht_lookup one by
 * one, against the memory itself (two random lines per operation, prefetched: the line of the
 * bucket and the line of the version, by address, with no search at all).
 *
 * The same keys in the same order for all three; rounds alternate. The lfht table has its final
 * size from the start and nodes as large as a version; both is in its favour or neutral.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <urcu/urcu-qsbr.h>

#include <urcu/rculfhash.h>

#include "bench/cputime.h"
#include "bench/znodes.h"
#include "client/wire/check.h"
#include "tree/reader.h"

#define BURST 32
#define LOOKUPS (2u << 20)
#define ROUNDS 7
#define DATA_BYTES 100

struct lfht_znode {
    struct cds_lfht_node node;
    struct tree_key key;
    uint8_t rest[offsetof(struct version, tail) + DATA_BYTES - sizeof(struct cds_lfht_node)
                 - sizeof(struct tree_key)];
};

/* The two lines that a lookup cannot do without. */
struct lines {
    const struct index_bucket *bucket;
    const struct version *version;
};

struct bench {
    struct index *index;
    struct cds_lfht *lfht;
    struct tree_key *keys; /* LOOKUPS, in random order */
    struct lines *lines;   /* of the same keys */
    uint64_t sum;          /* what was read, so that it is read */
};

static void lookup_index(struct bench *b)
{
    const struct version *v[BURST];
    for (uint32_t at = 0; at < LOOKUPS; at += BURST) {
        const struct tree_key *keys = b->keys + at;
        for (int i = 0; i < BURST; i++)
            index_prefetch(b->index, keys[i]);
        for (int i = 0; i < BURST; i++) {
            v[i] = index_candidate(b->index, keys[i]);
            __builtin_prefetch(v[i]);
        }
        for (int i = 0; i < BURST; i++) {
            if (UNLIKELY(!v[i] || v[i]->key_lo != keys[i].lo))
                v[i] = index_find(b->index, keys[i]);
            CHECK(v[i] != NULL);
            b->sum += (uint64_t)v[i]->vzxid;
        }
    }
}

static int lfht_match(struct cds_lfht_node *node, const void *key)
{
    const struct lfht_znode *z = caa_container_of(node, struct lfht_znode, node);
    const struct tree_key *k = key;
    return z->key.lo == k->lo && z->key.hi == k->hi;
}

static void lookup_lfht(struct bench *b)
{
    for (uint32_t at = 0; at < LOOKUPS; at++) {
        struct cds_lfht_iter iter;
        cds_lfht_lookup(b->lfht, b->keys[at].lo, lfht_match, &b->keys[at], &iter);
        struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
        CHECK(node != NULL);
        b->sum += caa_container_of(node, struct lfht_znode, node)->rest[0];
    }
}

static void touch_lines(struct bench *b)
{
    for (uint32_t at = 0; at < LOOKUPS; at += BURST) {
        const struct lines *l = b->lines + at;
        for (int i = 0; i < BURST; i++) {
            __builtin_prefetch(l[i].bucket);
            __builtin_prefetch(l[i].version);
        }
        for (int i = 0; i < BURST; i++)
            b->sum += atomic_load_explicit(&l[i].bucket->slot[0], memory_order_relaxed)
                      + (uint64_t)l[i].version->vzxid;
    }
}

static double rate(struct bench *b, void (*loop)(struct bench *))
{
    uint64_t start_ns = clock_ns();
    loop(b);
    return LOOKUPS / ((double)(clock_ns() - start_ns) / 1e9);
}

static struct cds_lfht *build_lfht(struct store *s, uint64_t count)
{
    unsigned long buckets = 1;
    while (buckets < count)
        buckets *= 2;
    struct cds_lfht *t = cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_qsbr_flavor, NULL);
    CHECK(t != NULL);
    char path[ZNODES_PATH_BYTES + 1];
    for (uint64_t i = 0; i < count; i++) {
        struct lfht_znode *z = calloc(1, sizeof *z);
        CHECK(z != NULL);
        z->key = store_key(s, znodes_path(i, path));
        cds_lfht_add(t, z->key.lo, &z->node);
    }
    return t;
}

static void choose_keys(struct bench *b, struct store *s, uint64_t count)
{
    uint64_t random = 88172645463325252u;
    char path[ZNODES_PATH_BYTES + 1];
    b->keys = malloc(LOOKUPS * sizeof *b->keys);
    b->lines = malloc(LOOKUPS * sizeof *b->lines);
    CHECK(b->keys && b->lines);
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        struct tree_key key = store_key(s, znodes_path(znodes_random(&random) % count, path));
        b->keys[i] = key;
        b->lines[i] = (struct lines){index_bucket_of(b->index, key), index_find(b->index, key)};
        CHECK(b->lines[i].version != NULL);
    }
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? znodes_count_argument(argv[1], 1000, 100000000) : 10000000;
    struct bench b = {0};
    reader_register();
    struct store *s = znodes_build(count, DATA_BYTES);
    b.index = store_index(s);
    b.lfht = build_lfht(s, count);
    choose_keys(&b, s, count);
    double against_lfht[ROUNDS], against_lines[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        bool forward = r % 2 == 0;
        double first = rate(&b, forward ? lookup_index : lookup_lfht);
        double lines = rate(&b, touch_lines);
        double second = rate(&b, forward ? lookup_lfht : lookup_index);
        double index = forward ? first : second, lfht = forward ? second : first;
        against_lfht[r] = index / lfht;
        against_lines[r] = index / lines;
        printf("round %d: index %.1f M/s, cds_lfht %.1f M/s, two lines %.1f M/s\n", r + 1,
               index / 1e6, lfht / 1e6, lines / 1e6);
    }
    printf("{\"znodes\":%" PRIu64 ",\"against_lfht\":[", count);
    for (int r = 0; r < ROUNDS; r++)
        printf("%s%.4f", r ? "," : "", against_lfht[r]);
    printf("],\"against_lines\":[");
    for (int r = 0; r < ROUNDS; r++)
        printf("%s%.4f", r ? "," : "", against_lines[r]);
    printf("],\"sum\":%" PRIu64 "}\n", b.sum);
    reader_unregister();
    return 0; /* the kernel takes the memory back */
}
