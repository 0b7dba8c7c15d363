#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright the Sengi authors
#
# fetches.sh PROGRAM: are the fetches of the read path in the program? gcc drops calls of functions
# that only fetch, and nothing but the speed over very many connections would show it.
# exit: 0 they are; 1 some are missing; 77 skipped.
program=$1
command -v objdump >/dev/null || { echo "skipped: no objdump (package binutils)"; exit 77; }
objdump -d --no-show-raw-insn "$program" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2; gsub(/[<>:]/, "", name); sub(/\..*/, "", name) }
    /\t(prefetch|prfm|pld)/ { fetches[name]++ }
    function need(what, names, least,    list, n, i, sum) {
        n = split(names, list, " ")
        for (i = 1; i <= n; i++)
            sum += fetches[list[i]]
        printf "%s: %d, at least %d\n", what, sum, least
        if (sum < least)
            missing = 1
    }
    END {
        need("frames, flow slots, connections, chunks", "burst_part net_burst", 6)
        need("what the application keeps of a connection", "conn_prefetch", 2)
        need("chunks to come", "net_send_room queue_room chunk_get_small chunk_from", 4)
        need("buckets of the index", "burst_add_reads item_of_read conn_parse_reads conn_input", 1)
        need("versions", "burst_find burst_run index_candidate", 4)
        need("connections that a timer wakes", "wheel_advance net_timers", 2)
        exit missing
    }'
