/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Internet checksum (RFC 1071), on sums in host byte order of the words as they lie in memory:
 * the one's complement sum does not care for byte order, so nothing is swapped and a folded sum is
 * stored as it is.
 */
#ifndef SENGI_DATAPLANE_NET_CHECKSUM_H
#define SENGI_DATAPLANE_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Add `size` bytes to a running sum. Only the last piece of a sum may have an odd size. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t size);

/** 16 bits of a running sum, not inverted. */
static inline uint16_t
checksum_fold(uint64_t sum)
{
    /* x + x rotated by half: the upper half is the one's complement sum of both. */
    uint32_t half = (uint32_t)((sum + (sum >> 32 | sum << 32)) >> 32);
    return (uint16_t)((half + (half >> 16 | half << 16)) >> 16);
}

/** The sum of 20 bytes: an IPv4 header. */
static inline uint64_t
checksum_header_v4(const void *header)
{
    uint32_t w[5];
    memcpy(w, header, sizeof w);
    return (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
}

/**
 * The sum of a pseudo header (RFC 9293 3.1, RFC 8200 8.1) without its addresses: these lie right
 * before the transport part of every packet here, and are summed with it.
 */
static inline uint64_t
checksum_pseudo(uint8_t protocol, uint16_t bytes)
{
    return (uint64_t)__builtin_bswap16(bytes) + ((uint64_t)protocol << 8);
}

#endif
