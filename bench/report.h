/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
/*
 * What a run measured, for people or as one JSON object.
 */
#ifndef SENGI_BENCH_REPORT_H
#define SENGI_BENCH_REPORT_H

#include <stdio.h>

#include "bench/options.h"

void report_text(FILE *f, const struct bench_options *options, const struct load_result *result);

/** Keys: see report.c; durations in the unit their name ends with. */
void report_json(FILE *f, const struct bench_options *options, const struct load_result *result);

#endif
