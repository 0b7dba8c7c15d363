/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The spreading of flows by a device over its queues, set to the rule by which lanes own them.
 *
 *      frame --Toeplitz, our key--> hash --% entries--> table --> queue i = lane i
 *                                                 net_frame_core() says the same of the frame
 *
 * Ownership is the frame's alone (net_frame_core()). A device that spreads otherwise, because it
 * takes no key, has a table that cannot be written, hashes other fields or has fewer queues than
 * there are lanes, costs a hand-over between lanes and nothing else.
 */
#ifndef SENGI_DATAPLANE_DPDK_RSS_H
#define SENGI_DATAPLANE_DPDK_RSS_H

#include <rte_ethdev.h>

/** Kinds of hash that we ask for, of those a device has; 0: RSS is of no use. */
uint64_t rss_types(const struct rte_eth_dev_info *info);

/** Put RSS into what the port will be configured with. info must stay until then. */
void rss_ask(const struct rte_eth_dev_info *info, struct rte_eth_conf *conf);

/** After a refusal: ask again without a key, if the driver had not said that it takes one. */
bool rss_ask_without_key(const struct rte_eth_dev_info *info, struct rte_eth_conf *conf);

/**
 * Write the table of a port that was started.
 *
 * @return its entries, or how many to count with where the device has no such table.
 */
unsigned rss_spread(uint16_t port, unsigned queues, unsigned lanes);

#endif
