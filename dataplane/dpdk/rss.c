/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "dataplane/dpdk/rss.h"

#include "dataplane/log.h"
#include "dataplane/net/net.h"

#define ENTRIES_MAX 4096
/* Where a driver does not say; vmxnet3 takes as many. */
#define KEY_BYTES_USUAL 40

/* As long as the longest that a device may have. */
static uint8_t key[UINT8_MAX];

uint64_t rss_types(const struct rte_eth_dev_info *info)
{
    return info->flow_type_rss_offloads &
           (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP);
}

void rss_ask(const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
    struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(NET_STEERING_KEY >> (i % 2 ? 0 : 8));
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    rss->rss_hf = rss_types(info);
    rss->rss_key = key;
    rss->rss_key_len = info->hash_key_size ? info->hash_key_size : KEY_BYTES_USUAL;
}

bool rss_ask_without_key(const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
    struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;
    if (info->hash_key_size || !rss->rss_key)
        return false;
    rss->rss_key = NULL; /* the device's own */
    rss->rss_key_len = 0;
    return true;
}

/* Entry i belongs to lane i % lanes; lanes beyond the queues are reached by way of the others. */
static int table_write(uint16_t port, unsigned entries, unsigned queues, unsigned lanes)
{
    struct rte_eth_rss_reta_entry64 table[ENTRIES_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
    for (unsigned i = 0; i < entries; i++) {
        struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];
        group->mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
        group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = (uint16_t)(i % lanes % queues);
    }
    return rte_eth_dev_rss_reta_update(port, table, (uint16_t)entries);
}

unsigned rss_spread(uint16_t port, unsigned queues, unsigned lanes)
{
    struct rte_eth_dev_info info;
    /* Asked again: some drivers choose the size when they are configured (mlx5, bnxt). */
    if (rte_eth_dev_info_get(port, &info) || info.reta_size == 0 || info.reta_size > ENTRIES_MAX)
        return NET_STEERING_ENTRIES;
    int result = table_write(port, info.reta_size, queues, lanes);
    if (result)
        LOG_WARN("dpdk: the port's table of queues cannot be written (%s): if it does not name "
                 "them in turn, frames are handed over between cores",
                 rte_strerror(-result));
    return info.reta_size;
}
