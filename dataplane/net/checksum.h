/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The Internet checksum (RFC 1071), on sums in host byte order of the words as they lie in memory: the one's
 * complement sum does not care for byte order, so nothing is swapped and a folded sum is stored as it is.
 */
#ifndef SENGI_DATAPLANE_NET_CHECKSUM_H
#define SENGI_DATAPLANE_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/** Add `size` bytes to a running sum. Only the last piece of a sum may have an odd size. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t size);

/** 16 bits of a running sum, not inverted. */
static inline uint16_t
checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/** The sum of a pseudo header (RFC 9293 3.1, RFC 8200 8.1) over addresses that lie one after the other. */
static inline uint64_t
checksum_pseudo(const uint8_t *addresses, size_t addresses_bytes, uint8_t protocol, uint16_t bytes)
{
    return checksum_add((uint64_t)__builtin_bswap16(bytes) + __builtin_bswap16(protocol), addresses,
                        addresses_bytes);
}

#endif
