/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * The sockets that memif servers of ours listen at: files that a killed process leaves behind, and
 * that keep the next one from starting.
 */
#ifndef SENGI_DATAPLANE_DPDK_MEMIF_H
#define SENGI_DATAPLANE_DPDK_MEMIF_H

/**
 * Remove the socket files of memif servers among the EAL words at which nobody listens any more.
 *
 * Context: start-up, before EAL.
 */
void memif_sockets_clean(const char *words);

#endif
