/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * Sums of all cores' counters, for srvr, stat and mntr. Any thread; relaxed loads, so a sum is of
 * about now.
 */
#ifndef SENGI_DATAPLANE_METRICS_H
#define SENGI_DATAPLANE_METRICS_H

#include "dataplane/words.h"

struct server;

void metrics_server(const struct server *server, struct server_stats *out);
void metrics_mntr(const struct server *server, struct mntr_stats *out);

#endif
